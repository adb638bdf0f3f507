"""Metrics and rewards against their definitions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from visionrl import metrics, rewards

unit = st.floats(0, 1, allow_nan=False)


def test_success_score_by_hand():
    np.testing.assert_allclose(
        metrics.success_score(np.array([0.0, 0.5, 0.51, 1.0])), np.array([0, 10, 11, 20]) / 21
    )


@given(st.lists(unit, min_size=1, max_size=40))
def test_success_score_averages_to_the_area_under_the_otb_curve(overlaps):
    iou = np.array(overlaps)
    curve = [(iou > t).mean() for t in np.linspace(0, 1, 21)]
    np.testing.assert_allclose(metrics.success_score(iou).mean(), np.mean(curve), atol=1e-9)


def test_within_counts_the_edge_and_leaves_nan_out():
    np.testing.assert_array_equal(metrics.within(np.array([0, 2, 2.001, np.nan]), 2.0), [1, 1, 0, 0])


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30), st.floats(0.1, 10))
def test_progress_telescopes(distances, scale):
    d = np.array(distances)
    total = rewards.progress(d[:-1], d[1:], scale).sum()
    np.testing.assert_allclose(total, (d[0] - d[-1]) / scale, atol=1e-6)


def test_improved_is_the_sign_of_the_change():
    np.testing.assert_array_equal(
        rewards.improved(np.array([0.5, 0.5, 0.5]), np.array([0.6, 0.5, 0.1])), [1, 0, -1]
    )
