"""Answers at once: a question that a FAQ or a glossary holds is answered by that row, cited, without search or model.

Exact: signs, spaces, capitals and the way to ask what something is don't count (knowledge/instant_keys.py). Near: the same
question in other particles, politeness or order (pipelines/instant_wording.py). Better no answer at once than the answer
to another question: a condition, a number or a word more is searched for like any question.

Where documents differ, all their answers are shown, each with its footnote: the reader sees whose it is, and none is
chosen for reasons nobody sees. More than three are no answer at once. A FAQ's answer to the very question goes before the
definition of the thing in it. Knows nothing about turns or sessions.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from knowledge.database import Database
from knowledge.filters import Filters
from knowledge.generations import Generation
from knowledge.instant_keys import MAX_KEY_CHARS, fold, keys_asked
from knowledge.instant_rows import MAX_FOUND, InstantRows, StoredRow
from knowledge.lexemes import Analyzer, language_of
from knowledge.sentences import sentence_spans
from knowledge.terms import term_id
from knowledge.types import Evidence, Source
from knowledge.views import Viewed
from pipelines.instant_english import english_wording
from pipelines.instant_korean import korean_wording
from pipelines.instant_wording import Wording

MAX_ANSWERS = 3
_WORDINGS_KEPT = 5_000
_HANGUL = re.compile(r"[가-힣]")
_LAID_OUT = re.compile(r"\n|[`|]")  # its sentences cannot be marked one by one

Match = Literal["exact", "near"]


@dataclass(frozen=True, slots=True)
class Instant:
    """`answer`: Markdown with `[n]`, n being the rank of an `evidence`. `viewed`: the rows, to be counted when shown."""

    answer: str
    evidence: tuple[Evidence, ...]
    match: Match
    language: str
    titles: tuple[str, ...]
    viewed: tuple[Viewed, ...]


class InstantAnswers:
    """Over one generation of the index. Safe to use from several threads."""

    def __init__(self, db: Database, generation: Generation, analyzer: Analyzer) -> None:
        self._rows = InstantRows(db, generation)
        self._analyzer = analyzer
        self._wordings: OrderedDict[str, Wording] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, question: str, filters: Filters | None = None) -> Instant | None:
        """The answer to `question`, which must stand alone: one that leans on the question before is no FAQ's.

        `filters`: only rows within them answer.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        if len(question) > 2 * MAX_KEY_CHARS:
            return None
        keys = keys_asked(question)
        if not keys:
            return None
        language = language_of(question)
        found = self._rows.by_keys(keys, filters)
        if found:
            return _answer(_spoken(found, language, question), "exact")
        return _answer(self._in_other_words(question, language, filters), "near")

    def _in_other_words(self, question: str, language: str, filters: Filters | None) -> list[StoredRow]:
        asked = wording_of(question, self._analyzer)
        if not asked.nouns:
            return []
        rows = self._rows.faq_by_words([term_id(noun) for noun in asked.nouns], filters)
        return [row for row in rows if row.language == language and asked.same_as(self._wording(row.title))]

    def _wording(self, title: str) -> Wording:
        """Of a stored question; they are few, so each is analysed once."""
        with self._lock:
            known = self._wordings.get(title)
            if known is not None:
                self._wordings.move_to_end(title)
                return known
        wording = wording_of(title, self._analyzer)
        with self._lock:
            self._wordings[title] = wording
            while len(self._wordings) > _WORDINGS_KEPT:
                self._wordings.popitem(last=False)
        return wording


def wording_of(question: str, analyzer: Analyzer) -> Wording:
    text = " ".join(unicodedata.normalize("NFKC", question).split())
    return korean_wording(analyzer.morphemes(text)) if _HANGUL.search(text) else english_wording(text)


def _spoken(rows: Sequence[StoredRow], language: str, question: str) -> list[StoredRow]:
    """Those in the question's language, and the FAQ's before the glossary's.

    A bare name ("FOB") is of no language: the definition of it may be in another.
    """
    if len(rows) >= MAX_FOUND:
        return []
    spoken = [row for row in rows if row.language == language]
    if not spoken and any(fold(question) in (fold(row.title), row.name.lstrip("=")) for row in rows):
        spoken = list(rows)
    faq = [row for row in spoken if row.kind == "faq"]
    asked = [row for row in faq if fold(row.title) == fold(question)]
    return asked or faq or spoken


def _answer(rows: Sequence[StoredRow], match: Match) -> Instant | None:
    distinct: dict[str, StoredRow] = {}
    for row in rows:
        key = " ".join(row.answer.split()).casefold()
        first = distinct.get(key)
        distinct[key] = row if first is None else _also_in(first, row)
    if not 0 < len(distinct) <= MAX_ANSWERS:
        return None
    evidence: dict[str, Evidence] = {}
    parts: list[str] = []
    for row in distinct.values():
        for item in row.evidence:
            evidence.setdefault(item.chunk_id, replace(item, rank=len(evidence) + 1))
        marks = "".join(f"[{evidence[item.chunk_id].rank}]" for item in row.evidence)
        text = row.answer if row.kind == "faq" else f"**{row.title}**: {row.answer}"
        parts.append(_marked(text.rstrip(), marks))
    return Instant(
        answer="\n\n".join(parts),
        evidence=tuple(evidence.values()),
        match=match,
        language=rows[0].language,
        titles=tuple(row.title for row in distinct.values()),
        viewed=tuple(dict.fromkeys(Viewed(row.collection_id, row.kind, row.name) for row in rows)),
    )


def _marked(text: str, marks: str) -> str:
    """`text` with its footnotes: behind each sentence, since each is a claim; with code or a table in it, behind the whole."""
    if text.endswith(("```", "|")):  # a mark right behind would belong to it
        return f"{text}\n\n{marks}"
    if _LAID_OUT.search(text):
        return f"{text} {marks}"
    return " ".join(f"{text[start:end]} {marks}" for start, end in sentence_spans(text))


def _also_in(first: StoredRow, same: StoredRow) -> StoredRow:
    item = same.evidence[0]
    if item.chunk_id in {shown.chunk_id for shown in first.evidence}:
        return first
    source = Source(item.chunk_id, item.document_id, item.collection, item.path, item.title, item.place)
    shown = replace(first.evidence[0], also_in=(*first.evidence[0].also_in, source))
    return replace(first, evidence=(shown, *first.evidence[1:]))
