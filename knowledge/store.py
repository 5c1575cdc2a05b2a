"""Documents and chunks in PostgreSQL. One transaction replaces one document; the old version answers until it commits.

Identity: a document is collection + path, a chunk is its document's content + ordinal; both ids are derived from that,
so the same content gets the same ids whenever and wherever it is stored.
Knows nothing about files, embedding models or ranking (see knowledge/search.py).
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from pgvector import HalfVector, SparseVector
from psycopg.types.json import Jsonb

from knowledge.database import Database
from knowledge.types import Chunk, Document

_NAMESPACE = uuid.UUID("6b1d6c53-3f0c-5d0a-9a35-5b2a0f6f7d11")
TERM_SPACE = 1_000_000_000  # dimensions of term_weights: pgvector's largest
BM25_K1 = 1.2
BM25_B = 0.75
# A fixed mean length keeps weights independent of what else is stored and in which order it came. Chunks are of
# bounded size, so the true mean is near; 30 % off costs .001 to .002 nDCG@10 (KorQuAD, AutoRAG).
REFERENCE_LEXEMES = 200


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    """A chunk with its two search keys. `embedding`: float32 (dimension,), L2-normalised. `lexemes`: word → count."""

    chunk: Chunk
    embedding: np.ndarray
    lexemes: Mapping[str, int]
    language: str


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """What is stored of a document, to tell whether the file changed."""

    origin: str
    content_hash: str
    chunking: str


@dataclass(frozen=True, slots=True)
class IndexCounts:
    documents: int
    chunks: int


class IndexStore:
    """Writes and reads documents. Safe for several writers at once, in one or many processes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def versions(self, collection: str) -> dict[str, StoredVersion]:
        """path → what is stored of it, for a whole collection."""
        with self._db.connection() as conn:
            rows = conn.execute(
                "SELECT d.path, d.origin, d.content_hash, d.chunking FROM documents d "
                "JOIN collections c ON c.id = d.collection_id WHERE c.name = %s",
                (collection,),
            ).fetchall()
        return {path: StoredVersion(*rest) for path, *rest in rows}

    def counts(self, collection: str | None = None) -> IndexCounts:
        """How much is stored, in one collection or in all."""
        with self._db.connection() as conn:
            row = conn.execute(
                "SELECT (SELECT count(*) FROM documents d JOIN collections c ON c.id = d.collection_id "
                "        WHERE %(name)s::text IS NULL OR c.name = %(name)s), "
                "       (SELECT coalesce(sum(chunks), 0)::bigint FROM collections "
                "        WHERE %(name)s::text IS NULL OR name = %(name)s)",
                {"name": collection},
            ).fetchone()
        assert row is not None
        return IndexCounts(*row)

    def replace(self, document: Document, chunks: Sequence[EmbeddedChunk], *, chunking: str) -> bool:
        """Store `document` in place of what its path held. False: the same content was already there.

        Raises:
            DatabaseUnavailable: nothing was changed.
        """
        term_ids = self._term_ids({term for item in chunks for term in item.lexemes})
        document_id = make_document_id(document.collection, document.path)
        with self._db.connection() as conn:
            collection_id = _collection_id(conn, document.collection)
            _lock(conn, document_id)
            stored = conn.execute(
                "SELECT content_hash, chunking FROM documents WHERE id = %s", (document_id,)
            ).fetchone()
            if stored == (document.content_hash, chunking):
                return False  # another ingest was quicker
            deltas, removed = _remove(conn, document_id)
            _insert_document(conn, document_id, collection_id, document, chunking)
            _copy_chunks(conn, document, document_id, collection_id, chunks, term_ids)
            for item in chunks:
                deltas.update(term_ids[term] for term in item.lexemes)
            _apply_counts(conn, collection_id, deltas, len(chunks) - removed)
        return True

    def remove(self, collection: str, path: str) -> bool:
        """Delete a document with its chunks. False: there was none."""
        document_id = make_document_id(collection, path)
        with self._db.connection() as conn:
            collection_id = _collection_id(conn, collection)
            _lock(conn, document_id)
            if conn.execute("SELECT 1 FROM documents WHERE id = %s", (document_id,)).fetchone() is None:
                return False
            deltas, removed = _remove(conn, document_id)
            _apply_counts(conn, collection_id, deltas, -removed)
        return True

    def remove_by_id(self, document_id: str) -> bool:
        """As `remove`, by the document's id."""
        with self._db.connection() as conn:
            row = conn.execute(
                "SELECT c.name, d.path FROM documents d JOIN collections c ON c.id = d.collection_id "
                "WHERE d.id::text = %s",
                (document_id,),
            ).fetchone()
        return self.remove(*row) if row else False

    def shared_secret(self, key: str, candidate: str) -> str:
        """The value that all processes share under `key`: `candidate` if there was none yet."""
        with self._db.connection() as conn:
            conn.execute("INSERT INTO app_state VALUES (%s, %s) ON CONFLICT DO NOTHING", (key, candidate))
            row = conn.execute("SELECT value FROM app_state WHERE key = %s", (key,)).fetchone()
        assert row is not None
        return str(row[0])

    def _term_ids(self, terms: Iterable[str]) -> dict[str, int]:
        """Ids of all `terms`, new ones included. A transaction of its own: an unused term does no harm, and writers
        don't wait for one another's documents."""
        wanted = sorted(terms)
        with self._db.connection() as conn:
            ids = dict(conn.execute("SELECT term, id FROM terms WHERE term = ANY(%s)", (wanted,)).fetchall())
            missing = [term for term in wanted if term not in ids]
            if missing:
                # Sorted, so that two writers never wait for each other in a circle.
                conn.execute("INSERT INTO terms (term) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", (missing,))
                ids.update(conn.execute("SELECT term, id FROM terms WHERE term = ANY(%s)", (missing,)).fetchall())
        return ids


def make_document_id(collection: str, path: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, f"{collection}\0{path}")


def make_chunk_id(document_id: uuid.UUID, content_hash: str, ordinal: int) -> uuid.UUID:
    return uuid.uuid5(document_id, f"{content_hash}\0{ordinal}")


def term_weights(lexemes: Mapping[str, int], term_ids: Mapping[str, int]) -> SparseVector:
    """BM25's term-frequency part of each lexeme of a chunk, at its term id."""
    length = sum(lexemes.values())
    norm = BM25_K1 * (1 - BM25_B + BM25_B * length / REFERENCE_LEXEMES)
    return SparseVector(
        {term_ids[term]: count * (BM25_K1 + 1) / (count + norm) for term, count in lexemes.items()}, TERM_SPACE
    )


def _collection_id(conn: psycopg.Connection, name: str) -> int:
    conn.execute("INSERT INTO collections (name) VALUES (%s) ON CONFLICT DO NOTHING", (name,))
    row = conn.execute("SELECT id FROM collections WHERE name = %s", (name,)).fetchone()
    assert row is not None
    return int(row[0])


def _lock(conn: psycopg.Connection, document_id: uuid.UUID) -> None:
    """Serialise writers of one document until the end of the transaction."""
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (document_id.int % 2**63,))


def _remove(conn: psycopg.Connection, document_id: uuid.UUID) -> tuple[Counter[int], int]:
    """Delete a document; returns what its going does to the term counts, and how many chunks it had."""
    deltas: Counter[int] = Counter()
    rows = conn.execute("SELECT term_ids FROM chunks WHERE document_id = %s", (document_id,)).fetchall()
    for (ids,) in rows:
        deltas.subtract(ids)
    conn.execute("DELETE FROM documents WHERE id = %s", (document_id,))
    return deltas, len(rows)


def _insert_document(
    conn: psycopg.Connection, document_id: uuid.UUID, collection_id: int, document: Document, chunking: str
) -> None:
    conn.execute(
        "INSERT INTO documents "
        "(id, collection_id, path, origin, content_hash, chunking, size_bytes, title, language, text) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            document_id,
            collection_id,
            document.path,
            document.origin,
            document.content_hash,
            chunking,
            document.size_bytes,
            document.title,
            document.language,
            document.text,
        ),
    )


_CHUNK_COLUMNS = {
    "id": "uuid",
    "document_id": "uuid",
    "collection_id": "int4",
    "ordinal": "int4",
    "start_char": "int4",
    "end_char": "int4",
    "text": "text",
    "heading": "text[]",
    "place": "jsonb",
    "language": "text",
    "embedding": "halfvec",
    "term_ids": "int4[]",
    "term_weights": "sparsevec",
}


def _copy_chunks(
    conn: psycopg.Connection,
    document: Document,
    document_id: uuid.UUID,
    collection_id: int,
    chunks: Sequence[EmbeddedChunk],
    term_ids: Mapping[str, int],
) -> None:
    command = f"COPY chunks ({', '.join(_CHUNK_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
    with conn.cursor() as cur, cur.copy(command.encode()) as copy:
        copy.set_types(list(_CHUNK_COLUMNS.values()))
        for item in chunks:
            chunk = item.chunk
            copy.write_row(
                (
                    make_chunk_id(document_id, document.content_hash, chunk.ordinal),
                    document_id,
                    collection_id,
                    chunk.ordinal,
                    chunk.start,
                    chunk.end,
                    chunk.text,
                    list(chunk.heading),
                    Jsonb(chunk.place.to_dict()),
                    item.language,
                    HalfVector(item.embedding),
                    sorted(term_ids[term] for term in item.lexemes),
                    term_weights(item.lexemes, term_ids),
                )
            )


def _apply_counts(conn: psycopg.Connection, collection_id: int, deltas: Counter[int], chunks: int) -> None:
    changed = sorted((term_id, delta) for term_id, delta in deltas.items() if delta)
    # In the order of term ids, so that two writers never wait for each other in a circle; the collection comes last
    # because every writer needs it.
    conn.execute(
        "INSERT INTO term_counts (collection_id, term_id, chunks) "
        "SELECT %s, term_id, delta FROM unnest(%s::int[], %s::bigint[]) AS t (term_id, delta) ORDER BY term_id "
        "ON CONFLICT (collection_id, term_id) DO UPDATE SET chunks = term_counts.chunks + excluded.chunks",
        (collection_id, [term_id for term_id, _ in changed], [delta for _, delta in changed]),
    )
    conn.execute("UPDATE collections SET chunks = chunks + %s WHERE id = %s", (chunks, collection_id))
