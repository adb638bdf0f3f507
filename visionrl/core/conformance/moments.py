"""Recordings that checks share: moments of roll-outs, whole episodes, and all that the middle of a task computes."""

from __future__ import annotations

import functools
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from gymnasium import spaces

from visionrl.core import batch
from visionrl.core.capabilities import (
    ActionGains,
    MaskedActions,
    PixelActions,
    Reports,
    WeighedActions,
    good_actions,
)
from visionrl.core.registry import entry_of, make_task
from visionrl.core.testing import act, acting, roll_out, start

ROWS = 4
STEPS = 120
EVERY = 11  # of these steps one is kept
EPISODES = 64
OF_A_PRESET = 2  # a preset is given this part of the steps and episodes: the rules are those of its task
KEPT = 8  # recordings held at a time

MadeT = TypeVar("MadeT")
Recorded = tuple[Any, Any, np.ndarray]  # task, state of B rows, action


@dataclass(frozen=True)
class Episodes:
    """Whole episodes of one policy, from the same starts whatever the policy.

    Attributes:
        earned: (N,) float64, the sum of rewards.
        success: (N,) bool, ``is_success`` at the end.
        terminated: (N,) bool; the others ran into the time limit.
        last: moments with rows that end by themselves with the action.
    """

    earned: np.ndarray
    success: np.ndarray
    terminated: np.ndarray
    last: tuple[Recorded, ...]


def remembered(make: Callable[..., MadeT]) -> Callable[..., MadeT]:
    """Keep what a function of (id, arguments) returned last; arguments that are no JSON are computed anew."""
    held: OrderedDict[Any, MadeT] = OrderedDict()

    @functools.wraps(make)
    def ask(task_id: str, **kwargs: Any) -> MadeT:
        try:
            key = entry_of(task_id).task, json.dumps(kwargs, sort_keys=True)
        except TypeError:
            return make(task_id, **kwargs)
        if key not in held:
            held[key] = make(task_id, **kwargs)
        while len(held) > KEPT:
            held.popitem(last=False)
        return held[key]

    return ask


@remembered
def moments(task_id: str, **kwargs: Any) -> list[Recorded]:
    """Moments on the way through episodes, half by the expert and half by chance, and some just before an end."""
    played = enumerate(roll_out(task_id, "mixed", STEPS // divisor(kwargs), seed=5, rows=ROWS, **kwargs))
    kept = [(moment.task, moment.state, moment.action) for t, moment in played if t % EVERY == 0]
    return kept + list(episodes(task_id, policy="expert", **kwargs).last[:2])


@remembered
def episodes(task_id: str, policy: str = "expert", **kwargs: Any) -> Episodes:
    """Play ``EPISODES`` episodes to their ends, a row each; nothing is observed, and rows leave when they are over."""
    task: Any = make_task(task_id, **kwargs)
    choose = acting(task, policy)  # type: ignore[arg-type]
    count = EPISODES // divisor(kwargs)
    state, rows = start(task, rows=count), np.arange(count)
    earned = np.zeros(count)
    success, terminated = np.zeros((2, count), bool)
    left = entry_of(task_id).max_steps or np.inf
    last: list[Recorded] = []
    while len(rows):
        action = choose(task, state)
        after, reward, ended = act(task, state, action)
        earned[rows] += reward
        terminated[rows] = ended
        left -= 1
        over = ended if left else np.ones(len(rows), bool)
        if ended.any() and len(last) < ROWS:
            near = np.flatnonzero(ended)[:ROWS]
            last.append((task, batch.take(state, _padded(near)), action[_padded(near)]))
        if over.any():
            success[rows[over]] = task.metrics(batch.take(after, over))["is_success"]
            rows, after = rows[~over], batch.take(after, ~over)
        state = after
    return Episodes(earned, success, terminated, tuple(last))


def divisor(kwargs: dict[str, Any]) -> int:
    """Divisor of the numbers of steps and episodes."""
    return OF_A_PRESET if "preset" in kwargs else 1


def _padded(rows: np.ndarray) -> np.ndarray:
    """Numbers of ``ROWS`` rows, the given ones over and over."""
    return np.resize(rows, ROWS)


def middle(task: Any, state: Any, action: Any) -> dict[str, Any]:
    """All that the middle of a task computes, by name."""
    after = task.step(state, action)
    out = {f"state.{key}": value for key, value in vars(after).items()}
    out |= {f"obs.{key}": value for key, value in task.observe(after).items()}
    out |= {f"metric.{key}": value for key, value in task.metrics(after).items()}
    out["reward"], out["terminated"] = task.reward(state, action, after), task.terminated(after)
    out["expert"] = task.expert(state)
    if isinstance(task.action_space, spaces.Discrete):
        out["good_actions"] = good_actions(task, state)
    if isinstance(task, PixelActions):
        out["reward_map"] = task.reward_map(state, action, after)
    for name in _further(task):
        out[name] = getattr(task, name)(state)
    return out


def _further(task: Any) -> list[str]:
    """Names of what capabilities compute from a state."""
    numbered = isinstance(task.action_space, spaces.Discrete | spaces.MultiDiscrete)
    found = ["action_mask"] if numbered and isinstance(task, MaskedActions) else []
    found += ["action_weights"] if isinstance(task, WeighedActions) else []
    found += ["action_gains"] if isinstance(task, ActionGains) else []
    found += ["gain_maps"] if isinstance(task, PixelActions) else []
    return found + (["detection_quality"] if isinstance(task, Reports) else [])
