"""How well each sentence answers, by its words and its passage: features and the log odds that they add up to.

    words     BM25 of the sentence, words that stand only in its heading at half weight, 0..1 over the candidates
    covered   share of the question's word weight in the sentence or its heading; `said`: in the sentence alone
    passage   `covered` of its whole passage, below the best passage's
    meaning   cosine similarity of its passage, 0..1 over the passages;  fused  the search's score below the best one's
    type      1 if the question asks for a date or a number and the sentence holds one

The weights are a conditional logit's: those that make the sentence with the answer likeliest among all candidates, the mean
of two fits on halves of the passages of KorQuAD and SQuAD (2,909 questions). The passage's rank and BM25, its best
sentence's score, the neighbours' scores and the length changed nothing there and were left out. Knows nothing about what is
kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence, Set

import numpy as np

from knowledge.types import Evidence
from pipelines.quotable import Quotable

CONTEXT_WEIGHT = 0.5  # of a word that stands only in the heading, or only in the question before this one
WEIGHTS = {"words": 2.0, "covered": 3.2, "said": 1.9, "passage": 2.7, "meaning": 1.6, "fused": 1.9, "type": 2.5}
# Sentences of a passage whose others answer well, too, come before lone ones: fewer passages, read more easily.
_TOGETHER = 0.5
_K1, _B = 1.2, 0.3


def bm25(words: Sequence[Counter[int]], beside: Sequence[Set[int]], weights: Mapping[int, float]) -> np.ndarray:
    """Of each sentence: `words` of it and `beside` it, and the question's `weights`, by term id."""
    lengths = np.array([max(found.total(), 1) for found in words], dtype=float)
    norms = _K1 * (1 - _B + _B * lengths / lengths.mean())
    scores = np.zeros(len(words))
    for i, (found, heading) in enumerate(zip(words, beside, strict=True)):
        for term, weight in weights.items():
            if tf := found[term]:
                scores[i] += weight * tf * (_K1 + 1) / (tf + norms[i])
            elif term in heading:
                scores[i] += CONTEXT_WEIGHT * weight
    return scores


def covered(words: Container[int], weights: Mapping[int, float]) -> float:
    """Share of the question's weight that stands in `words`, 0..1."""
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in words) / total if total else 0.0


def passage_features(candidates: Sequence[Quotable], evidence: Sequence[Evidence]) -> dict[str, np.ndarray]:
    """ "meaning" and "fused" of each candidate's passage."""
    shown = [evidence[item.n - 1] for item in candidates]
    similar = np.array([item.scores.meaning if item.scores.meaning is not None else np.nan for item in shown])
    fused = np.array([item.scores.fused for item in shown])
    return {
        "meaning": np.nan_to_num(scaled(similar)) if np.isfinite(similar).any() else np.zeros(len(shown)),
        "fused": fused - fused.max(),
    }


def passage_covered(
    candidates: Sequence[Quotable], words: Sequence[Set[int]], weights: Mapping[int, float]
) -> np.ndarray:
    """Share of the question's weight that a candidate's whole passage has, below that of the best; -1..0."""
    of_passage: dict[int, set[int]] = {}
    for item, found in zip(candidates, words, strict=True):
        of_passage.setdefault(item.n, set()).update(found)
    shares = {n: covered(found, weights) for n, found in of_passage.items()}
    return np.array([shares[item.n] for item in candidates]) - max(shares.values(), default=0.0)


def log_odds(features: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.sum([weight * features[name] for name, weight in WEIGHTS.items()], axis=0)


def together(candidates: Sequence[Quotable], scores: np.ndarray) -> np.ndarray:
    """`scores`, raised by the passage's share of all that the candidates together say."""
    likely = np.exp(scores - scores.max())
    of_passage: Counter[int] = Counter()
    for item, share in zip(candidates, likely, strict=True):
        of_passage[item.n] += share
    return scores + _TOGETHER * np.log([of_passage[item.n] for item in candidates])


def likelihood(candidates: Sequence[Quotable], scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How likely each candidate has the answer, if one has it, and how likely its passage has; both 0..1."""
    likely = np.exp(scores - scores.max())
    likely /= likely.sum()
    numbers = np.array([item.n for item in candidates])
    return likely, np.bincount(numbers, likely)[numbers]


def scaled(values: np.ndarray) -> np.ndarray:
    """`values` from 0 to 1; nan stays."""
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low) if high > low else np.zeros(len(values))
