"""Restoration: what tools do, what an episode earns, how a picture is put together from tiles."""

from __future__ import annotations

import numpy as np
import pytest

from visionrl.agents.prediction.agent import Agent
from visionrl.core import BASELINES, batch, make_task
from visionrl.core.results import Picture, Tile
from visionrl.datasets import ImageSample, load
from visionrl.envs.enhancement.damage import Damage
from visionrl.envs.enhancement.tools import NAMES, apply_tools
from visionrl.metrics.image_quality import psnr

ID = "visionrl/Restoration-v0"
STOP = len(NAMES)


def start(task, count=4, seed=0):
    rng = np.random.default_rng(seed)
    return batch.stack([task.sample(rng, k % task.items) for k in range(count)])


@pytest.fixture(scope="module")
def task():
    return make_task(ID, patch_side=40)


def test_rewards_add_up_to_the_gain_of_psnr(task):
    first = state = start(task)
    total = np.zeros(4)
    for number in (1, 8, 11):
        after = task.step(state, np.full(4, number))
        total, state = total + task.reward(state, np.full(4, number), after), after
    gain = psnr(state.now, task.patch(state.image, state.corner)) - first.quality[:, 0]
    np.testing.assert_allclose(total, gain)
    np.testing.assert_allclose(task.metrics(state)["gain_db"], gain)
    assert np.abs(gain).min() > 0.01 and task.terminated(state).all()


def test_stopping_changes_nothing_and_ends(task):
    first = start(task)
    after = task.step(first, np.full(4, STOP))
    np.testing.assert_array_equal(after.now, first.now)
    assert task.terminated(after).all() and not task.reward(first, np.full(4, STOP), after).any()


def test_an_episode_may_end_when_the_picture_is_worse():
    worse = make_task(
        ID, patch_side=40, stop_when_worse=True, blur=(0, 0), noise=(30, 30), quality=(100, 100)
    )
    state = start(worse)
    after = worse.step(state, np.full(4, NAMES.index("deblur 2")))
    assert (worse.metrics(after)["gain_db"] < 0).all() and worse.terminated(after).all()
    better = worse.step(state, np.full(4, NAMES.index("denoise 20")))
    assert (worse.metrics(better)["gain_db"] > 0).all() and not worse.terminated(better).any()


def test_the_expert_takes_the_tool_that_gains_most(task):
    state = start(task)
    chosen = task.expert(state)
    gains = [task.reward(state, np.full(4, k), task.step(state, np.full(4, k))) for k in range(STOP + 1)]
    np.testing.assert_array_equal(chosen, np.argmax(gains, axis=0))


@pytest.mark.parametrize(("kind", "tool"), [("noise", "denoise 20"), ("blur", "deblur 1.3")])
def test_each_kind_of_damage_has_its_tool(kind, tool):
    strength = {"noise": {"noise": (20, 20), "blur": (0, 0)}, "blur": {"noise": (0, 0), "blur": (1.3, 1.3)}}
    one = make_task(ID, data="photographs", quality=(100, 100), **strength[kind])
    state = start(one, 7)
    gains = one.action_gains(state).mean(0)
    assert gains[NAMES.index(tool)] > 1
    assert gains[NAMES.index("sharpen" if kind == "noise" else "smooth")] < 0


def test_damage_without_strength_is_a_copy():
    image = load("photographs", kind=ImageSample, split="val")[0].image[:, :32, :32]
    for quality, most in (
        ((100, 100), 12),
        (None, 0),
    ):  # JPEG of the best quality shares colours of neighbours
        same = Damage((0, 0), (0, 0), quality).on(image, np.random.default_rng(0))
        assert np.abs(same.astype(int) - image).max() <= most
        assert same.shape == image.shape and same.dtype == np.uint8


@pytest.mark.parametrize("shape", [(100, 140), (63, 63), (64, 200)])
def test_a_picture_is_covered_by_tiles(shape):
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    task = make_task(ID, data=[ImageSample(pixels.transpose(2, 0, 1))], labelled=False)
    states = [task.sample(np.random.default_rng(0), item) for item in range(task.items)]
    first, *others = [task.result(state) for state in states]
    np.testing.assert_array_equal(first.joined(others).image.transpose(1, 2, 0), pixels)


@pytest.mark.parametrize("preset", [None, "furuta2019"])
def test_the_film_of_a_file_goes_from_the_file_to_the_result(preset):
    pixels = np.random.default_rng(1).integers(0, 256, (1, 30, 40), dtype=np.uint8)
    task = make_task(ID, preset, data=[ImageSample(pixels)], channels=1, patch_side=24, labelled=False)
    rng = np.random.default_rng(0)
    state = batch.stack([task.sample(rng, item) for item in range(task.items)])
    tools = [np.full((task.items, *(task.action_space.shape or ())), k) for k in (4, 8, 6)]
    for number in tools:
        state = task.step(state, number)
    first, *others = [task.result(batch.take(state, row)) for row in range(task.items)]
    whole = first.joined(others)
    film = whole.film()
    np.testing.assert_array_equal(film[0], pixels)
    np.testing.assert_array_equal(film[-1], whole.image)
    assert len(film) == 4 and all((film[k] != film[k + 1]).any() for k in range(3))


def test_a_method_restores_a_file_whole():
    flat = np.full((3, 70, 90), 128, np.uint8)
    noisy = np.clip(flat + np.random.default_rng(0).normal(0, 20, flat.shape), 0, 255).astype(np.uint8)
    method = BASELINES[ID]["non-local means"].fit(make_task(ID))
    result = Agent(ID, method=method).predict(noisy)
    assert result.image.shape == flat.shape
    assert psnr(result.image[None], flat[None])[0] > psnr(noisy[None], flat[None])[0] + 3
    assert result.film() == []  # there are no steps to show


def test_tiles_that_overlap_are_blended():
    left, right = np.full((1, 4, 6), 100, np.uint8), np.full((1, 4, 6), 200, np.uint8)
    image = Picture((8, 4), (Tile(left, (0, 0), ()), Tile(right, (2, 0), ("median",)))).image[0, 0]
    assert image[0] == 100 and image[-1] == 200
    assert (np.diff(image.astype(int)) >= 0).all() and len(set(image.tolist())) > 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": (10, 5)}, "noise must be two numbers in order within"),
        ({"noise": (-1, 5)}, "noise must be two numbers in order within"),
        ({"quality": (0, 50)}, "quality must be two numbers in order within"),
        ({"blur": (0, float("nan"))}, "blur"),
        ({"patch_side": 256}, "patch_side must be <= the shorter side"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_task(ID, **arguments)


def test_a_grey_picture_is_restored_in_grey():
    grey = make_task(ID, channels=1, patch_side=40)
    assert grey.observation_space["window"].shape == (1, 40, 40)
    state = start(grey)
    assert apply_tools(state.now, np.full(4, 8)).shape == (4, 1, 40, 40)
