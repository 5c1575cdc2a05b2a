"""Which sentences of the evidence answer a question best: the scoring behind quote mode.

S = bt + 2·cos + 0.8·pbm + 0.2·type + 0.2·nb, each scaled to 0..1 over the candidates:
  bt    BM25 of the sentence, words that stand only in its heading at half weight
  cos   cosine similarity of the question and the sentence with its heading
  pbm   BM25 of its whole passage          nb   BM25 of the better neighbour
  type  1 if the question asks for a date or a number and the sentence holds one
Only the best by words are embedded: on KorQuAD and SQuAD that costs under a point and keeps a question fast. Sentences
that score at least 0.8 of the best are kept. Knows nothing about messages or streams.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from knowledge.embedding.base import GakjuEmbedding
from knowledge.errors import DatabaseUnavailable, EmbeddingUnavailable
from knowledge.lexemes import Analyzer
from knowledge.types import Evidence
from pipelines.quotable import Quotable, quotables

log = logging.getLogger(__name__)

Idf = Callable[[Sequence[str]], Mapping[str, float]]

_CONTEXT_WEIGHT = 0.5  # of a word that stands only in the heading, or only in the question before this one
_K1, _B = 1.2, 0.3
_WITH_MEANING = {"bt": 1.0, "cos": 2.0, "pbm": 0.8, "type": 0.2, "nb": 0.2}
_WITHOUT_MEANING = {"bt": 1.0, "cos": 0.0, "pbm": 0.4, "type": 0.2, "nb": 0.1}
_MAX_CANDIDATES = 120  # word analysis takes about 1 ms a sentence
_EMBEDDED = 10
_SAME_JACCARD = 0.7
_SAME_CONTAINED = 0.85

_ASKS_DATE = re.compile(
    r"언제|며칠|날짜|몇\s?(?:년|월|일|시)|(?:연도|년도|시기|날은|날짜는|일자)|\bwhen\b|\bwhat (?:year|date|day|month|time)\b|\bwhich year\b",
    re.IGNORECASE,
)
_ASKS_NUMBER = re.compile(
    r"몇|얼마|퍼센트|비율은|개수|수량|금액|\bhow (?:many|much|long|far|old|often|big|large|high|tall)\b|\bwhat (?:percent|number|amount)",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"\d{1,4}\s?(?:년|월|일|시|세기)|\b\d{4}\b|\d{1,2}:\d{2}|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\b|centur(?:y|ies)"
)
_NUMBER = re.compile(
    r"\d|[한두세네]\s(?:개|명|번|가지|배)|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|hundred|thousand|million|half)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Quoted:
    """A chosen sentence from `evidence[n - 1].text[start:end]`; `score` is S, 0..4.2, only comparable in one question."""

    text: str
    n: int
    start: int
    end: int
    score: float
    kind: str = "sentence"
    order: int = 0


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
        margin: float = 0.8,
        min_cosine: float = 0.83,
        min_covered: float = 0.1,
    ) -> None:
        """`margin`: share of the best score that is kept. A question is refused where the best sentence covers less
        than `min_covered` of its words and is less similar than `min_cosine` (-1..1; depends on the embedding)."""
        if max_sentences < 1 or not 0 < margin <= 1:
            raise ValueError("max_sentences must be at least 1 and margin in (0, 1]")
        self._analyzer = analyzer
        self._embedding = embedding
        self._idf = idf
        self._max_sentences = max_sentences
        self._margin = margin
        self._min_cosine = min_cosine
        self._min_covered = min_covered

    def select(
        self, question: str, evidence: Sequence[Evidence], *, language: str, search_query: str = ""
    ) -> list[Quoted]:
        """At most `max_sentences` in reading order; [] if nothing answers. `language`: preferred, "ko" or "en"."""
        candidates = quotables(evidence)[:_MAX_CANDIDATES]
        own = [item for item in candidates if item.language in (language, "und")]
        asked = _Asked(question, search_query or question, self._analyzer)
        for group in (own, [item for item in candidates if item not in own]):
            chosen = self._choose(asked, group, evidence) if group else []
            if chosen:
                return chosen
        return []

    def _choose(self, asked: _Asked, candidates: Sequence[Quotable], evidence: Sequence[Evidence]) -> list[Quoted]:
        scored = self._scored(asked, candidates, evidence)
        best = scored[0]
        if best.covered < self._min_covered and (best.cosine is None or best.cosine < self._min_cosine):
            return []
        kept: list[_Scored] = []
        for item in scored:
            if item.score < self._margin * best.score or len(kept) == self._max_sentences:
                break
            if not any(_same(item, other) for other in kept):
                kept.append(item)
        return _reading_order(kept)

    def _scored(self, asked: _Asked, candidates: Sequence[Quotable], evidence: Sequence[Evidence]) -> list[_Scored]:
        words = [self._analyzer.analyze(item.text) for item in candidates]
        contexts = {text: self._analyzer.analyze(text) for text in {item.context for item in candidates}}
        beside = [contexts[item.context] for item in candidates]
        weights = asked.weighted(self._rarity(list(asked.weights), words))
        bm25 = _bm25(words, beside, weights)
        features = {
            "bt": _scaled(bm25),
            "pbm": _scaled(_passage_scores(candidates, words, weights, evidence)),
            "nb": _scaled(_neighbours(candidates, bm25)),
            "type": np.array([asked.type_fits(item.text) for item in candidates], dtype=float),
        }
        by_words = sum(_WITHOUT_MEANING[name] * values for name, values in features.items())
        meaning = np.array([evidence[item.n - 1].scores.fused for item in candidates])
        first = np.lexsort((np.arange(len(candidates)), -meaning, -np.asarray(by_words)))[:_EMBEDDED]
        cosines = self._cosines(asked.text, [candidates[i] for i in first])
        if cosines is not None:
            scaled = dict(zip(first, _scaled(cosines), strict=True))
            totals = {i: 2.0 * scaled[i] + sum(_WITH_MEANING[k] * v[i] for k, v in features.items()) for i in first}
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

    def __init__(self, question: str, search_query: str, analyzer: Analyzer) -> None:
        self.text = search_query
        own = analyzer.analyze(question)
        self.weights = dict.fromkeys(analyzer.analyze(search_query), _CONTEXT_WEIGHT) | dict.fromkeys(own, 1.0)
        self._wants = [found for asks, found in ((_ASKS_DATE, _DATE), (_ASKS_NUMBER, _NUMBER)) if asks.search(question)]

    def weighted(self, idf: Mapping[str, float]) -> dict[str, float]:
        return {lexeme: weight * idf.get(lexeme, 0.0) for lexeme, weight in self.weights.items()}

    def type_fits(self, text: str) -> bool:
        return any(pattern.search(text) for pattern in self._wants)


def _bm25(words: Sequence[Counter[str]], beside: Sequence[Counter[str]], weights: Mapping[str, float]) -> np.ndarray:
    lengths = np.array([max(found.total(), 1) for found in words], dtype=float)
    norms = _K1 * (1 - _B + _B * lengths / lengths.mean())
    scores = np.zeros(len(words))
    for i, (found, heading) in enumerate(zip(words, beside, strict=True)):
        for lexeme, weight in weights.items():
            if tf := found[lexeme]:
                scores[i] += weight * tf * (_K1 + 1) / (tf + norms[i])
            elif lexeme in heading:
                scores[i] += _CONTEXT_WEIGHT * weight
    return scores


def _passage_scores(
    candidates: Sequence[Quotable],
    words: Sequence[Counter[str]],
    weights: Mapping[str, float],
    evidence: Sequence[Evidence],
) -> np.ndarray:
    """BM25 of each candidate's passage: the search's own where it has one, else from the passage's candidates."""
    found = {n: evidence[n - 1].scores.words for n in {item.n for item in candidates}}
    if all(score is not None for score in found.values()):
        return np.array([found[item.n] for item in candidates], dtype=float)
    passages: dict[int, Counter[str]] = {}
    for item, counted in zip(candidates, words, strict=True):
        passages[item.n] = passages.get(item.n, Counter()) + counted
    scores = {
        n: sum(weight * tf * (_K1 + 1) / (tf + _K1) for lexeme, weight in weights.items() if (tf := counted[lexeme]))
        for n, counted in passages.items()
    }
    return np.array([scores[item.n] for item in candidates])


def _neighbours(candidates: Sequence[Quotable], scores: np.ndarray) -> np.ndarray:
    best = np.zeros(len(candidates))
    for i in range(len(candidates) - 1):
        if candidates[i].n == candidates[i + 1].n:
            best[i] = max(best[i], scores[i + 1])
            best[i + 1] = max(best[i + 1], scores[i])
    return best


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros(len(values))


def _covered(words: Mapping[str, int], weights: Mapping[str, float]) -> float:
    # Pairs of syllables meet by chance ("니다"); only whole words count here.
    whole = {lexeme: weight for lexeme, weight in weights.items() if not lexeme.startswith("#")}
    total = sum(whole.values())
    return sum(weight for lexeme, weight in whole.items() if lexeme in words) / total if total else 0.0


def _same(item: _Scored, other: _Scored) -> bool:
    """Whether two sentences say the same in nearly the same words."""
    a, b = set(item.words), set(other.words)
    shared = len(a & b)
    if not shared:
        return item.candidate.text == other.candidate.text
    return shared >= _SAME_JACCARD * len(a | b) or shared >= _SAME_CONTAINED * min(len(a), len(b))


def _reading_order(kept: Sequence[_Scored]) -> list[Quoted]:
    """Passages by their best sentence, the sentences of one passage as they stand there."""
    rank: dict[int, int] = {}
    for item in kept:
        rank.setdefault(item.candidate.n, len(rank))
    ordered = sorted(kept, key=lambda item: (rank[item.candidate.n], item.candidate.order))
    return [
        Quoted(c.text, c.n, c.start, c.end, item.score, c.kind, c.order) for item in ordered for c in (item.candidate,)
    ]
