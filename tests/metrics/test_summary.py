"""Metrics of summaries, against brute force and cases by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from visionrl.metrics.summary import centred_ranks, coverage, f_score, keyshot_f, knapsack


def test_ranks_have_a_mean_of_zero_and_equal_values_share_theirs() -> None:
    assert centred_ranks(np.array([[3.0, 1, 1, 7], [2, 2, 2, 2]])).tolist() == [[0.5, -1, -1, 1.5], [0] * 4]


@pytest.mark.parametrize("seed", range(5))
def test_the_knapsack_is_the_best_set_that_fits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, sizes = rng.random(9), rng.integers(1, 7, 9)
    best = max(
        float(values[np.array(pick, bool)].sum())
        for pick in product((0, 1), repeat=9)
        if sizes[np.array(pick, bool)].sum() <= 13
    )
    chosen = knapsack(values, sizes, 13)
    assert sizes[chosen].sum() <= 13 and values[chosen].sum() == pytest.approx(best)


def test_nothing_fits_into_no_room() -> None:
    assert not knapsack([1.0, 2.0], [3, 4], 2).any()


def test_f_of_the_same_pieces_is_one_and_of_others_zero() -> None:
    sizes, first = np.array([4, 4, 2]), np.array([True, False, False])
    assert f_score(first, first, sizes) == 1
    assert f_score(first, ~first, sizes) == 0
    assert f_score(first, np.array([True, True, False]), sizes) == pytest.approx(2 * 4 / 12)


def test_the_mean_over_users_is_below_the_largest() -> None:
    sizes, scores = np.full(20, 5), np.arange(20.0)
    mean, most = keyshot_f(scores, np.stack([scores, scores[::-1]]), sizes)
    assert (mean, most) == (0.5, 1.0)


def test_constant_scores_have_the_f_of_chance() -> None:
    sizes, users = np.full(20, 5), np.random.default_rng(0).random((4, 20))
    assert 0 < keyshot_f(np.zeros(20), users, sizes, repeats=20)[0] < 0.4


def test_coverage_counts_important_frames_near_seen_ones() -> None:
    seen, important = np.zeros(10, bool), np.zeros(10, bool)
    seen[[0, 5]], important[[1, 3, 6, 7]] = True, True
    found = [coverage(seen[None], important[None], tolerance)[0] for tolerance in (0, 1, 2, 20)]
    assert found == [0, 0.5, 1, 1]
    assert coverage(seen[None], np.zeros((1, 10), bool), 1) == 1
