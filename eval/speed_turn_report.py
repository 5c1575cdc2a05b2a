"""What the measurement of turns says: a table as it stands in RESULTS.md, and the numbers for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eval.retrieval_metrics import BOOTSTRAP_DRAWS
from eval.speed_turn_chats import STEPS, Asked

_SEED = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """The turns of one chat, in order; for each, ms inside the language model's server, and processor time, ms.

    `processor_ms`: of the process that chats and of the database, related questions included.
    """

    name: str
    turns: tuple[Asked, ...]
    llm_ms: tuple[float, ...]
    processor_ms: tuple[float, ...]

    @property
    def whole_ms(self) -> list[float]:
        return [turn.whole_ms for turn in self.turns]

    def steps_ms(self) -> dict[str, list[float]]:
        """Step → its time in each turn, 0 in those that did not have it."""
        names = dict.fromkeys(step for turn in self.turns for step in turn.steps_ms)
        return {name: [turn.steps_ms.get(name, 0.0) for turn in self.turns] for name in names}


def as_markdown(measured: Sequence[Measured], facts: Mapping[str, Any]) -> str:
    """`measured`: ours first, then the stock chats that it is held against, then others of ours."""
    names = [item.name for item in measured]
    rows = [
        _row("**whole turn**", [f"**{_pair(item.whole_ms)}**" for item in measured]),
        _row("… until the first words", [_pair([turn.first_words_ms for turn in item.turns]) for item in measured]),
        _row("processor time, app and database, mean", [f"{np.mean(item.processor_ms):.0f}" for item in measured]),
        _row("language model's server, all calls", [_pair(item.llm_ms) for item in measured]),
    ]
    steps = [item.steps_ms() for item in measured]
    for step in dict.fromkeys([*STEPS, *(step for found in steps for step in found)]):
        if any(step in found for found in steps):
            rows.append(_row(step, [_pair(found[step]) if step in found else "" for found in steps]))
    ours = measured[0]
    for other in measured[1:]:
        if other.name.startswith("stock"):
            rows.append(_verdict(ours, other, columns=len(measured)))
    return "\n".join(
        [
            f"## Own work of a turn ({str(facts['at'])[:10]})",
            "",
            f"`{facts['command']}` at {facts['commit']}; {facts['machine']}; {facts['embedding']}; {facts['chunks']:,} chunks; "
            f"load average {' to '.join(facts['load_averages'])}. {facts['turns']} turns a chat, by turns, in conversations of "
            f"{facts['conversation']}, the last a follow-up; milliseconds, p50 / p95, warm, one client. The language model "
            "is a server that answers at once, so all but its line is own work.",
            "",
            "| | " + " | ".join(names) + " |",
            "|---" * (len(names) + 1) + "|",
            *rows,
            "",
            str(facts["notes"]),
        ]
    )


def _verdict(ours: Measured, other: Measured, *, columns: int) -> str:
    """Ours as a share of the other's; the goal is to be lower at p50 and at p95."""
    (middle, high), bounds = ratios(ours.whole_ms, other.whole_ms)
    verdict = "met" if max(middle, high) < 1 else "**missed**"
    cell = f"{middle:.2f} [{bounds[0]:.2f}, {bounds[1]:.2f}] / {high:.2f} (goal < 1: {verdict})"
    return _row(f"ours over {other.name}", [cell, *[""] * (columns - 1)])


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """p50 and p95 of ours over theirs, and the 95 % interval of the ratio of the medians (bootstrap over the turns)."""
    mine, other = np.array(ours), np.array(theirs)
    rng = np.random.default_rng(_SEED)
    drawn = [np.median(rng.choice(values, (BOOTSTRAP_DRAWS, len(values))), axis=1) for values in (mine, other)]
    low, high = np.percentile(drawn[0] / drawn[1], [2.5, 97.5])
    middle, slow = np.percentile(mine, [50, 95]) / np.percentile(other, [50, 95])
    return (float(middle), float(slow)), (float(low), float(high))


def _pair(times: Sequence[float]) -> str:
    middle, high = np.percentile(times, [50, 95])
    return f"{_shown(middle)} / {_shown(high)}"


def _shown(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def as_json(measured: Sequence[Measured], facts: Mapping[str, Any]) -> dict[str, Any]:
    return {**facts, "chats": [asdict(item) for item in measured]}
