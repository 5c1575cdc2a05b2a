"""Why a search found what it found, as values that a page and a command line show. Knows nothing about how it was done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class TermWeight:
    """A lexeme of the question. `chunks` hold it; `weight`: what its best match adds to BM25, at most 2.2 times.

    `finds`: whether the chunks that hold it became candidates; the others only score.
    """

    lexeme: str
    chunks: int
    idf: float
    weight: float
    finds: bool


@dataclass(frozen=True, slots=True)
class PoolUse:
    """A language pool. `quota`: candidates that each leg could take from it; the others: what it brought.

    `background`: the question's mean cosine with its chunks.
    """

    name: str
    share: float
    quota: int
    by_meaning: int
    by_words: int
    background: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """Ranks count from 1 among what that leg found, None: the other leg found it. Scores `…_scaled` are 0..1.

    fate: "shown", "below" (not among the best), "capped" (its document had its share), "folded" (the same text as a
    better one) or "reranked down" (not among the best to the reranker). bridged: what it took over from the best one,
    which says the same in another language. phrases: share of the question's neighbouring words that are neighbours here.
    """

    chunk_id: str
    document_id: str
    pool: str
    meaning_rank: int | None
    words_rank: int | None
    meaning: float | None
    words: float | None
    meaning_scaled: float
    words_scaled: float
    likeness: float
    bridged: float
    fused: float
    fate: str = "below"
    path: str = ""
    heading: tuple[str, ...] = ()
    text: str = ""
    phrases: float = 0.0

    def with_source(self, *, path: str, heading: Sequence[str], text: str, fate: str) -> Candidate:
        return replace(self, path=path, heading=tuple(heading), text=text, fate=fate)


@dataclass(frozen=True, slots=True)
class Explanation:
    """One search. `candidates` in the order of their fused scores. `ran`: sentences on what was done, and what was cut.

    `timings_ms`: by step, in order.
    """

    terms: tuple[TermWeight, ...] = ()
    ceiling: float = 0.0
    pools: tuple[PoolUse, ...] = ()
    formula: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    candidates: tuple[Candidate, ...] = ()
    ran: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class StepTimes:
    """Milliseconds of each step."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0.0) + (time.perf_counter() - began) * 1000
