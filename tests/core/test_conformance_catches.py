"""The checks find planted bugs: each broken task or engine must fail the check that is named beside it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import planted
import pytest

from visionrl.core import TASKS, TaskEnv, register
from visionrl.core.conformance import CHECKS
from visionrl.core.conformance.processes import check_new_process
from visionrl.core.vector_env import TaskVectorEnv

REPLAY = "rows_replay_single"


@pytest.fixture
def file_task():
    made = []

    def file(cls):
        register(f"{cls.__name__}-v0", max_steps=60 if cls in SHORT else 200)(cls)
        made.append(f"visionrl/{cls.__name__}-v0")
        return made[-1]

    yield file
    for task_id in made:
        del TASKS[task_id], gym.registry[task_id]


SHORT = {planted.UpIsDown, planted.RewardFlipped}
BROKEN = [
    ("ConstantOnTheCpu", "no_device_leak", "not on the expected device meta"),
    ("ConstantOnTheCpu", "array_api", "two different devices"),
    ("MetricOnTheCpu", "torch", "must not bring arrays to the host"),
    ("MetricOnTheCpu", "array_api", "must stay on the device of the state"),
    ("WritesIntoTheState", "state_untouched", "must not write into the state"),
    ("WritesIntoTensors", "torch", "must not write into a state of torch"),
    ("RewardCentred", "rows_independent", "reward must not mix rows"),
    ("RewardCentred", REPLAY, "reward"),
    ("ReusedBuffer", "observations", "position must be a new array in every call"),
    ("TwoSourcesOfChance", "sampling", "one seed must give one episode"),
    ("TeleportingExpert", "expert", "the expert must act inside the action space"),
    ("OneActionReversed", "expert", "the expert must solve"),
    ("UpIsDown", "expert", "the expert must solve"),
    ("RewardFlipped", "expert", "the expert must earn more than chance"),
    ("ItemIgnored", "sampling", "must begin differently"),
    ("FloatPicture", "gymnasium", "uint8"),
    ("KeepsACounter", "sampling", "a task must not keep begun between episodes"),
    ("CountsElsewhere", "sampling", "one seed must give one episode"),
    ("HashInSample", "sampling", "sample must not call hash"),
    ("SplitIgnored", "splits", "splits must be disjoint"),
    ("TruthInTheObservation", "hidden", "position must not tell the truth: it depends on landmark"),
    ("TruthMixedIn", "hidden", "position must not tell the truth: it depends on landmark"),
    ("EveryEndASuccess", "success", "chance must succeed less than the expert"),
    ("EndsLate", "extremes", "in the step in which the state says it is finished"),
    ("NanInACorner", "extremes", "reward must be finite"),
    ("EveryActionIsGood", "good_actions", "must not name an action that loses"),
    ("SingleRewardsOnTorch", "torch", "reward must be float64 everywhere, got float32"),
    ("RoundTripInABranch", "torch", "must not bring arrays to the host"),
    ("RoundTrip", "torch", "must not bring arrays to the host"),
    ("NumpyOnly", "array_api", "no attribute 'copy'"),
    ("FloatsSneakIn", "observations", "position must be float32, got float64"),
    ("ShowsItsState", "observations", "factor must not share memory"),
    ("IgnoresTheSeed", "seeds", "two seeds must give two first observations"),
    ("Blind", "observations", "must not be constant"),
    ("Undocumented", "docstring", "must have a table row 'Observation'"),
]


@pytest.mark.parametrize(("task", "rule", "words"), BROKEN)
def test_a_broken_task_is_caught(file_task, task, rule, words):
    task_id = file_task(getattr(planted, task))
    with pytest.raises(Exception, match=words):
        CHECKS[rule](task_id)


def test_rules_that_a_bug_does_not_touch_hold(file_task):
    """So that the rule that fails says where to look."""
    task_id = file_task(planted.EveryActionIsGood)
    for rule in ("seeds", "sampling", "observations", "state_untouched", "ends"):
        CHECKS[rule](task_id)


def test_a_restart_that_rolls_neighbours_back_is_caught(monkeypatch):
    restart = TaskVectorEnv._restart

    def rolling(self, done):
        told = restart(self, done)
        self.state.position[~done] += 1
        return told

    monkeypatch.setattr(TaskVectorEnv, "_restart", rolling)
    with pytest.raises(AssertionError):
        CHECKS[REPLAY](planted.ID)


def test_a_reward_of_0_at_a_restart_is_caught(monkeypatch):
    step = TaskVectorEnv.step

    def forgetful(self, actions):
        obs, reward, terminated, truncated, info = step(self, actions)
        return obs, np.where(terminated | truncated, 0.0, reward), terminated, truncated, info

    monkeypatch.setattr(TaskVectorEnv, "step", forgetful)
    with pytest.raises(AssertionError, match="reward"):
        CHECKS[REPLAY](planted.ID)


def test_one_seed_for_all_rows_is_caught(monkeypatch):
    reset = TaskVectorEnv.reset
    monkeypatch.setattr(
        TaskVectorEnv,
        "reset",
        lambda self, *, seed=None, options=None: reset(self, seed=[seed] * self.num_envs),
    )
    with pytest.raises(AssertionError):
        CHECKS[REPLAY](planted.ID)


def test_an_entry_point_that_is_no_string_is_caught(file_task):
    task_id = file_task(planted.Undocumented)
    gym.registry[task_id].entry_point = lambda **kwargs: TaskEnv(**kwargs)
    with pytest.raises((AssertionError, AttributeError, ValueError)):
        CHECKS["spec"](task_id)


@pytest.mark.slow
def test_another_result_in_a_new_process_is_caught(monkeypatch):
    sample = planted.Landmark.sample
    monkeypatch.setattr(planted.Landmark, "sample", lambda self, rng, item: sample(self, rng, item // 2))
    with pytest.raises(AssertionError, match="in another process"):
        check_new_process(planted.ID)


def test_episodes_of_one_length_are_no_reason_to_fail():
    """All rows of this task end in the same step; nothing is wrong with that."""
    CHECKS[REPLAY]("visionrl/GlimpseClassification-v0", control="continuous", glimpses=3, split="val")
