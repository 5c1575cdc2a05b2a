"""How good answers and their citations are: ALCE's citation recall and precision, answer match, and shares with intervals.

ALCE (arXiv 2305.14627, section 3): a sentence has recall 1 if it cites something and all that it cites, together,
entails it. A citation is precise if its sentence has recall 1 and it is not irrelevant; irrelevant is one that does not
entail the sentence by itself while the others do without it. An answer has the means over its sentences and over its
citations, as in ALCE's program; one that cites nothing has precision 0. Knows nothing about who judges entailment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from eval.quotes_answers import normalised

BOOTSTRAP_DRAWS = 2_000
_SEED = 0
_TOGETHER = 4_000_000  # numbers drawn at once

# Whether the passages with these footnote numbers, together, entail the sentence with this index.
Entails = Callable[[int, frozenset[int]], bool]


@dataclass(frozen=True, slots=True)
class CitationScores:
    """Of one answer. `recall`, `precision`: 0..1. `citations`: counted once for each sentence that has them."""

    recall: float
    precision: float
    sentences: int
    citations: int
    irrelevant: int


def citation_scores(cited: Sequence[Sequence[int]], entails: Entails) -> CitationScores | None:
    """`cited`: the footnote numbers of each sentence. None for an answer without sentences: nothing is claimed."""
    if not cited:
        return None
    recalled = precise = irrelevant = 0
    for i, numbers in enumerate(cited):
        together = frozenset(numbers)
        if not together or not entails(i, together):
            continue
        recalled += 1
        needless = [n for n in together if _is_irrelevant(i, n, together, entails)]
        irrelevant += len(needless)
        precise += len(together) - len(needless)
    citations = sum(len(set(numbers)) for numbers in cited)
    return CitationScores(
        recall=recalled / len(cited),
        precision=precise / citations if citations else 0.0,
        sentences=len(cited),
        citations=citations,
        irrelevant=irrelevant,
    )


def _is_irrelevant(i: int, n: int, together: frozenset[int], entails: Entails) -> bool:
    others = together - {n}
    return bool(others) and not entails(i, frozenset({n})) and entails(i, others)


def overlap_f1(answer: str, references: Sequence[str], *, language: str) -> float:
    """F1 of the words (SQuAD) or, in Korean, of the characters without spaces (KorQuAD) shared with the best reference."""
    units = _units(answer, language)
    return max((_f1(units, _units(text, language)) for text in references), default=0.0)


def _units(text: str, language: str) -> Counter[str]:
    plain = normalised(text)
    return Counter(plain.replace(" ", "") if language == "ko" else plain.split())


def _f1(mine: Counter[str], theirs: Counter[str]) -> float:
    shared = (mine & theirs).total()
    return 2 * shared / (mine.total() + theirs.total()) if shared else 0.0


@dataclass(frozen=True, slots=True)
class Share:
    """The ratio of two sums over questions, with its 95 % interval (percentile bootstrap over the questions).

    `counted`: questions that have a say in it.
    """

    value: float
    low: float
    high: float
    counted: int


def share(pairs: Sequence[tuple[float, float]]) -> Share | None:
    """Of each question what adds to the sum above and to the one below; None where the sum below is 0."""
    table = np.array(pairs, np.float64).reshape(-1, 2)
    above, below = table.sum(axis=0)
    if not below:
        return None
    ratios = _resampled(table)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Share(float(above / below), float(low), float(high), len(table))


def _resampled(table: np.ndarray) -> np.ndarray:
    """A ratio for each draw that has something below; a draw takes each question as often as chance would."""
    count = len(table)
    rng = np.random.default_rng(_SEED)
    ratios: list[np.ndarray] = []
    left = BOOTSTRAP_DRAWS
    while left > 0:
        draws = min(left, max(1, _TOGETHER // count))
        sums = rng.multinomial(count, np.full(count, 1 / count), size=draws) @ table
        some = sums[sums[:, 1] > 0]
        ratios.append(some[:, 0] / some[:, 1])
        left -= draws
    return np.concatenate(ratios)
