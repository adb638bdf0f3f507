"""Rules of what the truth says: the expert solves the task, success is more than chance, good actions are good."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from visionrl.core.capabilities import GoodActions
from visionrl.core.conformance.moments import episodes, moments
from visionrl.core.conformance.rules import require
from visionrl.core.registry import entry_of

TOLERANCE = 1e-6  # of rewards
ERRORS = 3  # standard errors by which the expert has to be ahead


def check_expert(task_id: str, **kwargs: Any) -> None:
    """The expert keeps to the action space, solves its stated share of episodes, and earns more than chance."""
    for task, state, _ in moments(task_id, **kwargs):
        actions = np.asarray(task.expert(state))
        for one in actions.astype(task.action_space.dtype):
            require(
                task.action_space.contains(one), f"the expert must act inside the action space, got {one}"
            )
    expert, chance = episodes(task_id, **kwargs), episodes(task_id, policy="chance", **kwargs)
    reach, solved = entry_of(task_id).expert_rate(kwargs.get("preset")), expert.success.mean()
    require(
        solved >= reach,
        f"the expert must solve >= {reach:.0%} of the episodes, it solves {solved:.0%}",
    )
    gap = expert.earned - chance.earned
    require(
        _is_ahead(gap)
        or _is_ahead(np.sign(gap)),  # by the mean, or by how often, where a few outliers rule the mean
        f"the expert must earn more than chance, it earns {gap.mean():.2f} +- {gap.std() / len(gap) ** 0.5:.2f} more",
    )


def check_success(task_id: str, **kwargs: Any) -> None:
    """``is_success`` tells the expert from chance: not every end is a success."""
    expert, chance = episodes(task_id, **kwargs), episodes(task_id, policy="chance", **kwargs)
    for found in (expert.success, chance.success):
        require(found.dtype == bool, "is_success must be bool")
    require(
        _is_ahead(expert.success.astype(float) - chance.success),
        f"chance must succeed less than the expert, it succeeds in {chance.success.mean():.0%} of the episodes",
    )


def check_good_actions(task_id: str, **kwargs: Any) -> None:
    """Good actions by the task's own account lose nothing where the expert's does not; each state has one."""
    recorded = moments(task_id, **kwargs)
    task: Any = recorded[0][0]
    if not isinstance(task, GoodActions):
        return
    task = recorded[0][0]
    require(isinstance(task.action_space, spaces.Discrete), "good_actions needs a Discrete action space")
    count = int(task.action_space.n)
    for _, state, action in recorded:
        good, best = task.good_actions(state), task.expert(state)
        rows = np.arange(len(action))
        require(good.shape == (len(action), count) and good.dtype == bool, "good_actions must be (B, n) bool")
        require(good.any(axis=1).all(), "good_actions must name one action or more in every state")
        earned = np.stack([_earned(task, state, np.full_like(action, k)) for k in range(count)], axis=1)
        enough = np.minimum(earned[rows, best], 0.0)
        require(
            not (good & (earned < enough[:, None] - TOLERANCE)).any(),
            "good_actions must not name an action that loses where the expert's does not",
        )


def _earned(task: Any, state: Any, action: np.ndarray) -> np.ndarray:
    """(B,) the reward of an action."""
    return task.reward(state, action, task.step(state, action))


def _is_ahead(gap: np.ndarray) -> bool:
    """Tell if the mean difference of paired episodes is above 0 by some standard errors."""
    return bool(gap.mean() > ERRORS * gap.std() / np.sqrt(len(gap)))
