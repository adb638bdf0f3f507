"""What a vision task is: the one base class that a task's author reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from gymnasium import Space, spaces

from visionrl.ops import Array, one_hot, xp_of

StateT = TypeVar("StateT")


class Task(ABC, Generic[StateT]):
    """The rules of a sequential decision on images; everything else is done by the engine.

    The edges (``sample``, ``draw``) handle one episode in plain NumPy and OpenCV. The middle (all other methods)
    handles B episodes at once: every field of a state has a leading axis B, and only functions of the Python array
    API standard touch it, so the same lines run on NumPy and on torch, on any device.

    All chance enters in ``sample``. A state is a frozen dataclass; the middle never writes into it.

    Attributes:
        observation_space: a Dict; images are channel-first uint8, keys are named by meaning.
        action_space: Discrete, MultiDiscrete, or Box in [-1, 1].
        items: how many different things ``sample`` can start from (images, videos, ...).
        backends: array libraries that the middle runs on; ``("numpy",)`` where a step is a CPU algorithm.
        evaluation: constructor arguments with which the field evaluates, where they differ from training
            (whole videos instead of clips).
        report: the discrete action that reports a finding, of which ``rated`` is told how sure a policy is; or None.
        headline: the key of ``metrics`` or ``pooled`` by which agents are compared, and whether more is better.
        reach: share of the episodes that the expert solves; less where a paper's own rules put some out of reach.
        agents: names of the K agents that act at once; none where there is a single one. Then the action space is a
            MultiDiscrete of one number an agent, and the first axis of every observation is the agents' parts in turn.
        foreseen: whether cloning tries every action for what it is worth; False where a step costs too much for that.
        eased: whether ``sample`` heeds ``difficulty``.
        difficulty: in [0, 1]; how hard a start ``sample`` draws. Training can raise it as it goes on.
    """

    observation_space: spaces.Dict
    action_space: Space
    items: int
    backends: ClassVar[tuple[str, ...]] = ("numpy", "torch")
    evaluation: ClassVar[Mapping[str, Any]] = {}
    report: int | None = None
    headline: ClassVar[tuple[str, bool]] = ("is_success", True)
    reach: float = 0.95
    agents: tuple[str, ...] = ()
    foreseen: bool = True
    eased: ClassVar[bool] = False
    difficulty: float = 1.0

    @property
    def settled(self) -> dict[str, Any]:
        """Constructor arguments that this split's samples decided, and that other splits must be given likewise.

        Such as the number of channels, or the order of the structures that a goal counts.
        """
        return {}

    @abstractmethod
    def sample(self, rng: np.random.Generator, item: int) -> StateT:
        """The first state of one episode, without the axis B; ``item`` is in [0, items)."""

    @abstractmethod
    def step(self, state: StateT, action: Array) -> StateT:
        """The state after an action, (B, ...)."""

    @abstractmethod
    def observe(self, state: StateT) -> dict[str, Array]:
        """What the agent sees: new arrays, never those of the state."""

    @abstractmethod
    def reward(self, before: StateT, action: Array, after: StateT) -> Array:
        """(B,) float64."""

    @abstractmethod
    def terminated(self, state: StateT) -> Array:
        """(B,) bool, whether the task is over; the time limit is not the task's business."""

    @abstractmethod
    def metrics(self, state: StateT) -> dict[str, Array]:
        """(B,) each; the unit is the key's suffix. ``is_success`` must be among them."""

    @abstractmethod
    def expert(self, state: StateT) -> Array:
        """(B, ...) actions of a policy that may look at the truth."""

    def good_actions(self, state: StateT) -> Array:
        """(B, n) bool, which of n discrete actions earn something at once; the expert's where none does."""
        best, count = self.expert(state), int(getattr(self.action_space, "n", 0))
        xp = xp_of(best)
        gains = []
        for number in range(count):
            action = xp.full_like(best, number)
            gains.append(self.reward(state, action, self.step(state, action)))
        good = xp.stack(gains, axis=-1) > 0
        return xp.where(xp.any(good, axis=-1)[:, None], good, one_hot(best, count) > 0)

    def shares(self, before: StateT, action: Array, after: StateT) -> Array:
        """(B, K) float64, what each of K agents earns; ``reward`` is their mean."""
        return self.reward(before, action, after)[:, None]

    def stopped(self, state: StateT) -> Array:
        """(B, K) bool, which of K agents act no more; the task is over when all have stopped."""
        return self.terminated(state)[:, None]

    def rated(self, state: StateT, confidence: Array) -> StateT:
        """The state in which a policy says how sure it is, (B,), that what it sees is what it looks for."""
        return state

    def merit(self, state: StateT) -> Array:
        """(B,) in [0, 1], how right a report would be now; only for tasks with reports."""
        raise NotImplementedError(f"{type(self).__name__} has no reports")

    def tally(self, ends: StateT) -> dict[str, Array]:
        """What ``pooled`` needs of N last states (NumPy), (N, ...) each; none by default."""
        return {}

    def pooled(self, tally: Mapping[str, Array]) -> dict[str, float]:
        """Metrics that episodes have only together, such as average precision, from some rows of ``tally``."""
        return {}

    @abstractmethod
    def draw(self, state: StateT) -> np.ndarray:
        """A picture of one row of a NumPy state (fields without the axis B): (H, W, 3) uint8 RGB."""


def check_range(name: str, value: Any, low: float, high: float = float("inf")) -> None:
    """Refuse a number outside [low, high]; a whole ``low`` asks for a whole number.

    Raises:
        ValueError: names the argument, the rule, and the value.
    """
    kind = int if isinstance(low, int) else (int, float)
    whole = isinstance(value, kind) and not isinstance(value, bool)
    if not whole or not low <= value <= high:
        rule = f"in [{low}, {high}]" if high < float("inf") else f">= {low}"
        raise ValueError(f"{name} must be {'a whole number ' if kind is int else ''}{rule}, got {value!r}")


def check_choice(name: str, value: Any, allowed: tuple) -> None:
    """Refuse a constructor argument that is not one of a few.

    Raises:
        ValueError: names the argument, what is allowed, and the value.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
