"""Scores of candidates from two legs put together: pure functions over arrays, one configuration for every corpus.

    fused = (.55 meaning + .33 words + .12 likeness + .4 phrases) / 1.4

meaning   cosine above the mean cosine that this question has with chunks in the same language, as a share of the best.
          The mean takes out what an embedder gives to its question's own language; unlike the last candidate's cosine
          it does not move with the number of candidates or chunks.
words     BM25 as a share of the best one, squared: what shares only the common words counts for little.
likeness  how near a chunk is to the best one.
phrases   share of the question's neighbouring words that a chunk has side by side, too; of the best chunks alone, since
          their texts are read for it (knowledge/phrases.py). Where there are none, fused is the sum of the first three.

A chunk in another language that is much nearer to the best one than its neighbours are (the margin that finds
translations in bitext mining) says the same: it takes over the best one's score, words that cannot match included.
The weights are those of a listwise fit on eight development sets, rounded; fitted without a set, they did as well on it
(macro nDCG@10 .8107 against .8108; a mean of min-max scores .798). The form of the scores was chosen on the same sets.
Phrases came later: +.0056 [+.0017, +.0103] in the macro, with .2 to .6 better in both halves of the questions.
Knows nothing about databases, models or languages.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

FORMULA = (
    "fused = (a·meaning + b·words + c·likeness + e·phrases) / (1 + e); meaning: cosine above the language's mean, as a "
    "share of the best; words: BM25 as a share of the best, squared; likeness: to the best one; phrases: neighbouring words "
    "of the question that are neighbours here, too; then what says the same as the best one in another language takes over "
    "d·margin of its score"
)
BRIDGE_LIMIT = 0.98  # of the best one's score: what stands in the words of the question comes first
_SMALLEST = 1e-9


@dataclass(frozen=True, slots=True)
class Weights:
    """The first three add up to 1. `bridge`: how much of the best one's score a margin of 1 takes over. `phrases`: 0 is off.

    Raises:
        ValueError: not so.
    """

    meaning: float = 0.55
    words: float = 0.33
    likeness: float = 0.12
    bridge: float = 1.0
    phrases: float = 0.4

    def __post_init__(self) -> None:
        three = (self.meaning, self.words, self.likeness)
        if not all(0 <= weight <= 1 for weight in (*three, self.bridge, self.phrases)) or abs(sum(three) - 1) > 1e-6:
            raise ValueError(f"{self}: weights must be 0..1, and those of meaning, words and likeness add up to 1")

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def above_background(cosines: np.ndarray, backgrounds: np.ndarray) -> np.ndarray:
    """(n,) each, to 0..1: 0 is the mean chunk or worse, 1 the best."""
    above = np.clip(cosines - backgrounds, 0, None)
    highest = above.max(initial=0.0)
    if highest > _SMALLEST:
        return above / highest
    return np.isclose(cosines, cosines.max(initial=-1.0)).astype(float)  # of one chunk the mean is the chunk itself


def share_of_best(bm25: np.ndarray) -> np.ndarray:
    """(n,) to 0..1."""
    return (bm25 / max(bm25.max(initial=0.0), _SMALLEST)) ** 2


def relevance(meaning: np.ndarray, words: np.ndarray, weights: Weights) -> np.ndarray:
    """What counts before the candidates are compared with each other: (n,)."""
    return weights.meaning * meaning + weights.words * words


def likeness(similarities: np.ndarray, backgrounds: np.ndarray, best: int) -> np.ndarray:
    """(n,) to 0..1. `similarities`: cosines to candidate `best`; `backgrounds`: the mean of its cosines."""
    room = max(1 - float(backgrounds[best]), _SMALLEST)
    return np.clip((similarities - backgrounds) / room, 0, 1)


def with_phrases(scores: np.ndarray, shares: np.ndarray, weights: Weights) -> np.ndarray:
    """(n,) each, 0..1."""
    return (scores + weights.phrases * shares) / (1 + weights.phrases)


def bridged(scores: np.ndarray, similarities: np.ndarray, best_score: float, weights: Weights) -> np.ndarray:
    """Scores of the best one's neighbours in another language, (n,), with what they take over of its score.

    `similarities`: their cosines to it. One neighbour alone has no margin.
    """
    if len(scores) < 2:
        return scores
    mean = float(similarities.mean())
    margins = np.clip((similarities - mean) / max(1 - mean, _SMALLEST), 0, 1)
    lifted = np.minimum(scores + weights.bridge * margins * best_score, BRIDGE_LIMIT * best_score)
    return np.maximum(scores, lifted)


def min_max(scores: np.ndarray) -> np.ndarray:
    """One leg alone: its order, in 0..1."""
    if not len(scores):
        return scores
    low, high = float(scores.min()), float(scores.max())
    return (scores - low) / (high - low) if high > low else np.ones(len(scores))
