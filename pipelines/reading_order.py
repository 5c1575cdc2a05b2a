"""Chosen sentences in the order that reads well, and lists of steps made whole. Knows nothing about scoring."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.quotable import Quotable

_MAX_STEPS = 10
_ANNOUNCES = re.compile(r":$|다음|아래|\bfollowing\b|\bbelow\b|\bsteps\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Quoted:
    """A chosen sentence from `evidence[n - 1].text[start:end]`; `score`: log odds, comparable in one question alone."""

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
    """Steps are told whole: with two items of a short list, or the sentence that announces it, the list comes along."""
    for n in dict.fromkeys(item.n for item in chosen):
        mine = [item for item in chosen if item.n == n]
        run = next((run for run in _lists(candidates, n) if _tells(mine, run)), None)
        if run is None:
            continue
        whole = {item.order: _quoted(item, 0.0) for item in run}
        whole |= {item.order: item for item in mine}
        at = next(i for i, item in enumerate(chosen) if item.n == n)
        others = [item for item in chosen if item.n != n]
        return [*others[:at], *(whole[order] for order in sorted(whole)), *others[at:]]
    return list(chosen)


def _tells(chosen: Sequence[Quoted], run: Sequence[Quotable]) -> bool:
    """Whether the choice from a passage is about the list `run`."""
    orders = {item.order for item in run}
    listed = sum(item.order in orders for item in chosen)
    announced = any(item.order + 1 == run[0].order and _ANNOUNCES.search(item.text) for item in chosen)
    return len(run) <= _MAX_STEPS and (listed > 1 or announced)


def _lists(candidates: Sequence[Quotable], n: int) -> list[list[Quotable]]:
    """The lists of passage `n`: neighbouring items without prose between them."""
    lists: list[list[Quotable]] = []
    previous = ""
    for item in candidates:
        if item.n == n and item.kind in ("item", "more"):
            if previous not in ("item", "more"):
                lists.append([])
            lists[-1].append(item)
        previous = item.kind if item.n == n else ""
    return lists


def _quoted(item: Quotable, score: float) -> Quoted:
    return Quoted(item.text, item.n, item.start, item.end, score, item.kind, item.order)
