"""VideoDetection-v0: boxes that are carried on, rewards, costs, and videos of the user."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from visionrl import ops
from visionrl.banks.motion import mean_in, share_of_cells
from visionrl.core import BASELINES, batch, make_task
from visionrl.core.capabilities import compute_all, record_all
from visionrl.core.testing import act, start
from visionrl.datasets import MotSample
from visionrl.metrics.matching import frame_quality, mutual_pairs, pairwise_overlap

ID = "visionrl/VideoDetection-v0"
SIDE, SPEED, LENGTH = 16, 5, 8


def video(length: int = LENGTH, speed: int = SPEED, **more: Any) -> MotSample:
    """A patch of noise that goes to the right on a smooth ground, and is found where it is."""
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.integers(0, 256, (80, 104)).astype(np.uint8), (0, 0), 3)
    patch = cv2.GaussianBlur(rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8), (0, 0), 1)
    frames = np.repeat(ground[None, None], length, axis=0)
    boxes = []
    for time in range(length):
        x = 10 + speed * time
        frames[time, 0, 30 : 30 + SIDE, x : x + SIDE] = patch
        boxes.append(np.array([[x, 30.0, x + SIDE, 30 + SIDE]]))
    found = [np.append(rows, [[0.9]], axis=1) for rows in boxes]
    given = {"ids": [np.array([3])] * length, "boxes": boxes, "detections": found, "name": "a"}
    return MotSample(frames, **{**given, **more})


def run(task: Any, *actions: int) -> Any:
    state = start(task)
    for action in actions:
        state = task.step(state, np.array([action]))
    return state


def test_a_box_goes_on_with_the_velocity_that_two_detections_give() -> None:
    task = make_task(ID, data=[video()], clip=None)
    state = run(task, 0, 1, 1)
    np.testing.assert_allclose(state.boxes[0, 0], video().boxes[3][0])
    np.testing.assert_allclose(state.found[0, 3, 0], [25, 30, 41, 46, 0.9 * 0.97**2])
    assert state.hits[0, 0] == 2 and state.since[0] == 2 and state.tally[0].tolist() == [1, 0, 0]
    still = run(task, 1, 1)
    np.testing.assert_allclose(still.boxes[0, 0], video().boxes[0][0], err_msg="no velocity is known yet")


def test_a_box_follows_the_picture_without_a_second_detection() -> None:
    task = make_task(ID, data=[video(speed=3)], clip=None)
    state = run(task, 2, 2, 2)
    assert ops.iou(state.boxes[0, 0], video(speed=3).boxes[3][0]) > 0.7
    assert state.velocity[0, 0, 0] == pytest.approx(3, abs=1)


def test_rewards_are_quality_less_cost_and_add_up_to_the_value() -> None:
    task = make_task(ID, data=[video()], clip=None, cost_weight=0.5, predict_cost=0.1, follow_cost=0.2)
    state, total = start(task), 0.0
    for action, cost in zip((0, 1, 2, 0, 1, 0, 0), (1, 0.1, 0.2, 1, 0.1, 1, 1), strict=True):
        before = state.quality[0]
        state, reward, over = act(task, state, action)
        assert reward[0] == pytest.approx(state.quality[0] - before - 0.5 * cost)
        total += reward[0]
    found = task.metrics(state)
    assert over[0] and found["cost"][0] == pytest.approx(5.4 / 8) and found["detector_share"][0] == 5 / 8
    assert found["value"][0] == pytest.approx((total + 1 - 0.5) / 8), "the first frame is the detector's"
    after = task.step(state, np.array([0]))
    assert after.time[0] == 7 and task.reward(state, np.array([0]), after)[0] == 0


def test_a_box_that_leaves_the_frame_is_dropped() -> None:
    boxes = [np.array([[80.0, 30, 96, 46]]), np.array([[86.0, 30, 102, 46]])] + [np.zeros((0, 4))] * 3
    found = [np.append(rows, np.full((len(rows), 1), 0.9), axis=1) for rows in boxes]
    ids = [np.arange(len(rows)) for rows in boxes]
    state = run(make_task(ID, data=[video(5, boxes=boxes, detections=found, ids=ids)], clip=None), 0, 1, 1, 1)
    assert (
        np.isfinite(state.found[0, 2, 0]).all()
        and np.isnan(state.boxes).all()
        and np.isnan(state.scores).all()
    )
    assert (state.velocity == 0).all() and state.found[0, 2, 0, 2] == 104, "what is shown is inside the frame"


def test_average_precision_is_that_of_all_frames_together() -> None:
    task = make_task(ID, data=[video(speed=9), video(speed=0, name="b")], clip=None)
    ends = batch.stack([task.sample(np.random.default_rng(0), item) for item in range(2)])
    while not task.terminated(ends).all():
        ends = task.step(ends, np.array([1, 1]))
    # the one that stands is found in all 8 frames, the other in its first: 2 hits, and then a miss and a hit a frame
    precisions = [1.0, 1.0, *((2 + k) / (2 + 2 * k) for k in range(1, 8))]
    assert compute_all(task, record_all(task, ends))["ap_50"] == pytest.approx(sum(precisions) / 16)


def test_pairs_are_one_to_one_and_false_boxes_and_missed_objects_cost_half() -> None:
    boxes = np.array([[[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [np.nan] * 4]], float)
    truth = np.array([[[0, 0, 10, 10], [20, 20, 30, 30]]], float)
    pairs = mutual_pairs(pairwise_overlap(boxes, truth), 0.1)
    assert np.argwhere(pairs[0]).tolist() == [[0, 0]]
    assert frame_quality(boxes, truth)[0] == pytest.approx(1 / 2.5)
    nothing = boxes[:, 3:]
    assert frame_quality(nothing, nothing)[0] == 1 and frame_quality(nothing, truth)[0] == 0


def test_means_over_boxes_weigh_cells_by_what_lies_in_the_box() -> None:
    share = share_of_cells(np.array([[0.25, 0.9]]), np.array([[0.75, 1.5]]), 2)
    np.testing.assert_allclose(share, [[[0.5, 0.5], [0, 1]]])
    grid = np.array([[[[0.0], [1.0]], [[2.0], [3.0]]]])
    box = np.array([[[0.25, 0, 0.75, 0.5], [np.nan] * 4, [2, 2, 3, 3]]])
    np.testing.assert_allclose(mean_in(grid, box)[0, :, 0], [0.5, 0, 0])


def test_videos_without_labels_need_detections_and_two_frames() -> None:
    with pytest.raises(ValueError, match="'a' must have detections where labelled is False, got none"):
        make_task(ID, data=[video(detections=None)], labelled=False)
    with pytest.raises(ValueError, match="'a' must have ids and boxes, or labelled must be False"):
        make_task(ID, data=[video(ids=None, boxes=None)])
    with pytest.raises(ValueError, match="videos must have 2 frames or more, 'a' has 1"):
        make_task(ID, data=[video(1), video(name="b")])


def test_frames_in_which_nothing_is_found_have_no_boxes() -> None:
    none = [np.zeros((0, 5))] * LENGTH
    task = make_task(ID, data=[video(ids=None, boxes=None, detections=none)], labelled=False)
    state = run(task, *[1] * 7)
    found = task.result(batch.take(state, 0))
    assert found.to_json() == {"detected": [0], "boxes": []}
    assert all(np.isfinite(value).all() for value in task.observe(state).values())


def test_a_video_without_labels_gives_the_boxes_of_every_frame() -> None:
    task = make_task(ID, data=[video(ids=None, boxes=None)], labelled=False)
    found = task.result(batch.take(run(task, 0, 1, 0, 1, 0, 1, 1), 0))
    assert found.detected.tolist() == [0, 1, 3, 5] and found.frames.tolist() == list(range(LENGTH))
    np.testing.assert_allclose(found.boxes, np.concatenate(video().boxes))
    assert task.draw(batch.take(start(task), 0)).ndim == 3


def test_schedules_run_the_detector_when_they_say_and_the_rule_where_the_picture_changes() -> None:
    task = make_task(ID, data=[video()], clip=None)
    fixed = BASELINES[ID]["every 4th frame, flow"].fit(None)(task, start(task))
    assert fixed.actions[0].tolist() == [0, 2, 2, 2, 0, 2, 2, 2]
    jump = video(speed=0)
    jump.frames[4:] = 255 - jump.frames[4:]  # type: ignore[index]
    task = make_task(ID, data=[jump], clip=None)
    rule = BASELINES[ID]["scene change"].fit(task)(task, start(task))
    assert np.flatnonzero(rule.actions[0] == 0).tolist() == [0, 4]
