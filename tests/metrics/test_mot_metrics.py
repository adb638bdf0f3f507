"""Scores of many objects at once: by hand, frozen, and against TrackEval where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from visionrl import ops
from visionrl.metrics.mot import boxes_per_frame, mot_scores

NAMES = {
    "hota": "HOTA",
    "det_a": "DetA",
    "ass_a": "AssA",
    "loc_a": "LocA",
    "mota": "MOTA",
    "motp": "MOTP",
    "idf1": "IDF1",
    "id_switches": "IDSW",
    "fragmentations": "Frag",
}

# What TrackEval 1.3.0 says of ``scene(seed)``: {name: expected(*scene(seed))[name] for name in NAMES}
GOLDEN = {
    0: {
        "hota": 0.291526788,
        "det_a": 0.393138617,
        "ass_a": 0.218082385,
        "loc_a": 0.737324058,
        "mota": 0.305732484,
        "motp": 0.678118866,
        "idf1": 0.482517483,
        "id_switches": 17.0,
        "fragmentations": 34.0,
    },
    1: {
        "hota": 0.27865212,
        "det_a": 0.397882848,
        "ass_a": 0.196611951,
        "loc_a": 0.746436752,
        "mota": 0.217391304,
        "motp": 0.704401165,
        "idf1": 0.416184971,
        "id_switches": 9.0,
        "fragmentations": 17.0,
    },
    2: {
        "hota": 0.364528355,
        "det_a": 0.43075588,
        "ass_a": 0.310782408,
        "loc_a": 0.747294578,
        "mota": 0.389937107,
        "motp": 0.697031354,
        "idf1": 0.597315436,
        "id_switches": 7.0,
        "fragmentations": 30.0,
    },
    3: {
        "hota": 0.305842942,
        "det_a": 0.425909122,
        "ass_a": 0.222493784,
        "loc_a": 0.73398819,
        "mota": 0.37804878,
        "motp": 0.675120418,
        "idf1": 0.458598726,
        "id_switches": 14.0,
        "fragmentations": 25.0,
    },
}


def box(x, y=0.0):
    return [x, y, x + 10.0, y + 10.0]


def frames(*rows):
    """Per frame a mapping of identity to left edge."""
    return [
        (np.array(list(row), int), np.array([box(x) for x in row.values()]).reshape(-1, 4)) for row in rows
    ]


def scene(seed):
    """Objects on a small field, and tracks that jitter, drop out, swap and imagine."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    objects = int(rng.integers(1, 9))
    spot, speed = rng.uniform(0, 40, (objects, 2)), rng.uniform(-2, 2, (objects, 2))
    names = rng.permutation(50)[:objects]
    for _ in range(25):
        spot = spot + speed
        here = rng.random(objects) < 0.9
        truth.append((np.flatnonzero(here) * 3 + 5, np.hstack([spot, spot + 10])[here]))
        if rng.random() < 0.1:
            names = rng.permutation(names)
        seen = rng.random(objects) < 0.8
        guess = spot + rng.normal(0, 1.5, spot.shape)
        ids, boxes = names[seen], np.hstack([guess, guess + 10])[seen]
        if rng.random() < 0.3:
            place = rng.uniform(0, 40, 2)
            ids, boxes = np.append(ids, 77), np.vstack([boxes, np.append(place, place + 10)])
        if rng.random() < 0.1:
            ids, boxes = ids[:0], boxes[:0]
        found.append((ids, boxes))
    return truth, found


def expected(truth, found):
    """What TrackEval says."""
    evaluation = pytest.importorskip("trackeval.metrics")
    data = {"num_timesteps": len(truth), "similarity_scores": []}
    for key, rows in (("gt", truth), ("tracker", found)):
        known = np.unique(np.concatenate([ids for ids, _ in rows]))
        data[f"num_{key}_ids"] = len(known)
        data[f"num_{key}_dets"] = sum(len(ids) for ids, _ in rows)
        data[f"{key}_ids"] = [np.searchsorted(known, ids).astype(int) for ids, _ in rows]
    data["similarity_scores"] = [
        ops.iou(a[:, None], b[None]) for (_, a), (_, b) in zip(truth, found, strict=True)
    ]
    said = {}
    quiet = {"PRINT_CONFIG": False}
    for metric in (evaluation.HOTA(), evaluation.CLEAR(quiet), evaluation.Identity(quiet)):
        said |= metric.eval_sequence(data)
    return {ours: float(np.mean(said[theirs])) for ours, theirs in NAMES.items()}


@pytest.mark.parametrize("seed", GOLDEN)
def test_scores_are_those_that_trackeval_gave(seed):
    assert mot_scores(*scene(seed)) == pytest.approx(GOLDEN[seed], abs=1e-8)


@pytest.mark.parametrize("seed", range(20, 60))
def test_scores_are_those_of_trackeval(seed):
    assert mot_scores(*scene(seed)) == pytest.approx(expected(*scene(seed)), abs=1e-12)


def test_empty_cases_are_those_of_trackeval():
    truth, _ = scene(0)
    none = frames(*[{}] * 25)
    for pair in ((truth, none), (none, truth), (none, none)):
        got = mot_scores(*pair)
        assert got == {**dict.fromkeys(NAMES, 0.0), "loc_a": 1.0}
        assert got == expected(*pair)


def test_a_perfect_track_has_the_best_scores():
    truth = frames({1: 0, 2: 50}, {1: 2}, {1: 4, 2: 54})
    best = {
        **dict.fromkeys(NAMES, 1.0),
        "id_switches": 0.0,
        "fragmentations": 1.0,
    }  # the gap is the truth's own
    assert mot_scores(truth, truth) == best


def test_a_swap_costs_two_switches_and_half_the_identity():
    truth = frames(*[{1: 0, 2: 50}] * 4)
    found = frames(*[{1: 0, 2: 50}] * 2, *[{2: 0, 1: 50}] * 2)
    got = mot_scores(truth, found)
    assert got["id_switches"] == 2
    assert got["mota"] == pytest.approx(1 - 2 / 8)
    assert got["idf1"] == pytest.approx(0.5)
    assert got["det_a"] == 1
    assert got["ass_a"] == pytest.approx(2 / 6)


def test_a_missed_frame_is_a_fragmentation_and_no_switch():
    truth = frames(*[{1: 0}] * 3)
    got = mot_scores(truth, frames({7: 0}, {}, {7: 0}))
    assert (got["id_switches"], got["fragmentations"]) == (0, 0)  # a frame without any track is not looked at
    got = mot_scores(truth, frames({7: 0}, {8: 90}, {7: 0}))
    assert (got["id_switches"], got["fragmentations"]) == (0, 1)
    assert got["mota"] == pytest.approx((2 - 1) / 3)


def test_wrong_input_is_named():
    truth = frames({1: 0})
    with pytest.raises(ValueError, match="found must have as many frames as truth, got 2 frames for 1"):
        mot_scores(truth, frames({1: 0}, {1: 0}))
    with pytest.raises(
        ValueError, match=r"found must have one identity a box .* got \[3, 3\] for 2 boxes in frame 0"
    ):
        mot_scores(truth, [(np.array([3, 3]), np.array([box(0), box(1)]))])
    with pytest.raises(
        ValueError, match=r"truth must have one identity a box .* got \[3\] for 2 boxes in frame 0"
    ):
        mot_scores([(np.array([3]), np.array([box(0), box(1)]))], truth)


def test_tracks_are_listed_frame_by_frame():
    nothing = [np.nan] * 4
    first, second = boxes_per_frame(np.array([[box(0), nothing, box(5)], [nothing] * 3], float))
    assert first[0].tolist() == [0, 2]
    np.testing.assert_array_equal(first[1], [box(0), box(5)])
    assert (second[0].tolist(), second[1].shape) == ([], (0, 4))
