"""What the commands work with, handed in by wiring.py, which alone knows the settings; and that opening it is told."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from ingest.cli.output import complain
from knowledge.database import Database

if TYPE_CHECKING:
    from ingest.ingestor import Ingestor
    from ingest.reembedding import Reembedder

T = TypeVar("T")

PLAIN_START_AFTER_S = 3.0


@dataclass(frozen=True, slots=True)
class Tools:
    """`collection`: the default one. What is a function is slow to open, and refuses an index that was built otherwise.

    `ingestor(collection, ray_address)`: puts files into a collection; `ray_address` None works on this machine alone,
    "" starts or finds a Ray cluster here. `reembedder()`: builds the index anew for the current settings. `revive()`
    brings back an embedded server that died.
    """

    db: Database
    collection: str
    ingestor: Callable[[str, str | None], AbstractContextManager[Ingestor]]
    reembedder: Callable[[], AbstractContextManager[Reembedder]]
    revive: Callable[[], None] = lambda: None


@contextmanager
def opened(opening: AbstractContextManager[T], needed: str, *, quiet: bool = False) -> Iterator[T]:
    """`opening`, entered, while it is said on standard error that `needed` is being opened. `quiet`: it is not."""
    with ExitStack() as stack:
        with _starting(needed, quiet=quiet):
            entered = stack.enter_context(opening)
        yield entered


@contextmanager
def _starting(needed: str, *, quiet: bool) -> Iterator[None]:
    text = f"starting: {needed}"
    console = Console(file=sys.stderr, highlight=False)
    if quiet:
        yield
        return
    if console.is_terminal:
        with console.status(text):
            yield
        return
    timer = threading.Timer(PLAIN_START_AFTER_S, complain, [text])
    timer.daemon = True
    timer.name = "starting"
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
