"""Helpers for tests of a task: put a state somewhere, act once, roll out a policy.

    task = make_task("visionrl/LandmarkLocalization-v0", window=16)
    state = at(task, position=(40.0, 30.0))
    after, reward, over = act(task, state, 1)
    ends = [moment for moment in roll_out(task, "expert", steps=200) if moment.terminated.any()]

States are NumPy's, with a leading axis of rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from gymnasium.utils.seeding import np_random

from visionrl.core import batch
from visionrl.core.door import checked_item
from visionrl.core.registry import entry_of, make_task

Policy = Literal["expert", "chance", "mixed"] | Callable[[Any, Any], np.ndarray]


class Outcome(NamedTuple):
    """The result of one action in B rows: the state after it, (B,) float64 rewards, and (B,) bool ends."""

    state: Any
    reward: np.ndarray
    terminated: np.ndarray


@dataclass(frozen=True)
class Moment:
    """One step of a roll-out.

    Attributes:
        task: the task.
        state: the state before the action, B rows.
        action: (B, ...).
        after: the state after it.
        reward: (B,) float64.
        terminated: (B,) bool.
    """

    task: Any
    state: Any
    action: np.ndarray
    after: Any
    reward: np.ndarray
    terminated: np.ndarray


def start(task: Any, seed: int = 0, rows: int = 1, item: int | None = None) -> Any:
    """First states of ``rows`` episodes; row i draws from a generator seeded ``seed + i``, as environments do.

    Args:
        task: the task.
        seed: of the first row.
        rows: number of episodes.
        item: the item that all rows start from; None draws one a row.
    """
    rngs = [np_random(seed + row)[0] for row in range(rows)]
    return batch.stack([task.sample(rng, checked_item(task.items, item, rng)) for rng in rngs])


def at(task: Any, state: Any = None, **fields: Any) -> Any:
    """A copy of a state with some fields replaced.

    Args:
        task: the task.
        state: B rows; None is ``start(task)``.
        fields: new values, broadcast to the shape of the field and converted to its dtype: ``position=(3, 4)`` puts
            all rows there.

    Raises:
        ValueError: the state has no such field, or a value does not fit its shape.
    """
    here = batch.each(start(task) if state is None else state, np.copy)
    for name, value in fields.items():
        if not hasattr(here, name):
            raise ValueError(f"fields must be of {', '.join(vars(here))}, got {name!r}")
        getattr(here, name)[...] = value
    return here


def act(task: Any, state: Any, action: Any) -> Outcome:
    """Take one action: a single one for all rows, or one a row, (B, ...)."""
    space, rows = task.action_space, len(next(iter(vars(state).values())))
    actions = np.broadcast_to(np.asarray(action, space.dtype), (rows, *space.shape)).copy()
    after = task.step(state, actions)
    return Outcome(after, task.reward(state, actions, after), task.terminated(after))


def roll_out(
    task: Any,
    policy: Policy = "mixed",
    steps: int = 100,
    seed: int = 0,
    rows: int = 4,
    limit: int | None = None,
    **kwargs: Any,
) -> Iterator[Moment]:
    """Play some rows of a task for some steps; rows that end begin anew. Nothing is observed.

    Args:
        task: a task, or an id, then ``kwargs`` are the constructor's arguments.
        policy: "expert", "chance", "mixed" (a coin for each row and step), or ``policy(task, state) -> (B, ...)``.
        steps: number of moments.
        seed: of the first row, of the coin and of chance.
        rows: B.
        limit: time limit of an episode; default that of the id, none for a task.
        kwargs: see ``task``.

    Yields:
        The moments, in order.
    """
    if isinstance(task, str):
        limit = limit or entry_of(task).max_steps
        task = make_task(task, **kwargs)
    rngs = [np_random(seed + row)[0] for row in range(rows)]
    state = batch.stack([task.sample(rng, checked_item(task.items, None, rng)) for rng in rngs])
    choose, elapsed = acting(task, policy, seed), np.zeros(rows, int)
    for _ in range(steps):
        action = choose(task, state)
        after, reward, terminated = act(task, state, action)
        yield Moment(task, state, action, after, reward, terminated)
        elapsed += 1
        over = np.flatnonzero(terminated | (elapsed >= (limit or np.inf)))
        state = after
        if len(over):
            state = batch.each(after, np.copy)
            begun = [task.sample(rngs[row], checked_item(task.items, None, rngs[row])) for row in over]
            batch.put(state, over, batch.stack(begun))
            elapsed[over] = 0


def acting(task: Any, policy: Policy, seed: int = 0) -> Callable[[Any, Any], np.ndarray]:
    """The function (task, state) -> actions (B, ...) of a policy that ``roll_out`` takes."""
    if callable(policy):
        return policy
    rng, space = np.random.default_rng(seed), task.action_space
    chance = copy.deepcopy(space)
    chance.seed(seed)

    def choose(task: Any, state: Any) -> np.ndarray:
        rows = len(next(iter(vars(state).values())))
        random = np.array([chance.sample() for _ in range(rows)], space.dtype)
        if policy == "chance":
            return random
        best = np.asarray(task.expert(state)).astype(space.dtype)
        by_expert = np.ones(rows, bool) if policy == "expert" else rng.random(rows) < 0.5
        return np.where(by_expert.reshape(-1, *[1] * (best.ndim - 1)), best, random)

    return choose
