"""The questions that ship as people type them: without spaces, with slips, on the wrong keyboard, in English words.

Each names the question that was meant, and where its answer stands, as eval/gold/README.md says of the gold questions.
Knows nothing about how they are searched for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from knowledge.types import Evidence

QUESTIONS = Path(__file__).parent / "gold" / "badly_typed.jsonl"


@dataclass(frozen=True, slots=True)
class BadlyTyped:
    """`kind`: what is wrong with it, such as "spacing" or "keyboard". `meant`: the same question, well typed."""

    id: str
    kind: str
    question: str
    meant: str
    documents: tuple[str, ...]
    contains: tuple[str, ...]

    def is_answered_by(self, evidence: Evidence) -> bool:
        text = _folded(evidence.text)
        return evidence.path in self.documents and any(_folded(key) in text for key in self.contains)


def load_badly_typed() -> list[BadlyTyped]:
    rows = (json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines())
    return [
        BadlyTyped(**{**row, "documents": tuple(row["documents"]), "contains": tuple(row["contains"])}) for row in rows
    ]


def ranks(
    questions: Sequence[BadlyTyped], search: Callable[[str], Sequence[Evidence]], *, well_typed: bool = False
) -> dict[str, int | None]:
    """Question's id → rank of the first passage that answers it, from 1; None if none was found."""
    found: dict[str, int | None] = {}
    for question in questions:
        evidence = search(question.meant if well_typed else question.question)
        found[question.id] = next((item.rank for item in evidence if question.is_answered_by(item)), None)
    return found


def recall(found: dict[str, int | None], at: int) -> float:
    """The share of questions whose answer is among the first `at`, 0..1."""
    return sum(rank is not None and rank <= at for rank in found.values()) / len(found)


def _folded(text: str) -> str:
    return "".join(text.split()).casefold()
