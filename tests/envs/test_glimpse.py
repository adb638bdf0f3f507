"""Glimpses by hand: where they fall, what they show, how an episode ends."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

import visionrl  # noqa: F401
from visionrl.agents import compare
from visionrl.core import batch, make_task
from visionrl.core.conformance import CHECKS, check
from visionrl.datasets import ImageSample

ID = "visionrl/GlimpseClassification-v0"


def two_images():
    """A bright left half, and a bright right half; 12 x 12 pixels."""
    image = np.zeros((1, 12, 12), np.uint8)
    left, right = image.copy(), image.copy()
    left[..., :6], right[..., 6:] = 200, 200
    return [ImageSample(left, labels=("left",)), ImageSample(right, labels=("right",))]


def start(task, item=0, place=None, **changes):
    state = batch.stack([task.sample(np.random.default_rng(0), item)])
    if place is not None:
        state.trail[:, -1] = place
    for name, value in changes.items():
        getattr(state, name)[:] = value
    return state


@pytest.fixture
def task():
    return make_task(ID, data=two_images(), retina=4, scales=(1, 2), places=3, glimpses=3)


def test_spaces(task):
    assert task.names == ("left", "right")
    assert task.action_space.n == 9 + 2
    assert {key: box.shape for key, box in task.observation_space.items()} == {
        "window": (2, 4, 4),
        "position": (2,),
        "glimpses": (3,),
        "mosaic": (2, 12, 12),
    }


@pytest.mark.parametrize(
    ("action", "place"), [(0, (1.5, 1.5)), (4, (5.5, 5.5)), (5, (9.5, 5.5)), (6, (1.5, 9.5))]
)
def test_a_look_goes_to_the_middle_of_its_cell(task, action, place):
    before = start(task, place=(1.5, 1.5))
    after = task.step(before, np.array([action]))
    np.testing.assert_allclose(after.trail[0, -1], place)
    np.testing.assert_allclose(after.trail[0, -2], (1.5, 1.5))
    assert (after.glimpses[0], after.finished[0], after.answer[0]) == (2, False, -1)
    assert task.reward(before, np.array([action]), after)[0] == 0


def test_the_windows_are_the_image_around_the_place(task):
    state = start(task, place=(6.0, 6.0))
    window = task.observe(state)["window"][0]
    np.testing.assert_array_equal(window[0, 0], [200, 200, 0, 0])  # columns 4 to 7
    np.testing.assert_array_equal(
        window[1, 0], [200, 200, 0, 0]
    )  # of blocks 1 to 4, the first two are bright


def test_the_mosaic_has_exactly_the_pixels_of_the_windows(task):
    state = start(task, place=(6.0, 6.0))
    picture, sharp = task.observe(state)["mosaic"][0]
    wanted = np.zeros((12, 12), np.uint8)
    wanted[2:10, 2:10] = 127  # blocks 1 to 4 of two pixels: the coarse window round(6.5 / 2 - .5) - 2 = 1
    wanted[4:8, 4:8] = 255
    np.testing.assert_array_equal(sharp, wanted)
    np.testing.assert_array_equal(picture, np.where(wanted > 0, two_images()[0].image[0], 0))


def test_the_mosaic_agrees_with_the_windows_on_real_digits():
    env = gym.make_vec(ID, 8, vectorization_mode="vector_entry_point", data="cluttered-digits", split="test")
    env.reset(seed=3)
    state = env.task.step(env.state, np.arange(8) * 3)
    obs = env.task.observe(state)
    for row in range(8):
        x, y = np.rint(state.trail[row, -1]).astype(int)
        padded = np.pad(obs["mosaic"][row, 0], 8)
        np.testing.assert_array_equal(obs["window"][row, 0], padded[y + 4 : y + 12, x + 4 : x + 12])


def test_what_was_seen_stays_seen(task):
    state = start(task, place=(1.5, 1.5))
    first = task.observe(state)["mosaic"][0, 1]
    after = task.observe(task.step(state, np.array([8])))["mosaic"][0, 1]
    assert (after >= first).all()
    assert (after > first).any()


@pytest.mark.parametrize(("item", "action", "reward"), [(0, 9, 1.0), (0, 10, 0.0), (1, 10, 1.0), (1, 9, 0.0)])
def test_an_answer_ends_the_episode(task, item, action, reward):
    before = start(task, item)
    after = task.step(before, np.array([action]))
    assert after.finished[0]
    assert task.reward(before, np.array([action]), after)[0] == reward
    assert task.metrics(after)["accuracy"][0] == reward
    assert task.metrics(after)["glimpses"][0] == 1
    np.testing.assert_array_equal(after.trail, before.trail)


def test_one_look_too_many_ends_the_episode_without_an_answer(task):
    state = start(task)
    for _ in range(2):
        state = task.step(state, np.array([0]))
        assert not state.finished[0]
    state = task.step(state, np.array([0]))
    assert state.finished[0]
    found = task.metrics(state)
    assert (found["accuracy"][0], found["glimpses"][0], found["is_success"][0]) == (0, 3, False)


def test_the_cost_is_paid_for_looks_alone():
    task = make_task(ID, data=two_images(), glimpse_cost=0.1)
    before = start(task)
    after = task.step(before, np.array([3]))
    assert task.reward(before, np.array([3]), after)[0] == pytest.approx(-0.1)
    answered = task.step(after, np.array([25]))
    assert task.reward(after, np.array([25]), answered)[0] == 1


def test_continuous_control_answers_with_its_last_scores():
    task = make_task(ID, data=two_images(), control="continuous", glimpses=2)
    state = start(task)
    first = task.step(state, np.array([[1.0, -1.0, 0.9, -0.9]], np.float32))
    np.testing.assert_allclose(first.trail[0, -1], (11, 0))
    assert (first.answer[0], first.finished[0]) == (0, False)
    np.testing.assert_array_equal(task.observe(first)["answer"], [[1, 0]])
    last = task.step(first, np.array([[0.0, 0.0, -0.2, -0.1]], np.float32))
    assert (last.answer[0], last.finished[0], task.metrics(last)["accuracy"][0]) == (1, True, 0)
    np.testing.assert_array_equal(last.trail, first.trail)


def test_the_papers_preset_has_its_glimpses_anywhere_and_no_memory():
    task = make_task(ID, preset="mnih2014")
    assert task.action_space.shape == (2 + 10,)
    assert "mosaic" not in task.observation_space
    assert task.observation_space["window"].shape == (3, 8, 8)
    assert task.observation_space["glimpses"].shape == (6,)


def test_a_random_gaze_ignores_what_is_asked():
    kwargs = {"data": two_images(), "gaze_policy": "random", "places": 5}
    task = make_task(ID, **kwargs)
    ends = [task.step(start(task), np.array([action])).trail[0, -1] for action in (0, 24)]
    np.testing.assert_array_equal(*ends)
    state = start(task)
    for turn in range(1, 6):
        state = task.step(state, np.array([0]))
        np.testing.assert_allclose(state.trail[0, -1], state.random_places[0, turn])


def test_the_label_is_told_when_asked():
    assert "label" not in make_task(ID, data=two_images()).metrics(start(make_task(ID, data=two_images())))
    told = gym.make(ID, data=two_images(), expose_label=True)
    assert [told.reset(seed=0, options={"item": item})[1]["label"] for item in (0, 1)] == [0, 1]


def test_the_expert_looks_at_the_object_first():
    task = make_task(ID, data="cluttered-digits", split="test")
    box = task.samples[5].boxes[0]
    state = start(task, 5, place=(0.0, 0.0))
    look = task.step(state, task.expert(state))
    x, y = look.trail[0, -1]
    assert abs(x + 0.5 - (box[0] + box[2]) / 2) <= 6  # half a cell of 12 pixels
    assert abs(y + 0.5 - (box[1] + box[3]) / 2) <= 6
    assert task.names[int(task.expert(look)[0]) - 25] == task.samples[5].labels[0]


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(
    "kwargs", [{"memory": False}, {"gaze_policy": "random"}, {"data": "cluttered-digits"}], ids=str
)
def test_variants_keep_to_every_rule(kwargs):
    check(ID, split="val", **kwargs)


RULES = [name for name in CHECKS if not name.startswith("rows_replay")]  # all rows end together; see below


@pytest.mark.parametrize("rule", RULES)
def test_continuous_control_keeps_to_every_rule(rule):
    CHECKS[rule](ID, control="continuous", glimpses=5, split="val")


def test_rows_of_continuous_control_are_single_environments():
    kwargs = {"control": "continuous", "glimpses": 3, "split": "val"}
    rows = gym.make_vec(ID, 2, vectorization_mode="vector_entry_point", **kwargs)
    single = gym.make(ID, **kwargs)
    shown, _ = rows.reset(seed=4)
    alone, _ = single.reset(seed=5)
    rows.action_space.seed(0)
    for _ in range(7):
        for key, value in alone.items():
            np.testing.assert_array_equal(shown[key][1], value)
        actions = rows.action_space.sample()
        shown, reward, ended, _, _ = rows.step(actions)
        alone, earned, over, _, _ = single.step(actions[1])
        assert (reward[1], ended[1]) == (earned, over)
        alone = single.reset()[0] if over else alone


def test_colour_images_of_different_sizes():
    rng = np.random.default_rng(0)
    shapes = ((3, 30, 20), (1, 16, 40))
    data = [
        ImageSample(rng.integers(0, 255, shape, np.uint8), labels=(name,))
        for shape, name in zip(shapes, "ab", strict=True)
    ]
    task = make_task(ID, data=data, max_side=24)
    assert task.observation_space["mosaic"].shape == (4, 24, 24)
    assert task.observation_space["window"].shape == (9, 8, 8)
    assert task.draw(batch.take(start(task, 1), 0)).shape[2] == 3


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"glimpses": 0}, r"glimpses must be a whole number in \[1, 20\], got 0"),
        ({"retina": 0}, "retina must be a whole number >= 1, got 0"),
        ({"retina": 2.5}, "retina must be a whole number >= 1, got 2.5"),
        ({"places": True}, "places must be a whole number >= 1, got True"),
        ({"scales": (1, 0)}, r"scales must be 1 or more values, each a whole number >= 1, got \(1, 0\)"),
        ({"scales": ()}, "scales must be 1 or more values"),
        ({"glimpse_cost": float("nan")}, "glimpse_cost must be a number >= 0.0, got nan"),
        ({"glimpse_cost": -1}, "glimpse_cost must be a number >= 0.0, got -1"),
        ({"max_side": 0}, "max_side must be a whole number >= 1 or None, got 0"),
        ({"memory": 1}, "memory must be True or False, got 1"),
        ({"control": "both"}, "control must be one of 'discrete', 'continuous', got 'both'"),
        ({"scales": (2, 1)}, r"scales must be whole numbers >= 1 that grow, got \(2, 1\)"),
        ({"gaze_policy": "still"}, "gaze_policy must be one of 'agent', 'random', got 'still'"),
        ({"classes": ["left"]}, "two classes or more"),
        ({"data": [ImageSample(np.zeros((1, 9, 9), np.uint8))]}, "labels must hold the one class"),
    ],
    ids=str,
)
def test_arguments_that_cannot_be(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make_task(ID, **{"data": two_images(), **kwargs})


def test_classical_rows():
    table = compare(ID, split="val")
    rows = {row.name: row.metrics["accuracy"].value for row in table.rows}
    assert rows["full image, nearest neighbours"] > 0.97
    assert 0.9 < rows["centre glimpse, nearest neighbours"] < 1
    assert rows["random"] < 0.3
    assert rows["expert"] == 1
