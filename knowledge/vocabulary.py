"""What an index knows about words: in how many chunks each stands, and which terms its documents give as names of one thing.

Each is one statement over an index, however much is stored. Knows nothing about questions.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import psycopg

from knowledge.database import Database
from knowledge.generations import Generation
from knowledge.pairs import Pair, fold
from knowledge.terms import term_id

_SAMPLE = 50  # rows of one term that are looked at: where more documents name it, these show what it is called
_MIN_SHARE = 0.2  # of them that must agree
_MAX_OTHERS = 3
_MAX_KEY_CHARS = 80
_TOTAL_KEPT_S = 60.0

_COUNTS = """
SELECT term_id, sum(chunks)::bigint FROM term_counts
WHERE generation_id = %(generation)s AND term_id = ANY(%(terms)s)
  AND collection_id = ANY(coalesce(%(collections)s::int[], ARRAY(SELECT id FROM collections)))
GROUP BY term_id HAVING sum(chunks) > 0
"""
_TOTAL = """
SELECT coalesce(sum(chunks), 0)::bigint FROM chunk_counts
WHERE generation_id = %s AND (%s::int[] IS NULL OR collection_id = ANY(%s::int[]))
"""
_PARTNERS = """
SELECT asked.key, found.other FROM unnest(%(keys)s::text[]) AS asked (key) CROSS JOIN LATERAL (
    SELECT p.other FROM term_pairs p WHERE p.generation_id = %(generation)s AND p.key = asked.key
      AND (%(collections)s::int[] IS NULL OR EXISTS (
          SELECT FROM documents d WHERE d.generation_id = p.generation_id AND d.id = p.document_id
          AND d.collection_id = ANY(%(collections)s::int[])))
    LIMIT %(sample)s
) AS found
"""
_INSERT = """
INSERT INTO term_pairs (generation_id, document_id, key, other)
SELECT %s, %s, key, other FROM unnest(%s::text[], %s::text[]) AS pair (key, other)
"""


class Vocabulary:
    """The words of one generation of the index, of all its collections together or of some."""

    def __init__(self, db: Database, generation: Generation) -> None:
        self._db = db
        self._generation_id = generation.id
        self._chunks = 0
        self._chunks_until = 0.0

    @contextmanager
    def lookups(self, collections: Sequence[str] | None = None) -> Iterator[Lookups]:
        """One connection for all that a question asks. `collections`: names of those that are looked at; None is all.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        with self._db.connection() as conn:
            if collections is not None:
                names = list(collections)
                ids = [
                    row[0] for row in conn.execute("SELECT id FROM collections WHERE name = ANY(%s::text[])", (names,))
                ]
                yield Lookups(conn, self._generation_id, self._count(conn, ids), ids)
            else:
                yield Lookups(conn, self._generation_id, self._total(conn))

    def _total(self, conn: psycopg.Connection) -> int:
        """Number of chunks; only its order of magnitude matters, so it is asked for now and then."""
        now = time.monotonic()
        if now >= self._chunks_until:
            self._chunks, self._chunks_until = self._count(conn, None), now + _TOTAL_KEPT_S
        return self._chunks

    def _count(self, conn: psycopg.Connection, collection_ids: list[int] | None) -> int:
        row = conn.execute(_TOTAL, (self._generation_id, collection_ids, collection_ids)).fetchone()
        return int(row[0]) if row else 0


class Lookups:
    """`chunks`: about how many there are. `collection_ids`: of those that are looked at; None is all."""

    def __init__(
        self, conn: psycopg.Connection, generation_id: int, chunks: int, collection_ids: list[int] | None = None
    ) -> None:
        self._conn = conn
        self._generation_id = generation_id
        self._collection_ids = collection_ids
        self.chunks = chunks

    def counts(self, lexemes: Iterable[str]) -> dict[str, int]:
        """Lexeme → in how many chunks it stands, for those that do."""
        ids = {lexeme: term_id(lexeme) for lexeme in lexemes}
        if not ids:
            return {}
        values = {
            "generation": self._generation_id,
            "terms": list(set(ids.values())),
            "collections": self._collection_ids,
        }
        rows: dict[int, int] = dict(self._conn.execute(_COUNTS, values).fetchall())
        return {lexeme: rows[number] for lexeme, number in ids.items() if number in rows}

    def partners(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """Folded term → what else it is called, the usual name first."""
        asked = list(keys)
        if not asked:
            return {}
        values = {
            "keys": asked,
            "generation": self._generation_id,
            "sample": _SAMPLE,
            "collections": self._collection_ids,
        }
        found: defaultdict[str, list[str]] = defaultdict(list)
        for key, other in self._conn.execute(_PARTNERS, values).fetchall():
            found[key].append(other)
        return {key: _usual(others) for key, others in found.items()}


def _usual(others: Sequence[str]) -> list[str]:
    folded = Counter(map(fold, others))
    names = {fold(other): other for other in sorted(others, reverse=True)}
    ranked = sorted(folded, key=lambda name: (-folded[name], name))
    return [names[name] for name in ranked[:_MAX_OTHERS] if folded[name] >= _MIN_SHARE * len(others)]


def write_pairs(conn: psycopg.Connection, generation_id: int, document_id: UUID, pairs: Sequence[Pair]) -> None:
    """Both directions of each pair, in the transaction that stores the document. Nothing is asked where there is none."""
    rows = pair_rows(pairs)
    if rows:
        keys, others = zip(*rows, strict=True)
        conn.execute(_INSERT, (generation_id, document_id, list(keys), list(others)))


def pair_rows(pairs: Iterable[Pair]) -> list[tuple[str, str]]:
    """What is stored of `pairs`: (folded name, other name), each once, in order."""
    rows = [row for left, right in pairs for row in ((fold(left), right), (fold(right), left))]
    return sorted({(key, other) for key, other in rows if 1 < len(key) <= _MAX_KEY_CHARS})
