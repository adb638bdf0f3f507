"""Boundary scores and numbers of clicks."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from visionrl.metrics.segmentation import Clicks, OutlineScores, clicks_to, distance_scores, mean_iou_of

EMPTY, SQUARE = np.zeros((30, 40), bool), np.zeros((30, 40), bool)
SQUARE[5:15, 5:15] = True


def test_equal_masks_are_perfect_and_empty_ones_have_a_value():
    perfect, worst = (
        {"boundary_f": 1, "hd95_px": 0, "assd_px": 0},
        {"boundary_f": 0, "hd95_px": 50, "assd_px": 50},
    )
    assert distance_scores(SQUARE, SQUARE) == perfect
    assert distance_scores(EMPTY, EMPTY) == perfect
    assert distance_scores(SQUARE, EMPTY) == distance_scores(EMPTY, SQUARE) == worst


def test_a_shift_by_three_pixels_is_seen():
    moved = np.roll(SQUARE, 3, axis=1)
    found = distance_scores(SQUARE, moved)
    assert found["hd95_px"] == 3
    assert 0 < found["assd_px"] < 3
    assert found["boundary_f"] < 1 == distance_scores(SQUARE, moved, tolerance=3)["boundary_f"]


def test_clicks_count_from_the_first_and_are_twenty_where_never():
    scores = np.array([[0.3, 0.85, 0.9], [0.86, np.nan, np.nan], [0.1, 0.2, np.nan]])
    assert clicks_to(scores, 0.85, first=2).tolist() == [3, 2, 20]
    metric = Clicks(lambda ends: ends.scores, first=2)
    records = metric.record(SimpleNamespace(scores=scores))
    assert metric.compute(records) == pytest.approx({"noc85": 25 / 3, "noc90": 44 / 3})


def test_outline_scores_are_means_over_episodes():
    metric = OutlineScores(lambda ends: (ends.mask, ends.truth))
    ends = SimpleNamespace(mask=np.stack([SQUARE, EMPTY]), truth=np.stack([SQUARE, SQUARE]))
    assert metric.compute(metric.record(ends)) == {"boundary_f": 0.5, "hd95_px": 25, "assd_px": 25}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("monai") is None, reason="MONAI is not installed")
def test_distances_agree_with_monai():
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    rng = np.random.default_rng(0)
    for _ in range(10):
        noise = rng.standard_normal((2, 48, 64)).astype(np.float32)
        first, second = (cv2.GaussianBlur(one, (0, 0), 5) > 0 for one in noise)
        planes = [torch.asarray(one)[None, None].float() for one in (first, second)]
        found = distance_scores(first, second)
        assert found["hd95_px"] == pytest.approx(
            float(compute_hausdorff_distance(*planes, include_background=True, percentile=95)), abs=1e-4
        )
        assert found["assd_px"] == pytest.approx(
            float(compute_average_surface_distance(*planes, include_background=True, symmetric=True)),
            abs=1e-4,
        )


def test_mean_iou_of_a_confusion_matrix_leaves_out_classes_that_are_absent_from_the_truth():
    confusion = np.array(
        [[50.0, 5, 0], [10, 20, 0], [4, 1, 0]]
    )  # predicted by actual; nothing is of the third class
    first, second = 50 / (50 + 5 + 10 + 4), 20 / (20 + 10 + 5 + 1)
    np.testing.assert_allclose(mean_iou_of(confusion), (first + second) / 2)
    np.testing.assert_allclose(mean_iou_of(np.stack([confusion, np.diag([3.0, 2, 1])]))[1], 1)
