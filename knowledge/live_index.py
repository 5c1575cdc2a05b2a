"""The index as a running app uses it: a generation with the embedder that it was built with, always both together.

Another process may switch the index to another generation at any time. The app goes on with the one it opened, which
stays whole, until it has followed: `follow` puts another `OpenIndex` in place of `current` in one step, and whoever
holds the old one finishes with that. Knows nothing about settings: how to build an embedder is handed in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from knowledge.database import Database
from knowledge.embedding import GakjuEmbedding
from knowledge.errors import DatabaseUnavailable, GakjuError
from knowledge.generations import Generation, Manifest, active_generation
from knowledge.search import Searcher
from knowledge.store import IndexStore

log = logging.getLogger(__name__)

BuildEmbedding = Callable[[Manifest], GakjuEmbedding | None]


@dataclass(frozen=True, slots=True)
class OpenIndex:
    """One generation and what belongs to it. Take it once a turn, and use nothing else for that turn."""

    generation: Generation
    embedding: GakjuEmbedding
    searcher: Searcher
    store: IndexStore

    @classmethod
    def of(cls, db: Database, generation: Generation, embedding: GakjuEmbedding) -> OpenIndex:
        return cls(generation, embedding, Searcher(db, generation), IndexStore(db, generation))


class LiveIndex:
    """`build(manifest)`: the embedder of a generation, None if these settings have none. The first one stays its owner's.

    Embedders are kept for a switch back and for turns that still use them, until `close`.
    """

    def __init__(
        self, db: Database, generation: Generation, embedding: GakjuEmbedding, *, build: BuildEmbedding
    ) -> None:
        self._db = db
        self._build = build
        self._built: list[GakjuEmbedding] = []
        self._known = [embedding]
        self._lexemes = generation.manifest.lexemes  # it was opened, so they are this program's
        self._told: int | None = None  # the generation that could not be followed to, said once
        self._out_of_reach: int | None = None  # the one that never can be
        self.current = OpenIndex.of(db, generation, embedding)

    def follow(self) -> bool:
        """Go over to the active generation. False: it is the current one, or its embedder cannot be had.

        Call it from one thread, every few seconds.
        """
        try:
            active = active_generation(self._db)
        except DatabaseUnavailable:
            return False  # said by whoever asks it for something
        if active is None or active.id in (self.current.generation.id, self._out_of_reach):
            return False
        embedding = self._embedding_of(active)
        if embedding is None:
            return False
        self.current = OpenIndex.of(self._db, active, embedding)
        self._told = None
        log.info("the index was switched to %s; answering from it now", active.manifest)
        return True

    def close(self) -> None:
        """Close the embedders that were built here."""
        for embedding in self._built:
            embedding.close()
        self._built.clear()

    def _embedding_of(self, active: Generation) -> GakjuEmbedding | None:
        """None: there is none. What may change by itself, such as a server that is away, is tried again."""
        reason = "its embedding is not that of these settings"
        try:
            if active.manifest.lexemes != self._lexemes:
                reason = "another version of Gakju built it"
            elif embedding := self._known_or_built(active.manifest):
                return embedding
            self._out_of_reach = active.id
        except GakjuError as exc:
            reason = exc.sentence()
        if self._told != active.id:
            self._told = active.id
            log.warning(
                "the index was switched to %s, which this app cannot follow to (%s). It goes on answering from the "
                "previous generation: restart it with the new settings (EMBED_MODEL, EMBED_BASE_URL, CHUNK_TOKENS)",
                active.manifest,
                reason,
            )
        return None

    def _known_or_built(self, manifest: Manifest) -> GakjuEmbedding | None:
        wanted = dict(manifest.embedding)
        known = next((item for item in self._known if item.spec.to_dict() == wanted), None)
        built = None if known else self._build(manifest)
        if built is None:
            return known
        try:
            fits = built.spec.to_dict() == wanted  # a server is asked here
        except GakjuError:
            built.close()
            raise
        if not fits:
            built.close()
            return None
        self._built.append(built)
        self._known.append(built)
        return built
