"""Whether one stored document and its chunks agree with themselves: text, order, words, vectors, ids.

Recomputes what can be recomputed without a model. Knows nothing about databases or other documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from knowledge.generations import Manifest
from knowledge.store import make_chunk_id, make_document_id
from knowledge.terms import TERM_SPACE
from knowledge.verification.digest import ChunkRow, DocumentRow

# Half precision rounds each number by at most 2⁻¹¹ of itself, so a vector of length 1 stays within 0.0005 of it.
_NORM_TOLERANCE = 0.002


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the index. `kind`: stable, for programs; `path` is "" where it is about a collection."""

    kind: str
    collection: str
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.collection}/{self.path}: {self.what}" if self.path else f"{self.collection}: {self.what}"


class DocumentCheck:
    """Give it the chunks of `document` in order of their ordinals, then ask for `ended`."""

    def __init__(self, document: DocumentRow, manifest: Manifest) -> None:
        self._document = document
        self._manifest = manifest
        self._version = f"{document.content_hash}\0{manifest.chunking}"
        self._next = 0
        self._last = (-1, -1)
        self._headers: dict[str, bool] = {"": True}

    def begun(self) -> Iterator[Problem]:
        """What is wrong with the document itself."""
        document = self._document
        if document.id != make_document_id(document.collection, document.path):
            yield self._problem("document_id", "its id is not the one of its collection and path")
        if (number := _misplaced_block(document)) is not None:
            yield self._problem("blocks", f"block {number} of its structure is not where it can be")

    def chunk(self, chunk: ChunkRow) -> Iterator[Problem]:
        """What is wrong with its next chunk."""
        for kind, what in (*self._place(chunk), *self._words(chunk), *self._vector(chunk)):
            yield self._problem(kind, f"chunk {chunk.ordinal}: {what}")

    def ended(self) -> Iterator[Problem]:
        """Readers refuse files without text, so every document that has some has chunks."""
        if not self._next and self._document.text.strip():
            yield self._problem("no_chunks", "it has text, but no chunks: it cannot be found")

    def _place(self, chunk: ChunkRow) -> Iterator[tuple[str, str]]:
        document = self._document
        if chunk.ordinal != self._next:
            yield "ordinals", f"chunk {self._next} was to come here"
        if chunk.id != make_chunk_id(document.id, self._version, chunk.ordinal):
            yield "chunk_id", "its id is not the one of its document's content, chunking and ordinal"
        if chunk.collection_id != document.collection_id:
            yield "chunk_collection", "it is in another collection than its document"
        if not 0 <= chunk.start < chunk.end <= len(document.text):
            yield (
                "chunk_text",
                f"{chunk.start}..{chunk.end} is not inside the document's {len(document.text)} characters",
            )
        elif document.text[chunk.start : chunk.end] != chunk.text:
            yield "chunk_text", f"its text is not what stands at {chunk.start}..{chunk.end} of the document"
        if (chunk.start, chunk.end) <= self._last:
            yield "chunk_order", "it does not stand behind the chunk before it"
        if not self._is_line(chunk.table_header):
            yield "table_header", "its table header is no line of the document"
        self._next = chunk.ordinal + 1
        self._last = (chunk.start, chunk.end)

    def _is_line(self, header: str) -> bool:
        if header not in self._headers:
            self._headers[header] = any(header == line.strip() for line in self._document.text.split("\n"))
        return self._headers[header]

    def _words(self, chunk: ChunkRow) -> Iterator[tuple[str, str]]:
        dimensions, indices, weights = chunk.weights()
        if chunk.term_ids != indices.tolist():  # those of a sparsevec are sorted and unique
            yield "term_ids", "the words that find it are not the words that have weights"
        if dimensions != TERM_SPACE or not (np.isfinite(weights).all() and (weights > 0).all()):
            yield "term_weights", "its weights of words are not positive numbers in the space of words"

    def _vector(self, chunk: ChunkRow) -> Iterator[tuple[str, str]]:
        vector = chunk.vector().astype(np.float32)
        if len(vector) != self._manifest.dimension:
            yield "dimension", f"its vector has {len(vector)} numbers, the index {self._manifest.dimension}"
        norm = float(np.linalg.norm(vector))
        if not abs(norm - 1) <= _NORM_TOLERANCE:  # written so that it is true of "not a number" as well
            yield "norm", f"its vector has the length {norm:.4f} instead of 1"

    def _problem(self, kind: str, what: str) -> Problem:
        return Problem(kind, self._document.collection, self._document.path, what)


def _misplaced_block(document: DocumentRow) -> int | None:
    """Number of the first block that is outside the text, not behind the one before it, or no block at all."""
    at = 0
    for number, block in enumerate(document.blocks or ()):
        try:
            start, end = block[:2]
            if not at <= start <= end <= len(document.text):
                return number
        except (TypeError, ValueError):
            return number
        at = end
    return None
