"""Scores that rank what is sought above the rest: area under the ROC curve, average precision.

Both are of ranks alone; equal scores share what they have together. Where there is one class only both are NaN.
"""

from __future__ import annotations

import numpy as np


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve: how often a positive has a higher score than a negative, a tie counting one half.

    Args:
        scores: (N,) real.
        positive: (N,) bool.

    Returns:
        In [0, 1]; NaN where all N are of one class.
    """
    _, place = np.unique(np.asarray(scores, float), return_inverse=True)
    positive = np.asarray(positive, bool)
    return counted_auroc(
        np.bincount(place[positive], minlength=1), np.bincount(place[~positive], minlength=1)
    )


def counted_auroc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """The same of counts of positives and of negatives at each score, in the order of the scores."""
    length = max(len(positives), len(negatives))
    up, down = (np.pad(np.asarray(x, float), (0, length - len(x))) for x in (positives, negatives))
    if not up.sum() or not down.sum():
        return float("nan")
    below = np.cumsum(down) - down
    return float((up * (below + down / 2)).sum() / (up.sum() * down.sum()))


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """The mean of the precision at the score of each positive, without interpolation.

    Those of one score are taken together, as scikit-learn does.

    Args:
        scores: (N,) real.
        positive: (N,) bool.

    Returns:
        In [0, 1]; NaN where all N are of one class.
    """
    positive = np.asarray(positive, bool)
    if positive.all() or not positive.any():
        return float("nan")
    _, place = np.unique(-np.asarray(scores, float), return_inverse=True)
    every, right = np.bincount(place), np.bincount(place, positive)
    precision = np.cumsum(right) / np.cumsum(every)
    return float((precision * right).sum() / right.sum())
