"""Metrics of summaries, against SciPy, brute force and cases by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from visionrl.metrics.summary import coverage, f_score, kendall_tau, keyshot_f, knapsack, spearman_rho


@pytest.mark.parametrize("seed", range(5))
def test_tau_and_rho_are_those_of_scipy_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, users = rng.integers(0, 4, 17).astype(float), rng.integers(1, 6, (6, 17)).astype(float)
    assert np.allclose(kendall_tau(scores, users), [kendalltau(scores, user).statistic for user in users])
    assert np.allclose(spearman_rho(scores, users), [spearmanr(scores, user).statistic for user in users])


def test_constant_scores_have_no_correlation() -> None:
    users = np.array([[1.0, 2, 3], [2, 2, 2]])
    for metric in (kendall_tau, spearman_rho):
        assert metric(np.ones(3), users).tolist() == [0, 0]
        assert metric(np.arange(3.0), users).round(9).tolist() == [1, 0]


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
    assert coverage(seen, important) == 0
    assert coverage(seen, important, 1) == 0.5
    assert coverage(seen, important, 2) == 1
    assert coverage(seen, np.zeros(10, bool), 1) == 1
