"""Which sentences of the evidence answer a question best: the scoring behind quote mode.

S = bt + 2·cos + 0.8·pbm + 0.2·type + 0.2·nb, each scaled to 0..1 over the candidates:
  bt    BM25 of the sentence, words that stand only in its heading at half weight
  cos   cosine similarity of the question and the sentence with its heading
  pbm   BM25 of its whole passage          nb   BM25 of the better neighbour
  type  1 if the question asks for a date or a number and the sentence holds one
  new   for a follow-up ("그럼 운임은?"): how much of what it newly names stands in the sentence or its heading, at 1.0
and 1 more for a sentence that defines the term whose meaning is asked ("A forward is …").
Only the best by words are embedded: on KorQuAD and SQuAD that costs under a point and keeps a question fast. Sentences
that score at least 0.75 of the best are kept. Knows nothing about messages or streams.
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
from pipelines.sentence_scores import CONTEXT_WEIGHT, bm25, neighbours, passage_scores, scaled

log = logging.getLogger(__name__)

Idf = Callable[[Sequence[str]], Mapping[str, float]]

_WITH_MEANING = {"bt": 1.0, "pbm": 0.8, "type": 0.2, "nb": 0.2, "definition": 1.0, "new": 1.0}
_WITHOUT_MEANING = {"bt": 1.0, "pbm": 0.4, "type": 0.2, "nb": 0.1, "definition": 1.0, "new": 1.0}
_COSINE_WEIGHT = 2.0
_MAX_CANDIDATES = 120  # word analysis takes about 1 ms a sentence
_EMBEDDED = 10
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
    score: float
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
        margin: float = 0.75,
    ) -> None:
        """`margin`: share of the best score, 0..1, that a sentence must reach to be kept."""
        if max_sentences < 1 or not 0 < margin <= 1:
            raise ValueError("max_sentences must be at least 1 and margin in (0, 1]")
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
            if item.score < self._margin * best.score or len(kept) == self._max_sentences:
                break
            if not _other_row(item, best, asked) and not any(_same(item, other) for other in kept):
                kept.append(item)
        chosen = reading_order([(item.candidate, item.score) for item in kept])
        return with_whole_list(chosen, candidates) if asked.expects.steps else chosen

    def _similar(self, best: _Scored, floor: _Floor) -> bool:
        if best.cosine is None or self._embedding is None:
            return False
        # Cosines of other models lie elsewhere; for them words and the search before this decide.
        return best.cosine >= floor.cosine if "e5" in self._embedding.spec.name.lower() else floor is _OTHER_FLOOR

    def _scored(self, asked: _Asked, candidates: Sequence[Quotable], evidence: Sequence[Evidence]) -> list[_Scored]:
        words = [self._analyzer.analyze(item.text) for item in candidates]
        contexts = {text: self._analyzer.analyze(text) for text in {item.context for item in candidates}}
        beside = [contexts[item.context] for item in candidates]
        weights = asked.weighted(self._rarity(list(asked.weights), words))
        word_scores = bm25(words, beside, weights)
        features = {
            "bt": scaled(word_scores),
            "pbm": scaled(passage_scores(candidates, words, weights, evidence)),
            "nb": scaled(neighbours(candidates, word_scores)),
            "type": np.array([asked.expects.fits(item.text) for item in candidates], dtype=float),
            "new": np.array([asked.newly_named(found | near) for found, near in zip(words, beside, strict=True)]),
            "definition": np.array([asked.expects.defined_by(item.text) for item in candidates], dtype=float),
        }
        by_words = sum(_WITHOUT_MEANING[name] * values for name, values in features.items())
        meaning = np.array([evidence[item.n - 1].scores.fused for item in candidates])
        first = np.lexsort((np.arange(len(candidates)), -meaning, -np.asarray(by_words)))[:_EMBEDDED]
        cosines = self._cosines(asked.text, [candidates[i] for i in first])
        if cosines is not None:
            near = dict(zip(first, scaled(_levelled(cosines, [asked.own(candidates[i]) for i in first])), strict=True))
            totals = {
                i: _COSINE_WEIGHT * near[i] + sum(_WITH_MEANING[k] * v[i] for k, v in features.items()) for i in first
            }
        else:
            totals = {i: float(np.asarray(by_words)[i]) for i in first}
        return [
            _Scored(
                candidates[i],
                words[i],
                float(totals[i]),
                float(cosines[list(first).index(i)]) if cosines is not None else None,
                _covered(words[i] | beside[i], weights),
            )
            for i in sorted(first, key=lambda i: (-totals[i], i))
        ]

    def _rarity(self, lexemes: Sequence[str], words: Sequence[Counter[str]]) -> Mapping[str, float]:
        if self._idf is not None:
            try:
                return self._idf(lexemes)
            except DatabaseUnavailable as exc:
                log.warning("corpus statistics not available, rarity judged over the evidence: %s", exc)
        count = {lexeme: sum(lexeme in found for found in words) for lexeme in lexemes}
        return {lexeme: math.log(1 + (len(words) - df + 0.5) / (df + 0.5)) for lexeme, df in count.items()}

    def _cosines(self, query: str, candidates: Sequence[Quotable]) -> np.ndarray | None:
        if self._embedding is None:
            return None
        try:
            texts = [f"{item.context}\n{item.text}" for item in candidates]
            return self._embedding.embed_passages(texts) @ self._embedding.embed_query(query)
        except EmbeddingUnavailable as exc:
            log.warning("sentences are chosen by words alone: %s", exc)
            return None


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


def _covered(words: Mapping[str, int], weights: Mapping[str, float]) -> float:
    # Pairs of syllables meet by chance ("니다"); only whole words count here.
    whole = {lexeme: weight for lexeme, weight in weights.items() if not lexeme.startswith("#")}
    total = sum(whole.values())
    return sum(weight for lexeme, weight in whole.items() if lexeme in words) / total if total else 0.0


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
