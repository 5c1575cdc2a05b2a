"""One digest of what an index holds: equal for equal content, whatever the order, times, machines or crashes.

What goes in: the manifest, and of each document its collection, path, content hash, reading, title, language, text and
structure, and its chunks with the ids and weights of their words, and vectors. What stays out: where files lie, times,
all numbers that a database gives, and the words of a chunk's sentences, which follow from the rest and which a version before
them left out.
Every part goes in with its length before it, so that no two contents can run together into the same bytes.
Knows nothing about databases.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from knowledge.generations import Manifest

NOTHING = hashlib.sha256().hexdigest()  # of an index without documents, whatever it was made for

_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


class DocumentRow(NamedTuple):
    """A document as stored. `blocks`: the JSON of its structure."""

    id: UUID
    collection: str
    collection_id: int
    path: str
    content_hash: str
    reading: str
    title: str
    language: str
    text: str
    blocks: Any


class ChunkRow(NamedTuple):
    """A chunk as stored. `embedding`, `term_weights`: in PostgreSQL's binary form (pgvector's halfvec, sparsevec)."""

    document_id: UUID
    id: UUID
    collection_id: int
    ordinal: int
    start: int
    end: int
    text: str
    heading: list[str]
    place: dict[str, Any]
    table_header: str
    language: str
    embedding: bytes
    term_ids: list[int]
    term_weights: bytes

    def weights(self) -> tuple[int, np.ndarray, np.ndarray]:
        """Dimensions of the space, int32 (n,) indices and float32 (n,) values, both big-endian."""
        dimensions, count, _ = struct.unpack_from(">iii", self.term_weights)
        indices = np.frombuffer(self.term_weights, dtype=">i4", count=count, offset=12)
        return dimensions, indices, np.frombuffer(self.term_weights, dtype=">f4", count=count, offset=12 + 4 * count)

    def vector(self) -> np.ndarray:
        """float16 (dimension,)."""
        return np.frombuffer(self.embedding, dtype=">f2", offset=4)


class DocumentDigest:
    """SHA-256 of one document's content. It does not depend on its name, so a renamed document keeps it."""

    def __init__(self, document: DocumentRow, *, with_vectors: bool) -> None:
        self._with_vectors = with_vectors
        self._hash = hashlib.sha256(
            _part(_json([document.content_hash, document.reading, document.title, document.language]))
            + _part(hashlib.sha256(document.text.encode()).digest())
            + _part(hashlib.sha256(_json(document.blocks)).digest())
        )

    def add(self, chunk: ChunkRow) -> None:
        """The next chunk, by ordinal."""
        own = [chunk.ordinal, chunk.start, chunk.end, chunk.text, chunk.heading, chunk.place, chunk.table_header]
        self._hash.update(_part(_json([*own, chunk.language])) + _part(chunk.term_weights))
        if self._with_vectors:
            self._hash.update(_part(chunk.embedding))

    def digest(self) -> bytes:
        return self._hash.digest()


class IndexDigest:
    """SHA-256 over all documents. Add them by collection and path, both in the order of bytes."""

    def __init__(self, manifest: Manifest, *, with_vectors: bool) -> None:
        own = [dict(manifest.embedding), manifest.chunking, manifest.lexemes, with_vectors]
        self._head = _part(_json(own))
        self._hash = hashlib.sha256()

    def add(self, collection: str, path: str, digest: bytes) -> None:
        if self._head:
            self._hash.update(self._head)
            self._head = b""
        self._hash.update(_part(_json([collection, path])) + digest)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _json(value: object) -> bytes:
    return _ENCODER.encode(value).encode()


def _part(data: bytes) -> bytes:
    return struct.pack(">Q", len(data)) + data
