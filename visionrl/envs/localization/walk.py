"""The family of walks: a place in an image, a volume or a space of planes is found in ever smaller steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from gymnasium import spaces

from visionrl import ops
from visionrl.core import Task, arguments
from visionrl.core.observables import ActionHistory, push
from visionrl.ops import Array, const, xp_of


@dataclass(frozen=True, kw_only=True)
class WalkState:
    """Position of an agent on its walk; B episodes, places of n coordinates.

    Attributes:
        image: (B,) int64, index into the bank.
        low: (B, n) float64, least place allowed.
        high: (B, n) float64, largest.
        position: (B, n) float64, the agent's place.
        stage: (B,) int64, number of the step size in use.
        trail: (B, memory, n) float64, places of this stage, newest last; NaN before its start.
        actions: (B, 10) int64, newest last; -1 before the start.
        outside: (B,) bool, the last move led out of bounds and was not made.
        finished: (B,) bool, the last stage has ended.
    """

    image: Array
    low: Array
    high: Array
    position: Array
    stage: Array
    trail: Array
    actions: Array
    outside: Array
    finished: Array


StateT = TypeVar("StateT", bound=WalkState)


@arguments
class Walk(Task[StateT]):
    """A base for tasks in which an agent walks to a place in stages, and stops by oscillating.

    A place has n coordinates. An action adds a row of ``moves`` times the stage's step size. When the agent comes to one
    place often enough (``oscillation``), the stage ends at the mean of the last four places (Alansary et al., 2019, let
    the largest Q-values choose, which no environment can know); the next stage has smaller steps.

    States are a ``WalkState`` with the task's own fields.

    Attributes:
        moves: one row of n numbers an action.
        strides: step size of each stage: a number, or one for each coordinate.
        oscillation: a stage ends at this many visits of one place, 4 or more, within so many steps.
    """

    moves: ClassVar[tuple[tuple[int, ...], ...]]
    strides: ClassVar[Sequence[Any]]
    oscillation: ClassVar[tuple[int, int]] = (4, 20)

    def set_up_walk(self) -> ActionHistory:
        """Make the action space; gives the observable of past actions."""
        self._strides = tuple(tuple(np.atleast_1d(stride).tolist()) for stride in self.strides)
        self.action_space = spaces.Discrete(len(self.moves))
        self.past_actions = ActionHistory(len(self.moves))
        return self.past_actions

    def first_walk(self, start: np.ndarray) -> dict[str, Any]:
        """The walk's fields of one episode that starts at a place (n,), but for its bounds."""
        trail = np.full((self.oscillation[1], len(start)), np.nan)
        trail[-1] = start
        return {
            **{"position": start, "stage": np.int64(0), "trail": trail, "actions": self.past_actions.blank},
            **{"outside": np.False_, "finished": np.False_},
        }

    def move(self, state: StateT, action: Array) -> tuple[Array, Array]:
        """The place (B, n) that an action leads to, and whether it is within bounds, (B,) bool."""
        step = xp_of(state.position).take(const(self.moves, state.position), action, axis=0)
        moved = state.position + step * self.stride(state)
        return moved, ops.every((moved >= state.low) & (moved <= state.high))

    def stride(self, state: StateT) -> Array:
        """The step size in use, (B, 1) or (B, n)."""
        return xp_of(state.stage).take(const(self._strides, state.position), state.stage, axis=0)

    def step(self, state: StateT, action: Array) -> StateT:
        xp = xp_of(state.position)
        moved, inside = self.move(state, action)
        moved = xp.where(inside[:, None], moved, state.position)
        position, trail, ended = update_trail(moved, state.trail, self.oscillation[0])
        stage = state.stage + xp.astype(ended, xp.int64)
        return replace(
            state,
            position=position,
            stage=xp.minimum(stage, len(self.strides) - 1),
            trail=trail,
            actions=push(state.actions, action),
            outside=~inside,
            finished=stage == len(self.strides),
        )

    def nearest_move(
        self, state: StateT, distance: Callable[[Array], Array], may_leave: Array | None = None
    ) -> Array:
        """The action, (B,), whose place is nearest by a function of places; out of bounds only in rows that may leave."""
        xp, gaps = xp_of(state.position), []
        for action in range(len(self.moves)):
            moved, inside = self.move(state, xp.full_like(state.stage, action))
            gap = distance(moved)
            allowed = inside if may_leave is None else inside | may_leave
            gaps.append(xp.where(allowed, gap, xp.full_like(gap, xp.inf)))
        return xp.argmin(xp.stack(gaps, axis=-1), axis=-1)

    def terminated(self, state: StateT) -> Array:
        return state.finished


def update_trail(place: Array, trail: Array, visits: int) -> tuple[Array, Array, Array]:
    """Add a place to the trail of a stage; an oscillation ends the stage at the mean of the last four places, rounded.

    Args:
        place: (B, n) float64, where the agent comes to.
        trail: (B, memory, n) float64, its places of this stage, newest last; NaN before its start.
        visits: visits of one place within the trail that make an oscillation, 4 or more.

    Returns:
        (B, n) the agent's place, (B, memory, n) the trail, (B,) bool whether the stage has ended.
    """
    xp, past = xp_of(place), trail[:, 1:, :]
    again = ops.same(past, place[:, None, :])
    ended = xp.count_nonzero(again, axis=-1) + 1 >= visits
    mean = (past[:, -3, :] + past[:, -2, :] + past[:, -1, :] + place) / 4
    place = xp.where(ended[:, None], xp.round(mean), place)
    past = xp.where(ended[:, None, None], xp.nan, past)
    return place, xp.concat([past, place[:, None, :]], axis=1), ended
