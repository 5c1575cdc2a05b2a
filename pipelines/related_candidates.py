"""Questions that may follow an answer, without a model: rows of a FAQ near it, terms in what was cited, sections around.

Whether the documents answer them is for pipelines/related.py to check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Literal

from knowledge.filters import Filters
from knowledge.instant_keys import names_of
from knowledge.instant_rows import StoredRow
from knowledge.lexemes import Analyzer, language_of
from knowledge.related_rows import RelatedRows, Section
from knowledge.types import Evidence
from pipelines.citations import without_markers
from pipelines.events import Turn
from pipelines.related_wording import is_showable, question_about, question_of_term

_MAX_TEXT_CHARS = 6_000
_MAX_TERMS_CHARS = 2_500  # of answer and cited passages: each term of a glossary is looked for in them
_BEST = 3  # passages that stand for the answer where nothing is cited
# Of the words of a FAQ's question or a heading elsewhere, the share that question, answer or cited passages have, too: with
# fewer, it is of something else. Where nothing was cited, there is only the question to be near to.
_LEAST_SHARED, _LEAST_SHARED_UNCITED = 0.5, 0.3
_MANY_SHARED = 2  # words with the question itself: near, whatever else it asks
_LEAST_DEFINED = 0.2  # of the words of a definition: "on the basis of" is not the basis of a price
_ASKING = frozenset(
    "알리 주 대하 무엇 어떻 어떻게 어떠 되 하 뜻 의미 있 얼마나 언제 어디 왜 what how say document mean happen explain about".split()
)
# What may stand behind a term without making it another word.
_ENDS = (
    r"(?=$|[^가-힣A-Za-z0-9]|(?:이란|란|이라|라고|라는|은|는|이|가|을|를|의|에|와|과|도|만|로|으로|에서|에게|부터|까지|보다|처럼|"
    r"이나|나|이며|며|이고|고|이다|입니다|인|일|예요|이에요|이라도|마다|이랑|랑|하고|하는|한|된|되는)(?![A-Za-z0-9]))"
)

Kind = Literal["faq", "term", "section", "model"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """`chunks`: those that answer it, `section`: (document, heading) that does, so a search for it must find one of them."""

    question: str
    kind: Kind
    chunks: frozenset[str] = frozenset()
    section: tuple[str, tuple[str, ...]] | None = None
    lead: str = ""  # how the section begins
    is_foreign: bool = False  # about a heading in another language than the reader's

    def is_met_by(self, evidence: Iterable[Evidence]) -> bool:
        """Whether what it was made from is among `evidence`; of a model's question nothing is known, so anything is."""
        if self.section is not None:
            return any(self._is_section(item) for item in evidence)
        return not self.chunks or any(item.chunk_id in self.chunks for item in evidence)

    def _is_section(self, item: Evidence) -> bool:
        assert self.section is not None
        document_id, heading = self.section
        if item.heading[: len(heading)] != heading:
            return False
        return document_id in (item.document_id, *(source.document_id for source in item.also_in))


@dataclass(frozen=True, slots=True)
class _Topic:
    """Words of the question, and of all that was said and cited. `least`: share of them that something near must have."""

    asked: frozenset[str]
    told: frozenset[str]
    least: float

    def has(self, words: frozenset[str]) -> bool:
        return _share(words, self.told) >= self.least or len(words & self.asked) >= _MANY_SHARED

    def is_in(self, words: frozenset[str]) -> bool:
        """Whether a text with these words speaks of what was asked; one word of several may mean another thing there."""
        shared = len(self.asked & words)
        return shared >= min(_MANY_SHARED, len(self.asked)) and _share(self.asked, words) >= _LEAST_SHARED


class Candidates:
    """Over one generation of the index."""

    def __init__(self, rows: RelatedRows, analyzer: Analyzer) -> None:
        self._rows = rows
        self._analyzer = analyzer

    def faq_scope(self, language: str) -> Filters | None:
        """Where a search finds rows of a FAQ; None where there are none in this language."""
        documents = self._rows.faq_documents(language)
        return Filters(documents=tuple(documents), languages=(language, "und")) if documents else None

    def of(self, turn: Turn, near: Sequence[Evidence], *, language: str, scope: Filters | None) -> list[Candidate]:
        """The best of each kind in turns. `near`: passages found besides `turn.retrieved`, of FAQs.

        Raises:
            DatabaseUnavailable
        """
        cited = [citation.evidence for citation in turn.citations]
        topic = self._topic(turn)
        shown = {item.chunk_id for item in cited}
        found = list({item.chunk_id: item for item in [*near, *turn.retrieved]}.values())
        rows = self._rows.rows_in([item.chunk_id for item in found], scope)
        in_rows = {item.chunk_id for row in rows for item in row.evidence}
        others = [item for item in found if item.chunk_id not in in_rows | shown]
        # Around a row of a FAQ or glossary are other rows: what else was found best stands for it.
        of_documents = [item for item in cited if item.chunk_id not in in_rows]
        spoken_of = (item for item in others if topic.is_in(self.words(item.text)))
        beside = of_documents or (list(islice(spoken_of, 1)) if cited else list(turn.retrieved[:_BEST]))
        around = self._sections(self._rows.sections_around([item.chunk_id for item in beside], scope), cited, language)
        elsewhere = self._near(topic, self._sections(list(map(_section_of, others)), cited, language))
        sections = [*(around if cited else self._near(topic, around)), *elsewhere]
        found_terms = self._found(rows, "term", [item.chunk_id for item in found], language)
        terms = [*self._terms(turn, topic, language, scope), *found_terms] if cited else self._near(topic, found_terms)
        faq = self._near(topic, self._found(rows, "faq", [item.chunk_id for item in found], language))
        nearest = [item for item in faq if self.words(item.question) & topic.asked]
        best = [item for group in zip_longest(nearest, sections, terms) for item in group if item is not None]
        every = [*best, *(item for item in faq if item not in nearest)]
        every.sort(key=lambda item: item.is_foreign)  # stable: of each kind the best still come first
        return [candidate for candidate in every if not candidate.chunks & shown]

    def words(self, text: str) -> frozenset[str]:
        """What `text` is about: its words without those that only ask."""
        lexemes = self._analyzer.analyze(text[:_MAX_TEXT_CHARS])
        return frozenset(word for word in lexemes if not word.startswith("#") and word not in _ASKING)

    def _topic(self, turn: Turn) -> _Topic:
        passages = [citation.evidence.readable for citation in turn.citations]
        told = "\n".join([turn.question, turn.answer, *passages] if passages else [turn.question])
        least = _LEAST_SHARED if passages else _LEAST_SHARED_UNCITED
        return _Topic(self.words(turn.question), self.words(told), least)

    def _near(self, topic: _Topic, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that speak of what the turn speaks of, or stand above a text that does."""
        return [
            item
            for item in candidates
            if topic.has(self.words(item.question)) or (item.lead and topic.is_in(self.words(item.lead)))
        ]

    def _found(self, rows: Sequence[StoredRow], kind: Kind, order: Sequence[str], language: str) -> list[Candidate]:
        """Rows in the order in which their chunks were found."""
        place = {chunk_id: at for at, chunk_id in reversed(list(enumerate(order)))}
        spoken = [row for row in rows if row.kind == kind and row.language == language]
        spoken.sort(key=lambda row: min(place.get(item.chunk_id, len(order)) for item in row.evidence))
        titles = [(" ".join(row.title.split()), row) for row in spoken]
        asked = [(title if kind == "faq" else question_of_term(title, language) or "", row) for title, row in titles]
        return [Candidate(question, kind, _chunks(row)) for question, row in asked if is_showable(question)]

    def _terms(self, turn: Turn, topic: _Topic, language: str, scope: Filters | None) -> list[Candidate]:
        """Those of the answer first, in its order, then those of the passages; none that the question itself names."""
        cited = (citation.evidence for citation in turn.citations)
        passages = (item.text for item in cited if item.language in (language, "und"))
        text = "\n".join([without_markers(turn.answer), *passages])[:_MAX_TERMS_CHARS]
        placed = []
        for row in self._rows.terms_in(text, language, scope):
            if _share(self.words(row.answer), topic.told) < _LEAST_DEFINED:
                continue
            names = names_of(row.title)
            starts = [start for name in names for start in _places(name, text)]
            if starts and not any(list(_places(name, turn.question)) for name in names):
                placed.append((min(starts), row))
        asked = [(question_of_term(row.title, language), row) for _, row in sorted(placed, key=lambda item: item[0])]
        return [Candidate(question, "term", _chunks(row)) for question, row in asked if question]

    def _sections(self, sections: Sequence[Section], cited: Sequence[Evidence], language: str) -> list[Candidate]:
        known = {(item.document_id, item.heading) for item in cited}
        found: dict[str, Candidate] = {}
        for section in sections:
            place = (section.document_id, section.heading)
            if place in known or not section.heading or (language == "en" and section.language == "ko"):
                continue
            question = question_about(
                section.heading[-1], title=section.title, lead=section.lead, language=language, analyzer=self._analyzer
            )
            if question:
                is_foreign = language_of(section.heading[-1]) != language
                found.setdefault(
                    question, Candidate(question, "section", section=place, lead=section.lead, is_foreign=is_foreign)
                )
        return list(found.values())


def _section_of(item: Evidence) -> Section:
    return Section(item.document_id, item.title, item.heading, item.language, item.text)


def _share(words: frozenset[str], told: frozenset[str]) -> float:
    return len(words & told) / len(words) if words else 0.0


def _chunks(row: StoredRow) -> frozenset[str]:
    return frozenset(item.chunk_id for item in row.evidence)


def _places(name: str, text: str) -> Iterator[int]:
    """Where `name` stands in `text` as a word, with or without a particle."""
    pattern = re.escape(name).replace(r"\ ", r"\s+")
    plural = "(?:s|es)?" if name[-1:].isascii() and name[-1:].isalpha() else ""
    for match in re.finditer(rf"(?<![가-힣A-Za-z0-9]){pattern}{plural}{_ENDS}", text, re.IGNORECASE):
        yield match.start()
