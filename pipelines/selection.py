"""Which sentences of the evidence answer a question best: the choice behind quote mode.

Words and passages give each sentence log odds (pipelines/sentence_scores.py), to which come
  3.0 for each 0.1 of cosine similarity between the question and the sentence with its heading
  2.5 for a sentence that defines the term whose meaning is asked ("A forward is …")
  2.5 times the share of what a follow-up newly names ("그럼 운임은?") that stands in the sentence or its heading
An embedding costs more than all the rest, so only sentences are embedded that their words leave close together: on
KorQuAD and SQuAD that costs under a point. Kept are the best and those likely enough to have the answer, at most four; the
likelier their passage is the right one, the less a sentence needs: what else it says is told, what others say is not.
Knows nothing about messages or streams.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from knowledge.embedding.base import GakjuEmbedding
from knowledge.errors import DatabaseUnavailable, EmbeddingUnavailable
from knowledge.lexemes import Analyzer, numbers_in
from knowledge.quote_words import QuoteWords, quote_words
from knowledge.terms import term_id
from knowledge.types import Evidence
from pipelines.asked import Asked
from pipelines.quotable import Quotable, quotables
from pipelines.reading_order import Quoted, reading_order, with_whole_list
from pipelines.sentence_scores import (
    bm25,
    covered,
    likelihood,
    log_odds,
    passage_covered,
    passage_features,
    scaled,
    together,
)

log = logging.getLogger(__name__)

Idf = Callable[[Sequence[str]], Mapping[str, float]]

_COSINE_WEIGHT = 30.0
_OTHER_COSINE_WEIGHT = 10.0  # cosines of other models than e5 lie about three times as far apart
_DEFINITION_WEIGHT = _NEW_WEIGHT = 2.5
# Embedded are so many sentences within so many log odds of the best by words, however far apart where even the best holds
# little of the question (three or four chose no better); more in another language, where words say nothing.
_EMBEDDED, _CLOSE = 2, 2.0
_FEW_WORDS = 0.35
_EMBEDDED_OF_OTHER_LANGUAGE = 10
# Of the likelihood of its passage so much counts for a sentence. On halves of KorQuAD and SQuAD that these were not chosen
# on, 92.4 to 95.7 % of the answers are in two sentences on average, of which 90.4 to 94.9 % are of the right passage.
_PASSAGE_SHARE = 0.18
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
    words: Counter[int]  # by term id
    score: float  # log odds
    likely: float  # how likely it has the answer, and a share of how likely its passage has
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
        bar: float = 0.192,
    ) -> None:
        """`bar`: what the likelihood of a sentence and 0.18 of its passage's must reach together for it to be kept beside the
        best. 0 keeps all, from 1.18 on the best alone; 0.192 keeps two on average."""
        if max_sentences < 1 or not bar >= 0:
            raise ValueError("max_sentences must be at least 1 and bar at least 0")
        self._analyzer = analyzer
        self._embedding = embedding
        self._idf = idf
        self._max_sentences = max_sentences
        self._bar = bar

    def select(
        self, question: str, evidence: Sequence[Evidence], *, language: str, search_query: str = ""
    ) -> list[Quoted]:
        """At most `max_sentences` in reading order; [] if nothing answers. `language`: preferred, "ko" or "en"."""
        asked = Asked(question, search_query or question, language, self._analyzer)
        words = quote_words(evidence, self._analyzer)
        own: list[Quotable] = []
        other: list[Quotable] = []
        for item in quotables(evidence, [found.parts for found in words]):
            (own if item.language in (language, "und") else other).append(item)
        # In another language only where the own one has nothing: no words can be shared then, so meaning decides.
        return self._choose(asked, own, evidence, words, _OWN_FLOOR) or self._choose(
            asked, other, evidence, words, _OTHER_FLOOR
        )

    def _choose(
        self,
        asked: Asked,
        candidates: Sequence[Quotable],
        evidence: Sequence[Evidence],
        words: Sequence[QuoteWords],
        floor: _Floor,
    ) -> list[Quoted]:
        if not candidates:
            return []
        few = _EMBEDDED if floor is _OWN_FLOOR else _EMBEDDED_OF_OTHER_LANGUAGE
        ranked = self._scored(asked, candidates, evidence, words, few=few)
        best = ranked[0]
        if best.covered < floor.covered and not self._similar(ranked, floor):
            return []
        kept = [best]
        for item in ranked[1:]:
            if len(kept) == self._max_sentences:
                break
            if item.likely < self._bar or _other_row(item, best, asked) or any(_same(item, other) for other in kept):
                continue
            kept.append(item)
        chosen = reading_order([(item.candidate, item.score) for item in kept])
        return with_whole_list(chosen, candidates) if asked.expects.steps else chosen

    def _similar(self, ranked: Sequence[_Scored], floor: _Floor) -> bool:
        cosine = max((item.cosine for item in ranked if item.cosine is not None), default=None)
        if cosine is None:
            return False
        # Cosines of other models lie elsewhere; for them words and the search before this decide.
        return cosine >= floor.cosine if self._is_e5() else floor is _OTHER_FLOOR

    def _is_e5(self) -> bool:
        return self._embedding is not None and "e5" in self._embedding.spec.name.lower()

    def _scored(
        self,
        asked: Asked,
        candidates: Sequence[Quotable],
        evidence: Sequence[Evidence],
        passages: Sequence[QuoteWords],
        *,
        few: int,
    ) -> list[_Scored]:
        """All candidates, best first. `few`: how many to embed where few words are shared."""
        words = [Counter(_terms(passages[item.n - 1], "said", item)) for item in candidates]
        beside = [frozenset(_terms(passages[item.n - 1], "beside", item)) for item in candidates]
        both = [found.keys() | near for found, near in zip(words, beside, strict=True)]
        rarity = self._rarity(asked.lexemes, words)
        whole = asked.weighted(rarity, whole_words=True)
        shares = np.array([covered(found, whole) for found in both])
        features = passage_features(candidates, evidence) | {
            "words": scaled(bm25(words, beside, asked.weighted(rarity))),
            "covered": shares,
            "said": np.array([covered(found, whole) for found in words]),
            "passage": passage_covered(candidates, both, whole),
            "type": np.array([asked.expects.fits(item.text) for item in candidates], dtype=float),
        }
        defines = np.array([asked.expects.defined_by(item.text) for item in candidates], dtype=float)
        newly = np.array([asked.newly_named(found) for found in both])
        by_words = log_odds(features) + _DEFINITION_WEIGHT * defines + _NEW_WEIGHT * newly
        cosines = self._cosines(asked, candidates, _undecided(by_words, shares, few))
        totals = together(candidates, by_words + self._by_meaning(asked, candidates, cosines))
        own, of_passage = likelihood(candidates, totals)
        likely = own + _PASSAGE_SHARE * of_passage
        return [
            _Scored(candidates[i], words[i], float(totals[i]), float(likely[i]), cosines.get(i), float(shares[i]))
            for i in sorted(range(len(candidates)), key=lambda i: (-totals[i], i))
        ]

    def _by_meaning(self, asked: Asked, candidates: Sequence[Quotable], cosines: Mapping[int, float]) -> np.ndarray:
        """Log odds from the cosines, around 0; 0 for what was not embedded."""
        found = np.zeros(len(candidates))
        if cosines:
            at = list(cosines)
            levelled = _levelled(np.array(list(cosines.values())), [asked.own(candidates[i]) for i in at])
            found[at] = (_COSINE_WEIGHT if self._is_e5() else _OTHER_COSINE_WEIGHT) * (levelled - levelled.mean())
        return found

    def _rarity(self, lexemes: Sequence[str], words: Sequence[Counter[int]]) -> Mapping[str, float]:
        if self._idf is not None:
            try:
                return self._idf(lexemes)
            except DatabaseUnavailable as exc:
                log.warning("corpus statistics not available, rarity judged over the evidence: %s", exc)
        count = {lexeme: sum(term_id(lexeme) in found for found in words) for lexeme in lexemes}
        return {lexeme: math.log(1 + (len(words) - df + 0.5) / (df + 0.5)) for lexeme, df in count.items()}

    def _cosines(self, asked: Asked, candidates: Sequence[Quotable], at: Sequence[int]) -> dict[int, float]:
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


def _undecided(by_words: np.ndarray, shares: np.ndarray, few: int) -> list[int]:
    """The best candidates by words, if their order is not clear yet; best first."""
    order = [int(i) for i in np.argsort(-by_words, kind="stable")]
    if shares[order[0]] < _FEW_WORDS:
        return order[:few]
    close = [i for i in order[:_EMBEDDED] if by_words[i] >= by_words[order[0]] - _CLOSE]
    return close if len(close) > 1 else []


def _terms(passage: QuoteWords, which: Literal["said", "beside"], item: Quotable) -> list[int]:
    words = (passage.said if which == "said" else passage.beside)[item.part]
    return passage.terms[words].tolist()


def _levelled(cosines: np.ndarray, own: Sequence[bool]) -> np.ndarray:
    """Cosines with those of the other language raised to the level of the question's: e5 favours its own language."""
    mine = np.array(own)
    if mine.all() or not mine.any():
        return cosines
    return np.where(mine, cosines, cosines + max(cosines[mine].max() - cosines[~mine].max(), 0.0))


def _same(item: _Scored, other: _Scored) -> bool:
    """Whether two sentences say the same in nearly the same words."""
    a, b = item.words.keys(), other.words.keys()
    shared = len(a & b)
    if not shared:
        return item.candidate.text == other.candidate.text
    if shared < _SAME_JACCARD * len(a | b) and shared < _SAME_CONTAINED * min(len(a), len(b)):
        return False
    mine, theirs = numbers_in(item.candidate.text), numbers_in(other.candidate.text)
    return not (mine - theirs and theirs - mine)  # "2023년 매출은 5억" and "2024년 매출은 7억" are two facts


def _other_row(item: _Scored, best: _Scored, asked: Asked) -> bool:
    """Whether this is a table row without the numbers (a month, a code) that the question names and the best has."""
    return item.candidate.kind == "row" and not asked.numbers & best.words.keys() <= item.words.keys()
