"""Ways to change the box of a search for objects: numbered moves, or one free move; array-API code."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from gymnasium import Space, spaces

from visionrl import ops
from visionrl.core.observables import ActionHistory, Observable, Vector, push
from visionrl.ops import Array, const, xp_of

Moves = tuple[
    tuple[float, float, float, float], ...
]  # (dx0, dy0, dx1, dy1) of the edges, in sides of the box

# right, left, up, down, bigger, smaller, fatter, taller, in units of a step
EDGE_MOVES: Moves = (
    *((1, 0, 1, 0), (-1, 0, -1, 0), (0, -1, 0, -1), (0, 1, 0, 1)),
    *((-1, -1, 1, 1), (1, 1, -1, -1), (0, 1, 0, -1), (1, 0, -1, 0)),
)
# three quarters of the box: at the top left, top right, bottom left, bottom right, and in the middle
ZOOMS: Moves = (
    *((0.0, 0.0, -0.25, -0.25), (0.25, 0.0, 0.0, -0.25), (0.0, 0.25, -0.25, 0.0), (0.25, 0.25, 0.0, 0.0)),
    (0.125, 0.125, -0.125, -0.125),
)
# right, left, up, down, wider, higher, narrower, lower, by a quarter of the side
LOCAL_MOVES: Moves = (
    *((0.25, 0.0, 0.25, 0.0), (-0.25, 0.0, -0.25, 0.0), (0.0, -0.25, 0.0, -0.25), (0.0, 0.25, 0.0, 0.25)),
    *((-0.125, 0.0, 0.125, 0.0), (0.0, -0.125, 0.0, 0.125)),
    *((0.125, 0.0, -0.125, 0.0), (0.0, 0.125, 0.0, -0.125)),
)
MIN_SIZE = 8.0  # no side of a box becomes shorter than this, pixels


class BoxControl(ABC):
    """A way to change the box and to report it; the base of the two below.

    Attributes:
        space: the action space.
        history: the observable of the last actions.
        blank: the history of actions at the start of one episode.
        report: the action that reports; None with continuous control.
    """

    space: Space
    history: Observable
    blank: np.ndarray
    report: int | None = None

    def push(self, history: Array, action: Array) -> Array:
        """The history (B, H, ...) with the newest action at its end."""
        return push(history, xp_of(history).astype(action, history.dtype))

    @abstractmethod
    def reports(self, action: Array) -> Array:
        """(B,) bool, whether an action reports the box."""

    @abstractmethod
    def report_action(self, confidence: np.ndarray) -> np.ndarray:
        """(B, ...) actions that report with some confidence, (B,)."""

    @abstractmethod
    def confidence(self, action: Array, stated: Array) -> Array:
        """(B,) float64, the confidence of a report: what the action says, or else what was stated before it."""

    @abstractmethod
    def motion(self, box: Array, region: Array, action: Array) -> Array:
        """The box after an action, (B, 4), within a region (B, 4); a report may change it too, to no effect."""

    @abstractmethod
    def toward(self, box: Array, region: Array, target: Array, fits: Array) -> Array:
        """The action that brings the box nearest to a target (B, 4); a report where ``fits``, (B,) bool."""


class DiscreteControl(BoxControl):
    """A choice among moves of the edges, and the report, the last action.

    Args:
        moves: see ``Moves``.
        kept: past actions in the history.
    """

    report: int

    def __init__(self, moves: Moves, kept: int) -> None:
        self.moves, self.report = moves, len(moves)
        self.space, actions = spaces.Discrete(len(moves) + 1), ActionHistory(len(moves) + 1, kept)
        self.history, self.blank = actions, actions.blank

    def reports(self, action: Array) -> Array:
        """True for the last action."""
        return action == self.report

    def report_action(self, confidence: np.ndarray) -> np.ndarray:
        """The last action."""
        return np.full(len(confidence), self.report)

    def confidence(self, action: Array, stated: Array) -> Array:
        """The confidence that was stated."""
        return stated

    def motion(self, box: Array, region: Array, action: Array) -> Array:
        """The box with its edges moved."""
        change = xp_of(box).take(const((*self.moves, (0.0, 0.0, 0.0, 0.0)), box), action, axis=0)
        return move_edges(box, change, region)

    def motions(self, box: Array, region: Array) -> Array:
        """The box after each of the n moves: (..., 4), (..., 4) -> (..., n, 4)."""
        return move_edges(box[..., None, :], const(self.moves, box), region[..., None, :])

    def toward(self, box: Array, region: Array, target: Array, fits: Array) -> Array:
        """The first of the two moves that lead to the largest overlap; one move where it leads as far."""
        xp, target = xp_of(box), target[:, None, :]
        once = self.motions(box, region)  # (B, n, 4)
        twice = self.motions(once, region[:, None, :])  # (B, n, n, 4)
        soon = ops.iou_or_distance(once, target)
        later = xp.max(ops.iou_or_distance(twice, target[:, :, None, :]), axis=-1)
        best = xp.argmax(xp.maximum(soon, later - 1e-3), axis=-1)
        return xp.where(fits, xp.full_like(best, self.report), best)


class ContinuousControl(BoxControl):
    """Shift and growth of both sides, in steps, and a report where the fifth number exceeds 0.

    Args:
        step_size: of the largest shift and growth, in sides of the box.
        kept: past actions in the history.
    """

    def __init__(self, step_size: float, kept: int) -> None:
        self.step_size, self.space = step_size, spaces.Box(-1, 1, (5,), np.float32)
        self.history, self.blank = Vector(kept * 5), np.zeros((kept, 5))

    def reports(self, action: Array) -> Array:
        """True where the fifth number exceeds 0."""
        return action[:, 4] > 0

    def report_action(self, confidence: np.ndarray) -> np.ndarray:
        """No move, and the sigmoid of the confidence."""
        return np.stack([*np.zeros((4, len(confidence))), 1 / (1 + np.exp(-confidence))], axis=1)

    def confidence(self, action: Array, stated: Array) -> Array:
        """The fifth number."""
        return xp_of(stated).astype(action[:, 4], stated.dtype)

    def motion(self, box: Array, region: Array, action: Array) -> Array:
        """The box shifted and grown."""
        xp, shift, growth = xp_of(box), action[:, :2] * self.step_size, action[:, 2:4] * self.step_size / 2
        change = xp.astype(xp.concat([shift - growth, shift + growth], axis=-1), xp.float64)
        return move_edges(box, change, region)

    def toward(self, box: Array, region: Array, target: Array, fits: Array) -> Array:
        """Shift and growth that make the box the target, as far as they reach, (B, 5) float32."""
        xp, size = xp_of(box), ops.size(box)
        shift = (ops.center(target) - ops.center(box)) / size / self.step_size
        growth = (ops.size(target) / size - 1) / self.step_size
        report = xp.where(fits, xp.ones_like(shift[:, 0]), -xp.ones_like(shift[:, 0]))
        whole = xp.concat([shift, growth, report[:, None]], axis=-1)
        return xp.astype(xp.minimum(xp.maximum(whole, -1.0), 1.0), xp.float32)


def move_edges(box: Array, change: Array, region: Array) -> Array:
    """Boxes (..., 4) with edges moved by (..., 4) sides of theirs; unchanged where they would become too small."""
    xp = xp_of(box)
    after = ops.clip_boxes(box + change * ops.size4(box), region)
    small = ops.size(after) < xp.minimum(ops.size(box), MIN_SIZE)
    return xp.where((small[..., 0] | small[..., 1])[..., None], box, after)
