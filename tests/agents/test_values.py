"""Values of actions to the expert: what stepping an environment gives, and the ends of its returns."""

from __future__ import annotations

import numpy as np
import pytest

from visionrl.agents.imitation.values import action_values, horizon, state_values
from visionrl.core import make_task
from visionrl.core.batch import stack, take
from visionrl.ops import to_numpy

GAMMA = 0.5


def states(env_id: str, count: int = 3, **kwargs: object) -> tuple:
    """A task and first states."""
    task = make_task(env_id, split="train", **kwargs)
    rng = np.random.default_rng(0)
    return task, stack([task.sample(rng, item) for item in range(count)])


@pytest.mark.parametrize("env_id", ["visionrl/LandmarkLocalization-v0", "visionrl/Detection-v0"])
def test_values_are_the_returns_of_episodes(env_id: str) -> None:
    """Each action in each row, one after the other, and the expert behind it until the task ends."""
    task, first = states(env_id)
    values = action_values(task, first, GAMMA)
    assert values.shape == (3, task.action_space.n) and values.dtype == np.float32
    for row in range(3):
        for action in range(task.action_space.n):
            state, act, total = take(first, [row]), np.array([action]), 0.0
            for step in range(horizon(GAMMA)):
                after = task.step(state, act)
                total += GAMMA**step * task.reward(state, act, after)[0]
                if task.terminated(after)[0]:
                    break
                state, act = after, task.expert(after)
            assert values[row, action] == pytest.approx(total, abs=1e-5)


def test_the_state_is_worth_what_the_experts_action_is() -> None:
    task, first = states("visionrl/LandmarkLocalization-v0")
    values = action_values(task, first, 0.9)
    np.testing.assert_allclose(
        state_values(task, first, 0.9), values[np.arange(3), task.expert(first)], rtol=1e-6
    )


def test_torch_gives_the_same() -> None:
    import torch

    task, first = states("visionrl/LandmarkLocalization-v0")
    again = stack([take(first, row) for row in range(3)], torch.zeros(1))
    np.testing.assert_array_equal(action_values(task, again, GAMMA), action_values(task, first, GAMMA))
    assert not isinstance(to_numpy(again.position), torch.Tensor)


def test_an_end_is_an_end() -> None:
    """A report that ends the episode is worth its reward alone."""
    task, first = states("visionrl/Detection-v0", max_reports=1)
    report = action_values(task, first, 0.9)[:, task.report]
    np.testing.assert_array_equal(report, [-task.false_positive_cost] * 3)


@pytest.mark.parametrize(
    ("gamma", "steps"), [(0.0, 1), (0.05, 1), (0.5, 5), (0.9, 29), (0.99, 30), (1.0, 30)]
)
def test_how_many_steps_count(gamma: float, steps: int) -> None:
    assert horizon(gamma) == steps
