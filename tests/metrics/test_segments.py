"""Metrics of segments, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from visionrl.metrics.segments import average_precision, mean_average_precision, temporal_iou


def test_iou_of_segments() -> None:
    found = temporal_iou(np.array([[0, 10], [5, 5]]), np.array([[5, 15], [0, 10], [20, 30]]))
    assert np.allclose(found, [[1 / 3, 1, 0], [0, 0, 0]])


def test_each_segment_is_found_once() -> None:
    truth = [np.array([[0.0, 10.0]])]
    found = [(np.array([[0.0, 10.0], [0.0, 9.0]]), np.array([0.5, 0.9]))]
    assert average_precision(found, truth, 0.5) == 1.0  # the sure one finds it, the other comes after


def test_a_wrong_one_before_halves_the_precision() -> None:
    truth = [np.array([[0.0, 10.0]]), np.zeros((0, 2))]
    wrong = np.array([[0.0, 10.0]]), np.array([0.9])
    found = [(np.array([[0.0, 10.0]]), np.array([0.5])), wrong]
    assert average_precision(found, truth, 0.5) == 0.5


def test_missed_segments_and_thresholds_count() -> None:
    truth = [{"a": np.array([[0.0, 10.0], [20.0, 30.0]]), "b": np.array([[0.0, 4.0]])}]
    found = [{"a": (np.array([[0.0, 6.0]]), np.array([0.9])), "b": (np.array([[0.0, 4.0]]), np.array([0.1]))}]
    values = mean_average_precision(found, truth, (0.5, 0.7))
    assert values[0.5] == pytest.approx((0.5 + 1) / 2)
    assert values[0.7] == pytest.approx((0 + 1) / 2)


def test_without_segments_there_is_no_precision() -> None:
    assert np.isnan(average_precision([(np.zeros((0, 2)), np.zeros(0))], [np.zeros((0, 2))], 0.5))
    assert np.isnan(mean_average_precision([{}], [{}])[0.5])
