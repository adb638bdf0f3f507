"""Items taken one by one: the base of tasks that choose, at each step, one of a set, and of those out of a pool."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, TypeVar

import numpy as np
from annotated_types import Ge
from gymnasium import spaces

from visionrl.core import Task, arguments
from visionrl.ops import Array, xp_of


@dataclass(frozen=True)
class Selection:
    """Items taken; B episodes of at most T steps.

    Attributes:
        taken: (B, T) int64, numbers of the items taken, in order; a blank number beyond, -1 or 0.
        step: (B,) int64, steps done.
    """

    taken: Array
    step: Array


SelectionT = TypeVar("SelectionT", bound=Selection)


@arguments
class Select(Task[SelectionT]):
    """A task whose action is the number of an item, which the state remembers.

    Where not all may be taken at all times, a leaf has ``action_mask``, see ``visionrl.core.capabilities``.
    """

    @property
    @abstractmethod
    def longest(self) -> int:
        """Most steps of an episode, T."""

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def take(self, state: SelectionT, item: Array) -> Array:
        """(B, T) int64, the items taken once this one is among them; all as they were where T are taken."""
        xp = xp_of(state.taken)
        place = xp.arange(self.longest, device=state.taken.device)[None, :] == state.step[:, None]
        return xp.where(place, item[:, None], state.taken)

    def shown(self, values: Array, step: Array) -> Array:
        """(B,) of (B, T) values of a stream, the one of a step (B,); the last one where the stream is over."""
        xp = xp_of(values)
        return xp.take_along_axis(values, xp.clip(step, None, self.longest - 1)[:, None], axis=1)[:, 0]

    def taken_of(self, taken: Array, count: int) -> Array:
        """(B, count) bool, which of the items 0 to count - 1 are among those taken, (B, T)."""
        xp = xp_of(taken)
        items = xp.arange(count, dtype=xp.int64, device=taken.device)
        return xp.any(taken[:, :, None] == items[None, None, :], axis=1)


@dataclass(frozen=True)
class PoolSelection(Selection):
    """Items offered and taken; N candidates a step, blank is -1.

    Attributes:
        offers: (B, T, N) int64, numbers of the items offered at each step, none twice in a step.
        budget: (B,) int64, steps of the episode.
    """

    offers: Array
    budget: Array


StateT = TypeVar("StateT", bound=PoolSelection)


@arguments
class SelectFromPool(Select[StateT]):
    """A task whose action is the number of a candidate; the episode ends when the budget is spent.

    A leaf calls ``choose_one`` in its ``setup``, draws ``offers`` in ``sample``, and says what each candidate would
    gain. To take an item again gains nothing, and ``action_mask`` forbids it.
    """

    candidates: Annotated[int, Ge(2)] = 20
    """Number of candidates that each step offers."""
    budget: Annotated[int, Ge(1)] = 20
    """Number of items that an episode takes."""
    budget_spread: Annotated[int, Ge(0)] = 4
    """Most by which the budget of an episode differs from ``budget``, so that episodes end at different steps."""

    @property
    def longest(self) -> int:
        """Most steps of an episode, T."""
        return self.budget + self.budget_spread

    def choose_one(self, pool: int) -> None:
        """State the action space.

        Raises:
            ValueError: there are fewer items than candidates, than steps, or a budget that the spread makes nothing.
        """
        if self.budget_spread >= self.budget:
            raise ValueError(f"budget_spread must be < budget ({self.budget}), got {self.budget_spread}")
        for name, needed in (("candidates", self.candidates), ("budget", self.longest)):
            if needed > pool:
                raise ValueError(f"{name} must be <= the number of items in the pool ({pool}), got {needed}")
        self.action_space = spaces.Discrete(self.candidates)

    def budget_of(self, item: int) -> int:
        """The budget of an item's episodes: item 0 has ``budget``, the others go through the spread in turn."""
        return self.budget + (item + self.budget_spread) % (2 * self.budget_spread + 1) - self.budget_spread

    def draw_offers(self, rng: np.random.Generator, pool: int) -> np.ndarray:
        """(T, N) int64: no item twice where the pool is large enough, else none twice in a step."""
        wanted = self.longest * self.candidates
        if pool >= wanted:
            return rng.permutation(pool)[:wanted].reshape(self.longest, self.candidates)
        return np.stack([rng.permutation(pool)[: self.candidates] for _ in range(self.longest)])

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def offered(self, state: StateT) -> Array:
        """(B, N) int64, the candidates now; those of the last step where the episode is over."""
        xp = xp_of(state.offers)
        last = xp.full_like(state.step, self.longest - 1)
        return xp.take_along_axis(state.offers, xp.minimum(state.step, last)[:, None, None], axis=1)[:, 0, :]

    def picked(self, state: StateT, action: Array) -> tuple[Array, Array]:
        """(B,) int64, the item that an action takes, and (B,) bool, whether it had not been taken yet."""
        xp, offered = xp_of(state.offers), self.offered(state)
        item = xp.take_along_axis(offered, xp.astype(action, xp.int64)[:, None], axis=1)[:, 0]
        return item, ~xp.any(state.taken == item[:, None], axis=1)

    def action_mask(self, state: StateT) -> Array:
        """(B, N) bool, candidates that are not taken yet; all where none is left."""
        xp = xp_of(state.offers)
        free = ~xp.any(self.offered(state)[:, :, None] == state.taken[:, None, :], axis=2)
        return free | ~xp.any(free, axis=1)[:, None]

    def terminated(self, state: StateT) -> Array:
        return state.step >= state.budget

    @abstractmethod
    def gains(self, state: StateT) -> Array:
        """(B, N) float64, what each candidate would earn; it may look at the truth."""

    def expert(self, state: StateT) -> Array:
        xp = xp_of(state.offers)
        allowed, gains = self.action_mask(state), self.gains(state)
        return xp.argmax(xp.where(allowed, gains, xp.full_like(gains, -xp.inf)), axis=1)

    def good_actions(self, state: StateT) -> Array:
        """(B, N) bool, candidates that earn something; the best where none does."""
        xp, gains = xp_of(state.offers), self.gains(state)
        allowed = xp.where(self.action_mask(state), gains, xp.full_like(gains, -xp.inf))
        return (allowed > 0) | (allowed == xp.max(allowed, axis=1)[:, None])
