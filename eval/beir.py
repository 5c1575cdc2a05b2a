"""Question sets in BEIR's layout: corpus.jsonl, queries.jsonl, qrels.tsv or qrels/*.tsv; read, checked, and cut by language.

Also puts one into an index whole passage by whole passage, for what is fitted on it. Knows nothing about retrieval.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from knowledge.lexemes import language_of

_BATCH = 32
_SPLITS = ("test", "dev", "validation")  # the first of them that a set has is asked


class SetError(ValueError):
    """A set of questions cannot be used. The message is one sentence that names file and line."""


@dataclass(frozen=True, slots=True)
class Passage:
    id: str
    title: str
    text: str
    language: str = "und"


@dataclass(frozen=True, slots=True)
class Question:
    """`relevant`: id of a passage that answers it → grade, 1 and up. `history`: what was said before, (speaker, text)."""

    id: str
    text: str
    relevant: Mapping[str, int]
    language: str = "und"
    history: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """`questions` have an answer in `passages`; `others` are labelled unanswerable or were not judged.

    `unasked`: ids of questions that are judged and not there.
    """

    name: str
    passages: tuple[Passage, ...]
    questions: tuple[Question, ...]
    others: tuple[Question, ...] = ()
    unasked: tuple[str, ...] = ()

    @property
    def passage_languages(self) -> tuple[str, ...]:
        return tuple(sorted({passage.language for passage in self.passages}))

    @property
    def is_multi_turn(self) -> bool:
        """Whether most of its questions come in the middle of a conversation."""
        return 2 * sum(bool(question.history) for question in self.questions) > len(self.questions)

    def in_language(self, language: str) -> QuestionSet:
        """Questions in `language` over the passages in it alone."""
        passages = tuple(passage for passage in self.passages if passage.language == language)
        here = {passage.id for passage in passages}
        asked = [
            replace(item, relevant={key: grade for key, grade in item.relevant.items() if key in here})
            for item in self.questions
            if item.language == language
        ]
        return QuestionSet(f"{self.name}.{language}", passages, tuple(item for item in asked if item.relevant))


def load(folder: Path) -> QuestionSet:
    """The set in `folder`.

    Raises:
        SetError: it is not such a folder, or something in it is wrong.
    """
    if not folder.is_dir():
        raise SetError(f"{folder} is not a folder.")
    passages = tuple(_passages(folder / "corpus.jsonl"))
    relevant = judgements(folder)
    answerable: list[Question] = []
    others: list[Question] = []
    for question, is_answerable in _questions(folder / "queries.jsonl", relevant):
        (answerable if is_answerable and question.relevant else others).append(question)
    if not answerable:
        raise SetError(
            f"{_qrels_file(folder)} judges none of the questions in {folder / 'queries.jsonl'} as answerable."
        )
    unasked = relevant.keys() - {question.id for question in (*answerable, *others)}
    return QuestionSet(folder.resolve().name, passages, tuple(answerable), tuple(others), tuple(sorted(unasked)))


def unknown_passages(data: QuestionSet) -> list[str]:
    """Ids that are judged relevant and not in the corpus: no search can find them."""
    known = {passage.id for passage in data.passages}
    return sorted({key for question in data.questions for key in question.relevant} - known)


def is_set(folder: Path) -> bool:
    return (folder / "corpus.jsonl").is_file() and (folder / "queries.jsonl").is_file()


def _passages(file: Path) -> Iterator[Passage]:
    for number, row in json_rows(file):
        title, text = row.get("title") or "", row.get("text")
        if not isinstance(text, str) or not isinstance(title, str):
            raise SetError(f'{file}, line {number}: "text" and "title" must be strings.')
        title, text = _storable(title), _storable(text)
        yield Passage(_id(row), title, text, _meta(row).get("lang") or language_of(f"{title}\n{text}"))


def _questions(file: Path, relevant: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[Question, bool]]:
    """With whether the question is labelled as unanswerable, False, or is not, True."""
    for number, row in json_rows(file):
        text, meta = row.get("text"), _meta(row)
        if not isinstance(text, str) or not text.strip():
            raise SetError(f'{file}, line {number}: a question needs a "text".')
        text = _storable(text)
        history = tuple(_said(item, file, number) for item in meta.get("history") or ())
        labels = meta.get("answerability") or ()
        labels = [str(label).upper() for label in ([labels] if isinstance(labels, str) else labels)]
        is_answerable = meta.get("answerable") is not False and "UNANSWERABLE" not in labels
        key = _id(row)
        question = Question(key, text, relevant.get(key, {}), meta.get("lang") or language_of(text), history)
        yield question, is_answerable


def _said(item: Any, file: Path, number: int) -> tuple[str, str]:
    """A turn of the history: [speaker, text], or an object as chat APIs have it."""
    if isinstance(item, dict):
        item = [item.get("role") or item.get("speaker"), item.get("content") or item.get("text")]
    if not isinstance(item, list) or len(item) != 2 or not all(isinstance(part, str) for part in item):
        raise SetError(f'{file}, line {number}: "history" must hold pairs of speaker and text.')
    return item[0], _storable(item[1])


def _storable(text: str) -> str:
    """Half a surrogate pair and NUL can stand in JSON, and in no database."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")


def _id(row: Mapping[str, Any]) -> str:
    return str(row["_id"])


def _meta(row: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = row.get("meta") or row.get("metadata")
    return meta if isinstance(meta, dict) else {}


def json_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number, from 1, and object, each with an "_id" of its own; blank lines are skipped.

    Raises:
        SetError: it is not there, or a line is none.
    """
    lines: dict[str, int] = {}
    for number, line in _lines(file):
        try:
            row = json.loads(line.rstrip())  # else a cut line is said to end on the next one
        except json.JSONDecodeError as exc:
            raise SetError(f"{file}, line {number}: not JSON ({exc.msg}, column {exc.colno}).") from exc
        if not isinstance(row, dict) or not isinstance(row.get("_id"), str | int) or not _id(row):
            raise SetError(f'{file}, line {number}: not an object with an "_id".')
        if _storable(_id(row)) != _id(row):
            raise SetError(f"{file}, line {number}: the id {_id(row)!r} holds what is no character.")
        first = lines.setdefault(_id(row), number)
        if first != number:
            raise SetError(f"{file}, line {number}: the id {_id(row)!r} is already that of line {first}.")
        yield number, row
    if not lines:
        raise SetError(f"{file} is empty.")


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with file.open(encoding="utf-8-sig") as opened:  # ends lines at line feeds alone: texts may hold U+2028
            for number, line in enumerate(opened, start=1):
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        raise SetError(f"There is no {file}: a set has corpus.jsonl, queries.jsonl and qrels.tsv.") from None
    except UnicodeDecodeError as exc:
        raise SetError(f"{file} is not UTF-8.") from exc
    except OSError as exc:
        raise SetError(f"{file} cannot be read: {exc.strerror}.") from exc


def _qrels_file(folder: Path) -> Path:
    """qrels.tsv, else one of the folder qrels: of the test split, or the only one."""
    named = [folder / "qrels.tsv", *(folder / "qrels" / f"{split}.tsv" for split in _SPLITS)]
    others = sorted((folder / "qrels").glob("*.tsv"))
    for file in named:
        if file.is_file():
            return file
    if len(others) > 1:
        names = ", ".join(file.name for file in others)
        raise SetError(f"{folder / 'qrels'} has {names}; which one counts? Name it test.tsv.")
    return others[0] if others else named[0]


def judgements(folder: Path) -> dict[str, dict[str, int]]:
    """Question id → passage id → grade, of those above 0. Of several judgements of one pair the last one counts.

    Raises:
        SetError: there are none, or a line is no judgement.
    """
    file = _qrels_file(folder)
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    judged = 0
    for place, (number, line) in enumerate(_lines(file)):
        try:
            question, passage, grade = _judgement(line)
        except ValueError:
            if place == 0:
                continue  # the names of the columns
            raise SetError(f"{file}, line {number}: not a question id, a passage id and a whole number.") from None
        judged += 1
        grades[question][passage] = grade
    above = {key: {passage: grade for passage, grade in row.items() if grade > 0} for key, row in grades.items()}
    relevant = {key: row for key, row in above.items() if row}
    if not relevant:
        raise SetError(f"{file} has no relevant passage for any question ({judged} lines).")
    return relevant


def _judgement(line: str) -> tuple[str, str, int]:
    """Question, passage and grade. Four fields are TREC's, with an iteration that means nothing.

    Raises:
        ValueError: it is none.
    """
    line = line.rstrip()
    question, *iteration, passage, grade = line.split("\t") if "\t" in line else line.split()
    value = float(grade)
    if len(iteration) > 1 or not value.is_integer():
        raise ValueError(line)
    return question, passage, int(value)
