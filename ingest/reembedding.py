"""Builds the index anew beside the active one, for another embedding, chunker or words; then switches to it.

Reads no files: documents are chunked again from the text and structure that are stored. Queries and ingests go on
meanwhile. Each document is stored by a transaction of its own, so a run that was killed goes on where it was.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from ingest.preparing import EMBED_TOGETHER, Prepared, Preparer
from ingest.sample_check import sample_faults
from knowledge.database import Database
from knowledge.errors import EmbeddingUnavailable, GakjuError, IndexMismatch
from knowledge.generations import REEMBED, Generation, Manifest, active_generation, previous_generation
from knowledge.rebuilding import Rebuild, rebuilding
from knowledge.search_indexes import tidy
from knowledge.store import EmbeddedChunk, IndexStore, Missing
from knowledge.types import Document

_PATIENCE = 3  # attempts to switch between two writes of others


@dataclass(frozen=True, slots=True)
class Reembedded:
    """What a run did. `documents`, `chunks`: what the new generation holds; `written_…`: what this run made of it.

    `is_switched` False: the index already was of these settings, `was` and `now` are equal.
    """

    was: Manifest
    now: Manifest
    documents: int
    chunks: int
    written_documents: int = 0
    written_chunks: int = 0
    elapsed_s: float = 0.0
    is_switched: bool = False


class ReembedProgress(Protocol):
    """Is told how far a run is, in chunks of the active generation: how many the new one gets is not yet known.

    `planned`: so much is to be done, again whenever documents came or went meanwhile; `advanced`: so much more is.
    """

    def planned(self, documents: int, chunks: int) -> None: ...

    def advanced(self, chunks: float) -> None: ...


class NoReembedProgress:
    def planned(self, documents: int, chunks: int) -> None: ...

    def advanced(self, chunks: float) -> None: ...


class Reembedder:
    """`manifest`: what the index is to become, which is what `preparer` makes of documents."""

    def __init__(self, db: Database, manifest: Manifest, preparer: Preparer) -> None:
        self._db = db
        self._manifest = manifest
        self._preparer = preparer

    def run(self, progress: ReembedProgress | None = None) -> Reembedded:
        """Build what is missing, check it, switch to it.

        Raises:
            EmbeddingUnavailable, DatabaseUnavailable: what is built so far is kept; another run goes on.
            GakjuError: the index is empty, another run is at work, or what was built is not right: not switched.
        """
        started = time.monotonic()
        with rebuilding(self._db) as rebuild:
            active = active_generation(self._db)
            if active is not None and active.manifest.same_as(self._manifest):
                return _summary(IndexStore(self._db, active), active.manifest)
            active, target = rebuild.open_target(self._manifest)
            build = _Build(self._db, active, target, self._preparer, progress or NoReembedProgress())
            self._finish(build, rebuild)
        return _summary(build.target, active.manifest, build, time.monotonic() - started)

    def _finish(self, build: _Build, rebuild: Rebuild) -> None:
        try:
            build.catch_up()
            build.check(rebuild)
            for _ in range(_PATIENCE):
                if rebuild.switch(build.target.generation.id):
                    return
                build.catch_up()  # someone stored something meanwhile
            # Someone stores more all the time: the last few documents are done while they wait.
            with rebuild.writers_held(build.active.generation):
                build.catch_up()
                rebuild.switch(build.target.generation.id)
        except EmbeddingUnavailable as exc:
            raise EmbeddingUnavailable(
                f"{exc} What is built so far is kept.", hint=f"{exc.hint} `{REEMBED}` then goes on.".strip()
            ) from exc
        except IndexMismatch as exc:
            raise GakjuError("The generation that was being built is gone.", hint=f"Run `{REEMBED}` again.") from exc


def switch_back(db: Database) -> tuple[Manifest, Manifest]:
    """Make the previous generation the active one at once; returns the manifests of the old and the new one.

    Raises:
        GakjuError: there is none, or its documents are no longer the same.
    """
    with rebuilding(db) as rebuild:
        active, previous = active_generation(db), previous_generation(db)
        if active is None or previous is None:
            raise GakjuError(
                "There is no previous generation to switch back to.",
                hint=f"Set EMBED_MODEL, EMBED_BASE_URL or CHUNK_TOKENS to what it should become and run `{REEMBED}`.",
            )
        if not rebuild.switch(previous.id):
            changed = len(_changed(IndexStore(db, active), IndexStore(db, previous)))
            raise GakjuError(
                f"{changed} documents changed since the previous generation ({previous.manifest}) was active.",
                hint=f"Set EMBED_MODEL, EMBED_BASE_URL and CHUNK_TOKENS back and run `{REEMBED}`: "
                "it does these alone, then switches.",
            )
    return active.manifest, previous.manifest


def drop_previous(db: Database) -> tuple[Manifest, ...]:
    """Free what the previous, or a half-built, generation takes up; returns what there was.

    Raises:
        GakjuError: a run is at work on it.
    """
    with rebuilding(db) as rebuild:
        return tuple(item.manifest for item in rebuild.drop_others())


@dataclass(frozen=True, slots=True)
class _Cut:
    """A document of the active generation, cut anew."""

    missing: Missing
    document: Document
    reading: str
    prepared: Prepared


class _Build:
    """Fills `target` with the documents of `active`. Knows nothing about switching."""

    def __init__(
        self, db: Database, active: Generation, target: Generation, preparer: Preparer, progress: ReembedProgress
    ) -> None:
        self._db = db
        self.active = IndexStore(db, active)
        self.target = IndexStore(db, target)
        self._preparer = preparer
        self._progress = progress
        self.written_documents = 0
        self.written_chunks = 0

    def catch_up(self) -> None:
        """Until both hold the same documents, or until somebody stores so fast that it does not get nearer to that.

        Raises:
            EmbeddingUnavailable: what was embedded is stored.
        """
        before = math.inf
        while True:
            for collection, path in self.target.absent_from(self.active):
                self.target.remove(collection, path, settle=False)
            missing = self.active.missing_from(self.target)
            if not missing or len(missing) > before / 2:
                tidy(self.target)
                return
            before = len(missing)
            self._progress.planned(len(missing), sum(item.chunks for item in missing))
            self._fill(missing)

    def check(self, rebuild: Rebuild) -> None:
        """Compare both, and find a sample of documents, made anew, in the new one.

        Raises:
            GakjuError: something is wrong.
        """
        faults = rebuild.faults(self.active.generation, self.target.generation) or sample_faults(
            self.active, self.target, self._db, self._preparer
        )
        if faults:
            raise GakjuError(
                f"The new generation is not right, the old one goes on answering: {' '.join(faults)}",
                hint=f"`{REEMBED} --drop-previous` gives it up, `{REEMBED}` builds it from the start.",
            )

    def _fill(self, missing: Sequence[Missing]) -> None:
        """Cutting, embedding and storing overlap: one batch of each at a time."""
        batches = self._batches(missing)
        with ThreadPoolExecutor(2, thread_name_prefix="reembed") as pool:
            ahead: Future[list[_Cut]] = pool.submit(next, batches, [])
            writing: Future[None] | None = None
            try:
                while batch := ahead.result():
                    ahead = pool.submit(next, batches, [])
                    embedded = self._embed(batch)
                    if writing:
                        writing.result()
                    writing = pool.submit(self._store, batch, embedded)
            finally:
                if writing:
                    writing.result()

    def _batches(self, missing: Sequence[Missing]) -> Iterator[list[_Cut]]:
        """Small documents together, as many as fit into one call; a large one alone."""
        batch: list[_Cut] = []
        for item in missing:
            stored = self.active.document(item.collection, item.path)
            if stored is None:
                continue  # removed meanwhile
            cut = _Cut(item, *stored, self._preparer.prepare(stored[0].parsed))
            if batch and sum(len(other.prepared) for other in batch) + len(cut.prepared) > EMBED_TOGETHER:
                yield batch
                batch = []
            batch.append(cut)
        if batch:
            yield batch

    def _embed(self, batch: Sequence[_Cut]) -> list[list[EmbeddedChunk]]:
        before, after = sum(cut.missing.chunks for cut in batch), sum(len(cut.prepared) for cut in batch)
        embedded = self._preparer.embed(
            [cut.prepared for cut in batch], on_chunks=lambda count: self._progress.advanced(count * before / after)
        )
        if not after:
            self._progress.advanced(before)
        return embedded

    def _store(self, batch: Sequence[_Cut], embedded: Sequence[Sequence[EmbeddedChunk]]) -> None:
        for cut, chunks in zip(batch, embedded, strict=True):
            if self.target.replace(cut.document, chunks, reading=cut.reading, settle=False):
                self.written_documents += 1
                self.written_chunks += len(chunks)


def _changed(active: IndexStore, other: IndexStore) -> set[tuple[str, str]]:
    return {(item.collection, item.path) for item in active.missing_from(other)} | set(other.absent_from(active))


def _summary(store: IndexStore, was: Manifest, build: _Build | None = None, elapsed_s: float = 0.0) -> Reembedded:
    counts = store.counts()
    now = store.generation.manifest
    if build is None:
        return Reembedded(was, now, counts.documents, counts.chunks)
    return Reembedded(
        was,
        now,
        counts.documents,
        counts.chunks,
        build.written_documents,
        build.written_chunks,
        elapsed_s,
        is_switched=True,
    )
