"""Base of tasks that change a mask or a picture by operators, one after another, until it is good enough."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Generic, TypeVar

import numpy as np
from annotated_types import Gt
from gymnasium import Space, spaces

from visionrl.core import Task, arguments
from visionrl.ops import Array, xp_of


@dataclass(frozen=True)
class EditState:
    """The fields that every task of the family keeps beside its canvas; B episodes.

    Attributes:
        image: (B,) int64, item of the bank.
        steps: (B,) int64, operators applied so far.
        quality: (B, budget + 1) float64, of the canvas at the start and after each operator; NaN beyond.
        finished: (B,) bool.
    """

    image: Array
    steps: Array
    quality: Array
    finished: Array


StateT = TypeVar("StateT", bound=EditState)


@arguments
class Edit(Task[StateT], Generic[StateT]):
    """A canvas that operators change; a step earns what its quality gains, so rewards telescope.

    Tasks say how an operator changes the canvas (``edit``), and what its quality is (``measure``).

    Attributes:
        operators: how many there are.
        budget: how many are applied at most.
        needs_truth: whether the quality is measured against labels, so that it is unknown on files of one's own.
    """

    stop: bool = False
    """Adds a last action that ends the episode."""
    until: Annotated[float, Gt(0)] | None = None
    """Quality from which an episode ends by itself: an IoU, or PSNR in decibels; None never."""

    operators: int = field(init=False)
    budget: int = field(init=False)
    hidden: ClassVar[tuple[str, ...]] = ("quality",)
    needs_truth: ClassVar[bool] = True

    def choose(self, operators: int, budget: int, space: Space | None = None) -> None:
        """State how many operators there are, how many are applied at most, and the actions; default one operator."""
        self.operators, self.budget = operators, budget
        self.action_space = spaces.Discrete(operators + self.stop) if space is None else space

    def edit(self, state: StateT, operator: Array) -> StateT:
        """The state with its canvas after operators (B,) int64, or (B, ...) where many act at once."""
        raise NotImplementedError(f"{type(self).__name__} must define edit()")

    def measure(self, state: StateT) -> Array:
        """Quality of the canvas against the truth, (B,) float64; more is better."""
        raise NotImplementedError(f"{type(self).__name__} must define measure()")

    def potential(self, quality: Array) -> Array:
        """The potential of a quality, (B,) -> (B,); a reward is the difference of two."""
        return quality

    def fresh(self, item: int, quality: float) -> dict[str, Array]:
        """Values of the family's fields at the start of an episode, without the axis B."""
        past = np.full(self.budget + 1, np.nan)
        past[0] = quality
        return {
            "image": np.int64(item),
            "steps": np.int64(0),
            "quality": past,
            "finished": np.False_,
        }

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: StateT, action: Array) -> StateT:
        xp = xp_of(action)
        stops = action == self.operators if self.stop else xp.zeros_like(state.finished)
        after = self.edit(state, xp.clip(action, 0, self.operators - 1))
        if self.stop:
            kept = {key: _where(stops, getattr(state, key), new) for key, new in vars(after).items()}
            after = replace(after, **kept)
        return self.advance(after, ~stops)

    def advance(self, state: StateT, changed: Array) -> StateT:
        """The state after the step in which its canvas changed; rows (B,) bool where it did not are over."""
        xp = xp_of(changed)
        steps = state.steps + xp.astype(changed, xp.int64)
        now = self.measure(state) if self.labelled or not self.needs_truth else self.latest(state)
        place = xp.arange(self.budget + 1, device=steps.device)[None, :] == steps[:, None]
        over = ~changed | (steps >= self.budget)
        if self.until is not None:
            over = over | (now >= self.until)
        quality = xp.where(place, now[:, None], state.quality)
        return replace(state, steps=steps, quality=quality, finished=state.finished | over)

    def finish(self, state: StateT, **canvas: Array) -> StateT:
        """The last state of a method that makes the whole canvas in one step."""
        true = xp_of(state.steps).ones_like(state.finished)
        return replace(self.advance(replace(state, **canvas), true), finished=true)

    def latest(self, state: StateT) -> Array:
        """(B,) float64, the quality now."""
        xp = xp_of(state.quality)
        last = xp.minimum(state.steps, xp.full_like(state.steps, self.budget))
        return xp.take_along_axis(state.quality, last[:, None], axis=1)[:, 0]

    def reward(self, before: StateT, action: Array, after: StateT) -> Array:
        return self.potential(self.latest(after)) - self.potential(self.latest(before))

    def terminated(self, state: StateT) -> Array:
        return xp_of(state.finished).asarray(state.finished, copy=True)


def _where(rows: Array, first: Array, second: Array) -> Array:
    """Rows of one array or the other."""
    xp = xp_of(first)
    return xp.where(xp.reshape(rows, (-1, *[1] * (first.ndim - 1))), first, second)
