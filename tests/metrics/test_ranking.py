"""AUROC and average precision by cases by hand, and by their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from visionrl.metrics.ranking import auroc, average_precision, counted_auroc


def test_cases_by_hand() -> None:
    scores, positive = [0.1, 0.4, 0.35, 0.8], [False, False, True, True]
    assert auroc(scores, positive) == 0.75  # as in scikit-learn's documentation
    assert average_precision(scores, positive) == pytest.approx(0.8333333)
    assert auroc([1, 2], [False, True]) == 1 and auroc([2, 1], [False, True]) == 0


def test_equal_scores_share_what_they_have() -> None:
    assert auroc([1, 1, 1], [True, False, False]) == 0.5
    assert average_precision([1, 1, 1, 1], [True, False, False, False]) == 0.25
    assert auroc([1, 2, 2, 3], [False, True, False, True]) == (0.5 + 1 + 1 + 1) / 4


def test_one_class_alone_is_unknown() -> None:
    for positive in (np.ones(3, bool), np.zeros(3, bool)):
        assert np.isnan(auroc(np.arange(3), positive)) and np.isnan(average_precision(np.arange(3), positive))


def test_all_pairs_agree() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores, positive = rng.integers(0, 8, 30), rng.random(30) < 0.4
        up, down = scores[positive][:, None], scores[~positive][None]
        assert auroc(scores, positive) == pytest.approx(((up > down) + 0.5 * (up == down)).mean())
        steps = [(scores >= s, s) for s in scores[positive]]
        assert average_precision(scores, positive) == pytest.approx(
            np.mean([positive[x].mean() for x, _ in steps])
        )


def test_counts_give_the_same() -> None:
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 9, 200), rng.random(200) < 0.2
    counts = [np.bincount(scores[x], minlength=9) for x in (positive, ~positive)]
    assert counted_auroc(*counts) == pytest.approx(auroc(scores, positive))
