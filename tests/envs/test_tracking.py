"""Tracking: cases that can be worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from visionrl import metrics
from visionrl.core import batch, make_task
from visionrl.datasets import VideoSample

ID = "visionrl/Tracking-v0"
STOP = 10


def video(boxes, name=""):
    rng = np.random.default_rng(1)
    return VideoSample(
        rng.integers(0, 256, (len(boxes), 3, 60, 80), dtype=np.uint8), np.array(boxes, float), name
    )


@pytest.fixture
def task():
    return make_task(
        ID, data=[video([[20, 10, 60, 30], [22, 10, 62, 30], [22, 14, 62, 34]])], clip=None, window=16
    )


def begin(task):
    return batch.stack([task.sample(np.random.default_rng(0), 0)])


def act(task, state, action):
    action = np.array([action])
    after = task.step(state, action)
    return after, float(task.reward(state, action, after)[0])


@pytest.mark.parametrize(
    ("action", "to"),
    [
        (0, [18.8, 10, 58.8, 30]),
        (1, [17.6, 10, 57.6, 30]),
        (2, [21.2, 10, 61.2, 30]),
        (3, [22.4, 10, 62.4, 30]),
        (4, [20, 9, 60, 29]),
        (5, [20, 8, 60, 28]),
        (6, [20, 11, 60, 31]),
        (7, [20, 12, 60, 32]),
        (8, [21, 10.5, 59, 29.5]),
        (9, [19, 9.5, 61, 30.5]),
        (10, [20, 10, 60, 30]),
    ],
)
def test_moves_are_three_percent_of_the_side_and_at_least_a_pixel(task, action, to):
    after, _ = act(task, begin(task), action)
    np.testing.assert_allclose(after.box, [to])


def test_stop_goes_to_the_next_frame_and_the_last_stop_ends(task):
    state = begin(task)
    for frame in (1, 2):
        state, _ = act(task, state, STOP)
        assert state.frame.tolist() == [frame]
        assert not state.finished[0]
    state, _ = act(task, state, STOP)
    assert state.finished[0]
    assert state.frame.tolist() == [2]


def test_coming_back_to_a_box_ends_the_frame(task):
    state, _ = act(task, begin(task), 2)
    assert state.frame.tolist() == [0]
    state, _ = act(task, state, 0)
    assert state.frame.tolist() == [1]
    assert state.moves.tolist() == [0]


def test_twenty_moves_end_the_frame(task):
    state = begin(task)
    for move in range(20):
        assert state.frame.tolist() == [0], move
        state, _ = act(task, state, 8 if move < 10 else 6)
    assert state.frame.tolist() == [1]


def test_reward_is_the_sign_of_the_change_against_the_frame_moved_in(task):
    state, reward = act(task, begin(task), 2)
    assert reward == -1, "the box lay exactly on the object"
    _, reward = act(task, state, 0)
    assert reward == 1, "and comes back to it, although the next frame is shown then"
    assert act(task, begin(task), STOP)[1] == 0


def test_reward_of_a_clip_comes_at_its_end():
    task = make_task(ID, data=[video([[20, 10, 60, 30]] * 3)], clip=None, window=16, reward="clip")
    state, earned = begin(task), []
    for action in (2, STOP, STOP, STOP):
        state, reward = act(task, state, action)
        earned.append(reward)
    assert earned == [0, 0, 0, 1]
    state = replace(begin(task), box=np.array([[0.0, 0, 10, 10]]), frame=np.array([2]))
    assert act(task, state, STOP)[1] == -1


def test_scores_are_those_of_the_boxes_that_frames_ended_with(task):
    state, boxes = begin(task), []
    for action in (STOP, 2, 0, 6, 7, STOP):
        before = state
        state, _ = act(task, state, action)
        if state.frames[0] > before.frames[0]:
            boxes.append(state.box[0])
    truth = task.bank.boxes.array
    iou = np.array(
        [
            np.prod(np.clip(np.minimum(b[2:], t[2:]) - np.maximum(b[:2], t[:2]), 0, None))
            for b, t in zip(boxes, truth, strict=True)
        ]
    )
    iou = iou / (2 * 800 - iou)
    found = task.metrics(state)
    np.testing.assert_allclose(found["success_auc"], metrics.success_score(iou).mean())
    np.testing.assert_allclose(found["precision_20px"], 1)


def test_a_clip_is_cut_from_the_video():
    task = make_task(ID, data=[video([[20, 10, 60, 30]] * 9)], clip=4, window=16)
    starts = set()
    for seed in range(40):
        state = task.sample(np.random.default_rng(seed), 0)
        assert state.last - state.frame == 3
        starts.add(int(state.frame))
    assert starts == set(range(6))


def test_the_box_does_not_leave_the_frame_nor_shrink_to_nothing(task):
    state = begin(task)
    for _ in range(200):
        state = replace(task.step(state, np.array([1])), frame=np.array([0]), moves=np.array([0]))
    assert 0 <= (state.box[0, 0] + state.box[0, 2]) / 2 <= 80
    for _ in range(200):
        state = replace(task.step(state, np.array([8])), frame=np.array([0]), moves=np.array([0]))
    assert (state.box[0, 2:] - state.box[0, :2]).min() >= 5


def test_expert_follows_a_jump_that_leaves_no_overlap():
    task = make_task(
        ID, data=[video([[5, 5, 25, 25], [30, 30, 50, 50], [30, 30, 50, 50]])], clip=None, window=16
    )
    state = begin(task)
    while not state.finished[0]:
        state = task.step(state, task.expert(state))
    assert task.metrics(state)["iou"][0] > 0.9


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"clip": 1}, "clip must be a whole number >= 2"),
        ({"reward": "iou"}, "reward must be one of"),
        ({"window": 0}, "window must be a whole number >= 8"),
        ({"context": -1}, "context must be >= 0.1"),
        ({"max_moves": 0}, "max_moves must be a whole number >= 1"),
    ],
)
def test_wrong_arguments_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        make_task(ID, data=[video([[20, 10, 60, 30]] * 3)], **wrong)


@pytest.mark.parametrize(("box", "action", "grows"), [([30, 30, 33, 33], 9, 1), ([-20, -20, 100, 90], 8, -1)])
def test_a_box_beyond_the_limits_can_come_back(box, action, grows):
    task = make_task(ID, data=[video([box] * 3)], clip=None, window=16)
    state = begin(task)
    after, _ = act(task, state, action)
    assert np.sign(np.ptp(after.box[0, ::2]) - np.ptp(state.box[0, ::2])) == grows
