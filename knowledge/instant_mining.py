"""Rows of a table that answer a question by themselves: a FAQ (question, answer) or a glossary (term, definition).

A table is recognised by the names of its columns, Korean or English, with a language behind them or not (`term_ko`). Each
row becomes one answer a language. Knows nothing about databases or about what is asked.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from knowledge.instant_keys import keys_of_question, keys_of_term
from knowledge.lexemes import language_of
from knowledge.types import Block, Chunk

MAX_ROWS = 50_000  # of one document
MAX_ANSWER_CHARS = 4_000
_MAX_CHUNKS = 4  # that one row is cut into: what is longer is no answer at once
_SAMPLE = 50  # rows by which a table's columns are known

Kind = Literal["faq", "term"]

_ROLES = {
    "question": "question questions 질문 문의 물음 질의 q",
    "answer": "answer answers 답변 답 응답 회신 대답 a",
    "term": "term terms 용어 단어 낱말 표제어 약어 약칭 abbreviation acronym",
    "definition": "definition definitions meaning 뜻 정의 의미 설명 풀이 뜻풀이 해설 description explanation",
    "language": "language lang locale 언어 language_code",
}
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names.split()}
_LANGUAGES = {
    "ko": "ko", "kr": "ko", "kor": "ko", "korean": "ko", "한국어": "ko", "국문": "ko", "한글": "ko",
    "en": "en", "eng": "en", "english": "en", "영어": "en", "영문": "en",
}  # fmt: skip
_LABEL = re.compile(r"([^:\n]{1,40}): ")
_SPLIT_NAME = re.compile(r"[\s_()\[\]/-]+")
_MAX_LABELS = 20


@dataclass(frozen=True, slots=True)
class InstantRow:
    """One answer. `ordinal`: of the row in its document, from 0; `chunks`: ordinals of the chunks that hold the row.

    `keys`: see knowledge/instant_keys.py; `name`: the first of the row's keys, the same in all its languages.
    """

    ordinal: int
    kind: Kind
    language: str
    name: str
    title: str
    answer: str
    keys: tuple[str, ...]
    chunks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Column:
    role: str
    language: str


def mine_rows(text: str, blocks: Sequence[Block], chunks: Sequence[Chunk]) -> list[InstantRow]:
    """The answers of a document, in its order; none where its columns are not those of a FAQ or a glossary."""
    places = [block for block in blocks if block.place.rows is not None]
    if not places:
        return []
    columns = _columns(text, places)
    kind = _kind(columns)
    if kind is None:
        return []
    ordered = sorted(chunks, key=lambda chunk: chunk.start)
    starts = [chunk.start for chunk in ordered]
    rows: list[InstantRow] = []
    for ordinal, block in enumerate(places[:MAX_ROWS]):
        holding = _holding(block, ordered, starts)
        if 0 < len(holding) <= _MAX_CHUNKS:
            fields = _fields(text[block.start : block.end], columns)
            rows += _of_faq(fields, ordinal, holding) if kind == "faq" else _of_term(fields, ordinal, holding)
    return rows


def _columns(text: str, blocks: Sequence[Block]) -> dict[str, _Column]:
    """Label → what it means; other labels that stand before many rows' values have no role."""
    seen: dict[str, int] = {}
    sample = blocks[:_SAMPLE]
    for block in sample:
        for piece in _pieces(text[block.start : block.end]):
            if match := _LABEL.match(piece):
                seen[match[1]] = seen.get(match[1], 0) + 1
    usual = [label for label, times in seen.items() if times * 2 > len(sample) or _column(label).role]
    return {label: _column(label) for label in usual[:_MAX_LABELS]}


def _column(label: str) -> _Column:
    words = [word for word in _SPLIT_NAME.split(label.strip().casefold()) if word]
    languages = [_LANGUAGES[word] for word in words if word in _LANGUAGES]
    others = [word for word in words if word not in _LANGUAGES]
    role = _ROLE_OF.get(others[0], "") if len(others) == 1 else ""
    return _Column(role, languages[0] if languages else "")


def _kind(columns: Mapping[str, _Column]) -> Kind | None:
    roles = {column.role for column in columns.values()}
    if {"question", "answer"} <= roles:
        return "faq"
    return "term" if {"term", "definition"} <= roles else None


def _pieces(row: str) -> Iterator[str]:
    yield from row.replace(" · ", "\n").split("\n")


def _fields(row: str, columns: Mapping[str, _Column]) -> dict[str, str]:
    """Label → value. A line that begins with no column's label belongs to the value before it."""
    separator = "\n" if "\n" in row else " · "
    values: dict[str, str] = {}
    last = ""
    for piece in row.split(separator):
        match = _LABEL.match(piece)
        if match and match[1] in columns and match[1] not in values:
            last = match[1]
            values[last] = piece[match.end() :]
        elif last:
            values[last] += separator + piece
    return {label: value.strip() for label, value in values.items() if value.strip()}


def _of_faq(fields: Mapping[str, str], ordinal: int, chunks: tuple[int, ...]) -> Iterator[InstantRow]:
    columns = {label: _column(label) for label in fields}
    said = next((value for label, value in fields.items() if columns[label].role == "language"), "")
    language = _LANGUAGES.get(said.casefold(), "")
    answers = {columns[label].language: value for label, value in fields.items() if columns[label].role == "answer"}
    name = ""
    rows: dict[str, InstantRow] = {}
    for label, question in fields.items():
        if columns[label].role != "question":
            continue
        answer = answers.get(columns[label].language, answers.get("", ""))
        keys = keys_of_question(question)
        name = name or (keys[0] if keys else "")
        spoken = columns[label].language or language or language_of(question)
        # Of two columns in one language the shorter is rather a subject ("Delivery") than the question.
        is_longer = spoken not in rows or len(question) > len(rows[spoken].title)
        if keys and is_longer and 0 < len(answer) <= MAX_ANSWER_CHARS:
            rows[spoken] = InstantRow(ordinal, "faq", spoken, name, question, answer, keys, chunks)
    yield from rows.values()


def _of_term(fields: Mapping[str, str], ordinal: int, chunks: tuple[int, ...]) -> Iterator[InstantRow]:
    """Each definition under every name of the row: "basis가 뭐예요?" is answered in Korean."""
    columns = {label: _column(label) for label in fields}
    names = {label: value for label, value in fields.items() if columns[label].role == "term"}
    keys = keys_of_term(tuple(names.values()))
    if not keys:
        return
    found: set[str] = set()
    for label, definition in fields.items():
        if columns[label].role != "definition" or len(definition) > MAX_ANSWER_CHARS:
            continue
        language = columns[label].language or language_of(definition)
        if language not in found:
            found.add(language)
            own = [value for other, value in names.items() if columns[other].language == language]
            title = own[0] if own else next(iter(names.values()))
            yield InstantRow(ordinal, "term", language, keys[0], title, definition, keys, chunks)


def _holding(block: Block, chunks: Sequence[Chunk], starts: Sequence[int]) -> tuple[int, ...]:
    """Ordinals of the chunks in which the block stands."""
    at = max(bisect_right(starts, block.start) - 1, 0)
    holding: list[int] = []
    while at < len(chunks) and chunks[at].start < block.end:
        if chunks[at].end > block.start:
            holding.append(chunks[at].ordinal)
        at += 1
    return tuple(holding)
