"""Average precision and recall: worked by hand, by properties, and beside faster-coco-eval."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionrl.metrics.detection import (
    INTERPOLATIONS,
    average_precision,
    coco_ap,
    match_detections,
    precision_recall,
    recall_at,
)

TRUTHS = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], float)


def scene(rng, truths, detections):
    """Truths with jittered detections around them and some anywhere; distinct scores."""
    low = rng.uniform(0, 80, (truths, 2))
    real = np.concatenate([low, low + rng.uniform(8, 40, (truths, 2))], axis=1)
    base = real[rng.integers(0, truths, detections)] if truths else rng.uniform(0, 50, (detections, 4))
    low = base[:, :2] + rng.normal(0, 4, (detections, 2))
    size = np.maximum(base[:, 2:] - base[:, :2] + rng.normal(0, 5, (detections, 2)), 2)
    return real, np.concatenate([low, low + size], axis=1), rng.permutation(detections) / detections + 0.01


def test_a_second_detection_of_one_truth_is_wrong_and_the_higher_score_wins():
    boxes = np.array([[1, 0, 11, 10], [0, 0, 10, 10], [20, 0, 30, 10], [60, 0, 70, 10]])
    assert match_detections(boxes, np.array([0.9, 0.8, 0.1, 0.7]), TRUTHS).tolist() == [
        True,
        False,
        True,
        False,
    ]
    assert match_detections(boxes, np.array([0.8, 0.9, 0.1, 0.7]), TRUTHS).tolist() == [
        False,
        True,
        True,
        False,
    ]
    assert match_detections(boxes, np.ones(4), TRUTHS).tolist() == [True, False, True, False]


def test_the_two_rules_differ_where_the_best_truth_is_taken():
    truths = np.array([[0, 0, 10, 10], [2, 0, 12, 10]])
    boxes = np.array([[0, 0, 10, 10], [0.9, 0, 10.9, 10]])
    scores = np.array([0.9, 0.8])
    assert match_detections(boxes, scores, truths).tolist() == [True, False]
    assert match_detections(boxes, scores, truths, rule="coco").tolist() == [True, True]


def test_the_threshold_itself_is_enough():
    box = np.array([[0, 0, 10, 5]])
    assert match_detections(box, [1.0], TRUTHS, threshold=0.5).tolist() == [True]
    assert match_detections(box, [1.0], TRUTHS, threshold=0.51).tolist() == [False]


def test_average_precision_worked_by_hand():
    """Right, wrong, right of three truths: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3."""
    scores, hits = [0.9, 0.8, 0.7], [True, False, True]
    precision, recall = precision_recall(scores, hits, 3)
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(recall, [1 / 3, 1 / 3, 2 / 3])
    assert average_precision(scores, hits, 3) == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert average_precision(scores, hits, 3, "11") == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)
    assert average_precision(scores, hits, 3, "101") == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)


def test_a_dip_in_precision_is_filled_from_beyond():
    """Wrong, right, right of two truths: precision 0, 1/2, 2/3; the best from recall 0 on is 2/3."""
    for interpolation in INTERPOLATIONS:
        value = average_precision([3, 2, 1], [False, True, True], 2, interpolation)
        assert value == pytest.approx(2 / 3)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_the_empty_cases(interpolation):
    assert np.isnan(average_precision([], [], 0, interpolation))
    assert np.isnan(average_precision([0.5], [False], 0, interpolation))
    assert average_precision([], [], 2, interpolation) == 0
    assert average_precision([0.5], [False], 2, interpolation) == 0
    assert match_detections(np.zeros((0, 4)), [], TRUTHS).tolist() == []
    assert match_detections(TRUTHS, [1, 2], np.zeros((0, 4))).tolist() == [False, False]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(0, 12), st.sampled_from(["voc", "coco"]))
def test_properties_of_matching_and_of_average_precision(seed, truths, detections, rule):
    rng = np.random.default_rng(seed)
    real, boxes, scores = scene(rng, truths, detections)
    hits = match_detections(boxes, scores, real, rule=rule)
    assert hits.sum() <= min(truths, detections)
    order = rng.permutation(detections)
    np.testing.assert_array_equal(match_detections(boxes[order], scores[order], real, rule=rule), hits[order])
    assert hits.sum() >= match_detections(boxes, scores, real, 0.8, rule).sum()
    if not truths:
        return
    for interpolation in INTERPOLATIONS:
        value = average_precision(scores, hits, truths, interpolation)
        assert 0 <= value <= 1
        assert value == average_precision(scores[order], hits[order], truths, interpolation)
        assert value == average_precision(np.exp(scores), hits, truths, interpolation)
        worse = average_precision(np.append(scores, 9.0), np.append(hits, False), truths, interpolation)
        assert worse <= value
        perfect = average_precision(rng.random(truths), np.ones(truths, bool), truths, interpolation)
        assert perfect == pytest.approx(1)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_the_finer_the_points_the_nearer_to_the_area(seed):
    """A step function's mean at n points differs from its area by one part in n - 1 at most."""
    rng = np.random.default_rng(seed)
    hits = rng.random(30) < 0.6
    positives = int(hits.sum() + rng.integers(1, 10))
    area = average_precision(np.arange(30), hits, positives)
    for points in ("11", "101"):
        assert abs(average_precision(np.arange(30), hits, positives, points) - area) <= 1 / (int(points) - 1)


def test_recall_grows_with_the_number_of_proposals():
    proposals = [np.array([[60, 0, 70, 10], [0, 0, 10, 10], [20, 0, 30, 9]], float), np.zeros((0, 4))]
    truths = [TRUTHS, TRUTHS[:1]]
    np.testing.assert_allclose(recall_at(proposals, truths, [0, 1, 2, 3, 100]), [0, 0, 1 / 3, 2 / 3, 2 / 3])
    np.testing.assert_allclose(recall_at(proposals, truths, [3], threshold=0.95), [1 / 3])
    assert np.isnan(recall_at([TRUTHS], [np.zeros((0, 4))], [1, 5])).all()


def images_of(seed, count=12, names=("cat", "dog", "cup")):
    """Random detections and truths of a few images and classes."""
    rng = np.random.default_rng(seed)
    detections, truths = [], []
    for _ in range(count):
        parts = [(name, *scene(rng, int(rng.integers(0, 4)), int(rng.integers(0, 6)))) for name in names]
        truths.append(
            (np.concatenate([part[1] for part in parts]), [n for n, real, _, _ in parts for _ in real])
        )
        detections.append(
            (
                np.concatenate([part[2] for part in parts]),
                rng.random(sum(len(part[3]) for part in parts)),
                [name for name, _, boxes, _ in parts for _ in boxes],
            )
        )
    return detections, truths


def numpy_ap(detections, truths, threshold):
    """COCO's average precision at one threshold by this module, as a mean over the classes."""
    values = []
    for name in sorted({label for _, labels in truths for label in labels}):
        scores, hits, positives = [], [], 0
        for (boxes, score, told), (real, labels) in zip(detections, truths, strict=True):
            mine, its = np.array([t == name for t in told], bool), np.array([n == name for n in labels], bool)
            hits.append(match_detections(boxes[mine], score[mine], real[its], threshold, "coco"))
            scores.append(score[mine])
            positives += int(its.sum())
        values.append(average_precision(np.concatenate(scores), np.concatenate(hits), positives, "101"))
    return np.mean(values)


@pytest.mark.parametrize("seed", range(5))
def test_numpy_and_the_library_agree_exactly(seed):
    detections, truths = images_of(seed)
    table = coco_ap(detections, truths)
    assert 0.05 < table["ap_50"] < 0.95
    assert numpy_ap(detections, truths, 0.5) == pytest.approx(table["ap_50"], abs=1e-9)
    assert numpy_ap(detections, truths, 0.75) == pytest.approx(table["ap_75"], abs=1e-9)
    mean = np.mean([numpy_ap(detections, truths, t) for t in np.linspace(0.5, 0.95, 10)])
    assert mean == pytest.approx(table["ap"], abs=1e-9)
    assert table["ar_1"] <= table["ar_10"] <= table["ar_100"]


def test_coco_of_the_perfect_the_empty_and_the_unasked():
    names = ["a", "b"]
    perfect = coco_ap([(TRUTHS, [0.5, 0.4], names)], [(TRUTHS, names)])
    assert (perfect["ap"], perfect["ar_100"], perfect["ap_small"]) == (1, 1, 1)
    assert np.isnan(perfect["ap_large"])
    none = (np.zeros((0, 4)), [], [])
    assert coco_ap([none], [(TRUTHS, names)])["ap"] == 0
    assert np.isnan(coco_ap([(TRUTHS, [0.5, 0.4], names)], [(np.zeros((0, 4)), [])])["ap"])
    other = (np.concatenate([TRUTHS, TRUTHS]), [0.5, 0.4, 0.9, 0.9], [*names, "c", "c"])
    assert coco_ap([other], [(TRUTHS, names)])["ap"] == 1


def test_a_missing_library_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "visionrl\[detection\]"'):
        coco_ap([(TRUTHS, [1, 1], "ab")], [(TRUTHS, "ab")])


BAD = {
    "threshold must be in": lambda: match_detections(TRUTHS, [1, 2], TRUTHS, threshold=0),
    "rule must be one of voc, coco, got 'x'": lambda: match_detections(TRUTHS, [1, 2], TRUTHS, rule="x"),
    "scores must be 2 finite numbers": lambda: match_detections(TRUTHS, [1], TRUTHS),
    r"finite numbers, one a detection, got \[1.0, nan\]": lambda: match_detections(
        TRUTHS, [1, np.nan], TRUTHS
    ),
    "interpolation must be one of all, 11, 101, got '12'": lambda: average_precision([], [], 1, "12"),
    "positives must be >= the number of hits, 1, got 0": lambda: average_precision([1], [True], 0),
    "proposals and truths must be one array an image each, got 1 and 0": lambda: recall_at([TRUTHS], [], [1]),
    "counts >= 0, got 0.5 and": lambda: recall_at([TRUTHS], [TRUTHS], [-1]),
    "one entry an image, got 1 and 0": lambda: coco_ap([(TRUTHS, [1, 1], "ab")], []),
    "labels must be one a box, got 1 for 2": lambda: coco_ap([(TRUTHS, [1, 1], "a")], [(TRUTHS, "ab")]),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_named(message):
    with pytest.raises(ValueError, match=message):
        BAD[message]()
