"""Tracking: cases that can be worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from visionrl import metrics, ops
from visionrl.agents.evaluation.compare import evaluate
from visionrl.agents.evaluation.policies import RandomPolicy, expert_policy
from visionrl.core import batch, make_task
from visionrl.core.conformance import CHECKS
from visionrl.datasets import VideoSample
from visionrl.metrics.tracking import (
    PERTURBATIONS,
    RADII,
    SCORES,
    SEGMENTS,
    episode_span,
    norm_precision,
    perturb_box,
    segment_start,
)

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
    task = make_task(ID, data=[video([[20, 10, 60, 30]] * 3)], clip=None, window=16, reward_type="clip")
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
        ({"reward_type": "iou"}, "reward_type must be one of"),
        ({"control": "both"}, "control must be one of"),
        ({"start": "last"}, "start must be one of"),
        (
            {"control": "update", "views": ["window"]},
            "views must have 'template' with control 'update', got \\('window',\\)",
        ),
        ({"views": ["depth"]}, "views must be 1 or more values, each one of"),
        ({"step_size": 2}, r"step_size must be a number in \[0.001, 1.0\]"),
        ({"min_size": 0}, "min_size must be a number >= 1.0"),
        ({"window": 0}, "window must be a whole number >= 8"),
        ({"context": -1}, "context must be a number >= 0.1"),
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


# -- frames in which the object is not seen ---------------------------------------------------------------------------
GAP = [np.nan] * 4


def test_frames_without_the_object_are_not_scored():
    boxes = [[20, 10, 60, 30], GAP, [20, 10, 60, 30], GAP]
    task = make_task(ID, data=[video(boxes)], clip=None, window=16)
    state = begin(task)
    frames, scores = [], []
    for _ in range(4):
        box = np.array([[0.0, 40, 10, 60]]) if state.frame[0] % 2 else np.array([[20.0, 10, 60, 30]])
        state = task.step(replace(state, box=box), np.array([STOP]))
        frames.append(float(state.frames[0]))
        scores.append(float(task.metrics(state)["success_auc"][0]))
    assert frames == [1, 1, 2, 2]
    assert len(set(scores)) == 1, "what is done where the object is not seen changes nothing"
    assert bool(state.finished[0])


def test_clips_begin_where_the_object_is_seen():
    boxes = [[20, 10, 60, 30], GAP, GAP, [20, 10, 60, 30], GAP, [20, 10, 60, 30], [20, 10, 60, 30]]
    task = make_task(ID, data=[video(boxes)], clip=3, window=16)
    starts = {int(task.sample(np.random.default_rng(seed), 0).frame) for seed in range(40)}
    assert starts == {0, 3}


@pytest.mark.parametrize("kind", ["sign", "clip", "frame"])
def test_nothing_is_earned_where_the_object_is_not_seen(kind):
    task = make_task(ID, data=[video([[20, 10, 60, 30], GAP])], clip=None, window=16, reward_type=kind)
    state = begin(task)
    earned = []
    for action in (2, STOP, 2, STOP):
        state, reward = act(task, state, action)
        earned.append(reward)
    assert earned == {"sign": [-1, 0, 0, 0], "clip": [0] * 4, "frame": [0, 1, 0, 0]}[kind]


# -- metrics ----------------------------------------------------------------------------------------------------------
def test_norm_precision_counts_the_radii():
    apart = np.array([[0.0, 0.0], [0.10125, 0.0], [0.0, 0.5], [0.4, 0.4]])
    expected = [1, sum(r >= 0.10125 for r in RADII) / 51, 1 / 51, 0]
    np.testing.assert_allclose(norm_precision(apart), expected)


def test_scores_are_worked_out_by_hand(task):
    state = begin(task)
    shifts = [[0, 0], [10, 0], [20, 0]]  # of boxes 40 wide: overlaps 1, 3/5, 1/3
    for frame, shift in enumerate(shifts):
        box = task.bank.boxes.array[frame] + np.tile(shift, 2)
        state = task.step(replace(state, box=box[None]), np.array([STOP]))
    found = {key: float(value[0]) for key, value in task.metrics(state).items()}
    assert found["ao"] == pytest.approx((3 / 5 + 1 / 3) / 2), "without the first frame"
    assert (found["sr_50"], found["sr_75"]) == (0.5, 0)
    assert found["norm_precision"] == pytest.approx((1 + 26 / 51 + 1 / 51) / 3)
    assert found["precision_20px"] == 1
    assert set(SCORES) <= set(found)


# -- one move a frame -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("action", "to"),
    [
        ([0.5, -0.25, 0], [40, 5, 80, 25]),
        ([0, 0, 0.05], [19, 9.5, 61, 30.5]),
        ([0, 0, -0.05], [21, 10.5, 59, 29.5]),
        ([0, 0, 0.06], [20, 10, 60, 30]),
        ([1, 1, 0], [60, 30, 100, 50]),
        ([-1, -1, 0], [-20, -10, 20, 10]),
    ],
)
def test_a_jump_is_in_sides_of_the_box_and_ends_the_frame(action, to):
    task = make_task(ID, data=[video([[20, 10, 60, 30]] * 3)], clip=None, window=16, control="continuous")
    action = np.array([action], np.float32)
    after = task.step(begin(task), action)
    np.testing.assert_allclose(after.box, [to], atol=1e-4)
    assert after.frame.tolist() == [1]
    np.testing.assert_array_equal(task.observe(after)["history"][0, -3:], action[0])
    np.testing.assert_array_equal(task.observe(after)["history"][0, :-3], 0)


def test_the_reward_of_a_frame_is_the_verdict_on_its_box():
    task = make_task(ID, data=[video([[20, 10, 60, 30]] * 3)], clip=None, window=16, reward_type="frame")
    state, earned = begin(task), []
    for action in (2, STOP, 3, 3, 3, 3, 3, 3, STOP):
        state, reward = act(task, state, action)
        earned.append(reward)
    assert earned == [0, 1, *[0] * 6, -1]


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["seeds", "rows_replay_single", "array_api", "expert"])
@pytest.mark.parametrize("kwargs", [{"preset": "chen2018"}, {"preset": "ren2018"}], ids=str)
def test_the_other_controls_keep_to_the_rules(rule, kwargs):
    CHECKS[rule](ID, data=followed(), clip=None, **{**kwargs, "window": 16})


def followed():
    """Four videos of different lengths with a box that moves by chance."""
    rng = np.random.default_rng(3)
    paths = [np.cumsum(rng.uniform(-2, 2, (8 + 3 * k, 2)), axis=0) for k in range(4)]
    return [video(np.tile(path, 2) + np.array([20, 15, 50, 40]), str(k)) for k, path in enumerate(paths)]


# -- updates of the template ------------------------------------------------------------------------------------------
@pytest.fixture
def updating():
    boxes = [[20, 10, 60, 30], [22, 10, 62, 30], [22, 14, 62, 34]]
    return make_task(ID, data=[video(boxes)], clip=None, window=16, control="update")


def test_an_update_shows_the_present_window_from_then_on(updating):
    state = begin(updating)
    for action in (STOP, 2, 2):
        state = updating.step(state, np.array([action]))
    ignored = updating.step(state, np.array([STOP]))
    after = updating.step(state, np.array([11]))
    np.testing.assert_array_equal(ignored.template, state.template)
    np.testing.assert_array_equal(after.template, updating.observe(state)["window"])
    np.testing.assert_array_equal(updating.observe(after)["template"], after.template)
    assert after.frame.tolist() == ignored.frame.tolist() == [2]


def test_an_update_is_worth_one_where_the_box_is_right(updating):
    assert act(updating, begin(updating), 11)[1] == 1
    wrong = replace(begin(updating), box=np.array([[0.0, 0, 10, 10]]))
    assert act(updating, wrong, 11)[1] == -1


def test_a_restart_goes_back_to_where_the_frame_began(updating):
    state = updating.step(begin(updating), np.array([STOP]))
    began = state.box
    for action in (3, 3, 7):
        state = updating.step(state, np.array([action]))
    state = updating.step(state, np.array([12]))
    np.testing.assert_array_equal(state.box, began)
    assert (state.frame.tolist(), state.moves.tolist()) == ([1], [4]), "the frame goes on, the moves count"
    state = updating.step(state, np.array([3]))
    assert state.frame.tolist() == [1], "and its boxes may be visited again"
    for _ in range(15):
        state = updating.step(state, np.array([12]))
    assert state.frame.tolist() == [2], "until the moves are used up"


# -- robustness -------------------------------------------------------------------------------------------------------
def test_segments_are_those_of_the_benchmark():
    """``floor(1 : n/19 : n)`` and ``n``, of the n frames that leave 20 to the end, from 1."""
    n = 100 - 19
    expected = [*np.floor(1 + np.arange(19) * n / 19).astype(int) - 1, n - 1]
    assert [segment_start(np.ones(100, bool), part) for part in range(SEGMENTS)] == expected
    seen = np.ones(100, bool)
    seen[10:70] = False
    starts = [segment_start(seen, part) for part in range(SEGMENTS)]
    assert starts[0] == 0 and starts[-1] == 80 and seen[starts].all()
    assert {segment_start(np.ones(12, bool), part) for part in range(SEGMENTS)} == {0}


def test_a_segment_goes_to_the_end_of_the_video():
    rng = np.random.default_rng(0)
    assert episode_span(rng, np.ones(100, bool), None, "temporal", 19) == (80, 99)
    assert episode_span(rng, np.ones(100, bool), 5, "temporal", 0) == (0, 4)


def test_boxes_are_shifted_by_a_tenth_and_scaled():
    box = np.array([20.0, 10, 60, 30])
    boxes = np.array([perturb_box(box, part) for part in range(len(PERTURBATIONS))])
    np.testing.assert_allclose(boxes[0], [16, 10, 56, 30])
    np.testing.assert_allclose(boxes[7], [24, 12, 64, 32])
    np.testing.assert_allclose(boxes[8], [24, 12, 56, 28])
    np.testing.assert_allclose(ops.size(boxes[8:])[:, 0] / 40, [0.8, 0.9, 1.1, 1.2])
    assert len({tuple(row) for row in boxes}) == 12


@pytest.mark.parametrize(("start", "parts"), [("temporal", 20), ("spatial", 12)])
def test_every_start_of_every_video_is_an_episode(start, parts):
    data = [video([[20, 10, 60, 30]] * 30, name) for name in ("a", "b")]
    task = make_task(ID, data=data, clip=None, window=16, start=start)
    assert task.items == 2 * parts
    states = [task.sample(np.random.default_rng(0), item) for item in range(task.items)]
    assert [int(state.image) for state in states] == [0] * parts + [1] * parts
    assert len({(int(state.frame), *state.box.tolist()) for state in states}) > parts
    assert all(state.last == (29 if state.image == 0 else 59) for state in states)
    kwargs = {"data": data, "window": 16, "start": start}
    expert, chance = (evaluate(ID, who, env_kwargs=kwargs) for who in (expert_policy, RandomPolicy(0)))
    assert len(expert["success_auc"]) == 2 * parts
    assert expert["success_auc"].min() > 0.5 > chance["success_auc"].mean()


def test_a_shifted_start_is_scored_as_it_is():
    task = make_task(ID, data=[video([[20, 10, 60, 30]] * 3)], clip=None, window=16, start="spatial")
    state = batch.stack([task.sample(np.random.default_rng(0), 0)])
    assert task.metrics(state)["iou"][0] == pytest.approx(36 / 44)
    assert task.metrics(state)["center_error_px"][0] == 4
    assert act(task, state, 2)[1] == 1
