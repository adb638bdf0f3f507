"""The door of an environment: wrong actions, items, seeds and modes are one clear error, and change nothing."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from visionrl.core import TaskEnv, TaskVectorEnv
from visionrl.core.door import checked_actions

LANDMARK = "visionrl/LandmarkLocalization-v0"
NUMBERED, BOX, TEAM = spaces.Discrete(4), spaces.Box(-1, 1, (2,), np.float32), spaces.MultiDiscrete([3, 5])
HOMES = [np.zeros(0), torch.zeros(0)]


@pytest.mark.parametrize("home", HOMES, ids=["numpy", "torch"])
@pytest.mark.parametrize(
    ("space", "action", "words"),
    [
        (NUMBERED, -1, "got -1"),
        (NUMBERED, 4, "got 4"),
        (NUMBERED, 10**12, "got 1000000000000"),
        (NUMBERED, 1.0, "an array of"),
        (NUMBERED, True, "an array of"),
        (NUMBERED, [1], r"shape \(\) for Discrete"),
        (NUMBERED, "left", "action must be in Discrete"),
        (NUMBERED, None, "action must be in Discrete"),
        (BOX, [0.0, np.nan], "nan"),
        (BOX, [0.0, np.inf], "inf"),
        (BOX, [0.0, 1.5], "1.5"),
        (BOX, [0.0], r"shape \(2,\) for Box"),
        (BOX, 0.0, r"shape \(2,\) for Box"),
        (TEAM, [0, 5], r"\[0, 5\]"),
        (TEAM, [3, 0], r"\[3, 0\]"),
        (TEAM, [-1, 0], r"\[-1, 0\]"),
        (TEAM, [0.0, 1.0], "an array of"),
    ],
)
def test_a_wrong_action_names_itself_and_the_space(home, space, action, words):
    with pytest.raises(ValueError, match=words) as error:
        checked_actions(action, space, None, home)
    assert "action must" in str(error.value)


@pytest.mark.parametrize("home", HOMES, ids=["numpy", "torch"])
def test_of_many_actions_the_wrong_row_is_named(home):
    with pytest.raises(ValueError, match="got 7 in row 2"):
        checked_actions(np.array([0, 3, 7]), NUMBERED, 3, home)
    with pytest.raises(ValueError, match=r"shape \(3,\) for Discrete\(4\), got shape \(2,\)"):
        checked_actions(np.array([0, 3]), NUMBERED, 3, home)


def test_right_actions_pass_as_they_are():
    assert checked_actions(3, NUMBERED, None, HOMES[0]).tolist() == [3]
    assert checked_actions(np.int64(0), NUMBERED, None, HOMES[0]).dtype == np.int64
    assert checked_actions([[1.0, -1.0]], BOX, 1, HOMES[1]).tolist() == [[1.0, -1.0]]
    assert checked_actions([1, 0], BOX, None, HOMES[0]).dtype == np.float32
    assert checked_actions(torch.tensor([2, 4]), TEAM, None, HOMES[0]).tolist() == [[2, 4]]
    meta = torch.zeros(0, device="meta")
    assert checked_actions(torch.zeros(5, dtype=torch.int64, device="meta"), NUMBERED, 5, meta).shape == (5,)


@pytest.mark.parametrize("task_id", [LANDMARK, "visionrl/GlimpseClassification-v0"])
def test_a_refused_action_changes_nothing(task_id):
    for env, wrong in ((TaskEnv(task_id), 10**6), (TaskVectorEnv(2, task_id), np.array([0, -1]))):
        env.reset(seed=0)
        before = {key: np.array(value) for key, value in vars(env.state).items()}
        with pytest.raises(ValueError, match="action must be in"):
            env.step(wrong)
        for key, value in vars(env.state).items():
            np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("task_id", [LANDMARK, "visionrl/ViewPlane3D-v0", "visionrl/Registration2D-v0"])
def test_every_kind_of_space_refuses_an_action_of_another_shape(task_id):
    env = TaskVectorEnv(2, task_id)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action must have shape"):
        env.step(env.action_space.sample()[:1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"itme": 0}, "no key but 'item', got 'itme'"),
        ({"item": 1.5}, r"whole number in \[0, \d+\), got 1.5"),
        ({"item": True}, "got True"),
        ({"item": -1}, "got -1"),
        ({"item": 10**9}, "got 1000000000"),
        ({"item": "x"}, "got 'x'"),
        (5, "options must be a dict"),
    ],
)
def test_wrong_options_are_refused(options, words):
    for env in (TaskEnv(LANDMARK), TaskVectorEnv(2, LANDMARK)):
        with pytest.raises(ValueError, match=words):
            env.reset(options=options)


@pytest.mark.parametrize("seed", [1.5, "x", -1, True])
def test_wrong_seeds_are_refused(seed):
    for env in (TaskEnv(LANDMARK), TaskVectorEnv(2, LANDMARK)):
        with pytest.raises(ValueError, match="seed must be a whole number >= 0"):
            env.reset(seed=seed)
    with pytest.raises(ValueError, match="seed must be a whole number >= 0"):
        TaskVectorEnv(2, LANDMARK).reset(seed=[0, seed])


def test_nothing_can_be_done_before_a_reset():
    shown = {"render_mode": "rgb_array"}
    single, many = TaskEnv(LANDMARK, **shown), TaskVectorEnv(2, LANDMARK, **shown)
    for env, action in ((single, 0), (many, np.array([0, 0]))):
        with pytest.raises(gym.error.ResetNeeded, match="before step"):
            env.step(action)
        with pytest.raises(gym.error.ResetNeeded, match="before render"):
            env.render()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"render_mode": "human"}, "render_mode must be None or 'rgb_array', got 'human'"),
        ({"max_episode_steps": -5}, "max_episode_steps must be a whole number >= 1 or None, got -5"),
        ({"max_episode_steps": 1.5}, "got 1.5"),
        ({"num_envs": 0}, "num_envs must be a whole number >= 1, got 0"),
    ],
)
def test_arguments_of_the_engine_are_checked(given, words):
    with pytest.raises(ValueError, match=words):
        TaskVectorEnv(**{"num_envs": 2, "task": LANDMARK, **given})
