"""How an agent moves its box: in steps, several a frame, or anywhere at once; array-API code."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from gymnasium import spaces

from visionrl import ops
from visionrl.ops import Array, const, one_hot, xp_of

# (dx, dy, growth) in units of the step: left, 2 left, right, 2 right, up, 2 up, down, 2 down, smaller, bigger, stop
MOVES = (
    *((-1, 0, 0), (-2, 0, 0), (1, 0, 0), (2, 0, 0), (0, -1, 0), (0, -2, 0), (0, 1, 0), (0, 2, 0)),
    *((0, 0, -1), (0, 0, 1), (0, 0, 0)),
)
STOP = len(MOVES) - 1
UPDATE, RESTART = STOP + 1, STOP + 2  # where the template can be updated; neither moves the box by a step
KEPT = 10  # past actions in the observation
GROWTH = 0.05  # larger changes of size in one frame are not made
EXACT = 0.93  # overlap at which the expert stops


class Shifts:
    """A choice among steps, and among ways to end the frame.

    Args:
        step: in sides of the box.
        smallest: boxes do not become narrower or lower than this, pixels.
        updates: there are ``UPDATE`` and ``RESTART`` too.
    """

    def __init__(self, step: float, smallest: float, updates: bool) -> None:
        self.step, self.smallest, self.updates = step, smallest, updates
        self.moves = MOVES + ((0, 0, 0), (0, 0, 0)) * updates
        self.space = spaces.Discrete(len(self.moves))
        self.history = spaces.Box(0, 1, (KEPT * len(self.moves),), np.float32)
        self.blank = np.full(KEPT, -1)
        self.hold = np.array([STOP])

    def moved(self, box: Array, limit: Array, action: Array, peaks: Array | None = None) -> Array:
        """The box after an action, (B, 4), in frames of (width, height) ``limit``; its shape stays as it is."""
        xp = xp_of(box)
        move = xp.take(const(self.moves, box), action, axis=0)
        size = ops.size(box)
        stride = xp.maximum(self.step * size, 1.0)
        shape = size / xp.minimum(size[:, :1], size[:, 1:])
        wanted = size + move[:, 2:] * xp.minimum(stride[:, :1], stride[:, 1:]) * shape
        return placed(box, move[:, :2] * stride, wanted, limit, self.smallest)

    def ends(self, action: Array) -> Array:
        """(B,) bool, whether an action ends the frame."""
        return (action == STOP) | (action == UPDATE) if self.updates else action == STOP

    def learns(self, action: Array) -> Array:
        """(B,) bool, that what a frame ends with is learnt from."""
        return xp_of(action).ones_like(action, dtype=xp_of(action).bool)

    def kept(self, action: Array, box: Array) -> Array:
        """An action as the state keeps it, (B, 1)."""
        return action[:, None]

    def told(self, actions: Array) -> Array:
        """The last actions as the agent is told them, (B, 10 n) float32, one-hot."""
        history = one_hot(actions, len(self.moves))
        return xp_of(actions).reshape(history, (history.shape[0], -1))

    def toward(self, box: Array, limit: Array, target: Array, peaks: Array | None = None) -> Array:
        """The action after which a box fits best to another, (B,); stop where it fits or nothing is better."""
        xp, fits = xp_of(box), []
        still = xp.zeros_like(limit[:, 0], dtype=xp.int64)
        for action in range(len(MOVES)):
            after = self.moved(box, limit, still + action)
            gap = ops.norm(ops.center(after) - ops.center(target)) / ops.norm(ops.size(target))
            fits.append(ops.iou(after, target) - 0.01 * gap)  # the gap leads where there is no overlap
        best = xp.argmax(xp.stack(fits[::-1], axis=-1), axis=-1)  # from the back, so that stop wins a tie
        return xp.where(ops.iou(box, target) > EXACT, still + STOP, STOP - best)


class Jumps:
    """One move per frame: (dx, dy) in sides of the box, and by what share it grows, at most ``GROWTH``.

    Source: Chen et al. (2018), "Real-time 'actor-critic' tracking".

    Args:
        smallest: boxes do not become narrower or lower than this, pixels.
    """

    updates = False

    def __init__(self, smallest: float) -> None:
        self.smallest = smallest
        self.space = spaces.Box(-1, 1, (3,), np.float32)
        self.history = spaces.Box(-1, 1, (KEPT * 3,), np.float32)
        self.blank = np.zeros((KEPT, 3))
        self.hold = np.zeros((1, 3), np.float32)

    def moved(self, box: Array, limit: Array, action: Array, peaks: Array | None = None) -> Array:
        """The box after an action (B, 3), (B, 4); its shape stays as it is."""
        xp = xp_of(box)
        move, size = xp.astype(action, box.dtype), ops.size(box)
        growth = xp.where(xp.abs(move[:, 2:]) <= GROWTH + 1e-6, move[:, 2:], 0.0)  # which float32 rounds up
        return placed(box, move[:, :2] * size, size * (1 + growth), limit, self.smallest)

    def ends(self, action: Array) -> Array:
        """(B,) bool, that every action ends the frame."""
        return xp_of(action).ones_like(action[:, 0], dtype=xp_of(action).bool)

    def learns(self, action: Array) -> Array:
        """(B,) bool, that every frame is learnt from."""
        return self.ends(action)

    def kept(self, action: Array, box: Array) -> Array:
        """An action as the state keeps it, (B, 1, 3)."""
        return xp_of(box).astype(action, box.dtype)[:, None, :]

    def told(self, actions: Array) -> Array:
        """The last actions as the agent is told them, (B, 30) float32."""
        xp = xp_of(actions)
        return xp.reshape(xp.astype(actions, xp.float32), (actions.shape[0], -1))

    def toward(self, box: Array, limit: Array, target: Array, peaks: Array | None = None) -> Array:
        """The action, (B, 3) float32, that brings a box onto another, as far as one can."""
        xp, size = xp_of(box), ops.size(box)
        shift = xp.clip((ops.center(target) - ops.center(box)) / size, -1.0, 1.0)
        growth = xp.sqrt(ops.area(target) / ops.area(box)) - 1
        return xp.astype(xp.concat([shift, xp.clip(growth, -GROWTH, GROWTH)[:, None]], axis=1), xp.float32)


def placed(box: Array, shift: Array, wanted: Array, limit: Array, smallest: float) -> Array:
    """The box shifted by pixels and of another size, if that is allowed; its centre stays in the frame, (B, 4)."""
    xp, size = xp_of(box), ops.size(box)
    low, high = wanted >= xp.minimum(size, smallest), wanted <= xp.maximum(size, limit)
    center = xp.minimum(xp.maximum(ops.center(box) + shift, 0.0), limit)
    return ops.box_around(center, xp.where(ops.every(low & high)[:, None], wanted, size))


def packed(box: Array) -> Array:
    """Boxes rounded to whole pixels, each as one number, 16 bits an edge: (..., 4) -> (...) int64."""
    xp = xp_of(box)
    edges: Any = ops.columns(xp.astype(xp.round(box), xp.int64))
    return reduce(lambda code, edge: code * 2**16 + edge, edges)
