"""Questions whose right behaviour is known: those that ship, or sets in BEIR's layout that know answers.

A set knows answers by meta.answers (or meta.answer), and questions that nothing in it answers by meta.answerable false
or a file unanswerable.jsonl beside the others. Knows nothing about how questions are asked.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from eval.beir import Question, QuestionSet, SetError, is_set, load
from eval.gold import load_questions
from eval.quotes_answers import holds_answer
from eval.retrieval_sets import gold_set
from knowledge.lexemes import language_of
from knowledge.types import Evidence

_UNANSWERABLE = "unanswerable.jsonl"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Case:
    """A question and what is known of it. `answers`: alternatives; () where the set tells none.

    `relevant`: paths of the documents that answer it. `must_hold`: a passage of them is right only if it holds one of
    these; (): each of them is, since the documents are passages themselves.
    """

    id: str
    text: str
    language: str
    is_answerable: bool
    answers: tuple[str, ...] = ()
    relevant: frozenset[str] = frozenset()
    must_hold: tuple[str, ...] = ()

    def is_right(self, evidence: Evidence) -> bool:
        """Whether it is a gold passage of this question."""
        paths = {evidence.path, *(source.path for source in evidence.also_in)}
        return bool(paths & self.relevant) and (not self.must_hold or holds_answer(evidence.text, self.must_hold))


@dataclass(frozen=True, slots=True)
class AnswerSet:
    """`data`: what its index is made of. `left_out`: questions without a known answer, or inside a conversation."""

    data: QuestionSet
    cases: tuple[Case, ...]
    left_out: int = 0

    @property
    def name(self) -> str:
        return self.data.name


def chosen_answer_sets(folder: Path | None, names: Sequence[str], limit: int) -> list[AnswerSet]:
    """The questions that ship; else the set `folder`, or those in it (of `names`, if any are given).

    `limit`: of each set's answerable and of its unanswerable questions, evenly spread.

    Raises:
        SetError: there is none, one is wrong or, if it was named, knows no answers.
    """
    if folder is None:
        return [_gold(limit)]
    if is_set(folder) and not names:
        return [load_answer_set(folder, limit)]
    if not folder.is_dir():
        raise SetError(f"{folder} is not a folder.")
    if names:
        return [load_answer_set(folder / name, limit) for name in dict.fromkeys(names)]
    found = [load(item) for item in sorted(folder.iterdir()) if item.is_dir() and is_set(item)]
    sets = [_answer_set(folder / data.name, data, limit) for data in found]
    usable = [item for item in sets if item.cases]
    silent = [item.name for item in sets if not item.cases]
    if usable and silent:
        print(f"eval: left out, since nothing is known of their answers: {', '.join(silent)}.", file=sys.stderr)
    if not usable:
        raise SetError(f"{folder} holds no set whose questions know their answers (meta.answers in queries.jsonl).")
    return usable


def load_answer_set(folder: Path, limit: int) -> AnswerSet:
    """Raises:
    SetError: it is no set, or knows neither answers nor unanswerable questions.
    """
    found = _answer_set(folder, load(folder), limit)
    if not found.cases:
        raise SetError(
            f"{folder / 'queries.jsonl'} has no question with meta.answers and none with meta.answerable false."
        )
    return found


def _answer_set(folder: Path, data: QuestionSet, limit: int) -> AnswerSet:
    """Without cases where the set says nothing about answers."""
    meta = {str(row["_id"]): row.get("meta") or row.get("metadata") or {} for row in _rows(folder / "queries.jsonl")}
    answers = {key: found for key, row in meta.items() if (found := _answers(row))}
    alone = [item for item in data.questions if not item.history]
    none = [item for item in data.others if meta[item.id].get("answerable") is False and not item.history]
    none += [
        Question(str(row["_id"]), str(row["text"]), {}, language_of(str(row["text"])))
        for row in (_rows(folder / _UNANSWERABLE) if (folder / _UNANSWERABLE).is_file() else ())
    ]
    told = [item for item in alone if item.id in answers] if answers else alone
    if not answers and not none:
        return AnswerSet(data, ())
    cases = [_case(item, answers=answers.get(item.id, ()), is_answerable=True) for item in _spread(told, limit)]
    cases += [_case(item, answers=(), is_answerable=False) for item in _spread(none, limit)]
    return AnswerSet(data, tuple(cases), len(data.questions) + len(data.others) - len(told) - _labelled(none, meta))


def _labelled(none: Sequence[Question], meta: Mapping[str, Any]) -> int:
    return sum(item.id in meta for item in none)


def _case(question: Question, *, answers: tuple[str, ...], is_answerable: bool) -> Case:
    relevant = frozenset(question.relevant) if is_answerable else frozenset()
    return Case(question.id, question.text, question.language, is_answerable, answers, relevant)


def _answers(meta: Mapping[str, Any]) -> tuple[str, ...]:
    if meta.get("answerable") is False:
        return ()
    told = meta.get("answers") or meta.get("answer") or ()
    return tuple(text for text in map(str, [told] if isinstance(told, str) else told) if text.strip())


def _rows(file: Path) -> Iterator[Mapping[str, Any]]:
    with file.open(encoding="utf-8-sig") as opened:
        for number, line in enumerate(opened, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                _ = row["_id"], row["text"]
            except (ValueError, KeyError, TypeError):
                raise SetError(f'{file}, line {number}: not an object with an "_id" and a "text".') from None
            yield row


def _gold(limit: int) -> AnswerSet:
    rows = load_questions()
    asked = [*_spread([row for row in rows if row.answerable], limit)]
    asked += _spread([row for row in rows if not row.answerable], limit)
    cases = [
        Case(
            row.id,
            row.question,
            row.language,
            row.answerable,
            answers=row.contains,
            relevant=frozenset(row.documents),
            must_hold=row.contains,
        )
        for row in asked
    ]
    return AnswerSet(gold_set(), tuple(cases))


def _spread(items: Sequence[T], limit: int) -> list[T]:
    return list(items[:: max(1, math.ceil(len(items) / limit))])
