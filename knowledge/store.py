"""Documents and chunks in PostgreSQL. One transaction replaces one document; the old version answers until it commits.

Identity: a document is collection + path, a chunk is its document's content, the way it was cut, and ordinal; both ids
are derived from that, so the same content gets the same ids whenever and wherever it is stored.
Knows nothing about reading files, embedding models or ranking (see knowledge/search.py).
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from knowledge.copy_rows import COLUMNS, HEADER, TRAILER, Integers, RowEncoder
from knowledge.database import Database
from knowledge.generations import KEEP, Generation, assert_written, writing
from knowledge.instant_mining import mine_rows
from knowledge.instant_rows import write_rows
from knowledge.pairs import mine_pairs
from knowledge.terms import TermVector
from knowledge.types import Block, Chunk, Document, Place
from knowledge.vocabulary import write_pairs

_NAMESPACE = uuid.UUID("6b1d6c53-3f0c-5d0a-9a35-5b2a0f6f7d11")
# Changes of counts that wait to be added up. Searches don't see them until then: words' weights lag behind a little
# while many documents are stored.
_CHANGES_TOGETHER = 2_000_000
_SETTLE_LOCK = 0x67616B6A76  # and the generation's number: a rebuild holds up writers of one, and settles the other
_ROWS_TOGETHER = 64
_UUID_MASK = ~(0xF << 76 | 0x3 << 62)  # all but version and variant
_UUID_VERSION_5 = 5 << 76 | 0x2 << 62


@dataclass(frozen=True, slots=True)
class EmbeddedChunk:
    """A chunk with its two search keys. `embedding`: float (dimension,), L2-normalised.

    `sentences`: the words of its sentences, packed (knowledge/quote_words.py); without them quote mode finds them anew.
    """

    chunk: Chunk
    embedding: np.ndarray
    terms: TermVector
    language: str
    sentences: bytes | None = None


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """What is stored of a document, to tell whether the file changed. `reading`: version of the readers."""

    origin: str
    content_hash: str
    reading: str


@dataclass(frozen=True, slots=True)
class IndexCounts:
    documents: int
    chunks: int


@dataclass(frozen=True, slots=True)
class Missing:
    """A document that another generation lacks. `chunks`: how many it has in the one that has it."""

    collection: str
    path: str
    chunks: int


class IndexStore:
    """Writes and reads documents of one generation. Safe for several writers at once, in one or many processes."""

    def __init__(self, db: Database, generation: Generation) -> None:
        self.db = db
        self.generation = generation
        self._unsettled = 0

    def versions(self, collection: str) -> dict[str, StoredVersion]:
        """path → what is stored of it, for a whole collection."""
        with self.db.connection() as conn:
            rows = conn.execute(
                "SELECT d.path, d.origin, d.content_hash, d.reading FROM documents d "
                "JOIN collections c ON c.id = d.collection_id WHERE c.name = %s AND d.generation_id = %s",
                (collection, self.generation.id),
            ).fetchall()
        return {path: StoredVersion(*rest) for path, *rest in rows}

    def version(self, collection: str, path: str) -> StoredVersion | None:
        """What is stored of one document just now."""
        with self.db.connection() as conn:
            row = conn.execute(
                "SELECT origin, content_hash, reading FROM documents WHERE generation_id = %s AND id = %s",
                (self.generation.id, make_document_id(collection, path)),
            ).fetchone()
        return StoredVersion(*row) if row else None

    def counts(self, collection: str | None = None) -> IndexCounts:
        """How much is stored, in one collection or in all."""
        with self.db.connection() as conn:
            row = conn.execute(
                "SELECT (SELECT count(*) FROM documents d JOIN collections c ON c.id = d.collection_id "
                "        WHERE d.generation_id = %(generation)s AND (%(name)s::text IS NULL OR c.name = %(name)s)), "
                "       (SELECT coalesce(sum(k.chunks), 0)::bigint FROM (SELECT * FROM chunk_counts UNION ALL "
                "        SELECT generation_id, collection_id, chunks FROM count_changes) k "
                "        JOIN collections c ON c.id = k.collection_id "
                "        WHERE k.generation_id = %(generation)s AND (%(name)s::text IS NULL OR c.name = %(name)s))",
                {"name": collection, "generation": self.generation.id},
            ).fetchone()
        assert row is not None
        return IndexCounts(*row)

    def replace(
        self,
        document: Document,
        chunks: Sequence[EmbeddedChunk],
        *,
        reading: str,
        instead_of: str | None = None,
        also: Callable[[psycopg.Connection], None] = lambda _: None,
        settle: bool = True,
    ) -> bool:
        """Store `document` in place of what its path held. False: the same content was already there.

        `instead_of`: a path whose document goes in the same transaction (the file was renamed). `also`: what else the
        transaction does, such as noting that the file is stored. `settle=False`: many documents are stored one after
        another, and `settle` is called after the last: until then a crash of the whole server may take the latest back,
        each whole and with what `also` noted of it.

        Raises:
            DatabaseUnavailable: nothing was changed.
            IndexMismatch: the index was switched to another generation; nothing was changed.
        """
        document_id = make_document_id(document.collection, document.path)
        pairs = mine_pairs(document.text, document.blocks)
        rows = mine_rows(document.text, document.blocks, [item.chunk for item in chunks])
        gone = make_document_id(document.collection, instead_of) if instead_of else None
        replaced = sorted({document_id} | ({gone} if gone else set()))
        with self.db.connection() as conn:
            _, state, found, _, stored = self._begin(conn, document, replaced, settle=settle)
            assert_written(state, self.generation)
            also(conn)
            if stored == (document.content_hash, reading) and gone is None:
                return False  # another ingest was quicker
            collection_id = int(found[0]) if found else collection_id_of(conn, document.collection)
            changes = _Changes([item.terms.ids for item in chunks], self._remove(conn, *replaced))
            self._insert_document(conn, document_id, collection_id, document, reading, changes)
            self._copy_chunks(conn, document, document_id, collection_id, chunks)
            write_pairs(conn, self.generation.id, document_id, pairs)
            term_ids = {item.chunk.ordinal: item.terms.ids for item in chunks} if rows else {}
            write_rows(conn, self.generation.id, document_id, collection_id, rows, term_ids=term_ids)
        if settle or self._unsettled > _CHANGES_TOGETHER:
            self.settle()
        return True

    def settle(self) -> None:
        """Add up the changes of counts, so that searches weigh words by all that is stored."""
        self._unsettled = 0
        with self.db.connection() as conn:
            conn.execute("SELECT pg_advisory_xact_lock(%s)", (_SETTLE_LOCK + self.generation.id,))
            conn.execute(_SETTLE, {"generation": self.generation.id})

    def remove(
        self,
        collection: str,
        path: str,
        *,
        also: Callable[[psycopg.Connection], None] = lambda _: None,
        settle: bool = True,
    ) -> bool:
        """Delete a document with its chunks. False: there was none. `also`, `settle`: as in `replace`."""
        document_id = make_document_id(collection, path)
        with self.db.connection() as conn:
            writing(conn, self.generation)
            collection_id = collection_id_of(conn, collection)
            lock_document(conn, document_id)
            also(conn)
            found = conn.execute(
                "SELECT 1 FROM documents WHERE generation_id = %s AND id = %s", (self.generation.id, document_id)
            ).fetchone()
            changes = _Changes([], self._remove(conn, document_id))  # also chunks whose document somebody deleted
            conn.execute(_NOTE_CHANGES, self._noted(collection_id, changes))
        if settle:
            self.settle()
        return found is not None

    def set_origin(self, collection: str, path: str, origin: str) -> None:
        """Note where the file of an unchanged document lies now."""
        with self.db.connection() as conn:
            writing(conn, self.generation)
            conn.execute(
                "UPDATE documents SET origin = %s WHERE generation_id = %s AND id = %s",
                (origin, self.generation.id, make_document_id(collection, path)),
            )

    def remove_by_id(self, document_id: str) -> bool:
        """As `remove`, by the document's id."""
        with self.db.connection() as conn:
            row = conn.execute(
                "SELECT c.name, d.path FROM documents d JOIN collections c ON c.id = d.collection_id "
                "WHERE d.generation_id = %s AND d.id::text = %s",
                (self.generation.id, document_id),
            ).fetchone()
        if row is None:
            return False
        collection, path = row

        def forget(conn: psycopg.Connection) -> None:
            # Of an archive's member also the archive, else it would stay out until that changes.
            conn.execute(
                "DELETE FROM files a USING files f WHERE f.collection_id = %(c)s AND f.path = %(path)s "
                "AND a.collection_id = f.collection_id AND (a.path = f.path OR (f.origin LIKE '%%!/%%' "
                "AND starts_with(f.path, a.path || '/') AND starts_with(f.origin, a.origin || '!/')))",
                {"c": collection_id_of(conn, collection), "path": path},
            )

        return self.remove(collection, path, also=forget)

    def document(self, collection: str, path: str) -> tuple[Document, str] | None:
        """A document as it is stored, and the version of the readers that made it."""
        with self.db.connection() as conn:
            row = conn.execute(
                "SELECT origin, content_hash, size_bytes, title, text, language, blocks, reading FROM documents "
                "WHERE generation_id = %s AND id = %s",
                (self.generation.id, make_document_id(collection, path)),
            ).fetchone()
        if row is None:
            return None
        origin, content_hash, size_bytes, title, text, language, blocks, reading = row
        document = Document(
            collection, path, origin, content_hash, size_bytes, title, text, language, _blocks(blocks, text)
        )
        return document, reading

    def missing_from(self, other: IndexStore) -> list[Missing]:
        """The documents here that `other` lacks or has in another version, in stable order."""
        with self.db.connection() as conn:
            rows = conn.execute(
                "SELECT c.name, a.path, (SELECT count(*) FROM chunks k WHERE k.generation_id = %(here)s "
                "AND k.document_id = a.id) FROM documents a JOIN collections c ON c.id = a.collection_id "
                "LEFT JOIN documents b ON b.generation_id = %(other)s AND b.id = a.id WHERE a.generation_id = %(here)s "
                "AND (a.content_hash, a.reading) IS DISTINCT FROM (b.content_hash, b.reading) ORDER BY 1, 2",
                {"here": self.generation.id, "other": other.generation.id},
            ).fetchall()
        return [Missing(*row) for row in rows]

    def absent_from(self, other: IndexStore) -> list[tuple[str, str]]:
        """(collection, path) of the documents here that `other` does not have at all, in stable order."""
        with self.db.connection() as conn:
            return conn.execute(
                "SELECT c.name, a.path FROM documents a JOIN collections c ON c.id = a.collection_id "
                "LEFT JOIN documents b ON b.generation_id = %s AND b.id = a.id "
                "WHERE a.generation_id = %s AND b.id IS NULL ORDER BY 1, 2",
                (other.generation.id, self.generation.id),
            ).fetchall()

    def sample(self, size: int) -> list[Document]:
        """At most `size` documents, taken at random; fewer if there are no more, or if one is taken twice."""
        taken: dict[tuple[str, str], Document] = {}
        for _ in range(size):
            with self.db.connection() as conn:
                row = conn.execute(
                    "SELECT c.name, d.path FROM documents d JOIN collections c ON c.id = d.collection_id "
                    "WHERE d.generation_id = %s ORDER BY d.id < %s, d.id LIMIT 1",
                    (self.generation.id, uuid.uuid4()),
                ).fetchone()
            stored = self.document(*row) if row and row not in taken else None
            if row and stored:
                taken[row] = stored[0]
        return list(taken.values())

    def chunk_id(self, document: Document, ordinal: int) -> str:
        """The id that a chunk of `document` has here."""
        version = f"{document.content_hash}\0{self.generation.manifest.chunking}"
        return str(make_chunk_id(make_document_id(document.collection, document.path), version, ordinal))

    def shared_secret(self, key: str, candidate: str) -> str:
        """The value that all processes share under `key`: `candidate` if there was none yet."""
        with self.db.connection() as conn:
            conn.execute("INSERT INTO app_state VALUES (%s, %s) ON CONFLICT DO NOTHING", (key, candidate))
            row = conn.execute("SELECT value FROM app_state WHERE key = %s", (key,)).fetchone()
        assert row is not None
        return str(row[0])

    def _begin(
        self, conn: psycopg.Connection, document: Document, replaced: Sequence[uuid.UUID], *, settle: bool
    ) -> list[Any]:
        """The first row of each statement of _BEGIN, or None. In one go: asked one by one, they took longer than 20 chunks."""
        cursor = psycopg.ClientCursor(conn)
        cursor.execute(
            _BEGIN,
            {
                "settle": settle,
                "generation": self.generation.id,
                "collection": document.collection,
                "locks": sorted(map(_lock_key, replaced)),
                "id": make_document_id(document.collection, document.path),
            },
        )
        return [cursor.fetchone() for _ in cursor.results()]

    def _remove(self, conn: psycopg.Connection, *document_ids: uuid.UUID) -> list[np.ndarray]:
        """Delete documents; gives the term ids of their chunks, an array each."""
        cursor = psycopg.ClientCursor(conn)
        cursor.execute(_REMOVE, {"generation": self.generation.id, "ids": list(document_ids)})
        return [np.array(ids, np.int32) for (ids,) in cursor]

    def _insert_document(
        self,
        conn: psycopg.Connection,
        document_id: uuid.UUID,
        collection_id: int,
        document: Document,
        reading: str,
        changes: _Changes,
    ) -> None:
        conn.execute(
            _INSERT_DOCUMENT,
            {
                **self._noted(collection_id, changes),
                "id": document_id,
                "path": document.path,
                "origin": document.origin,
                "content_hash": document.content_hash,
                "reading": reading,
                "size_bytes": document.size_bytes,
                "title": document.title,
                "language": document.language,
                "text": document.text,
                "blocks": Jsonb([_block_row(block) for block in document.blocks]),
            },
        )

    def _copy_chunks(
        self,
        conn: psycopg.Connection,
        document: Document,
        document_id: uuid.UUID,
        collection_id: int,
        chunks: Sequence[EmbeddedChunk],
    ) -> None:
        version = f"{document.content_hash}\0{self.generation.manifest.chunking}"
        rows = RowEncoder(self.generation.id, document_id, collection_id).rows(
            make_chunk_ids(document_id, version, [item.chunk.ordinal for item in chunks]),
            [item.chunk for item in chunks],
            languages=[item.language for item in chunks],
            embeddings=[item.embedding for item in chunks],
            terms=[item.terms for item in chunks],
            sentences=[item.sentences for item in chunks],
        )
        # Straight into the partition, which saves the routing of each row.
        command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
            sql.Identifier(f"chunks_{self.generation.id}"), sql.SQL(COLUMNS)
        )
        with conn.cursor() as cur, cur.copy(command) as copy:
            copy.write(HEADER)
            while block := b"".join(islice(rows, _ROWS_TOGETHER)):
                copy.write(block)
            copy.write(TRAILER)

    def _noted(self, collection_id: int, changes: _Changes) -> dict[str, Any]:
        """Parameters of _NOTE_CHANGES."""
        term_ids, deltas = changes.summed()
        self._unsettled += len(term_ids)
        return {
            "generation": self.generation.id,
            "collection_id": collection_id,
            "chunks": len(changes.new) - len(changes.gone),
            "term_ids": Integers(term_ids),
            "deltas": Integers(deltas),
        }


@dataclass(frozen=True, slots=True)
class _Changes:
    """Term ids of the chunks that a transaction adds and takes away, an array a chunk."""

    new: Sequence[np.ndarray]
    gone: Sequence[np.ndarray]

    def summed(self) -> tuple[np.ndarray, np.ndarray]:
        """Terms whose count changes, and by how much; both (terms,)."""
        if not self.new and not self.gone:
            return np.empty(0, np.int32), np.empty(0, np.int32)
        if not self.gone:
            terms, counts = np.unique(np.concatenate(self.new), return_counts=True)
            return terms, counts.astype(np.int32)
        ids = np.concatenate([*self.new, *self.gone])
        signs = np.ones(len(ids), np.int32)
        signs[sum(map(len, self.new)) :] = -1
        terms, places = np.unique(ids, return_inverse=True)
        deltas = np.bincount(places, weights=signs, minlength=len(terms)).astype(np.int32)
        changed = deltas != 0
        return terms[changed], deltas[changed]


_COLLECTION = "SELECT id FROM collections WHERE name = %(collection)s"
# `settle` waits for the disk once for all documents that were stored without it.
_BEGIN = ";".join(
    (
        "SELECT set_config('synchronous_commit', "
        "CASE WHEN %(settle)s THEN current_setting('synchronous_commit') ELSE 'off' END, true)",
        KEEP,
        _COLLECTION,
        "SELECT pg_advisory_xact_lock(key) FROM unnest(%(locks)s::bigint[]) AS key",
        "SELECT content_hash, reading FROM documents WHERE generation_id = %(generation)s AND id = %(id)s",
    )
)
_REMOVE = """
DELETE FROM chunks WHERE generation_id = %(generation)s AND document_id = ANY(%(ids)s::uuid[]) RETURNING term_ids;
DELETE FROM term_pairs WHERE generation_id = %(generation)s AND document_id = ANY(%(ids)s::uuid[]);
DELETE FROM instant_answers WHERE generation_id = %(generation)s AND document_id = ANY(%(ids)s::uuid[]);
DELETE FROM documents WHERE generation_id = %(generation)s AND id = ANY(%(ids)s::uuid[])
"""
_NOTE_CHANGES = """
INSERT INTO count_changes (generation_id, collection_id, chunks, term_ids, deltas)
VALUES (%(generation)s, %(collection_id)s, %(chunks)s, %(term_ids)s, %(deltas)s)
"""
_INSERT_DOCUMENT = """
WITH noted AS (
    INSERT INTO count_changes (generation_id, collection_id, chunks, term_ids, deltas)
    VALUES (%(generation)s, %(collection_id)s, %(chunks)s, %(term_ids)s, %(deltas)s)
)
INSERT INTO documents (generation_id, id, collection_id, path, origin, content_hash, reading, size_bytes, title, language,
                       text, blocks)
VALUES (%(generation)s, %(id)s, %(collection_id)s, %(path)s, %(origin)s, %(content_hash)s, %(reading)s, %(size_bytes)s,
        %(title)s, %(language)s, %(text)s, %(blocks)s)
"""

# In the order of term ids, so that two of these never wait for each other in a circle.
_SETTLE = """
WITH taken AS (
    DELETE FROM count_changes WHERE generation_id = %(generation)s RETURNING collection_id, chunks, term_ids, deltas
), counted AS (
    INSERT INTO chunk_counts (generation_id, collection_id, chunks)
    SELECT %(generation)s, collection_id, sum(chunks) FROM taken GROUP BY collection_id
    ON CONFLICT (generation_id, collection_id) DO UPDATE SET chunks = chunk_counts.chunks + excluded.chunks
)
INSERT INTO term_counts (generation_id, collection_id, term_id, chunks)
SELECT %(generation)s, collection_id, term_id, sum(delta)
FROM taken, unnest(term_ids, deltas) AS change (term_id, delta) GROUP BY 2, 3 ORDER BY 2, 3
ON CONFLICT (generation_id, collection_id, term_id) DO UPDATE SET chunks = term_counts.chunks + excluded.chunks
"""


def make_document_id(collection: str, path: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, f"{collection}\0{path}")


def make_chunk_id(document_id: uuid.UUID, version: str, ordinal: int) -> uuid.UUID:
    """`version`: hash of the content, and how it was cut."""
    return uuid.uuid5(document_id, f"{version}\0{ordinal}")


def make_chunk_ids(document_id: uuid.UUID, version: str, ordinals: Sequence[int]) -> list[bytes]:
    """As `make_chunk_id`, many of one document: RFC 9562's version 5 in a quarter of uuid5's time."""
    begun = hashlib.sha1(document_id.bytes + f"{version}\0".encode(), usedforsecurity=False)
    ids = []
    for ordinal in ordinals:
        digest = begun.copy()
        digest.update(b"%d" % ordinal)
        number = int.from_bytes(digest.digest()[:16], "big")
        ids.append((number & _UUID_MASK | _UUID_VERSION_5).to_bytes(16, "big"))
    return ids


def collection_id_of(conn: psycopg.Connection, name: str) -> int:
    """Number of the collection, made if need be."""
    row = conn.execute(_COLLECTION, {"collection": name}).fetchone()
    if row is None:
        conn.execute("INSERT INTO collections (name) VALUES (%s) ON CONFLICT DO NOTHING", (name,))
        row = conn.execute(_COLLECTION, {"collection": name}).fetchone()
    assert row is not None
    return int(row[0])


def lock_document(conn: psycopg.Connection, document_id: uuid.UUID) -> None:
    """Serialise writers of one document until the end of the transaction."""
    conn.execute("SELECT pg_advisory_xact_lock(%s)", (_lock_key(document_id),))


def _lock_key(document_id: uuid.UUID) -> int:
    return document_id.int % 2**63


def _block_row(block: Block) -> list[object]:
    return [block.start, block.end, list(block.heading), block.place.to_dict(), block.kind]


def _blocks(rows: list[Any] | None, text: str) -> tuple[Block, ...]:
    """A document stored before blocks were kept is one paragraph a run of lines."""
    if rows is None:
        return tuple(Block(match.start(), match.end()) for match in _PARAGRAPH.finditer(text))
    return tuple(Block(start, end, tuple(head), Place.from_dict(place), kind) for start, end, head, place, kind in rows)


_PARAGRAPH = re.compile(r"\S(?:.|\n(?![^\S\n]*\n))*", re.MULTILINE)
