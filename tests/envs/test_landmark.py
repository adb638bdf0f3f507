"""Landmark localization: cases that can be worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from visionrl.core import batch, make_task
from visionrl.datasets import ImageSample

ID = "visionrl/LandmarkLocalization-v0"
UP, RIGHT, DOWN, LEFT = range(4)


def image(seed=0, shape=(1, 90, 120)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def task():
    data = [ImageSample(image(i), points={"a": (60.0, 40.0)}, spacing_mm=0.5, name=str(i)) for i in range(2)]
    return make_task(ID, data=data, window=8)


def start(task, x, y, stage=0):
    state = batch.stack([task.sample(np.random.default_rng(0), 0)])
    here = np.array([[float(x), float(y)]])
    trail = np.full_like(state.trail, np.nan)
    trail[:, -1] = here
    return replace(state, position=here, trail=trail, stage=np.array([stage]))


def act(task, state, action):
    action = np.array([action])
    after = task.step(state, action)
    return after, float(task.reward(state, action, after)[0])


@pytest.mark.parametrize(
    ("action", "to"), [(UP, (50, 41)), (RIGHT, (59, 50)), (DOWN, (50, 59)), (LEFT, (41, 50))]
)
def test_moves_go_by_the_step_size_of_the_stage(task, action, to):
    assert act(task, start(task, 50, 50), action)[0].position.tolist() == [list(to)]
    small = [50 + (t - 50) // 9 for t in to]
    assert act(task, start(task, 50, 50, stage=2), action)[0].position.tolist() == [small]


def test_reward_is_the_distance_gained_in_steps(task):
    _, reward = act(task, start(task, 42, 40), RIGHT)
    assert reward == pytest.approx(1)
    _, reward = act(task, start(task, 42, 40), LEFT)
    assert reward == pytest.approx(-1)
    _, reward = act(task, start(task, 42, 40, stage=1), RIGHT)
    assert reward == pytest.approx(1)


def test_reward_in_millimetres():
    sample = ImageSample(image(), points={"a": (60.0, 40.0)}, spacing_mm=0.5)
    task = make_task(ID, data=[sample], window=8, reward_unit="mm")
    assert act(task, start(task, 42, 40), RIGHT)[1] == pytest.approx(4.5)


def test_a_move_out_of_the_image_is_not_made_and_costs_one(task):
    after, reward = act(task, start(task, 5, 50), LEFT)
    assert after.position.tolist() == [[5, 50]]
    assert reward == -1


def test_going_to_and_fro_starts_the_next_stage_and_ends_the_last(task):
    state = start(task, 51, 40)
    stages = []
    for move in [RIGHT, LEFT] * 12:
        state, _ = act(task, state, move)
        stages.append((int(state.stage[0]), bool(state.finished[0])))
        if state.finished[0]:
            break
    first = stages.index((1, False))
    assert first == 5, "the 4th visit of 51 is the 6th move: 51 60 51 60 51 60 51"
    assert stages[-1] == (2, True)
    assert stages.index((2, False)) == 11
    assert len(stages) == 18


def test_a_stage_starts_from_the_mean_of_the_last_four_places(task):
    state = start(task, 51, 40)
    for move in [RIGHT, LEFT] * 3:
        state, _ = act(task, state, move)
    assert state.stage.tolist() == [1]
    assert state.position.tolist() == [[56, 40]], (
        "the mean of 60, 51, 60, 51 is 55.5; halves go to the even side"
    )
    assert np.isnan(state.trail[0, :-1]).all()


def test_window_shows_the_image_around_the_position(task):
    state = start(task, 50, 45)
    window = task.observe(state)["window"][0]
    np.testing.assert_array_equal(window[2], image(0)[0, 41:49, 46:54])
    coarse = image(0)[0].reshape(30, 3, 40, 3).mean((1, 3))
    assert np.abs(window[0].astype(float) - coarse[11:19, 12:20]).max() <= 0.5, (
        "(50.5 / 3 - 0.5, 45.5 / 3 - 0.5)"
    )


def test_errors_are_in_pixels_of_the_original_image():
    big = ImageSample(image(shape=(1, 200, 400)), points={"a": (300.0, 100.0)}, spacing_mm=2.0)
    task = make_task(ID, data=[big], window=8, max_side=200)
    state = start(task, 100, 50)
    found = task.metrics(state)
    gap = np.hypot(300.5 / 2 - 0.5 - 100, 100.5 / 2 - 0.5 - 50)
    np.testing.assert_allclose(found["distance_px"], gap * 2)
    np.testing.assert_allclose(found["error_mm"], gap * 4)


def test_images_without_spacing_have_no_millimetres():
    task = make_task(ID, data=[ImageSample(image(), points={"a": (60.0, 40.0)})], window=8)
    assert set(task.metrics(start(task, 3, 3))) == {"distance_px", "is_success"}
    assert "goal" not in task.observation_space.spaces, "there is only one structure"


def test_items_are_the_structures_that_are_in_an_image():
    data = [
        ImageSample(image(), points={"a": (1, 2), "b": (3, 4)}),
        ImageSample(image(1), points={"b": (5, 6)}),
    ]
    task = make_task(ID, data=data, window=8)
    assert task.items == 3
    assert make_task(ID, data=data, window=8, target="a").items == 1
    assert make_task(ID, data=data, window=8, target=["b"]).items == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"target": "liver"}, "target must be among a; got liver"),
        ({"shown_scales": "some"}, "shown_scales must be one of 'all', 'stage', got 'some'"),
        ({"reward_unit": "px"}, "reward_unit must be one of"),
        ({"step_sizes": (3, 1)}, "scales must have one entry a step size"),
        ({"frames": 0}, "frames must be a whole number >= 1, got 0"),
        ({"frames": 21}, "frames must be <= 20, the trail's length, got 21"),
        ({"window": 0}, "window must be a whole number >= 8, got 0"),
        ({"margin": 0.5}, r"margin must be a number in \[0.0, 0.49\], got 0.5"),
        ({"success_radius": -1}, "success_radius must be a number >= 0.0, got -1"),
        ({"step_sizes": (9, 3, 0.5)}, "step_sizes must be 1 or more values, each a whole number >= 1, got"),
        ({"step_sizes": 5}, "step_sizes must be 1 or more values, each a whole number >= 1, got 5"),
        ({"target": ["a", "a"]}, "target must name each structure once"),
        ({"max_side": 30}, r"max_side must be >= window \(40\), got 30"),
        ({"max_side": 4}, "max_side must be a whole number >= 8 or None, got 4"),
    ],
)
def test_wrong_arguments_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        make_task(ID, data=[ImageSample(image(), points={"a": (1, 2)})], **wrong)


def test_past_places_are_shown_when_asked_for():
    task = make_task(
        ID, data=[ImageSample(image(), points={"a": (60.0, 40.0)})], window=8, frames=2, shown_scales="stage"
    )
    state = start(task, 50, 40)
    first = task.observe(state)["window"][0]
    after, _ = act(task, state, RIGHT)
    second = task.observe(after)["window"][0]
    assert not first[0].any(), "there is no past at the start"
    np.testing.assert_array_equal(second[0], first[1])


def test_an_image_smaller_than_a_block_is_named():
    with pytest.raises(ValueError, match="image 1 must have sides >= 3, the largest scale, got 2"):
        tiny = ImageSample(image(shape=(1, 2, 9)), points={"a": (1, 1)}, name="tiny")
        make_task(ID, data=[ImageSample(image(), points={"a": (1, 2)}, name="one"), tiny], window=8)


def test_success_is_counted_in_pixels_of_the_original_image():
    big = ImageSample(image(shape=(1, 200, 400)), points={"a": (300.0, 100.0)})
    task = make_task(ID, data=[big], window=8, max_side=200, success_radius=3.0)
    state = start(task, 151, 50)  # 2.5 pixels off in the original, 1.25 as it is held
    assert task.metrics(state)["is_success"].tolist() == [bool(task.metrics(state)["distance_px"][0] <= 3)]
    assert not task.metrics(start(task, 152, 50))["is_success"][0]
