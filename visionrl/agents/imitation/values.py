"""Returns of actions under the expert, computed by simulating each action."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from visionrl.core import Task, batch
from visionrl.ops import like, to_numpy

NEGLIGIBLE = 0.05  # discount from which on rewards do not count
LONGEST = 30  # steps that count at most


def state_values(task: Task, state: Any, gamma: float) -> np.ndarray:
    """(B,) float32, the return of the expert's actions from now on."""
    return returns(task, state, task.expert(state), gamma)


def action_values(task: Task, state: Any, gamma: float) -> np.ndarray:
    """(B, n) float32, the return of each of n discrete actions, when the expert's follow.

    As ``Task.step`` is a function of states, all are tried without an environment, and nothing is observed.
    """
    home, count = next(iter(vars(state).values())), int(task.action_space.n)  # type: ignore[attr-defined]
    rows = np.repeat(np.arange(len(home)), count)
    actions = like(np.tile(np.arange(count), len(home)), home)
    return returns(task, batch.take(state, rows), actions, gamma).reshape(-1, count)


def returns(task: Task, state: Any, action: Any, gamma: float) -> np.ndarray:
    """(B,) float32, the discounted sum of the rewards of an action and of the expert's after it.

    The task's own end counts, the time limit does not; nor does what comes when the discount is below a twentieth, or
    after 30 steps.
    """
    total, weight = np.zeros(len(action)), np.ones(len(action))
    for left in reversed(range(horizon(gamma))):
        after = task.step(state, action)
        earned = to_numpy(task.reward(state, action, after))
        total = total + np.where(weight > 0, weight * earned, 0.0)
        weight = gamma * weight * ~to_numpy(task.terminated(after))
        if not left or not weight.any():
            break
        state, action = after, task.expert(after)
    return total.astype(np.float32)


def horizon(gamma: float) -> int:
    """Steps that count in a return."""
    if gamma <= NEGLIGIBLE:
        return 1
    return LONGEST if gamma >= 1 else min(math.ceil(math.log(NEGLIGIBLE) / math.log(gamma)), LONGEST)
