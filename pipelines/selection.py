"""Which sentences of the evidence answer a question best: the choice behind quote mode.

Words and passages give each sentence log odds (pipelines/sentence_scores.py), to which come
  3.2 for each 0.1 of cosine similarity between the question and the sentence with its heading
  2.5 for a sentence that defines the term whose meaning is asked ("A forward is …")
  2.5 times the share of what a follow-up newly names ("그럼 운임은?") that stands in the sentence or its heading
An embedding costs more than all the rest, so only sentences are embedded that their words leave close together: on
KorQuAD and SQuAD that costs under a point. Sentences within a margin of the best are kept, at most four.
Knows nothing about messages or streams.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from knowledge.embedding.base import GakjuEmbedding
from knowledge.errors import DatabaseUnavailable, EmbeddingUnavailable
from knowledge.lexemes import Analyzer, language_of
from knowledge.types import Evidence
from pipelines.expectation import Expectation
from pipelines.quotable import Quotable, quotables
from pipelines.reading_order import Quoted, reading_order, with_whole_list
from pipelines.sentence_scores import CONTEXT_WEIGHT, bm25, covered, log_odds, passage_features, scaled, together

log = logging.getLogger(__name__)

Idf = Callable[[Sequence[str]], Mapping[str, float]]

_COSINE_WEIGHT = 32.0
_OTHER_COSINE_WEIGHT = 10.0  # cosines of other models than e5 lie about three times as far apart
_DEFINITION_WEIGHT = _NEW_WEIGHT = 2.5
_MAX_CANDIDATES = 120  # word analysis takes about 1 ms a sentence
# Embedded are up to so many sentences within so many log odds of the best by words (four within 3.5 chose no better);
# more, however far apart, where even the best holds little of the question.
_EMBEDDED, _CLOSE = 3, 3.0
_EMBEDDED_IF_FEW_WORDS, _FEW_WORDS = 10, 0.35
_SAME_JACCARD = 0.7
_SAME_CONTAINED = 0.85


@dataclass(frozen=True, slots=True)
class _Floor:
    """Nothing is quoted where the best sentence covers less of the question's words and is less similar than this."""

    covered: float
    cosine: float  # of multilingual-e5-small


# Of questions with an answer under 1 % (KorQuAD, SQuAD) and 2 % (paraphrased ones) lie below. Cosines between languages
# are lower and separate little: of Korean questions with an English answer 1 % lie below.
_OWN_FLOOR = _Floor(covered=0.2, cosine=0.84)
_OTHER_FLOOR = _Floor(covered=0.2, cosine=0.775)


@dataclass(frozen=True, slots=True)
class _Scored:
    candidate: Quotable
    words: Counter[str]
    score: float  # log odds
    cosine: float | None
    covered: float  # share of the question's weight (idf) that stands in the sentence or its heading, 0..1


class Selector:
    """Chooses sentences. `embedding` None: by words alone. `idf` None: rarity is judged over the candidates."""

    def __init__(
        self,
        analyzer: Analyzer,
        embedding: GakjuEmbedding | None = None,
        idf: Idf | None = None,
        *,
        max_sentences: int = 4,
        margin: float = 3.7,
    ) -> None:
        """`margin`: log odds by which a sentence may be worse than the best and is kept; 3.7 keeps two on average."""
        if max_sentences < 1 or not margin >= 0:
            raise ValueError("max_sentences must be at least 1 and margin at least 0")
        self._analyzer = analyzer
        self._embedding = embedding
        self._idf = idf
        self._max_sentences = max_sentences
        self._margin = margin

    def select(
        self, question: str, evidence: Sequence[Evidence], *, language: str, search_query: str = ""
    ) -> list[Quoted]:
        """At most `max_sentences` in reading order; [] if nothing answers. `language`: preferred, "ko" or "en"."""
        asked = _Asked(question, search_query or question, language, self._analyzer)
        own: list[Quotable] = []
        other: list[Quotable] = []
        for item in quotables(evidence):
            (own if item.language in (language, "und") else other).append(item)
        # In another language only where the own one has nothing: no words can be shared then, so meaning decides.
        return self._choose(asked, own, evidence, _OWN_FLOOR) or self._choose(asked, other, evidence, _OTHER_FLOOR)

    def _choose(
        self, asked: _Asked, candidates: Sequence[Quotable], evidence: Sequence[Evidence], floor: _Floor
    ) -> list[Quoted]:
        candidates = candidates[:_MAX_CANDIDATES]
        if not candidates:
            return []
        ranked = self._scored(asked, candidates, evidence)
        best = ranked[0]
        if best.covered < floor.covered and not self._similar(best, floor):
            return []
        kept: list[_Scored] = []
        for item in ranked:
            if item.score < best.score - self._margin or len(kept) == self._max_sentences:
                break
            if not _other_row(item, best, asked) and not any(_same(item, other) for other in kept):
                kept.append(item)
        chosen = reading_order([(item.candidate, item.score) for item in kept])
        return with_whole_list(chosen, candidates) if asked.expects.steps else chosen

    def _similar(self, best: _Scored, floor: _Floor) -> bool:
        if best.cosine is None:
            return False
        # Cosines of other models lie elsewhere; for them words and the search before this decide.
        return best.cosine >= floor.cosine if self._is_e5() else floor is _OTHER_FLOOR

    def _is_e5(self) -> bool:
        return self._embedding is not None and "e5" in self._embedding.spec.name.lower()

    def _scored(self, asked: _Asked, candidates: Sequence[Quotable], evidence: Sequence[Evidence]) -> list[_Scored]:
        """All candidates, best first."""
        titles = list(dict.fromkeys(item.context for item in candidates))
        analyzed = self._analyzer.analyze_many([*(item.text for item in candidates), *titles])
        words = analyzed[: len(candidates)]
        contexts = dict(zip(titles, analyzed[len(candidates) :], strict=True))
        beside = [contexts[item.context] for item in candidates]
        weights = asked.weighted(self._rarity(list(asked.weights), words))
        shares = np.array([covered(found | near, weights) for found, near in zip(words, beside, strict=True)])
        features = passage_features(candidates, evidence) | {
            "words": scaled(bm25(words, beside, weights)),
            "covered": shares,
            "said": np.array([covered(found, weights) for found in words]),
            "type": np.array([asked.expects.fits(item.text) for item in candidates], dtype=float),
        }
        defines = np.array([asked.expects.defined_by(item.text) for item in candidates], dtype=float)
        newly = np.array([asked.newly_named(found | near) for found, near in zip(words, beside, strict=True)])
        by_words = log_odds(features) + _DEFINITION_WEIGHT * defines + _NEW_WEIGHT * newly
        cosines = self._cosines(asked, candidates, _undecided(by_words, shares))
        totals = together(candidates, by_words + self._by_meaning(asked, candidates, cosines))
        return [
            _Scored(candidates[i], words[i], float(totals[i]), cosines.get(i), float(shares[i]))
            for i in sorted(range(len(candidates)), key=lambda i: (-totals[i], i))
        ]

    def _by_meaning(self, asked: _Asked, candidates: Sequence[Quotable], cosines: Mapping[int, float]) -> np.ndarray:
        """Log odds from the cosines, around 0; 0 for what was not embedded."""
        found = np.zeros(len(candidates))
        if cosines:
            at = list(cosines)
            levelled = _levelled(np.array(list(cosines.values())), [asked.own(candidates[i]) for i in at])
            found[at] = (_COSINE_WEIGHT if self._is_e5() else _OTHER_COSINE_WEIGHT) * (levelled - levelled.mean())
        return found

    def _rarity(self, lexemes: Sequence[str], words: Sequence[Counter[str]]) -> Mapping[str, float]:
        if self._idf is not None:
            try:
                return self._idf(lexemes)
            except DatabaseUnavailable as exc:
                log.warning("corpus statistics not available, rarity judged over the evidence: %s", exc)
        count = {lexeme: sum(lexeme in found for found in words) for lexeme in lexemes}
        return {lexeme: math.log(1 + (len(words) - df + 0.5) / (df + 0.5)) for lexeme, df in count.items()}

    def _cosines(self, asked: _Asked, candidates: Sequence[Quotable], at: Sequence[int]) -> dict[int, float]:
        """Cosine similarity, -1..1, of the candidates `at`; nothing without an embedding."""
        if self._embedding is None or not at:
            return {}
        try:
            texts = [f"{candidates[i].context}\n{candidates[i].text}" for i in at]
            cosines = self._embedding.embed_passages(texts) @ self._embedding.embed_query(asked.text)
        except EmbeddingUnavailable as exc:
            log.warning("sentences are chosen by words alone: %s", exc)
            return {}
        return dict(zip(at, map(float, cosines), strict=True))


def _undecided(by_words: np.ndarray, shares: np.ndarray) -> list[int]:
    """The best candidates by words, if their order is not clear yet; best first."""
    order = [int(i) for i in np.argsort(-by_words, kind="stable")]
    if shares[order[0]] < _FEW_WORDS:
        return order[:_EMBEDDED_IF_FEW_WORDS]
    close = [i for i in order[:_EMBEDDED] if by_words[i] >= by_words[order[0]] - _CLOSE]
    return close if len(close) > 1 else []


class _Asked:
    """A question with the weight of each of its lexemes: those that only the question before it holds weigh half."""

    def __init__(self, question: str, search_query: str, language: str, analyzer: Analyzer) -> None:
        self.text = search_query
        self._language = language
        self.expects = Expectation(question)
        own = analyzer.analyze(question)
        context = analyzer.analyze(search_query)
        self.weights = dict.fromkeys(context, CONTEXT_WEIGHT) | dict.fromkeys(own, 1.0)
        self._new = {lexeme for lexeme in own if not lexeme.startswith("#")} if len(context) > len(own) else set()

    def own(self, item: Quotable) -> bool:
        """Whether a sentence is written in the question's language."""
        return language_of(item.text) in (self._language, "und")

    def newly_named(self, words: Mapping[str, int]) -> float:
        """Share of the follow-up's own words among `words`, 0..1; 0 for a question that stands alone."""
        return len(self._new & words.keys()) / len(self._new) if self._new else 0.0

    def weighted(self, idf: Mapping[str, float]) -> dict[str, float]:
        return {lexeme: weight * idf.get(lexeme, 0.0) for lexeme, weight in self.weights.items()}


def _levelled(cosines: np.ndarray, own: Sequence[bool]) -> np.ndarray:
    """Cosines with those of the other language raised to the level of the question's: e5 favours its own language."""
    mine = np.array(own)
    if mine.all() or not mine.any():
        return cosines
    return np.where(mine, cosines, cosines + max(cosines[mine].max() - cosines[~mine].max(), 0.0))


def _same(item: _Scored, other: _Scored) -> bool:
    """Whether two sentences say the same in nearly the same words."""
    a, b = set(item.words), set(other.words)
    if _numbers(a - b) and _numbers(b - a):
        return False  # "2023년 매출은 5억" and "2024년 매출은 7억" are two facts
    shared = len(a & b)
    if not shared:
        return item.candidate.text == other.candidate.text
    return shared >= _SAME_JACCARD * len(a | b) or shared >= _SAME_CONTAINED * min(len(a), len(b))


def _other_row(item: _Scored, best: _Scored, asked: _Asked) -> bool:
    """Whether this is a table row without the numbers (a month, a code) that the question names and the best has."""
    return item.candidate.kind == "row" and not _numbers(asked.weights) & best.words.keys() <= item.words.keys()


def _numbers(lexemes: Iterable[str]) -> set[str]:
    return {lexeme for lexeme in lexemes if any(char.isdigit() for char in lexeme)}
