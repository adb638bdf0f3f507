"""Metrics of segments, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from visionrl.metrics.segments import (
    THRESHOLDS,
    average_precision,
    interval_iou,
    mean_average_precision,
    segment_metrics,
    segment_records,
    temporal_iou,
)


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


def test_pairs_overlap_as_sets_do_and_nan_does_not() -> None:
    first = np.array([[0.0, 10.0], [5.0, 5.0], [0.0, np.nan]])
    second = np.array([[5.0, 15.0], [0.0, 10.0], [0.0, 4.0]])
    assert np.allclose(interval_iou(first, second), [1 / 3, 0, 0])


def test_records_of_single_videos_give_the_mean_average_precision_of_all() -> None:
    rng, names, videos, truths, rows = np.random.default_rng(0), ("a", "b", "c"), [], [], []
    for _ in range(30):
        starts, kinds = rng.uniform(0, 60, 3), rng.integers(0, 2, 3)
        truth = np.stack([starts, starts + rng.uniform(5, 20, 3)], axis=1)
        segments = np.concatenate([truth + rng.normal(0, 3, (3, 2)), [[0.0, 9.0]]])
        labels = np.concatenate([np.where(rng.random(3) < 0.7, kinds, 2 - kinds), [1]])
        scores = rng.random(4)
        pairs = {name: labels == number for number, name in enumerate(names)}
        videos.append({name: (segments[own], scores[own]) for name, own in pairs.items()})
        truths.append({name: truth[kinds == number] for number, name in enumerate(names)})
        padded = np.concatenate([segments, np.full((2, 2), np.nan)])
        rows.append(
            segment_records(
                padded, np.append(scores, [np.nan] * 2), np.append(labels, [-1, -1]), truth, kinds, 3
            )
        )
    found = segment_metrics({key: np.stack([row[key] for row in rows]) for key in rows[0]})
    wanted = mean_average_precision(videos, truths)
    for threshold in THRESHOLDS:
        assert found[f"map_{round(100 * threshold)}"] == pytest.approx(wanted[threshold])
    assert found["map"] == pytest.approx(np.mean(list(wanted.values())))
