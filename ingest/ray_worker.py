"""The work on one file, as a Ray worker does it on any machine: read in a child process, chunk, analyse, embed.

Imported by the workers too, so it imports no Ray. Knows nothing about the database, other files, or who asked;
ingest/ray_cluster.py gives it bytes and takes plain values back.
"""

from __future__ import annotations

import os
import queue
import socket
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from ingest.ingestor import READING
from ingest.preparing import Preparer, chunking
from ingest.reader_process import ReaderProcess
from ingest.readers.ocr import find_tesseract
from knowledge.embedding import build_embedding
from knowledge.errors import EmbeddingUnavailable, GakjuError, ReadFailed, ServerStartFailed
from knowledge.generations import Manifest
from knowledge.lexemes import Analyzer
from knowledge.terms import TermVector
from knowledge.types import Chunk, ParsedDocument

# Files that a worker has at once: while one is embedded, others are read.
AT_ONCE = 3
_READERS = 2


@dataclass(frozen=True, slots=True)
class WorkerRecipe:
    """What a worker is built from, the same on every machine. Empty `embed_base_url`: the bundled embedding."""

    chunk_tokens: int
    max_file_bytes: int
    file_timeout_s: float
    embed_base_url: str = ""
    embed_model: str = ""
    embed_api_key: str = ""
    embed_query_prefix: str = ""
    embed_passage_prefix: str = ""
    embed_dimensions: int = 0

    def __repr__(self) -> str:
        return f"WorkerRecipe({self.chunk_tokens} tokens, {self.embed_model or 'bundled'})"  # no key in a log


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error on its way between machines: exceptions with keyword arguments do not survive pickling."""

    kind: str
    message: str
    hint: str = ""
    reason: str = ""
    content_hash: str = ""

    @classmethod
    def of(cls, error: GakjuError) -> Trouble:
        return cls(
            type(error).__name__,
            str(error),
            error.hint,
            getattr(error, "reason", ""),
            getattr(error, "content_hash", ""),
        )

    def error(self) -> GakjuError:
        if self.kind == ReadFailed.__name__:
            return ReadFailed(self.message, reason=self.reason, hint=self.hint)
        known = {kind.__name__: kind for kind in (EmbeddingUnavailable, ServerStartFailed)}
        return known.get(self.kind, GakjuError)(self.message, hint=self.hint)


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who a worker is and how it would build the index. `trouble`: why it cannot work."""

    host: str
    pid: int
    reading: str = ""
    manifest: Manifest | None = None
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a file. `vectors`: float16 (chunks, dimension), in the order of `chunks`, `terms` and `sentences`."""

    content_hash: str = ""
    parsed: ParsedDocument | None = None
    chunks: tuple[Chunk, ...] = ()
    terms: tuple[TermVector, ...] = ()
    sentences: tuple[bytes | None, ...] = ()
    vectors: np.ndarray | None = None
    trouble: Trouble | None = None


class FileWorker:
    """Works on up to AT_ONCE files at once, each call in a thread of its own. Call `greet` first, and once."""

    def __init__(self, recipe: WorkerRecipe) -> None:
        self._recipe = recipe
        self._idle: queue.SimpleQueue[ReaderProcess] = queue.SimpleQueue()

    def greet(self) -> Greeting:
        """Load what work needs (seconds). Not in the constructor, whose errors Ray would wrap."""
        recipe = self._recipe
        try:
            self._embedding = build_embedding(
                base_url=recipe.embed_base_url,
                model=recipe.embed_model,
                api_key=recipe.embed_api_key,
                query_prefix=recipe.embed_query_prefix,
                passage_prefix=recipe.embed_passage_prefix,
                dimensions=recipe.embed_dimensions,
                cache_dir=_cache_dir(),
            )
            analyzer = Analyzer()
            analyzer.warm_up()
            self._preparer = Preparer(self._embedding, analyzer, chunk_tokens=recipe.chunk_tokens)
            for _ in range(_READERS):
                self._idle.put(ReaderProcess(timeout_s=recipe.file_timeout_s))
            manifest = Manifest(self._embedding.spec.to_dict(), chunking(recipe.chunk_tokens))
        except GakjuError as exc:
            return Greeting(socket.gethostname(), os.getpid(), trouble=Trouble.of(exc))
        return Greeting(socket.gethostname(), os.getpid(), how_files_are_read(), manifest)

    def work(self, data: bytes, name: str, member: str) -> Answer:
        """`name`: of the file, in the collection. `member`: the file inside the archive that `data` is; else ""."""
        reader = self._idle.get()
        try:
            parsed, digest = reader.read(
                None, data=data, member=member, name=PurePath(name).name, max_bytes=self._recipe.max_file_bytes
            )
        except GakjuError as exc:
            return Answer(trouble=Trouble.of(exc))
        finally:
            self._idle.put(reader)
        del data
        try:
            prepared = self._preparer.prepare(parsed)
            [embedded] = self._preparer.embed([prepared])
        except GakjuError as exc:
            return Answer(trouble=Trouble.of(exc))
        vectors = np.stack([item.embedding for item in embedded]) if embedded else None
        return Answer(digest, parsed, prepared.chunks, prepared.terms, prepared.sentences, vectors)


def how_files_are_read() -> str:
    """Two machines that say the same read a file the same."""
    return f"{READING}, {'with' if find_tesseract() is not None else 'without'} OCR"


def _cache_dir() -> Path:
    """On this machine's own disk, and not where others may write."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gakju"
