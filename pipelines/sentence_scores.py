"""How well each sentence answers, by its words and its passage: features and the log odds that they add up to.

    words     BM25 of the sentence, words that stand only in its heading at half weight, 0..1 over the candidates
    covered   share of the question's word weight in the sentence or its heading; `said`: in the sentence alone
    meaning   cosine similarity of its passage, 0..1 over the passages;  fused  the search's score below the best one's
    rank      1 / rank of its passage
    type      1 if the question asks for a date or a number and the sentence holds one

The weights are a conditional logit's: those that make the sentence with the answer likeliest among all candidates, on
1,583 questions of KorQuAD and SQuAD, halves of the passages against each other. The passage's BM25, the neighbours'
scores, length and place in the passage changed nothing there and were left out. Knows nothing about what is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from knowledge.types import Evidence
from pipelines.quotable import Quotable

CONTEXT_WEIGHT = 0.5  # of a word that stands only in the heading, or only in the question before this one
WEIGHTS = {"words": 2.5, "covered": 2.1, "said": 1.9, "meaning": 1.2, "fused": 0.9, "rank": 1.2, "type": 1.1}
# Sentences of a passage whose others answer well, too, come before lone ones: fewer passages, read more easily.
_TOGETHER = 0.5
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


def covered(words: Mapping[str, int], weights: Mapping[str, float]) -> float:
    """Share of the question's weight that stands in `words`, 0..1."""
    # Pairs of syllables meet by chance ("니다"); only whole words count here.
    whole = {lexeme: weight for lexeme, weight in weights.items() if not lexeme.startswith("#")}
    total = sum(whole.values())
    return sum(weight for lexeme, weight in whole.items() if lexeme in words) / total if total else 0.0


def passage_features(candidates: Sequence[Quotable], evidence: Sequence[Evidence]) -> dict[str, np.ndarray]:
    """ "meaning", "fused" and "rank" of each candidate's passage."""
    shown = [evidence[item.n - 1] for item in candidates]
    similar = np.array([item.scores.meaning if item.scores.meaning is not None else np.nan for item in shown])
    fused = np.array([item.scores.fused for item in shown])
    return {
        "meaning": np.nan_to_num(scaled(similar)) if np.isfinite(similar).any() else np.zeros(len(shown)),
        "fused": fused - fused.max(),
        "rank": 1 / np.array([item.n for item in candidates], dtype=float),
    }


def log_odds(features: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.sum([weight * features[name] for name, weight in WEIGHTS.items()], axis=0)


def together(candidates: Sequence[Quotable], scores: np.ndarray) -> np.ndarray:
    """`scores`, raised by the passage's share of all that the candidates together say."""
    likely = np.exp(scores - scores.max())
    of_passage: Counter[int] = Counter()
    for item, share in zip(candidates, likely, strict=True):
        of_passage[item.n] += share
    return scores + _TOGETHER * np.log([of_passage[item.n] for item in candidates])


def scaled(values: np.ndarray) -> np.ndarray:
    """`values` from 0 to 1; nan stays."""
    low, high = np.nanmin(values), np.nanmax(values)
    return (values - low) / (high - low) if high > low else np.zeros(len(values))
