"""What a chunk is like on average, for each language pool of an index: measured on a sample, kept until the index changes.

A question's cosine with the mean vector of a pool is its mean cosine with the pool's chunks. Pools are Korean and all
else: a search takes candidates from each, since an embedder prefers the question's language and words hardly match
across. Knows nothing about questions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from pgvector import HalfVector
from psycopg import sql

KOREAN, OTHER = "ko", "other"
SAMPLE_CHUNKS = 2_000
# A pool with few chunks in the sample has no mean of its own worth the name (of one chunk, it is the chunk): this many
# chunks of the largest pool are counted in.
_PRIOR_CHUNKS = 30
_CHANGED_SHARE = 0.1
_OLD_S = 60.0
FEWEST_CANDIDATES = 20


@dataclass(frozen=True, slots=True)
class Pool:
    """`name`: KOREAN or OTHER. `share` of the chunks. `mean`: float32 (dimension,), not normalised."""

    name: str
    share: float
    mean: np.ndarray

    @property
    def is_korean(self) -> bool:
        return self.name == KOREAN

    def quota(self, candidates: int) -> int:
        """How many chunks of it a leg may bring: all that are asked for from a quarter of the chunks on."""
        return max(min(FEWEST_CANDIDATES, candidates), min(candidates, round(4 * self.share * candidates)))


@dataclass(frozen=True, slots=True)
class Background:
    """`pools`: at least one. `chunks`: that the index had; `sampled`: that were looked at."""

    pools: tuple[Pool, ...]
    chunks: int
    sampled: int
    measured_at: float

    def is_fresh(self, chunks: int) -> bool:
        """Whether it will do for an index that now has so many chunks."""
        changed = abs(chunks - self.chunks)
        if not changed:
            return True
        return changed <= _CHANGED_SHARE * self.chunks and time.monotonic() - self.measured_at < _OLD_S

    def means(self, pools: Sequence[Pool], vector: np.ndarray) -> np.ndarray:
        """Mean cosine of `vector` with the chunks of each pool: (pools,)."""
        return np.array([float(vector @ pool.mean) for pool in pools])


def measure(conn: psycopg.Connection, generation_id: int, chunks: int, *, dimension: int) -> Background:
    """`chunks`: about how many there are. Reads at most twice the sample."""
    percent = min(100.0, 100.0 * SAMPLE_CHUNKS / max(chunks, 1))
    statement = sql.SQL(
        "SELECT is_korean, count(*), avg(embedding) FROM (SELECT language = 'ko' AS is_korean, embedding "
        "FROM chunks TABLESAMPLE SYSTEM ({percent}) WHERE generation_id = {generation} LIMIT {most}) AS sampled "
        "GROUP BY is_korean"
    ).format(percent=sql.Literal(percent), generation=sql.Literal(generation_id), most=sql.Literal(2 * SAMPLE_CHUNKS))
    found = {bool(korean): (int(count), _array(mean)) for korean, count, mean in conn.execute(statement)}
    sampled = sum(count for count, _ in found.values())
    if not found:
        nothing = Pool(OTHER, 1.0, np.zeros(dimension, np.float32))
        return Background((nothing,), chunks, 0, time.monotonic())
    _, prior = max(found.values(), key=lambda item: item[0])
    pools = tuple(
        Pool(
            KOREAN if korean else OTHER,
            count / sampled,
            (count * mean + _PRIOR_CHUNKS * prior) / (count + _PRIOR_CHUNKS),
        )
        for korean, (count, mean) in sorted(found.items(), reverse=True)
    )
    return Background(pools, chunks, sampled, time.monotonic())


def _array(mean: HalfVector) -> np.ndarray:
    return mean.to_numpy().astype(np.float32)
