"""One pass over a generation: every document and chunk checked, counted and put into the digest.

Everything is read in one snapshot, so writers may go on meanwhile. Documents are streamed a few at a time: memory does
not grow with them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from knowledge.database import Database
from knowledge.generations import Generation, State
from knowledge.verification.counts import Counts, orphans
from knowledge.verification.digest import ChunkRow, DocumentDigest, DocumentRow, IndexDigest
from knowledge.verification.documents import DocumentCheck, Problem
from knowledge.verification.files import noted_wrongly
from knowledge.verification.orphans import rows_of_no_document
from knowledge.verification.snapshot import Snapshot, snapshot

# Documents that are read at once, up to one of these limits, or a single one.
_BATCH_DOCUMENTS = 200
_BATCH_BYTES = 1_000_000
_PAGE_CHUNKS = 500

_HEADS = """
SELECT d.id, c.name, d.collection_id, d.path, octet_length(d.text) + coalesce(pg_column_size(d.blocks), 0)
FROM documents d JOIN collections c ON c.id = d.collection_id WHERE d.generation_id = %s
ORDER BY c.name COLLATE "C", d.path COLLATE "C"
"""
_CONTENTS = """
SELECT id, content_hash, reading, title, language, text, blocks FROM documents
WHERE generation_id = %s AND id = ANY(%s)
"""
# From the generation's own table: to hold a lock on `chunks` would make all searches wait for us as soon as another
# generation is to be dropped.
_CHUNKS = """
SELECT document_id, id, collection_id, ordinal, start_char, end_char, text, heading, place, table_header, language,
       halfvec_send(embedding), term_ids, sparsevec_send(term_weights)
FROM {} WHERE generation_id = %s AND document_id = ANY(%s) ORDER BY document_id, ordinal
"""

OnDocument = Callable[[str, str, str], None]
OnChunks = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Verification:
    """`problems`: errors of the index, none of a sound one. `words`: different ones, summed over the collections."""

    generation: Generation
    digest: str
    collections: int
    documents: int
    chunks: int
    words: int
    problems: tuple[Problem, ...]


class _Head(NamedTuple):
    """A document without its content. `size_bytes`: of text and structure, about."""

    id: UUID
    collection: str
    collection_id: int
    path: str
    size_bytes: int


def verify(
    db: Database,
    state: State = "active",
    *,
    with_vectors: bool = True,
    on_document: OnDocument = lambda *_: None,
    on_chunks: OnChunks = lambda *_: None,
) -> Verification | None:
    """Check the generation in `state` and compute its digest. None: there is no such generation.

    `with_vectors`: False leaves them out of the digest, since an embedding server may round differently each time.
    `on_document` gets collection, path and the document's own digest (hex), in a stable order; `on_chunks` how many
    chunks are done, and how many there are in all.

    Raises:
        DatabaseUnavailable, GakjuError: the check could not be done to the end.
    """
    with snapshot(db, state) as found:
        return _Run(found, with_vectors, on_document, on_chunks).verification() if found else None


class _Run:
    def __init__(self, found: Snapshot, with_vectors: bool, on_document: OnDocument, on_chunks: OnChunks) -> None:
        self._snapshot = found
        self._generation = found.generation
        self._with_vectors = with_vectors
        self._on_document = on_document
        self._on_chunks = on_chunks
        self._counts = Counts(found)
        self._problems: list[Problem] = []
        self._documents = self._chunks = 0

    def verification(self) -> Verification:
        names = dict(self._snapshot.rows("SELECT id, name FROM collections"))  # type: ignore[arg-type]
        digest = IndexDigest(self._generation.manifest, with_vectors=self._with_vectors)
        seen = set()
        for collection_id, heads in itertools.groupby(self._heads(), key=lambda head: head.collection_id):
            seen.add(collection_id)
            for batch in _batches(heads):
                self._add_batch(batch, digest)
            self._problems.extend(self._counts.compared(collection_id, names[collection_id]))
        for collection_id in sorted(names.keys() - seen):
            self._problems.extend(self._counts.compared(collection_id, names[collection_id]))
        self._problems.extend(orphans(self._snapshot, names))
        self._problems.extend(rows_of_no_document(self._snapshot))
        if self._generation.state == "active":
            self._problems.extend(noted_wrongly(self._snapshot))
        return Verification(
            self._generation,
            digest.hexdigest(),
            len(seen),
            self._documents,
            self._chunks,
            self._counts.words,
            tuple(self._problems),
        )

    def _heads(self) -> Iterator[_Head]:
        return (_Head(*row) for row in self._snapshot.rows(_HEADS, (self._generation.id,)))

    def _add_batch(self, heads: Sequence[_Head], digest: IndexDigest) -> None:
        ids = [head.id for head in heads]
        contents = {number: content for number, *content in self._snapshot.rows(_CONTENTS, (self._generation.id, ids))}
        documents = {
            head.id: DocumentRow(head.id, head.collection, head.collection_id, head.path, *contents[head.id])
            for head in heads
        }
        of_document = itertools.groupby(self._chunks_of(ids), key=lambda chunk: chunk.document_id)
        checked = {number: self._checked(documents[number], chunks) for number, chunks in of_document}
        for head in heads:
            own, problems = checked.get(head.id) or self._checked(documents[head.id], ())
            digest.add(head.collection, head.path, own)
            self._problems.extend(problems)
            self._on_document(head.collection, head.path, own.hex())

    def _chunks_of(self, document_ids: list[UUID]) -> Iterator[ChunkRow]:
        query = sql.SQL(_CHUNKS).format(self._snapshot.partition)
        rows = self._snapshot.rows(query, (self._generation.id, document_ids), page=_PAGE_CHUNKS)
        return (ChunkRow(*row) for row in rows)

    def _checked(self, document: DocumentRow, chunks: Iterable[ChunkRow]) -> tuple[bytes, list[Problem]]:
        """The document's digest, and what is wrong with it."""
        check = DocumentCheck(document, self._generation.manifest)
        digest = DocumentDigest(document, with_vectors=self._with_vectors)
        problems = list(check.begun())
        for chunk in chunks:
            _, term_ids, _ = chunk.weights()
            self._counts.add(term_ids)
            problems.extend(check.chunk(chunk))
            digest.add(chunk)
            self._chunks += 1
            if self._chunks % _PAGE_CHUNKS == 0:
                self._on_chunks(self._chunks, max(self._chunks, self._counts.expected_chunks))
        problems.extend(check.ended())
        self._documents += 1
        return digest.digest(), problems


def _batches(heads: Iterator[_Head]) -> Iterator[list[_Head]]:
    batch: list[_Head] = []
    size_bytes = 0
    for head in heads:
        if batch and (len(batch) >= _BATCH_DOCUMENTS or size_bytes + head.size_bytes > _BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(head)
        size_bytes += head.size_bytes
    if batch:
        yield batch
