"""How good rankings are: the measures of `ir-measures` (trec_eval's), and how sure one can be of a mean or a difference.

Knows nothing about search: rankings are ids, best first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import ir_measures
import numpy as np
from ir_measures import RR, Measure, Qrel, R, ScoredDoc, Success, nDCG

MEASURES: dict[str, Measure] = {
    "nDCG@10": nDCG @ 10,
    "Recall@1": R @ 1,
    "Recall@5": R @ 5,
    "Recall@10": R @ 10,
    "Recall@100": R @ 100,
    "Hit@10": Success @ 10,
    "MRR@10": RR @ 10,
}
BOOTSTRAP_DRAWS = 2_000
RANDOMISATION_DRAWS = 10_000
_SEED = 0
_TOGETHER = 4_000_000  # numbers drawn at once


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over questions and its 95 % interval (percentile bootstrap over the questions)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of one run minus that of another over the same questions; the interval as `Estimate`'s, of the differences.

    `p`: two-sided, of a paired randomisation test (the sign of each question's difference is drawn).
    """

    difference: Estimate
    p: float


def per_question(
    relevant: Mapping[str, Mapping[str, int]], ranked: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """Measure → its value for each question of `relevant`, in that order; 0 where nothing was found."""
    # trec_eval sorts by score alone, so the score is the place: equal scores would be sorted by id.
    run = [
        ScoredDoc(question, document, float(-place))
        for question, documents in ranked.items()
        if question in relevant
        for place, document in enumerate(documents)
    ]
    qrels = [Qrel(question, document, grade) for question, row in relevant.items() for document, grade in row.items()]
    places = {question: place for place, question in enumerate(relevant)}
    names = {measure: name for name, measure in MEASURES.items()}
    values = {name: np.zeros(len(relevant)) for name in MEASURES}
    if run:
        for metric in ir_measures.iter_calc(list(names), qrels, run):
            values[names[metric.measure]][places[metric.query_id]] = metric.value
    return values


def estimate(values: Mapping[str, np.ndarray]) -> dict[str, Estimate]:
    """Each measure's mean with its interval. Values: (questions,), the same questions for all."""
    table = np.column_stack(list(values.values()))
    means = np.concatenate(list(_resampled_means(table)))
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return {name: Estimate(float(table[:, i].mean()), float(low[i]), float(high[i])) for i, name in enumerate(values)}


def compare(mine: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> dict[str, Difference]:
    """Each measure of `mine` minus that of `theirs`: (questions,), the same questions in the same order."""
    differences = {name: mine[name] - theirs[name] for name in mine}
    estimates = estimate(differences)
    return {name: Difference(estimates[name], _randomisation_p(values)) for name, values in differences.items()}


def _resampled_means(table: np.ndarray) -> Iterator[np.ndarray]:
    """(draws, measures) in parts: a draw takes each question as often as chance would with putting back."""
    count = len(table)
    rng = np.random.default_rng(_SEED)
    shares = np.full(count, 1 / count)
    for draws in _parts(BOOTSTRAP_DRAWS, count):
        yield rng.multinomial(count, shares, size=draws) @ table / count


def _randomisation_p(differences: np.ndarray) -> float:
    """Share of draws with a mean as far from 0, the one that was measured counted as one of them."""
    real = differences[differences != 0]
    if not len(real):
        return 1.0
    rng = np.random.default_rng(_SEED)
    observed = abs(real.sum())
    as_far = 0
    for draws in _parts(RANDOMISATION_DRAWS, len(real)):
        signs = 2.0 * rng.integers(0, 2, size=(draws, len(real)), dtype=np.int8) - 1.0
        as_far += int((np.abs(signs @ real) >= observed - 1e-9).sum())
    return (as_far + 1) / (RANDOMISATION_DRAWS + 1)


def _parts(draws: int, width: int) -> Iterator[int]:
    together = max(1, _TOGETHER // width)
    while draws > 0:
        yield min(draws, together)
        draws -= together
