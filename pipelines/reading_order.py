"""Chosen sentences in the order that reads well, and lists of steps made whole. Knows nothing about scoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.quotable import Quotable

_MAX_STEPS = 10


@dataclass(frozen=True, slots=True)
class Quoted:
    """A chosen sentence from `evidence[n - 1].text[start:end]`; `score` is S, 0..4.2, only comparable in one question."""

    text: str
    n: int
    start: int
    end: int
    score: float
    kind: str = "sentence"
    order: int = 0


def reading_order(kept: Sequence[tuple[Quotable, float]]) -> list[Quoted]:
    """Passages in the order of `kept` (best first), the sentences of one passage as they stand there."""
    rank: dict[int, int] = {}
    for item, _ in kept:
        rank.setdefault(item.n, len(rank))
    ordered = sorted(kept, key=lambda pair: (rank[pair[0].n], pair[0].order))
    return [_quoted(item, score) for item, score in ordered]


def with_whole_list(chosen: Sequence[Quoted], candidates: Sequence[Quotable]) -> list[Quoted]:
    """Steps are told whole: where two items of a short list are chosen, the rest of that list comes with them."""
    for n in dict.fromkeys(item.n for item in chosen):
        listed = [item.order for item in chosen if item.n == n and item.kind in ("item", "more")]
        passage = [item for item in candidates if item.n == n]
        run = _run(passage, listed[0]) if len(listed) > 1 else []
        if not set(listed) <= {item.order for item in run} or not 0 < len(run) <= _MAX_STEPS:
            continue
        whole = {item.order: _quoted(item, 0.0) for item in run}
        whole |= {item.order: item for item in chosen if item.n == n}
        at = next(i for i, item in enumerate(chosen) if item.n == n)
        others = [item for item in chosen if item.n != n]
        return [*others[:at], *(whole[order] for order in sorted(whole)), *others[at:]]
    return list(chosen)


def _run(passage: Sequence[Quotable], order: int) -> list[Quotable]:
    """The list around the item at `order`: neighbouring items without prose between them."""
    runs: list[list[Quotable]] = [[]]
    for item in passage:
        if item.kind in ("item", "more"):
            runs[-1].append(item)
        elif runs[-1]:
            runs.append([])
    return next((run for run in runs if any(item.order == order for item in run)), [])


def _quoted(item: Quotable, score: float) -> Quoted:
    return Quoted(item.text, item.n, item.start, item.end, score, item.kind, item.order)
