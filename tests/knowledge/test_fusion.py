"""Scores put together: arrays in, arrays out."""

from __future__ import annotations

import numpy as np
import pytest

from knowledge.fusion import (
    BRIDGE_LIMIT,
    Weights,
    above_background,
    bridged,
    likeness,
    min_max,
    relevance,
    share_of_best,
)


def test_meaning_counts_from_the_mean_of_the_language():
    cosines = np.array([0.92, 0.86, 0.87, 0.80])
    backgrounds = np.array([0.84, 0.84, 0.80, 0.80])  # the question's language, twice, and another
    assert above_background(cosines, backgrounds) == pytest.approx([1.0, 0.25, 0.875, 0.0])


def test_the_scale_of_meaning_does_not_move_with_the_number_of_candidates():
    some = above_background(np.array([0.9, 0.85]), np.full(2, 0.8))
    more = above_background(np.array([0.9, 0.85, 0.82, 0.81]), np.full(4, 0.8))
    assert more[:2] == pytest.approx(some)


def test_one_chunk_is_the_best_though_it_is_its_own_mean():
    assert above_background(np.array([0.9]), np.array([0.9])) == pytest.approx([1.0])
    assert above_background(np.array([0.7, 0.8]), np.array([0.9, 0.9])) == pytest.approx([0.0, 1.0])


def test_words_are_a_squared_share_and_none_are_nothing():
    assert share_of_best(np.array([10.0, 5.0, 0.0])) == pytest.approx([1.0, 0.25, 0.0])
    assert share_of_best(np.zeros(3)) == pytest.approx([0.0, 0.0, 0.0])


def test_relevance_is_a_weighted_sum():
    weights = Weights(meaning=0.6, words=0.3, likeness=0.1)
    assert relevance(np.array([1.0, 0.5]), np.array([0.0, 1.0]), weights) == pytest.approx([0.6, 0.6])


def test_likeness_is_one_for_the_best_and_nothing_below_the_mean():
    found = likeness(np.array([1.0, 0.9, 0.7]), np.array([0.8, 0.8, 0.8]), 0)
    assert found == pytest.approx([1.0, 0.5, 0.0])


def test_a_translation_takes_over_the_score_and_stays_behind_the_best():
    scores = np.array([0.3, 0.3, 0.3, 0.3])
    lifted = bridged(scores, np.array([0.99, 0.81, 0.80, 0.80]), 1.0, Weights())
    assert lifted[0] > 0.9 and lifted[0] <= BRIDGE_LIMIT
    assert lifted[1:] == pytest.approx(scores[1:])


def test_without_a_margin_nothing_is_bridged():
    scores = np.array([0.3, 0.4])
    assert bridged(scores, np.array([0.8, 0.8]), 1.0, Weights()) == pytest.approx(scores)
    assert bridged(scores[:1], np.array([0.99]), 1.0, Weights()) == pytest.approx(scores[:1])
    assert bridged(scores, np.array([0.99, 0.7]), 1.0, Weights(bridge=0)) == pytest.approx(scores)


def test_a_bridge_never_lowers_a_score():
    assert bridged(np.array([1.0, 0.2]), np.array([0.99, 0.7]), 0.9, Weights())[0] == 1.0


def test_one_leg_is_scaled_to_its_results():
    assert min_max(np.array([3.0, 1.0, 2.0])) == pytest.approx([1.0, 0.0, 0.5])
    assert min_max(np.array([2.0, 2.0])) == pytest.approx([1.0, 1.0])
    assert min_max(np.array([])).shape == (0,)


@pytest.mark.parametrize("wrong", [{"meaning": 2.0}, {"words": -0.1}, {"likeness": 0.5}, {"bridge": 1.5}])
def test_weights_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="weights must be"):
        Weights(**wrong)
