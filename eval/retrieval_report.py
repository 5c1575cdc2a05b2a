"""What an evaluation says: tables for people, and the numbers behind them for programs.

Knows nothing about how rankings were made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from eval.beir import QuestionSet, SetError
from eval.retrieval_metrics import MEASURES, Difference, Estimate, compare, estimate, per_question
from eval.retrieval_runs import plain_id

_AGAINST = ("nDCG@10", "Recall@5", "MRR@10")  # shown of a comparison; the JSON file has all
_FOLLOW_UPS = "follow-ups"


@dataclass(frozen=True, slots=True)
class Group:
    """Questions of a set and what came out for them. `against`: the same less what another run found."""

    questions: int
    estimates: Mapping[str, Estimate]
    against: Mapping[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SetReport:
    """One set asked one way. `groups`: "all", the questions' languages where there are several, and follow-ups.

    `counts_in_macro`: one language, and questions that stand alone.
    """

    name: str
    leg: str
    query_field: str
    passages: int
    chunks: int
    left_out: int
    counts_in_macro: bool
    groups: Mapping[str, Group]
    timings_ms: tuple[float, ...]

    @property
    def latency_ms(self) -> dict[str, float]:
        if not self.timings_ms:
            return {}
        p50, p95 = np.percentile(self.timings_ms, [50, 95])
        return {"p50": float(p50), "p95": float(p95), "timed": len(self.timings_ms)}

    def to_dict(self) -> dict[str, Any]:
        shown = asdict(self)
        del shown["timings_ms"]
        return shown | {"latency_ms": self.latency_ms}


def report(
    data: QuestionSet,
    ranked: Mapping[str, Sequence[str]],
    *,
    leg: str,
    query_field: str,
    passages: int,
    chunks: int,
    timings_ms: Sequence[float],
    against: Mapping[str, Sequence[str]] | None = None,
) -> SetReport:
    """`ranked`, `against`: question id → passages, best first. Both may hold other questions, too.

    Raises:
        SetError: `against` lacks all questions of the set.
    """
    relevant = {
        plain_id(item.id): {plain_id(key): grade for key, grade in item.relevant.items()} for item in data.questions
    }
    mine = per_question(relevant, ranked)
    theirs = None
    if against is not None:
        if not against.keys() & relevant.keys():
            raise SetError(f"The run to compare with answers none of the questions of {data.name}.")
        theirs = per_question(relevant, against)
    groups = {}
    for name, members in _groups(data):
        here = {measure: values[members] for measure, values in mine.items()}
        other = {measure: values[members] for measure, values in theirs.items()} if theirs else None
        groups[name] = Group(int(members.sum()), estimate(here), compare(here, other) if other else {})
    return SetReport(
        name=data.name,
        leg=leg,
        query_field=query_field,
        passages=passages,
        chunks=chunks,
        left_out=len(data.others),
        counts_in_macro=len(data.passage_languages) <= 1 and not data.is_multi_turn,
        groups=groups,
        timings_ms=tuple(timings_ms),
    )


def _groups(data: QuestionSet) -> Iterator[tuple[str, np.ndarray]]:
    """Name, and which of the questions belong to it."""
    languages = np.array([question.language for question in data.questions])
    follow_ups = np.array([bool(question.history) for question in data.questions])
    yield "all", np.ones(len(languages), bool)
    if len(set(languages)) > 1:
        for language in sorted(set(languages.tolist())):
            yield language, languages == language
    if 0 < follow_ups.sum() < len(follow_ups):
        yield _FOLLOW_UPS, follow_ups


def as_heading(facts: Mapping[str, Any], reports: Sequence[SetReport]) -> str:
    """What was measured where: `facts` are at, commit, machine, load_averages, embedding, chunk_tokens and database."""
    sizes = {item.name: f"{item.name} {item.passages:,} ({item.chunks:,})" for item in reports}
    left_out = {item.name: item.left_out for item in reports if item.left_out}
    lines = [
        f"{facts['at']}, {facts['commit']}; {facts['machine']}; load average {' to '.join(facts['load_averages'])}.",
        f"Embedding {facts['embedding']}, chunks of {facts['chunk_tokens']} tokens, {facts['database']} database.",
        f"Documents (chunks): {', '.join(sizes.values())}.",
    ]
    if left_out:
        named = ", ".join(f"{name} {count:,}" for name, count in left_out.items())
        lines.append(f"Not measured, since nothing answers them: {named}.")
    return "\n".join(lines)


def as_table(reports: Sequence[SetReport]) -> str:
    """Markdown: a line a group; a macro line for each leg where several sets count."""
    rows = [
        "| set | leg | asked | questions | " + " | ".join(MEASURES) + " | p50 | p95 |",
        "|---|---|---|--:|" + "--:|" * (len(MEASURES) + 2),
    ]
    for item in reports:
        latency = item.latency_ms
        for name, group in item.groups.items():
            cells = [_with_interval(group.estimates["nDCG@10"])]
            cells += [_short(group.estimates[measure].mean) for measure in MEASURES if measure != "nDCG@10"]
            times = [f"{latency[key]:.0f} ms" for key in ("p50", "p95")] if name == "all" and latency else ["", ""]
            label = item.name if name == "all" else f"… {name}"
            rows.append(
                f"| {' | '.join([label, item.leg, item.query_field, f'{group.questions:,}', *cells, *times])} |"
            )
    for leg, (count, means) in macro(reports).items():
        cells = [_short(means[measure]) for measure in MEASURES]
        rows.append(f"| **macro of {count}** | {leg} | | | {' | '.join(cells)} | | |")
    return "\n".join(rows)


def one_line(item: SetReport) -> str:
    """For who waits for the other sets."""
    group = item.groups["all"]
    found = ", ".join(f"{name} {_short(group.estimates[name].mean)}" for name in ("nDCG@10", "Recall@5"))
    return f"{item.name}, {item.leg}: {group.questions:,} questions, {found}"


def macro(reports: Sequence[SetReport]) -> dict[str, tuple[int, dict[str, float]]]:
    """Leg → how many sets and the mean over them of each measure; for legs with two sets that count, at least."""
    found = {}
    for leg in dict.fromkeys(item.leg for item in reports):
        counted = [item.groups["all"].estimates for item in reports if item.leg == leg and item.counts_in_macro]
        if len(counted) > 1:
            means = {name: sum(row[name].mean for row in counted) / len(counted) for name in MEASURES}
            found[leg] = (len(counted), means)
    return found


def as_comparison(reports: Sequence[SetReport]) -> str:
    """Markdown: this run less the other one, measure by measure; empty where nothing was compared."""
    rows = []
    for item in reports:
        for name, group in item.groups.items():
            cells = [
                f"{found.difference.mean:+.4f} [{found.difference.low:+.4f}, {found.difference.high:+.4f}] p={found.p:.4f}"
                for found in (group.against[measure] for measure in _AGAINST if group.against)
            ]
            if cells:
                rows.append(f"| {item.name if name == 'all' else f'… {name}'} | {item.leg} | {' | '.join(cells)} |")
    if not rows:
        return ""
    return "\n".join(["| less the other run | leg | " + " | ".join(_AGAINST) + " |", "|---|---|--:|--:|--:|", *rows])


def _with_interval(value: Estimate) -> str:
    return f"{_short(value.mean)} [{_short(value.low)}, {_short(value.high)}]"


def _short(value: float) -> str:
    """Three digits, as papers have them: .953"""
    return f"{value:.3f}".removeprefix("0")
