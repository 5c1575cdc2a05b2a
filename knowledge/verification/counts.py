"""Whether the counts that are kept of a collection are those of its chunks: BM25's rarity of words rests on them.

Memory grows with the different words of one collection, not with its chunks.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from psycopg import sql

from knowledge.verification.documents import Problem
from knowledge.verification.snapshot import PAGE_ROWS, Snapshot

# Counts are what was added up, and the changes that have yet to be.
_CHUNKS = """
SELECT collection_id, sum(chunks)::bigint FROM (
    SELECT collection_id, chunks FROM chunk_counts WHERE generation_id = %s
    UNION ALL SELECT collection_id, chunks FROM count_changes WHERE generation_id = %s
) AS counts GROUP BY 1
"""
_WORDS = """
SELECT term_id, chunks FROM term_counts WHERE generation_id = %s AND collection_id = %s
UNION ALL
SELECT change.term_id, change.delta FROM count_changes, unnest(term_ids, deltas) AS change (term_id, delta)
WHERE generation_id = %s AND collection_id = %s
"""


_TOGETHER = 250_000  # numbers that are put aside before they are summed up
_ORPHANS = """
SELECT k.collection_id, count(*) FROM {} k
LEFT JOIN documents d ON d.generation_id = %s AND d.id = k.document_id WHERE d.id IS NULL GROUP BY 1 ORDER BY 1
"""


class Counts:
    """Counts chunks and words of one collection after the other. Rows of zero are allowed: nothing is left of them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._id = snapshot.generation.id
        self._kept: dict[int, int] = dict(snapshot.rows(_CHUNKS, (self._id, self._id)))  # type: ignore[arg-type]
        self._chunks = 0
        self._in_chunks = _Tally()
        self.words = 0  # different words, summed over the collections that were compared

    @property
    def expected_chunks(self) -> int:
        return sum(self._kept.values())

    def add(self, term_ids: np.ndarray) -> None:
        """One more chunk, with these words."""
        self._chunks += 1
        self._in_chunks.add(term_ids, np.ones(len(term_ids), np.int64))

    def compared(self, collection_id: int, name: str) -> Iterator[Problem]:
        """What is wrong with the counts of a collection whose chunks were all added. Begins anew for the next one."""
        kept = self._kept.get(collection_id, 0)
        if kept != self._chunks:
            yield Problem("chunk_counts", name, "", f"{kept} chunks are counted, {self._chunks} are there")
        self.words += self._in_chunks.not_zero()
        rows = self._snapshot.rows(_WORDS, (self._id, collection_id, self._id, collection_id))
        while page := list(itertools.islice(rows, PAGE_ROWS)):
            term_ids, counts = np.array(page, dtype=np.int64).T
            self._in_chunks.add(term_ids, -counts)
        if wrong := self._in_chunks.not_zero():
            what = f"the counts of chunks are wrong for {wrong} of its words"
            yield Problem("term_counts", name, "", what)
        self._chunks = 0
        self._in_chunks = _Tally()


class _Tally:
    """Sums by id, in 16 bytes an id."""

    def __init__(self) -> None:
        self._ids = np.empty(0, np.int64)
        self._sums = np.empty(0, np.int64)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._waiting_ids = 0

    def add(self, ids: np.ndarray, numbers: np.ndarray) -> None:
        self._waiting.append((ids, numbers))
        self._waiting_ids += len(ids)
        if self._waiting_ids > max(_TOGETHER, len(self._ids)):
            self._sum_up()

    def not_zero(self) -> int:
        self._sum_up()
        return len(self._ids)

    def _sum_up(self) -> None:
        ids, places = np.unique(np.concatenate([self._ids, *(ids for ids, _ in self._waiting)]), return_inverse=True)
        numbers = np.concatenate([self._sums, *(numbers for _, numbers in self._waiting)])
        sums = np.bincount(places, weights=numbers, minlength=len(ids)).astype(np.int64)  # exact below 2⁵³
        self._ids, self._sums = ids[sums != 0], sums[sums != 0]
        self._waiting, self._waiting_ids = [], 0


def orphans(snapshot: Snapshot, names: dict[int, str]) -> Iterator[Problem]:
    """Chunks of no document. No foreign key keeps them away: checking it took a third of the time to store a chunk."""
    for collection_id, chunks in snapshot.rows(sql.SQL(_ORPHANS).format(snapshot.partition), (snapshot.generation.id,)):
        name = names.get(collection_id, f"collection {collection_id}")
        yield Problem("orphans", name, "", f"{chunks} of its chunks belong to no document")
