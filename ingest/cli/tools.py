"""What the commands work with, handed in by wiring.py, which alone knows the settings."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from knowledge.database import Database

if TYPE_CHECKING:
    from ingest.ingestor import Ingestor
    from ingest.reembedding import Reembedder


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
