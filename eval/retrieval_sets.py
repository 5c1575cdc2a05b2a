"""Which sets of questions an evaluation asks: one, all of a folder, or the one that ships. Knows nothing about search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eval.beir import Question, QuestionSet, SetError, is_set, load
from eval.gold import load_questions

GOLD = "gold"


def chosen_sets(dataset: Path | None, folder: Path | None) -> list[QuestionSet]:
    """`dataset` alone; else all of `folder`, small ones first; else the questions that ship.

    Raises:
        SetError: there is none, or one is wrong.
    """
    if dataset:
        return [load(dataset)]
    return list(_all_in(folder)) if folder else [gold_set()]


def _all_in(folder: Path) -> Iterator[QuestionSet]:
    """A set with passages in several languages is followed by its parts in each alone."""
    if not folder.is_dir():
        raise SetError(f"{folder} is not a folder.")
    sets = [load(item) for item in sorted(folder.iterdir()) if item.is_dir() and is_set(item)]
    if not sets:
        raise SetError(f"{folder} holds no folder with a corpus.jsonl and a queries.jsonl.")
    for data in sorted(sets, key=lambda item: sum(len(passage.text) for passage in item.passages)):
        yield data
        if len(data.passage_languages) > 1:
            parts = [data.in_language(language) for language in data.passage_languages]
            yield from (part for part in parts if part.questions)


def gold_set() -> QuestionSet:
    """The questions that ship. Their passages are the documents that ship, which are read from the files."""
    rows = load_questions()
    answerable = [
        Question(row.id, row.question, dict.fromkeys(row.documents, 1), row.language) for row in rows if row.answerable
    ]
    others = [Question(row.id, row.question, {}, row.language) for row in rows if not row.answerable]
    return QuestionSet(GOLD, (), tuple(answerable), tuple(others))
