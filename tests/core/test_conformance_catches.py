"""The checks find planted bugs: each broken task or engine below must fail the check that is named beside it."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from visionrl.core import TASKS, TaskEnv, register
from visionrl.core.conformance import CHECKS
from visionrl.core.vector_env import TaskVectorEnv
from visionrl.envs.localization.landmark import LandmarkLocalization
from visionrl.ops import xp_of


class ConstantOnTheCpu(LandmarkLocalization):
    def step(self, state, action):
        after = super().step(state, action)
        return replace(after, position=after.position + xp_of(after.position).zeros((1, 2)))


class WritesIntoTheState(LandmarkLocalization):
    def step(self, state, action):
        state.position[...] += 1
        return super().step(state, action)


class BatchMeanLeaks(LandmarkLocalization):
    def reward(self, before, action, after):
        reward = super().reward(before, action, after)
        return reward - xp_of(reward).mean(reward)


class UpIsDown(LandmarkLocalization):
    def expert(self, state):
        good = super().expert(state)
        return xp_of(good).where(good % 2 == 0, 2 - good, good)


class RewardFlipped(LandmarkLocalization):
    def reward(self, before, action, after):
        return -super().reward(before, action, after)


class NumpyOnly(LandmarkLocalization):
    def terminated(self, state):
        return state.finished.copy()


class FloatsSneakIn(LandmarkLocalization):
    def observe(self, state):
        seen = super().observe(state)
        return {**seen, "position": xp_of(state.position).astype(seen["position"], state.position.dtype)}


class ShowsItsState(LandmarkLocalization):
    def metrics(self, state):
        return {**super().metrics(state), "factor": state.factor}


class IgnoresTheSeed(LandmarkLocalization):
    def sample(self, rng, item):
        return super().sample(np.random.default_rng(0), 0)


class Blind(LandmarkLocalization):
    def observe(self, state):
        return {key: value * 0 for key, value in super().observe(state).items()}


class Undocumented(LandmarkLocalization):
    """Says nothing."""


@pytest.fixture
def file_task():
    made = []

    def file(cls):
        register(f"{cls.__name__}-v0", max_steps=60)(cls)
        made.append(f"visionrl/{cls.__name__}-v0")
        return made[-1]

    yield file
    for task_id in made:
        del TASKS[task_id], gym.registry[task_id]


@pytest.mark.parametrize(
    ("task", "rule", "words"),
    [
        (ConstantOnTheCpu, "no_device_leak", "not on the expected device meta"),
        (ConstantOnTheCpu, "array_api", "two different devices"),
        (WritesIntoTheState, "state_untouched", "must not write into the state"),
        (BatchMeanLeaks, "rows_independent", "reward must not mix rows"),
        (BatchMeanLeaks, "rows_replay_single", "reward"),
        (UpIsDown, "expert", "the expert must solve"),
        (RewardFlipped, "expert", "the expert must earn more than chance"),
        (NumpyOnly, "array_api", "no attribute 'copy'"),
        (FloatsSneakIn, "observations", "position must be float32, got float64"),
        (ShowsItsState, "observations", "factor must not share memory"),
        (IgnoresTheSeed, "seeds", "two seeds must give two first observations"),
        (Blind, "observations", "must not be constant"),
        (Undocumented, "docstring", "must have a table row 'Observation'"),
    ],
)
def test_a_broken_task_is_caught(file_task, task, rule, words):
    task_id = file_task(task)
    with pytest.raises(Exception, match=words):
        CHECKS[rule](task_id)


def test_a_restart_that_rolls_neighbours_back_is_caught(monkeypatch):
    restart = TaskVectorEnv._restart

    def rolling(self, done):
        told = restart(self, done)
        self.state.position[~done] += 1
        return told

    monkeypatch.setattr(TaskVectorEnv, "_restart", rolling)
    with pytest.raises(AssertionError):
        CHECKS["rows_replay_single"]("visionrl/LandmarkLocalization-v0")


def test_one_seed_for_all_rows_is_caught(monkeypatch):
    reset = TaskVectorEnv.reset
    monkeypatch.setattr(
        TaskVectorEnv,
        "reset",
        lambda self, *, seed=None, options=None: reset(self, seed=[seed] * self.num_envs),
    )
    with pytest.raises(AssertionError):
        CHECKS["rows_replay_single"]("visionrl/LandmarkLocalization-v0")


def test_an_entry_point_that_is_no_string_is_caught(file_task):
    task_id = file_task(Undocumented)
    gym.registry[task_id].entry_point = lambda **kwargs: TaskEnv(**kwargs)
    with pytest.raises((AssertionError, AttributeError, ValueError)):
        CHECKS["spec"](task_id)
