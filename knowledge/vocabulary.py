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
WHERE generation_id = %s AND collection_id = ANY(ARRAY(SELECT id FROM collections)) AND term_id = ANY(%s)
GROUP BY term_id HAVING sum(chunks) > 0
"""
_TOTAL = "SELECT coalesce(sum(chunks), 0)::bigint FROM chunk_counts WHERE generation_id = %s"
_PARTNERS = """
SELECT asked.key, found.other FROM unnest(%(keys)s::text[]) AS asked (key) CROSS JOIN LATERAL (
    SELECT other FROM term_pairs WHERE generation_id = %(generation)s AND key = asked.key LIMIT %(sample)s
) AS found
"""
_INSERT = """
INSERT INTO term_pairs (generation_id, document_id, key, other)
SELECT %s, %s, key, other FROM unnest(%s::text[], %s::text[]) AS pair (key, other)
"""


class Vocabulary:
    """The words of one generation of the index, of all collections together."""

    def __init__(self, db: Database, generation: Generation) -> None:
        self._db = db
        self._generation_id = generation.id
        self._chunks = 0
        self._chunks_until = 0.0

    @contextmanager
    def lookups(self) -> Iterator[Lookups]:
        """One connection for all that a question asks.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        with self._db.connection() as conn:
            yield Lookups(conn, self._generation_id, self._total(conn))

    def _total(self, conn: psycopg.Connection) -> int:
        """Number of chunks; only its order of magnitude matters, so it is asked for now and then."""
        now = time.monotonic()
        if now >= self._chunks_until:
            row = conn.execute(_TOTAL, (self._generation_id,)).fetchone()
            self._chunks, self._chunks_until = int(row[0]) if row else 0, now + _TOTAL_KEPT_S
        return self._chunks


class Lookups:
    """`chunks`: about how many the index has."""

    def __init__(self, conn: psycopg.Connection, generation_id: int, chunks: int) -> None:
        self._conn = conn
        self._generation_id = generation_id
        self.chunks = chunks

    def counts(self, lexemes: Iterable[str]) -> dict[str, int]:
        """Lexeme → in how many chunks it stands, for those that do."""
        ids = {lexeme: term_id(lexeme) for lexeme in lexemes}
        if not ids:
            return {}
        values = (self._generation_id, list(set(ids.values())))
        rows: dict[int, int] = dict(self._conn.execute(_COUNTS, values).fetchall())
        return {lexeme: rows[number] for lexeme, number in ids.items() if number in rows}

    def partners(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """Folded term → what else it is called, the usual name first."""
        asked = list(keys)
        if not asked:
            return {}
        values = {"keys": asked, "generation": self._generation_id, "sample": _SAMPLE}
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
