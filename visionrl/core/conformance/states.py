"""Rules of states: nothing writes into them, their ends are told at once, and no corner of a task breaks it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from visionrl.core import batch
from visionrl.core.conformance.moments import episodes, middle, moments
from visionrl.core.conformance.observations import require_valid
from visionrl.core.conformance.rules import equal, require
from visionrl.core.registry import entry_of, make_task
from visionrl.core.testing import roll_out, start

ROWS = 12  # of the extremes
STEPS = 160  # enough to walk from the middle to a corner
OBSERVED = 4  # one of so many steps is observed


def check_state_untouched(task_id: str, **kwargs: Any) -> None:
    """No method of the middle writes into the state or the action, and no two fields of a state share memory."""
    for task, state, action in moments(task_id, **kwargs):
        kept, taken = batch.each(state, np.copy), action.copy()
        middle(task, state, action)
        after = task.step(state, action)
        require(
            equal(vars(kept), vars(state)), "step, observe, reward and the rest must not write into the state"
        )
        require((taken == action).all(), "step must not write into the action")
        for (a, x), (b, y) in itertools.combinations(vars(after).items(), 2):
            require(not np.shares_memory(x, y), f"fields {a} and {b} must not share memory")


def check_ends(task_id: str, **kwargs: Any) -> None:
    """No episode is over when it begins, and ``terminated`` is the state's ``finished``, where it has such a field."""
    task: Any = make_task(task_id, **kwargs)
    require(not task.terminated(start(task, rows=8)).any(), "no episode may be over when it begins")
    ends = [*episodes(task_id, **kwargs).last, *episodes(task_id, policy="chance", **kwargs).last]
    for _, state, action in (*moments(task_id, **kwargs), *ends):
        _require_end(task, task.step(state, action))


def check_extremes(task_id: str, **kwargs: Any) -> None:
    """Rewards, metrics and observations stay finite and inside their spaces where actions lead to the edges."""
    task: Any = make_task(task_id, **kwargs)
    limit = entry_of(task_id).max_steps
    for t, moment in enumerate(roll_out(task, _pairs(task.action_space), STEPS, rows=ROWS, limit=limit)):
        state, reward = moment.after, moment.reward
        require(
            reward.shape == (ROWS,) and reward.dtype == np.float64,
            f"reward must be (B,) float64, got {reward.shape} {reward.dtype}",
        )
        require(np.isfinite(reward).all(), "reward must be finite")
        _require_end(task, state)
        for key, value in task.metrics(state).items():
            require(np.isfinite(value).all(), f"metric {key} must be finite")
        if t % OBSERVED == 0 or moment.terminated.any():
            require_valid(task, task.observe(state))


def _require_end(task: Any, state: Any) -> None:
    """Hold ``terminated`` against the field ``finished`` of a state, if it has one."""
    over = task.terminated(state)
    require(over.ndim == 1 and over.dtype == bool, "terminated must be (B,) bool")
    if hasattr(state, "finished"):
        told = state.finished.reshape(len(over), -1).all(axis=1)
        require(
            (told == over).all(), "an episode must end in the step in which the state says it is finished"
        )


def _pairs(space: spaces.Space) -> Callable[[Any, Any], np.ndarray]:
    """A policy of ``ROWS`` rows, each of which takes two actions in turn; all pairs come, as far as there is time."""
    poles = _poles(space)
    pairs = list(itertools.combinations_with_replacement(poles, 2))
    order = np.random.default_rng(0).permutation(len(pairs))
    held = max(20, STEPS * ROWS // len(pairs))  # steps after which a row goes on to another pair
    turns = itertools.count()

    def choose(task: Any, state: Any) -> np.ndarray:
        turn = next(turns)
        first = turn // held * ROWS
        return np.array([pairs[order[(first + row) % len(pairs)]][turn % 2] for row in range(ROWS)])

    return choose


def _poles(space: Any) -> list[Any]:
    """All actions of a Discrete space; some corners of another, the two outermost among them."""
    if isinstance(space, spaces.Discrete):
        return list(range(int(space.n)))
    box = isinstance(space, spaces.Box)
    low, high = (space.low, space.high) if box else (np.zeros_like(space.nvec), space.nvec - 1)
    coin = np.random.default_rng(0)
    return [low, high] + [np.where(coin.random(space.shape) < 0.5, low, high) for _ in range(4)]
