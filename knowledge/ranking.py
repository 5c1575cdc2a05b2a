"""Candidates to a ranked list: scores from vectors and BM25, the cap per document, duplicates told apart.

Knows nothing about SQL; the scores themselves are knowledge/fusion.py's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np

from knowledge.background import Background, Pool
from knowledge.candidates import Rows
from knowledge.fusion import (
    Weights,
    above_background,
    bridged,
    likeness,
    min_max,
    relevance,
    share_of_best,
    with_phrases,
)
from knowledge.types import Scores


@dataclass(frozen=True, slots=True)
class Ranked:
    """Scores of candidates, all (n,) and parallel to `rows`. `order`: best first. `best`: of both legs, before the bridge.

    `cosines`: None where there was no embedding.
    """

    rows: Rows
    order: tuple[int, ...]
    best: int
    cosines: np.ndarray | None
    meaning: np.ndarray
    words: np.ndarray
    likeness: np.ndarray
    bridged: np.ndarray
    fused: np.ndarray
    phrases: np.ndarray

    def scores(self, at: int) -> Scores:
        words = float(self.rows.words[at])
        meaning = None if self.cosines is None else float(self.cosines[at])
        return Scores(meaning, words if words > 0 else None, float(self.fused[at]))


def rank_one_leg(rows: Rows, embedding: np.ndarray | None) -> Ranked:
    """By cosine if there is an embedding, else by BM25."""
    cosines = None if embedding is None else rows.vectors @ embedding
    fused = min_max(rows.words if cosines is None else cosines)
    nothing = np.zeros(len(rows))
    meaning, words = (nothing, fused) if cosines is None else (fused, nothing)
    order = _order(rows, fused, rows.words if cosines is None else cosines)
    return Ranked(rows, order, order[0] if order else 0, cosines, meaning, words, nothing, nothing, fused, nothing)


def rank_both(
    rows: Rows, embedding: np.ndarray, background: Background, weights: Weights, *, best: int | None = None
) -> Ranked:
    """Every candidate scored by both legs, and by how near it is to the best one. `best`: known already."""
    cosines = rows.vectors @ embedding
    if not len(rows):
        return rank_one_leg(rows, embedding)
    pool_of = pools_of(rows, background.pools)
    meaning = above_background(cosines, background.means(background.pools, embedding)[pool_of])
    words = share_of_best(rows.words)
    relevant = relevance(meaning, words, weights)
    if best is None:
        best = _order(rows, relevant, cosines)[0]
    means = background.means(background.pools, rows.vectors[best])[pool_of]
    near = likeness(rows.vectors @ rows.vectors[best], means, best)
    fused = relevant + weights.likeness * near
    nothing = np.zeros(len(rows))
    return Ranked(rows, _order(rows, fused, cosines), best, cosines, meaning, words, near, nothing, fused, nothing)


def add_phrases(ranked: Ranked, shares: Mapping[UUID, float], weights: Weights) -> Ranked:
    """`shares`: of the question's phrases that chunks have, by id; what is not in it has none."""
    assert ranked.cosines is not None
    phrases = np.array([shares.get(key, 0.0) for key in ranked.rows.ids])
    fused = with_phrases(ranked.fused, phrases, weights)
    return replace(ranked, order=_order(ranked.rows, fused, ranked.cosines), fused=fused, phrases=phrases)


def bridge(ranked: Ranked, neighbours: Sequence[UUID], weights: Weights) -> Ranked:
    """What says the same as the best one in another language: `neighbours` are its nearest there, all among the rows."""
    assert ranked.cosines is not None
    places = {key: at for at, key in enumerate(ranked.rows.ids)}
    at = [places[key] for key in neighbours]
    similarities = ranked.rows.vectors[at] @ ranked.rows.vectors[ranked.best]
    fused = ranked.fused.copy()
    fused[at] = bridged(ranked.fused[at], similarities, float(ranked.fused[ranked.best]), weights)
    return replace(ranked, order=_order(ranked.rows, fused, ranked.cosines), fused=fused, bridged=fused - ranked.fused)


def pools_of(rows: Rows, pools: Sequence[Pool]) -> np.ndarray:
    """Index of each row's pool; what is of a pool that the sample did not show counts to the largest: int (n,)."""
    largest = max(range(len(pools)), key=lambda at: pools[at].share)
    of = {pool.is_korean: at for at, pool in enumerate(pools)}
    return np.array([of.get(bool(korean), largest) for korean in rows.korean], int)


def capped_last(ranked: Ranked, per_document: int | None) -> tuple[list[int], set[int]]:
    """The order with what exceeds `per_document` moved behind all else, and what that is."""
    if per_document is None:
        return list(ranked.order), set()
    within, beyond = split_by_cap([ranked.rows.documents[at] for at in ranked.order], per_document)
    return [ranked.order[place] for place in within + beyond], {ranked.order[place] for place in beyond}


def split_by_cap(documents: Sequence[Hashable], per_document: int) -> tuple[list[int], list[int]]:
    """Places of the first `per_document` passages of each document, and those of its others; each in order.

    These go behind, not out: with few documents their further passages are still the best there is.
    """
    seen: Counter[Hashable] = Counter()
    within: list[int] = []
    beyond: list[int] = []
    for place, document in enumerate(documents):
        seen[document] += 1
        (within if seen[document] <= per_document else beyond).append(place)
    return within, beyond


def folded_text(text: str) -> str:
    """Texts that differ in white space and case alone are one."""
    return " ".join(text.split()).casefold()


def _order(rows: Rows, scores: np.ndarray, ties: np.ndarray) -> tuple[int, ...]:
    """Best first; equal ones by `ties`, then by id, so that the same index gives the same list."""
    return tuple(sorted(range(len(rows)), key=lambda at: (-scores[at], -ties[at], rows.ids[at])))
