"""Fits the checker's score: a ridge-penalised logistic regression and two thresholds, on one half of the cases.

NLI pairs and derived claims weigh the same in total. Knows nothing about how features are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eval.checker_sets import Case
from pipelines.checking.scoring import Model, Models

_RIDGE = 5.0
_ALARMS = 0.02  # share of true derived claims that are unsupported, by the rules or the score
_ENTAILED_ALARMS = 0.11  # … and of entailed NLI claims: on these, free paraphrases, the rules alone alarm on 9 %
_SOFT = 0.25  # share of entailed NLI claims that are shown as "check this" or as unsupported


def fitted(
    cases: Sequence[Case],
    words: Sequence[Mapping[str, float]],
    meaning: Sequence[Mapping[str, float]],
    embedding: str,
    *,
    alarms: Sequence[bool],
) -> Models:
    """`alarms`: whether a decisive rule fired."""
    return Models(_fit(cases, words, alarms), _fit(cases, meaning, alarms), embedding)


def _fit(cases: Sequence[Case], rows: Sequence[Mapping[str, float]], alarms: Sequence[bool]) -> Model:
    chosen = [
        i for i, case in enumerate(cases) if case.fits and case.data != "own" and case.kind != "human" and rows[i]
    ]
    names = list(rows[chosen[0]])
    features = np.array([[rows[i][name] for name in names] for i in chosen])
    labels = np.array([cases[i].is_true for i in chosen], dtype=float)
    nli = np.array([cases[i].data == "klue_nli" for i in chosen])
    weights = np.where(nli, 0.5 / max(nli.sum(), 1), 0.5 / max((~nli).sum(), 1)) * len(chosen)
    bias, slopes = logistic(features, labels, weights=weights, ridge=_RIDGE)
    scores = 1 / (1 + np.exp(-np.clip(bias + features @ slopes, -50, 50)))
    fired = np.array([alarms[i] for i in chosen])
    true = ~nli & (labels == 1)
    entailed = nli & (labels == 1)
    unsupported = min(
        _threshold(scores[true], fired[true], _ALARMS), _threshold(scores[entailed], fired[entailed], _ENTAILED_ALARMS)
    )
    soft = _threshold(scores[entailed], fired[entailed], _SOFT)
    rounded = {name: round(float(slope), 4) for name, slope in zip(names, slopes, strict=True)}
    return Model(round(float(bias), 4), rounded, round(unsupported, 4), round(max(soft, unsupported), 4))


def _threshold(scores: np.ndarray, fired: np.ndarray, share: float) -> float:
    """The score below which, with those that fired, `share` of the claims lie."""
    left = max(0.0, share - float(fired.mean()))
    quiet = np.sort(scores[~fired])
    return float(quiet[int(left * len(scores))]) if len(quiet) else 0.0


def logistic(
    features: np.ndarray, labels: np.ndarray, *, weights: np.ndarray, ridge: float
) -> tuple[float, np.ndarray]:
    """Bias and slopes (d,) for features (n, d), by Newton's method; constant features get 0."""
    mean, scale = features.mean(0), features.std(0)
    varies = scale > 1e-9
    scale = np.where(varies, scale, 1.0)
    design = np.column_stack([np.ones(len(features)), (features - mean) / scale])
    penalty = np.diag([1e-6, *[ridge] * features.shape[1]])
    w = np.zeros(design.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ w, -50, 50)))
        hessian = (design * (weights * p * (1 - p))[:, None]).T @ design + penalty
        w -= np.linalg.solve(hessian, design.T @ (weights * (p - labels)) + penalty @ w)
    slopes = np.where(varies, w[1:] / scale, 0.0)
    return float(w[0] - slopes @ mean), slopes


def auroc(scores: np.ndarray, true: np.ndarray) -> float:
    """Probability that a true claim scores above a false one; ties count half. NaN where one kind is missing."""
    positive, negative = np.sort(scores[true]), np.sort(scores[~true])
    if not len(positive) or not len(negative):
        return float("nan")
    below = np.searchsorted(negative, positive, side="left")
    upto = np.searchsorted(negative, positive, side="right")
    return float((below + upto).mean() / 2 / len(negative))
