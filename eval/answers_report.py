"""What the evaluation of answers says: a table with a column for each set and language, and the numbers for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from eval.answers_metrics import Share, share
from eval.answers_run import Row

# What a question adds to the sum above and the sum below; None: it has no say.
Of = Callable[[Row], tuple[float, float] | None]

ENTAILMENT = (
    "Entailment is judged by the app's own claim checker, by its rules (no language model): it stands for what ALCE asks a "
    "trained model, and is fooled by what the checker is fooled by (`python -m eval checker`). A quotation is entailed by "
    "definition: in quote mode these figures show that quoting and footnotes work, no more."
)


def _of_citations(value: Callable[[Row], float]) -> Of:
    return lambda row: (value(row), 1) if row.citations is not None else None


def _of_answered(value: Callable[[Row], tuple[float, float]]) -> Of:
    return lambda row: value(row) if row.is_answered and row.is_answerable else None


def _recall(row: Row) -> float:
    return row.citations.recall if row.citations else 0.0


def _precision(row: Row) -> float:
    return row.citations.precision if row.citations else 0.0


def _refusal_f1(row: Row) -> tuple[float, float]:
    """2 · right / (refused + to be refused), so that the ratio of the sums is the F1 of refusing."""
    return 2.0 * (row.refused and not row.is_answerable), float(row.refused) + (not row.is_answerable)


SHARES: dict[str, Of] = {
    "citation recall (ALCE)": _of_citations(_recall),
    "citation precision (ALCE)": _of_citations(_precision),
    "claims supported": lambda row: (row.supported, row.claims) if row.is_answered else None,
    "cited passages that are gold": _of_answered(lambda row: (row.gold, row.cited)),
    "answers that cite a gold passage": _of_answered(lambda row: (row.gold > 0, 1)),
    "gold passage given to the answerer": lambda row: (row.is_gold_retrieved, 1) if row.is_answerable else None,
    "answerable, answered": lambda row: (row.is_answered, 1) if row.is_answerable else None,
    "unanswerable, refused": lambda row: None if row.is_answerable else (row.refused, 1),
    "refusal accuracy": lambda row: (row.is_answered if row.is_answerable else row.refused, 1),
    "F1 of refusing": _refusal_f1,
    "answer contained": lambda row: None if row.contained is None else (row.contained, 1),
    "… in those that were answered": lambda row: (
        None if row.contained is None or row.refused or row.failed else (row.contained, 1)
    ),
    "F1 with the answer": lambda row: None if row.f1 is None else (row.f1, 1),
}
# Without questions that must be refused these say nothing of their own.
_OF_REFUSING = ("refusal accuracy", "F1 of refusing")
_TIMES = {"search_ms": "found", "first_token_ms": "first words", "check_ms": "checking alone", "total_ms": "whole turn"}


@dataclass(frozen=True, slots=True)
class Group:
    """Questions of one set in one language, or of all sets in it."""

    name: str
    rows: tuple[Row, ...]

    def shares(self) -> dict[str, Share | None]:
        found = {name: share([pair for pair in map(of, self.rows) if pair is not None]) for name, of in SHARES.items()}
        if all(row.is_answerable for row in self.rows):
            found |= dict.fromkeys(_OF_REFUSING)
        return found

    def counts(self) -> dict[str, int]:
        given = [row for row in self.rows if row.is_answered]
        return {
            "answerable": sum(row.is_answerable for row in self.rows),
            "unanswerable": sum(not row.is_answerable for row in self.rows),
            "answers": len(given),
            "claims": sum(row.claims for row in given),
            "uncited claims": sum(row.uncited for row in given),
            "citations": sum(row.citations.citations for row in given if row.citations),
            "irrelevant citations": sum(row.citations.irrelevant for row in given if row.citations),
            "unknown numbers removed": sum(row.unknown_numbers for row in given),
            "failed": sum(bool(row.failed) for row in self.rows),
        }

    def times_ms(self) -> dict[str, tuple[float, float]]:
        """p50 and p95 of each phase, since the question came; the check is its own time."""
        found = {}
        for key in _TIMES:
            taken = [row.timings_ms[key] for row in self.rows if key in row.timings_ms and not row.failed]
            if taken:
                middle, high = np.percentile(taken, [50, 95])
                found[key] = (float(middle), float(high))
        return found


def groups_of(rows: Mapping[str, Sequence[Row]]) -> list[Group]:
    """`rows`: of each set. A group for each set and language, and of each language that several sets have, for all."""
    groups = []
    for name, some in rows.items():
        groups += [
            Group(f"{name}, {language}", tuple(row for row in some if row.language == language))
            for language in sorted({row.language for row in some})
        ]
    for language in sorted({row.language for some in rows.values() for row in some}):
        together = [row for some in rows.values() for row in some if row.language == language]
        if sum(group.name.endswith(f", {language}") for group in groups) > 1:
            groups.append(Group(f"all {language}", tuple(together)))
    return groups


def as_markdown(groups: Sequence[Group], facts: Mapping[str, Any]) -> str:
    """A section as it stands in RESULTS.md."""
    rows = [*_count_rows(groups), *_share_rows(groups), *_time_rows(groups)]
    return "\n".join(
        [
            f"## Answers ({str(facts['at'])[:10]})",
            "",
            f"`{facts['command']}` at {facts['commit']}; {facts['machine']}; load average "
            f"{' to '.join(facts['load_averages'])}. {facts['llm']}; embedding {facts['embedding']}, chunks of "
            f"{facts['chunk_tokens']} tokens, {facts['top_k']} passages a question, VERIFY={facts['verify']}. In brackets "
            "95 % intervals (bootstrap over the questions).",
            "",
            "| | " + " | ".join(group.name for group in groups) + " |",
            "|---" * (len(groups) + 1) + "|",
            *rows,
            "",
            ENTAILMENT
            + " Citations and claims are of the answers that were given, gold passages of those to answerable "
            "questions. An answer that was refused or failed does not contain the answer; where the known answers are whole "
            "paragraphs, containment says little and F1 more.",
        ]
    )


def _count_rows(groups: Sequence[Group]) -> list[str]:
    counts = [group.counts() for group in groups]
    rows = [
        _row("questions: answerable, unanswerable", [f"{c['answerable']:,}, {c['unanswerable']:,}" for c in counts]),
        _row("answers: claims, citations", [f"{c['answers']:,}: {c['claims']:,}, {c['citations']:,}" for c in counts]),
    ]
    for name in ("uncited claims", "irrelevant citations", "unknown numbers removed", "failed"):
        if any(c[name] for c in counts):
            rows.append(_row(name, [f"{c[name]:,}" for c in counts]))
    return rows


def _share_rows(groups: Sequence[Group]) -> list[str]:
    found = [group.shares() for group in groups]
    return [
        _row(name, [_shown(shares[name]) for shares in found])
        for name in SHARES
        if any(shares[name] for shares in found)
    ]


def _time_rows(groups: Sequence[Group]) -> list[str]:
    times = [group.times_ms() for group in groups]
    return [
        _row(f"{name}, p50 / p95, ms", [_times(item.get(key)) for item in times])
        for key, name in _TIMES.items()
        if any(key in item for item in times)
    ]


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _shown(found: Share | None) -> str:
    if found is None:
        return ""
    return f"{found.value:.1%} [{found.low * 100:.1f}, {found.high * 100:.1f}]".replace("%", " %")


def _times(pair: tuple[float, float] | None) -> str:
    return f"{pair[0]:.0f} / {pair[1]:.0f}" if pair else ""


def as_json(groups: Sequence[Group], facts: Mapping[str, Any], rows: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    return {
        **facts,
        "entailment": ENTAILMENT,
        "groups": {
            group.name: {
                "counts": group.counts(),
                "shares": {name: asdict(found) if found else None for name, found in group.shares().items()},
                "ms": group.times_ms(),
            }
            for group in groups
        },
        "questions": {name: [asdict(row) for row in some] for name, some in rows.items()},
    }
