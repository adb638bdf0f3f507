"""Detection by searching: the papers' rules on images whose objects are known, and what evaluation makes of them."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionrl import ops
from visionrl.agents.evaluation.compare import compare, measure
from visionrl.agents.evaluation.episodes import last_states
from visionrl.agents.evaluation.policies import RandomPolicy, ScoredPolicy, expert_policy
from visionrl.core import TaskVectorEnv, batch, make_task
from visionrl.core.capabilities import compute_all, record_all
from visionrl.datasets import ImageSample
from visionrl.envs.detection.starts import WHOLE_AND_CORNERS as STARTS
from visionrl.metrics.detection import coco_ap, suppress

DETECTION, HIERARCHICAL = "visionrl/Detection-v0", "visionrl/HierarchicalDetection-v0"
RIGHT, LEFT, UP, DOWN, BIGGER, SMALLER, FATTER, TALLER, REPORT = range(9)


def picture(seed: int, boxes: list, labels: tuple, size: tuple[int, int] = (80, 100)) -> ImageSample:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, *size), dtype=np.uint8)
    return ImageSample(pixels, boxes=np.array(boxes, float).reshape(-1, 4), labels=labels, name=str(seed))


TWO = picture(0, [[10, 10, 50, 50], [60, 20, 90, 70]], ("cat", "cat"))
DATA = [TWO, picture(1, [[5, 5, 45, 60]], ("dog",), (90, 60)), picture(2, [], ())]


def at(task, box, item=0, seed=0):
    state = batch.stack([task.sample(np.random.default_rng(seed), item)])
    return replace(state, box=np.array([box], float))


def act(task, state, action):
    after = task.step(state, np.array([action]))
    return after, float(task.reward(state, np.array([action]), after)[0])


@pytest.mark.parametrize(
    ("action", "box"),
    [
        (RIGHT, [28, 20, 68, 70]),
        (LEFT, [12, 20, 52, 70]),
        (UP, [20, 10, 60, 60]),
        (DOWN, [20, 30, 60, 80]),
        (BIGGER, [12, 10, 68, 80]),
        (SMALLER, [28, 30, 52, 60]),
        (FATTER, [20, 30, 60, 60]),
        (TALLER, [28, 20, 52, 70]),
    ],
)
def test_every_move_changes_edges_by_a_fifth_of_the_box(action, box):
    task = make_task(DETECTION, data=[TWO])
    after, _ = act(task, at(task, [20, 20, 60, 70]), action)
    np.testing.assert_allclose(after.box[0], box)


def test_boxes_stop_at_the_border_and_at_the_smallest_size():
    task = make_task(DETECTION, data=[TWO])
    after, _ = act(task, at(task, [0, 0, 100, 80]), RIGHT)
    np.testing.assert_allclose(after.box[0], [20, 0, 100, 80])
    after, _ = act(task, at(task, [10, 10, 20, 40]), TALLER)
    np.testing.assert_allclose(after.box[0], [10, 10, 20, 40])


def test_a_move_earns_the_sign_of_the_overlaps_change():
    task = make_task(DETECTION, data=[TWO])
    state = at(task, [0, 0, 60, 60])  # overlaps the first object most
    assert act(task, state, SMALLER)[1] == 1
    assert act(task, state, BIGGER)[1] == -1
    fixed = at(task, [0, 0, 100, 80])
    assert act(task, fixed, BIGGER)[1] == -1  # nothing changed


def test_other_rewards_are_the_change_itself():
    task = make_task(DETECTION, data=[TWO], reward_type="delta")
    _, reward = act(task, at(task, [0, 0, 60, 60]), SMALLER)  # [12, 12, 48, 48], within the object
    assert reward == pytest.approx(36 * 36 / 1600 - 1600 / 3600)
    task = make_task(DETECTION, data=[TWO], reward_type="giou")
    _, reward = act(task, at(task, [0, 0, 60, 60]), SMALLER)  # box and object lie in each other: GIoU is IoU
    assert reward == pytest.approx(36 * 36 / 1600 - 1600 / 3600)
    assert act(task, at(task, [91, 71, 100, 80]), LEFT)[1] > 0  # nearer, though nothing overlaps


def test_a_report_is_judged_marked_and_followed_by_a_new_search():
    task = make_task(DETECTION, data=[TWO])
    state = at(task, [10, 10, 48, 50])
    state, reward = act(task, state, REPORT)
    assert reward == 3
    assert state.found[0] == 1
    np.testing.assert_allclose(state.reported_boxes[0, 0], [10, 10, 48, 50])
    np.testing.assert_allclose(state.box[0], np.array(STARTS[1]) * [100, 80, 100, 80])
    again, reward = act(task, replace(state, box=np.array([[10.0, 10, 48, 50]])), REPORT)
    assert reward == -3  # found already: the other object is sought now
    assert again.found[0] == 1
    np.testing.assert_allclose(again.box[0], np.array(STARTS[2]) * [100, 80, 100, 80])


def test_a_search_without_a_report_begins_anew_after_40_steps_from_each_corner_in_turn():
    task = make_task(DETECTION, data=[TWO])
    state = at(task, [0, 0, 100, 80])
    begun = []
    for k in range(1, 241):
        state, _ = act(task, state, (RIGHT, LEFT)[k % 2])
        if k % 40 == 0:
            begun.append((state.box[0] / [100, 80, 100, 80]).tolist())
    assert begun == [list(start) for start in (*STARTS[1:], STARTS[0], STARTS[1])]


def test_the_cross_covers_a_third_of_the_box_and_nothing_else():
    marks, seen = np.full((1, 3, 4), np.nan), np.array([[0.0, 0, 90, 90]])
    marks[0, 0] = [0, 0, 60, 90]
    mask = ops.box_mask(marks, seen, 360, cross=True)[0]
    assert mask[:, :240].mean() == pytest.approx(1 / 3, abs=0.01)
    assert not mask[:, 240:].any()
    assert mask[180].sum() == 240  # the bar in the middle is as wide as the box
    whole = ops.box_mask(marks, seen, 90)[0]
    assert whole[:, :60].all()
    assert whole.sum() == 60 * 90


def test_the_window_shows_the_mark():
    task = make_task(HIERARCHICAL, data=[TWO])  # whose window has no margin
    task.cross = True
    state = at(task, [10, 10, 50, 50])
    assert task.observe(state)["window"][0, :, 32, 32].any()
    after, _ = act(task, state, task.report)
    shown = task.observe(replace(after, box=state.box))["window"][0]
    assert not shown[:, 32, :].any()
    assert shown[:, 2, 2].any()


@pytest.mark.parametrize(
    ("arguments", "steps"), [({"max_reports": 1}, 1), ({"mode": "training"}, 2), ({}, 20)]
)
def test_when_an_episode_ends(arguments, steps):
    env = gym.make(DETECTION, data=[TWO], **arguments)
    env.reset(seed=0)
    inner = env.unwrapped
    inner.state = at(make_task(DETECTION, data=[TWO], **(arguments | {"mode": "search"})), [0, 0, 100, 80])
    boxes = [[10, 10, 50, 50], [60, 20, 90, 70]]
    for step in range(1, 200):
        inner.state = replace(inner.state, box=np.array([boxes[min(step, 2) - 1]], float))
        _, _, terminated, truncated, _ = env.step(REPORT)
        if terminated or truncated:
            break
    assert (step, truncated) == (steps, False)


def test_an_episode_is_cut_after_200_steps():
    env = gym.make(DETECTION, data=[TWO])
    env.reset(seed=0)
    ends = [env.step(BIGGER)[2:4] for _ in range(200)]
    assert ends[-1] == (False, True)
    assert not any(any(end) for end in ends[:-1])


def test_only_classes_of_the_image_are_asked_for_unless_absent_ones_are_wanted():
    assert make_task(DETECTION, data=DATA).items == 2
    task = make_task(DETECTION, data=DATA, mode="evaluation")
    assert task.items == 6
    state = at(task, [0, 0, 50, 50], item=5)
    assert act(task, state, REPORT)[1] == -3
    assert act(task, state, SMALLER)[1] == 0
    assert make_task(DETECTION, data=DATA, category="dog").items == 1


def test_the_class_sought_is_seen_where_there_are_several():
    assert "category" not in make_task(DETECTION, data=DATA, category="dog").observation_space.spaces
    task = make_task(DETECTION, data=DATA)
    assert task.observe(at(task, [0, 0, 50, 50], item=1))["category"].tolist() == [[0, 1]]


def test_continuous_control_shifts_grows_and_reports():
    task = make_task(DETECTION, data=[TWO], control="continuous")
    state = at(task, [20, 20, 60, 70])
    moved = task.step(state, np.array([[1, -0.5, 0, 0, -1]], np.float32))
    np.testing.assert_allclose(moved.box[0], [28, 15, 68, 65])
    grown = task.step(state, np.array([[0, 0, 1, -1, -1]], np.float32))
    np.testing.assert_allclose(grown.box[0], [16, 25, 64, 65])
    reported = task.step(state, np.array([[0, 0, 0, 0, 0.3]], np.float32))
    assert reported.reports[0] == 1
    assert reported.scores[0, 0] == pytest.approx(0.3)


def test_the_mask_forbids_early_reports_and_moves_that_change_nothing():
    task = make_task(DETECTION, data=[TWO], trigger_after=2)
    state = at(task, [0, 0, 100, 80])
    mask = task.action_mask(state)[0]
    assert not mask[REPORT]
    assert not mask[BIGGER]
    assert mask[[SMALLER, RIGHT]].all()
    for _ in range(2):
        state, _ = act(task, state, SMALLER)
    assert task.action_mask(state)[0, REPORT]


def test_good_actions_are_those_that_earn_something():
    task = make_task(DETECTION, data=[TWO])
    for box in ([0, 0, 60, 60], [10, 10, 50, 50], [55, 0, 100, 80]):
        state = at(task, box)
        earned = [act(task, state, action)[1] > 0 for action in range(9)]
        assert task.good_actions(state)[0].tolist() == earned


def test_easier_starts_are_nearer_to_an_object():
    task = make_task(DETECTION, data=[TWO])
    overlaps = []
    for difficulty in (0.0, 0.5, 1.0):
        task.difficulty = difficulty
        starts = batch.stack([task.sample(np.random.default_rng(seed), 0) for seed in range(20)])
        overlaps.append(task.metrics(starts)["iou"].mean())
    assert overlaps[0] > overlaps[1] > overlaps[2]


def test_zooms_keep_three_quarters_of_the_box():
    task = make_task(HIERARCHICAL, data=[TWO])
    found = [act(task, at(task, [0, 0, 80, 40]), action)[0].box[0].tolist() for action in range(5)]
    assert found == [[0, 0, 60, 30], [20, 0, 80, 30], [0, 10, 60, 40], [20, 10, 80, 40], [10, 5, 70, 35]]
    assert make_task(HIERARCHICAL, data=[TWO], moves="tree").action_space.n == 14


def test_a_zooming_search_begins_anew_after_10_steps_and_covers_what_it_reports():
    task = make_task(HIERARCHICAL, data=[TWO])
    state = at(task, [0, 0, 100, 80])
    for _ in range(10):
        state, _ = act(task, state, 4)
    np.testing.assert_allclose(state.box[0], [0, 0, 100, 80])
    reported, _ = act(task, at(task, [10, 10, 50, 50]), 5)
    assert not task.observe(replace(reported, box=np.array([[10.0, 10, 50, 50]])))["window"].any()


def test_average_precision_ranks_reports_by_confidence():
    task = make_task(DETECTION, data=[TWO], mode="evaluation")
    state = at(task, [0, 0, 100, 80])
    boxes = [[10, 10, 50, 50], [0, 60, 20, 80], [60, 20, 90, 70]]
    for box, sure in zip(boxes, (0.9, 0.8, 0.1), strict=True):
        state = replace(task.with_confidence(state, np.array([sure])), box=np.array([box], float))
        state, _ = act(task, state, REPORT)
    pooled = compute_all(task, record_all(task, state))
    assert pooled["ap_50"] == pytest.approx((1 + 2 / 3) / 2)
    assert pooled["ap_50_11pt"] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert pooled["recall_50"] == 1
    assert pooled["precision_50"] == pytest.approx(2 / 3)
    assert pooled["steps_per_detection"] == 1
    assert pooled["recall_at_10"] == 1
    assert pooled["ap_50_visited"] == pytest.approx((1 + 2 / 3) / 2)


def test_cocos_average_precision_is_that_of_the_library():
    data = [
        picture(k, [[10, 10, 50, 50], [60, 20, 90, 70], [5, 60, 30, 78]], ("a", "b", "a")) for k in range(4)
    ]
    task = make_task(DETECTION, data=data, mode="evaluation")
    rng, ends = np.random.default_rng(0), []
    images: dict[int, list] = {k: [[], [], []] for k in range(4)}
    for item in range(task.items):
        state = at(task, [0, 0, 100, 80], item=item)
        image, name = int(state.image[0]), task.names[int(state.category[0])]
        for truth in np.concatenate([data[image].boxes] * 2):
            box, sure = np.clip(truth + rng.normal(0, 3, 4), 0, [100, 80, 100, 80]), rng.random()
            state = replace(task.with_confidence(state, np.array([sure])), box=box[None])
            state, _ = act(task, state, REPORT)
            for part, value in zip(images[image], (box, name, sure), strict=True):
                part.append(value)
        ends.append(batch.take(state, 0))
    pooled = compute_all(task, record_all(task, batch.stack(ends)))
    truths = [(sample.boxes, sample.labels) for sample in data]
    found = [(np.array(boxes), np.array(sure), names) for boxes, names, sure in images.values()]
    assert pooled["ap_coco"] == pytest.approx(coco_ap(found, truths)["ap"], abs=1e-6)


def test_suppression_keeps_the_best_of_boxes_that_overlap():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], float)
    assert suppress(boxes, np.array([0.5, 0.9, 0.1]), 0.3, 3).tolist() == [1, 2]


def test_the_expert_has_perfect_precision_and_chance_has_not():
    kwargs = {"env_kwargs": {"data": DATA}, "num_envs": 4}
    expert = measure(DETECTION, expert_policy, **kwargs)
    chance = measure(DETECTION, RandomPolicy(0), **kwargs)
    assert expert["ap_50"] == 1
    assert expert["is_success"] == 1
    assert chance["ap_50"] < 0.8
    assert chance["is_success"] == 0
    assert expert["steps_per_detection"] < 30


def test_anything_can_rate_what_a_policy_reports():
    task = make_task(DETECTION, data=[TWO])
    seen = []

    def brightness(observations):
        seen.append(observations["window"].mean(axis=(1, 2, 3)))
        return seen[-1]

    kwargs = {"env_kwargs": {"data": [TWO]}}
    _, ends = last_states(DETECTION, ScoredPolicy(expert_policy, brightness), "test", 1, kwargs["env_kwargs"])
    told = ends.scores[0][~np.isnan(ends.scores[0])]
    assert len(told) == 2
    assert set(told) <= {float(value[0]) for value in seen}
    assert task.report == REPORT


def test_the_table_has_precision_with_an_interval_and_both_classical_rows():
    table = compare(DETECTION, env_kwargs={"data": DATA}, fit_kwargs={"data": DATA}, num_envs=8)
    assert [row.name for row in table.rows] == ["random", "sliding templates", "ranked regions", "expert"]
    best = {row.name: row.metrics["ap_50"] for row in table.rows}
    assert best["expert"].value == 1
    assert best["sliding templates"].value > best["random"].value
    assert best["random"].low <= best["random"].value <= best["random"].high


def test_starts_in_training_have_no_false_positives_and_are_not_for_evaluation():
    task = make_task(DETECTION, data=[TWO], mode="training")
    starts = batch.stack([task.sample(np.random.default_rng(seed), seed % 2) for seed in range(60)])
    assert (starts.reports > 0).any()
    assert not task.metrics(starts)["false_positives"].any()
    assert (task.metrics(starts)["missed"] == starts.sought.sum(axis=1)).all()
    assert make_task(DETECTION, data=[TWO], **(task.evaluation | {"split": "all"})).visited


def test_a_class_that_a_split_lacks_is_named_in_a_warning():
    with pytest.warns(UserWarning, match="no image of the split has bird"):
        task = make_task(DETECTION, data=[TWO], category=["bird", "cat"])
    assert task.observe(at(task, [0, 0, 50, 50]))["category"].tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step_size": 0}, "step_size must be"),
        ({"control": "mouse"}, "control must be one of"),
        ({"reward_type": "iou"}, "reward_type must be one of"),
        ({"mode": "play"}, "mode must be one of"),
        ({"category": "bird"}, "category must be among cat, dog; got bird"),
        ({"category": ["cat", "cat"]}, "category must name each class once"),
        ({"max_reports": 0}, "max_reports must be a whole number >= 1"),
        ({"data": [picture(2, [], ())]}, "data must have boxes"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_task(DETECTION, **{"data": DATA, **arguments})


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([DETECTION, HIERARCHICAL]),
    st.sampled_from(["evaluation", "training"]),
)
def test_boxes_never_leave_the_image_and_found_never_exceeds_present(seed, name, mode):
    env = TaskVectorEnv(3, name, data=DATA, mode=mode)
    env.reset(seed=seed)
    env.action_space.seed(seed)
    for _ in range(60):
        env.step(env.action_space.sample())
        box, limit = env.state.box, env.task.bank.sizes.array[env.state.image]
        assert (box[:, :2] >= 0).all()
        assert (box[:, 2:] <= limit).all()
        assert (box[:, 2:] > box[:, :2]).all()
        assert (env.state.found <= env.state.present).all()
