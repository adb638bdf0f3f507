"""Controls of an agent that looks for segments of a clip: moves of a window, or a segment said outright."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from gymnasium import Space, spaces

from visionrl.banks.windows import LEAST, window_places
from visionrl.core.observables import ActionHistory, Observable, Vector, push
from visionrl.metrics.segments import interval_iou
from visionrl.ops import Array, const, xp_of

# (start, end) of the window, in its lengths: earlier, later, grow, shrink, first half, last half
MOVES = ((-0.25, -0.25), (0.25, 0.25), (-0.25, 0.25), (1 / 6, -1 / 6), (0.0, -0.5), (0.5, 0.0))
RESTART, EMIT, STOP = len(MOVES), len(MOVES) + 1, len(MOVES) + 2
KEPT = 4  # past actions that are shown
FAR = 1e-4  # of what a frame between windows that do not overlap counts in an overlap
GOOD, ENOUGH = 0.75, 0.5  # overlap with which the expert is content; least with which it emits at all


class WindowControl(ABC):
    """A way to change the window, to look at frames, to emit a segment and to stop.

    Attributes:
        space: the action space.
        history: the observable of the last actions.
        blank: the history at the start of one episode.
        states_segments: whether an action states the segment that it emits; else the window before it is emitted.
    """

    space: Space
    history: Observable
    blank: np.ndarray
    states_segments: bool

    def push(self, history: Array, action: Array) -> Array:
        """The history (B, H, ...) with the newest action at its end."""
        return push(history, xp_of(history).astype(action, history.dtype))

    @abstractmethod
    def move(self, window: Array, part: Array, action: Array) -> Array:
        """The window (B, 2) after an action, within the part (B, 2) of the clip that is searched."""

    @abstractmethod
    def places(self, window: Array, part: Array, action: Array, shift: Array) -> Array:
        """(B, G) float64, frames to look at after an action, given the window after it and a shift (B,) of places."""

    @abstractmethod
    def emits(self, action: Array) -> Array:
        """(B,) bool."""

    @abstractmethod
    def stops(self, action: Array) -> Array:
        """(B,) bool."""

    @abstractmethod
    def confidence(self, action: Array, score: Array) -> Array:
        """(B,) float64 score of an emitted segment, of the classifier's score."""

    @abstractmethod
    def toward(self, window: Array, part: Array, target: Array, there: Array) -> Array:
        """The expert's action: towards a target (B, 2) where one is left, ``there`` (B,) bool, else to the end."""


class MoveControl(WindowControl):
    """A choice among moves of the window, the whole part, emission and stop.

    Args:
        glimpses: places of a window at which the agent looks.
    """

    states_segments = False

    def __init__(self, glimpses: int) -> None:
        self.glimpses, count = glimpses, len(MOVES) + 3
        self.space, actions = spaces.Discrete(count), ActionHistory(count, KEPT)
        self.history, self.blank = actions, actions.blank

    def candidates(self, window: Array, part: Array) -> Array:
        """(..., 7, 2), the window (..., 2) after each move, the last to the whole part, (..., 2)."""
        xp, length = xp_of(window), (window[..., 1:] - window[..., :1])[..., None]
        after = window[..., None, :] + const(MOVES, window) * length
        low, high = part[..., None, :1], part[..., None, 1:]
        middle, half = xp.sum(after, axis=-1)[..., None] / 2, (after[..., 1:] - after[..., :1]) / 2
        half = xp.minimum(xp.maximum(half, xp.full_like(half, LEAST / 2)), (high - low) / 2)
        middle = xp.minimum(xp.maximum(middle, low + half), high - half)
        return xp.concat([middle - half, middle + half], axis=-1)

    def move(self, window: Array, part: Array, action: Array) -> Array:
        """The window after a move; the whole part after a restart, an emission or a stop."""
        xp = xp_of(window)
        every = xp.concat([self.candidates(window, part), part[:, None, :]], axis=1)
        place = xp.minimum(xp.astype(action, xp.int64), xp.full_like(xp.astype(action, xp.int64), RESTART))
        return xp.take_along_axis(every, place[:, None, None], axis=1)[:, 0, :]

    def places(self, window: Array, part: Array, action: Array, shift: Array) -> Array:
        """Places at equal distances in the window."""
        return window_places(window, self.glimpses, 0, shift)

    def emits(self, action: Array) -> Array:
        """(B,) bool, whether the action is emission."""
        return action == EMIT

    def stops(self, action: Array) -> Array:
        """(B,) bool, whether the action is to stop."""
        return action == STOP

    def confidence(self, action: Array, score: Array) -> Array:
        """The classifier's score."""
        return score

    def allowed(self, window: Array, part: Array) -> Array:
        """(B, 9) bool: moves that change the window, a restart of another than the whole, emission and stop."""
        xp, size = xp_of(window), window[:, 1] - window[:, 0]
        after = self.candidates(window, part)
        moves = xp.any(xp.abs(after - window[:, None, :]) > 1e-6, axis=-1)
        whole = (part[:, 1] - part[:, 0] - size) < 1e-6
        ones = xp.ones_like(whole)
        return xp.concat([moves, xp.stack([~whole, ones, ones], axis=1)], axis=1)

    def toward(self, window: Array, part: Array, target: Array, there: Array) -> Array:
        """The first of the two moves that lead to the largest overlap; emission where it is good or can't grow."""
        xp, aim = xp_of(window), target[:, None, :]
        now = nearness(window, target)
        once = self.candidates(window, part)  # (B, n, 2)
        twice = self.candidates(once, part[:, None, :])  # (B, n, n, 2)
        soon = nearness(once, aim)
        later = xp.max(nearness(twice, target[:, None, None, :]), axis=-1)
        worth = xp.where(
            self.allowed(window, part)[:, :RESTART], xp.maximum(soon, later - 1e-3), -xp.ones_like(soon)
        )
        best, most = xp.argmax(worth, axis=-1), xp.max(worth, axis=-1)
        stuck = most <= now + 0.01
        emit = (now >= GOOD) | (stuck & (now >= ENOUGH))
        best = xp.where(stuck & ~emit, xp.full_like(best, RESTART), best)
        return xp.where(there, xp.where(emit, xp.full_like(best, EMIT), best), xp.full_like(best, STOP))


class SegmentControl(WindowControl):
    """Five numbers: the frame to look at next, start, end and confidence of a segment, and whether to emit it.

    The first three go from -1, the start of the part that is searched, to 1, its end; start and end may change places.
    The confidence goes from -1 to 1, and a fifth number above 0 emits (Yeung et al., 2016).
    """

    states_segments = True

    def __init__(self) -> None:
        self.space = spaces.Box(-1, 1, (5,), np.float32)
        self.history, self.blank = Vector(KEPT * 5), np.zeros((KEPT, 5))

    def move(self, window: Array, part: Array, action: Array) -> Array:
        """The segment stated, at least four frames long."""
        xp, (low, high) = xp_of(window), (part[:, :1], part[:, 1:])
        edges = low + (xp.astype(action[:, 1:3], xp.float64) + 1) / 2 * (high - low)
        start, end = xp.min(edges, axis=1)[:, None], xp.max(edges, axis=1)[:, None]
        least = xp.minimum(high - low, xp.full_like(low, LEAST))
        start = xp.minimum(start, high - least)
        return xp.concat([start, xp.maximum(end, start + least)], axis=1)

    def places(self, window: Array, part: Array, action: Array, shift: Array) -> Array:
        """The frame that the first number says, (B, 1)."""
        xp, (low, high) = xp_of(window), (part[:, :1], part[:, 1:])
        place = low + (xp.astype(action[:, :1], xp.float64) + 1) / 2 * (high - low)
        return xp.minimum(xp.floor(place), high - 1)

    def emits(self, action: Array) -> Array:
        """True where the fifth number exceeds 0."""
        return action[:, 4] > 0

    def stops(self, action: Array) -> Array:
        """(B,) bool, False: the number of steps ends the episode."""
        return xp_of(action).zeros_like(action[:, 4], dtype=xp_of(action).bool)

    def confidence(self, action: Array, score: Array) -> Array:
        """The confidence stated, in [0, 1], times the classifier's score."""
        xp = xp_of(score)
        return (xp.astype(action[:, 3], xp.float64) + 1) / 2 * score

    def toward(self, window: Array, part: Array, target: Array, there: Array) -> Array:
        """A look at the middle of the target, and the target emitted; nothing where none is left."""
        xp, (low, high) = xp_of(window), (part[:, :1], part[:, 1:])
        edges = 2 * (target - low) / (high - low) - 1
        sure = xp.where(there, xp.ones_like(edges[:, 0]), -xp.ones_like(edges[:, 0]))[:, None]
        whole = xp.concat([xp.mean(edges, axis=1)[:, None], edges, sure, sure], axis=1)
        return xp.astype(xp.clip(whole, -1.0, 1.0), xp.float32)


def nearness(window: Array, target: Array) -> Array:
    """Temporal IoU of windows and targets (..., 2), and where it is 0, a little below it by the frames between them."""
    xp = xp_of(window)
    overlap = interval_iou(window, target)
    apart = xp.abs(xp.sum(window - target, axis=-1)) / 2
    return xp.where(overlap > 0, overlap, -FAR * apart)
