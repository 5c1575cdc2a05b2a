"""Gradio, imported the one way this project wants it: without calls home and without what slows each event.

Everything else in `web` takes `gr` from here, because these switches only work before Gradio's first import.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Gradio keeps statistics of every event in memory; by 10,000 events they had doubled the CPU time of a request.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000000000")
# Gradio looks for matplotlib on every chunk of an answer; where it is not installed, the failing search costs 0.1 ms.
sys.modules.setdefault("matplotlib", None)  # type: ignore[arg-type]

import gradio as gr  # noqa: E402
from gradio.events import Dependency  # noqa: E402

__all__ = ["Dependency", "gr"]
