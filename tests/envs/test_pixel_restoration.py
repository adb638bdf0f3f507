"""Restoration in which every pixel acts: rewards of pixels, tools, the space, what is refused."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from visionrl.agents.evaluation.policies import RandomPolicy
from visionrl.agents.prediction.agent import Agent
from visionrl.core import batch, make_task
from visionrl.core.capabilities import PixelActions, name_of, pixels_of
from visionrl.envs.enhancement.pixel_tools import PIXEL_NAMES, PIXEL_TOOLS, PLAN, apply_pixel_tools
from visionrl.metrics.image_quality import psnr
from visionrl.ops import filters

ID = "visionrl/Restoration-v0"
SIDE = 24


def start(task, count=4, seed=0):
    rng = np.random.default_rng(seed)
    return batch.stack([task.sample(rng, k % task.items) for k in range(count)])


@pytest.fixture(scope="module")
def task():
    return make_task(ID, "furuta2019", patch_side=SIDE)


def drawn(seed=0, count=4):
    return np.random.default_rng(seed).integers(0, 9, (count, SIDE, SIDE))


def test_only_the_control_of_pixels_offers_pixel_actions(task):
    assert isinstance(task, PixelActions) and task.pixels == (SIDE, SIDE)
    assert pixels_of(task.action_space) == (SIDE, SIDE, len(PIXEL_NAMES))
    assert not isinstance(make_task(ID, patch_side=40), PixelActions)


def test_the_reward_is_the_mean_of_the_map_and_telescopes(task):
    first = state = start(task)
    true = task.patch(first.image, first.corner).astype(float)
    total = np.zeros((4, SIDE, SIDE))
    for step in range(5):
        action = drawn(step)
        after = task.step(state, action)
        earned = task.reward_map(state, action, after)
        np.testing.assert_allclose(task.reward(state, action, after), earned.mean(axis=(1, 2)))
        total, state = total + earned, after
    before, end = (((x.now - true) / 255) ** 2 for x in (first, state))
    np.testing.assert_allclose(total, 255 * (before - end)[:, 0], atol=1e-4)
    assert task.terminated(state).all() and np.abs(total).max() > 1


def test_a_pixel_gets_the_value_of_its_own_tool():
    images, number = np.random.default_rng(0).uniform(0, 255, (4, 1, SIDE, SIDE)).astype(np.float32), drawn()
    found = apply_pixel_tools(images, number)
    for k, tool in enumerate(PIXEL_TOOLS.values()):
        here = (number == k)[:, None]
        np.testing.assert_array_equal(found[here], tool(images)[here])


def test_tools_that_no_pixel_wants_are_not_computed():
    asked = []

    def tool(name):
        return lambda images: asked.append((name, len(images))) or images

    number = np.zeros((3, 4, 4), int)
    number[1, 2, 2] = 2
    filters.filter_pixels(np.zeros((3, 1, 4, 4), np.float32), number, [tool(k) for k in range(4)])
    assert asked == [(0, 3), (2, 1)]


def test_tools_are_those_of_the_paper():
    """Furuta et al. filter floats in [0, 1], so a bilateral filter of 0.1 is one of 25.5 grey levels."""
    import cv2

    image = np.random.default_rng(1).uniform(0, 1, (16, 16)).astype(np.float32)
    for name, sigma in (("bilateral 0.1", 0.1), ("bilateral 1.0", 1.0)):
        found = PIXEL_TOOLS[name](image[None, None] * 255)[0, 0] / 255
        np.testing.assert_allclose(found, cv2.bilateralFilter(image, 5, sigma, 5), atol=2e-3)
    for name, sigma in (("gaussian 0.5", 0.5), ("gaussian 1.5", 1.5)):
        found = PIXEL_TOOLS[name](image[None, None])[0, 0]
        np.testing.assert_allclose(found, cv2.GaussianBlur(image, (5, 5), sigma), atol=1e-5)
    np.testing.assert_allclose(
        PIXEL_TOOLS["box 5"](image[None, None])[0, 0], cv2.boxFilter(image, -1, (5, 5)), atol=1e-5
    )


def test_the_expert_takes_the_best_tool_of_each_pixel(task):
    state = start(task)
    true = task.patch(state.image, state.corner)
    tried = np.stack([np.clip(tool(state.now), 0, 255) for tool in PIXEL_TOOLS.values()])
    np.testing.assert_array_equal(task.expert(state), np.abs(tried - true).argmin(axis=0)[:, 0])


def test_gain_maps_are_the_rewards_of_a_tool_and_the_plan_behind_it(task):
    state = start(task)
    tool = 6
    total, after = np.zeros((4, SIDE, SIDE)), state
    for step in range(5):
        number = tool if step == 0 else PLAN[step] if step < len(PLAN) else PIXEL_NAMES.index("keep")
        action = np.full((4, SIDE, SIDE), number)
        new = task.step(after, action)
        total, after = total + task.reward_map(after, action, new), new
    np.testing.assert_allclose(task.gain_maps(state)[:, tool], total, atol=2e-3)


def test_the_plan_beats_its_first_tool_used_again_and_again(task):
    def quality(numbers):
        state = start(task, 14)
        for number in numbers:
            state = task.step(state, np.full((14, SIDE, SIDE), number))
        return psnr(state.now, task.patch(state.image, state.corner)).mean()

    assert quality((*PLAN, 1, 1)) > max(quality((k,) * 5) for k in range(9)) + 0.1


def test_noise_without_jpeg_is_that_of_the_file(task):
    state = start(task, 14)
    gap = state.now - task.patch(state.image, state.corner)
    assert 20 < gap.std() < 26  # 25 before what lies outside a file's range is cut off
    assert (state.now == np.rint(state.now)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stop": True}, "stop and stop_when_worse must be False for control 'pixel'"),
        ({"stop_when_worse": True}, "stop and stop_when_worse must be False for control 'pixel'"),
        ({"noise": (-25, 25)}, "noise must be two numbers in order within"),
        ({"patch_side": 256}, "patch_side must be <= the shorter side"),
        ({"patch_side": 8}, "patch_side"),
        ({"channels": 2}, "channels"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_task(ID, "furuta2019", **arguments)


def test_bad_actions_are_refused_in_few_words(task):
    env = gym.make(ID, preset="furuta2019", patch_side=SIDE)
    env.reset(seed=0)
    for action in (np.full((SIDE, SIDE), 9), np.zeros((SIDE, SIDE + 1), int), np.zeros((SIDE, SIDE))):
        with pytest.raises(ValueError, match="MultiDiscrete of 24 x 24 pixels with 9 tools each") as error:
            env.step(action)
        assert len(str(error.value)) < 200
    assert name_of(task.action_space) in str(error.value)


def test_the_vector_environment_keeps_the_map_of_rewards():
    venv = gym.make_vec(ID, 3, vectorization_mode="vector_entry_point", preset="furuta2019", patch_side=SIDE)
    venv.reset(seed=0)
    reward = venv.step(drawn(count=3))[1]
    np.testing.assert_allclose(reward, venv.reward_map.mean(axis=(1, 2)))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.random.default_rng(0).random((30, 30)), "images must be uint8"),
        (np.full((30, 30), np.nan), "images must be uint8"),
        (np.zeros((20, 30), np.uint8), "patch_side must be <= the shorter side"),
    ],
)
def test_a_picture_that_is_none_or_too_small_is_refused(pixels, message):
    agent = Agent(ID, RandomPolicy(), {"preset": "furuta2019", "patch_side": SIDE})
    with pytest.raises(ValueError, match=message):
        agent.predict(pixels)


def test_a_picture_in_rgb_is_restored_in_grey():
    agent = Agent(ID, RandomPolicy(), {"preset": "furuta2019", "patch_side": SIDE})
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    assert agent.predict(pixels).image.shape == (1, 30, 40)
