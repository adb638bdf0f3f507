"""Capabilities: what some tasks offer beyond ``Task``; engine and agents ask for them with ``isinstance``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces

from visionrl.ops import Array, like, one_hot, xp_of


@runtime_checkable
class ResolvedArguments(Protocol):
    """A task some of whose arguments are decided by its samples, and must be given likewise to other splits."""

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        """Such arguments with their values: the number of channels, the order of the structures that a goal counts."""


@runtime_checkable
class MultiAgent(Protocol):
    """A task of K agents that act at once.

    Its action space is a MultiDiscrete of one number an agent, and the first axis of every observation is the agents'
    parts in turn.

    Attributes:
        agents: names of the K agents.
    """

    agents: tuple[str, ...]

    def agent_rewards(self, before: Any, action: Array, after: Any) -> Array:
        """(B, K) float64; ``reward`` is their mean."""

    def agents_done(self, state: Any) -> Array:
        """(B, K) bool, which agents have stopped; the task is over when all have."""


@runtime_checkable
class Reports(Protocol):
    """A task whose agent reports detections, each with a confidence.

    Attributes:
        report: the discrete action that reports; None with continuous control.
    """

    report: int | None

    def with_confidence(self, state: Any, confidence: Array) -> Any:
        """The state with the policy's confidence, (B,), that the object it seeks is in view."""

    def detection_quality(self, state: Any) -> Array:
        """(B,) in [0, 1], quality of a report made in this state, such as the overlap with the object."""


@runtime_checkable
class Answers(Protocol):
    """A task whose agent ends by an answer.

    Attributes:
        answers: the discrete actions that answer, in the order of the classes; None with continuous control.
    """

    answers: range | None


@runtime_checkable
class Curriculum(Protocol):
    """A task whose ``sample`` draws harder or easier starts.

    Attributes:
        difficulty: in [0, 1], 0 the easiest starts, 1 the ordinary ones; training can raise it step by step.
    """

    difficulty: float


@runtime_checkable
class MaskedActions(Protocol):
    """A task of discrete actions some of which may be forbidden now."""

    def action_mask(self, state: Any) -> Array:
        """(B, n) bool, True for actions that are allowed."""


@runtime_checkable
class Clickable(Protocol):
    """A task whose actions a person gives by clicks in its picture.

    Attributes:
        by_hand: constructor arguments when a person acts, where they differ.
        click_help: what clicks do, for people; without it they are on an object or beside it.
    """

    by_hand: Mapping[str, Any]

    def click_action(self, state: Any, place: np.ndarray, first_button: bool) -> int:
        """The action of a click, given one row of a NumPy state as ``draw`` is.

        Args:
            state: one row.
            place: (2,) x and y in [0, 1], in sides of the picture that ``draw`` makes.
            first_button: False for the second one.
        """


@runtime_checkable
class GoodActions(Protocol):
    """A task that knows which of its discrete actions are good; see ``agents.imitation``."""

    def good_actions(self, state: Any) -> Array:
        """(B, n) bool, at least one True a row."""


@runtime_checkable
class WeighedActions(Protocol):
    """A task whose expert can say how good each discrete action is; cloning then learns more than the best one."""

    def action_weights(self, state: Any) -> Array:
        """(B, n) float64, >= 0, not all 0 in a row; the expert's action has the largest."""


@runtime_checkable
class ActionGains(Protocol):
    """A task that knows at little cost what each discrete action earns at once; its expert takes what earns most.

    Values of actions are cloned from it where returns, which want every action tried to the end, cost too much.
    """

    def action_gains(self, state: Any) -> Array:
        """(B, n) float64."""


@runtime_checkable
class PixelActions(Protocol):
    """A task in which every pixel acts: its action space is MultiDiscrete(full((H, W), n)), one of n tools a pixel.

    The observation's images are H x W. Such a task has no stop action, for no pixel can end the episode of the others.

    Attributes:
        pixels: (H, W).
    """

    pixels: tuple[int, int]

    def reward_map(self, before: Any, action: Array, after: Any) -> Array:
        """(B, H, W) float64, what each pixel earned; ``reward`` is its mean."""

    def gain_maps(self, state: Any) -> Array:
        """(B, n, H, W) float32, rewards to the end if all pixels take a tool and a plain policy goes on.

        Cloning regresses them.
        """


@runtime_checkable
class ClassMetrics(Protocol):
    """A task each of whose episodes is about one class or structure; its metrics are stated for each as well.

    Attributes:
        names: names of the classes or structures.
    """

    names: Sequence[str]

    def class_of(self, state: Any) -> Array:
        """(B,) int64, the number of the class or structure; -1 where it is unknown."""


class DatasetMetric(Protocol):
    """A metric that episodes have only together, such as average precision."""

    def record(self, ends: Any) -> dict[str, np.ndarray]:
        """Records of N last states (NumPy) for ``compute``: name -> (N, ...)."""

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The metrics of some rows of the records."""


@runtime_checkable
class DatasetMetrics(Protocol):
    """A task with metrics of a whole data set.

    Attributes:
        dataset_metrics: the metrics; their records and results have names of their own.
    """

    dataset_metrics: Sequence[DatasetMetric]


def pixels_of(space: Any) -> tuple[int, int, int] | None:
    """(H, W, n) of the actions of ``PixelActions``; None for another space."""
    if not isinstance(space, spaces.MultiDiscrete) or space.nvec.ndim != 2:
        return None
    height, width = space.nvec.shape
    return height, width, int(space.nvec.flat[0])


def name_of(space: Any) -> str:
    """A space in a message, in a few words where each pixel acts."""
    if found := pixels_of(space):
        return f"MultiDiscrete of {found[0]} x {found[1]} pixels with {found[2]} tools each"
    return str(space)


def rewards_of(task: Any, before: Any, action: Array, after: Any) -> Array:
    """(B,) float64 rewards; zeros where the task was made without labels."""
    if task.labelled:
        return task.reward(before, action, after)
    over = task.terminated(after)
    return xp_of(over).zeros_like(over, dtype=xp_of(over).float64)


def metrics_of(task: Any, state: Any) -> dict[str, Array]:
    """The task's metrics, (B,) each; none where the task was made without labels."""
    return task.metrics(state) if task.labelled else {}


def record_all(task: Any, ends: Any) -> dict[str, np.ndarray]:
    """Records of N last states for the task's data-set metrics; empty where it has none."""
    if not isinstance(task, DatasetMetrics):
        return {}
    return {key: value for metric in task.dataset_metrics for key, value in metric.record(ends).items()}


def compute_all(task: Any, records: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The task's data-set metrics of some rows of its records; empty where it has none."""
    if not isinstance(task, DatasetMetrics) or not records:
        return {}
    return {key: value for metric in task.dataset_metrics for key, value in metric.compute(records).items()}


def action_masks(task: Any, state: Any) -> Array:
    """(B, n) bool, True for actions that are allowed: the task's own answer, or all.

    The masks of a MultiDiscrete space are concatenated, as ``sb3_contrib.MaskablePPO`` wants them.

    Raises:
        ValueError: the actions are not discrete.
    """
    space = task.action_space
    if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete) or pixels_of(space):
        raise ValueError(f"action_space must be Discrete or MultiDiscrete to be masked, got {name_of(space)}")
    if isinstance(task, MaskedActions):
        return task.action_mask(state)
    count = int(space.n) if isinstance(space, spaces.Discrete) else int(space.nvec.sum())
    first = next(iter(vars(state).values()))
    return like(np.ones((first.shape[0], count), bool), first)


def good_actions(task: Any, state: Any) -> Array:
    """(B, n) bool, which of n discrete actions are good: the task's own answer, or ``rewarded_actions``."""
    return task.good_actions(state) if isinstance(task, GoodActions) else rewarded_actions(task, state)


def rewarded_actions(task: Any, state: Any) -> Array:
    """(B, n) bool, which of n discrete actions earn something at once; the expert's where none does."""
    good, best = tried_actions(task, state) > 0, task.expert(state)
    xp = xp_of(good)
    return xp.where(xp.any(good, axis=-1)[:, None], good, one_hot(best, good.shape[-1]) > 0)


def tried_actions(task: Any, state: Any) -> Array:
    """(B, n) float64, what each of n discrete actions earns at once, by taking each in turn."""
    first = next(iter(vars(state).values()))
    xp, gains = xp_of(first), []
    for number in range(int(getattr(task.action_space, "n", 0))):
        action = xp.full((first.shape[0],), number, dtype=xp.int64, device=first.device)
        gains.append(task.reward(state, action, task.step(state, action)))
    return xp.stack(gains, axis=-1)
