"""A question as the choice of sentences sees it: its words with their weights, and what kind of answer it expects.

Knows nothing about passages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from knowledge.lexemes import Analyzer, language_of
from knowledge.terms import term_id
from pipelines.expectation import Expectation
from pipelines.quotable import Quotable
from pipelines.sentence_scores import CONTEXT_WEIGHT


class Asked:
    """A question with the weight of each of its lexemes: those that only the question before it holds weigh half."""

    def __init__(self, question: str, search_query: str, language: str, analyzer: Analyzer) -> None:
        self.text = search_query
        self._language = language
        self.expects = Expectation(question)
        own = analyzer.analyze(question)
        context = analyzer.analyze(search_query)
        self._weights = dict.fromkeys(context, CONTEXT_WEIGHT) | dict.fromkeys(own, 1.0)
        self._new = _whole(own) if len(context) > len(own) else set()
        self.numbers = {term_id(lexeme) for lexeme in self._weights if any(map(str.isdigit, lexeme))}

    @property
    def lexemes(self) -> list[str]:
        return list(self._weights)

    def own(self, item: Quotable) -> bool:
        """Whether a sentence is written in the question's language."""
        return language_of(item.text) in (self._language, "und")

    def newly_named(self, words: Set[int]) -> float:
        """Share of the follow-up's own words among `words`, 0..1; 0 for a question that stands alone."""
        return len(self._new & words) / len(self._new) if self._new else 0.0

    def weighted(self, idf: Mapping[str, float], *, whole_words: bool = False) -> dict[int, float]:
        """Term id → weight. `whole_words`: without pairs of syllables, which meet by chance ("니다")."""
        lexemes = [lexeme for lexeme in self._weights if not (whole_words and lexeme.startswith("#"))]
        return {term_id(lexeme): self._weights[lexeme] * idf.get(lexeme, 0.0) for lexeme in lexemes}


def _whole(lexemes: Iterable[str]) -> set[int]:
    return {term_id(lexeme) for lexeme in lexemes if not lexeme.startswith("#")}
