"""Word scores of sentences: BM25 with the heading at half weight, the passage's BM25, the neighbours', and scaling.

Knows nothing about how they are weighed against each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from knowledge.types import Evidence
from pipelines.quotable import Quotable

CONTEXT_WEIGHT = 0.5  # of a word that stands only in the heading, or only in the question before this one
_K1, _B = 1.2, 0.3


def bm25(words: Sequence[Counter[str]], beside: Sequence[Counter[str]], weights: Mapping[str, float]) -> np.ndarray:
    lengths = np.array([max(found.total(), 1) for found in words], dtype=float)
    norms = _K1 * (1 - _B + _B * lengths / lengths.mean())
    scores = np.zeros(len(words))
    for i, (found, heading) in enumerate(zip(words, beside, strict=True)):
        for lexeme, weight in weights.items():
            if tf := found[lexeme]:
                scores[i] += weight * tf * (_K1 + 1) / (tf + norms[i])
            elif lexeme in heading:
                scores[i] += CONTEXT_WEIGHT * weight
    return scores


def passage_scores(
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


def neighbours(candidates: Sequence[Quotable], scores: np.ndarray) -> np.ndarray:
    best = np.zeros(len(candidates))
    for i in range(len(candidates) - 1):
        if candidates[i].n == candidates[i + 1].n:
            best[i] = max(best[i], scores[i + 1])
            best[i + 1] = max(best[i + 1], scores[i])
    return best


def scaled(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros(len(values))
