"""The whole app over an index that an evaluation made: service, memory, search, language model or quote mode, checker.

Without tools and personas: the documents alone are asked. Its memory and its log are thrown away with the servers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eval.bench import Bench
from knowledge.live_index import LiveIndex
from knowledge.store import IndexStore
from pipelines.service import ChatService
from wiring import Index, open_service


@contextmanager
def service_over(bench: Bench, store: IndexStore, **changes: Any) -> Iterator[ChatService]:
    """`changes`: settings that are other than the user's.

    Raises:
        GakjuError: an embedded server does not start.
    """
    live = LiveIndex(store.db, store.generation, bench.embedding, build=lambda _: None)
    index = Index(
        bench.servers,
        store.db,
        live.current.store,
        bench.embedding,
        bench.analyzer,
        store.generation,
        "made for an evaluation",
        live,
    )
    with tempfile.TemporaryDirectory(prefix="gakju-eval-") as scratch:
        ours = {"data_dir": Path(scratch), "redis_url": "", "tools_file": None, "personas_file": None}
        with open_service(bench.settings.model_copy(update=ours | changes), index) as service:
            yield service
