"""Controls of glimpses and answers, discrete or by a position and scores; array-API code."""

from __future__ import annotations

import numpy as np
from gymnasium import Space, spaces

from visionrl import ops
from visionrl.core.observables import Observable, OneHot
from visionrl.ops import Array, const, one_hot, xp_of


class DiscreteGlimpses:
    """A glimpse at a cell of a grid, or an answer, which ends the episode.

    Args:
        side: cells of the grid along each side.
        classes: number of classes.

    Attributes:
        space: the action space.
        answer_shown: the observable of the last answer; None where it is not shown.
    """

    answer_shown: Observable | None = None

    def __init__(self, side: int, classes: int) -> None:
        middles = [(2 * k + 1) / side - 1 for k in range(side)]
        self.cells = tuple((x, y) for y in middles for x in middles)  # (x, y) in [-1, 1], row by row
        self.space: Space = spaces.Discrete(len(self.cells) + classes)

    def random_places(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count, 2) positions in [-1, 1]: middles of random cells."""
        return np.array(self.cells)[rng.integers(0, len(self.cells), count)]

    def motion(self, action: Array, like: Array) -> tuple[Array, Array]:
        """The position of an action's glimpse, (B, 2) in [-1, 1], and the class that it answers, (B,), or -1."""
        xp, count = xp_of(like), len(self.cells)
        place = xp.take(const(self.cells, like), xp.minimum(action, count - 1), axis=0)
        return place, xp.where(action >= count, action - count, -1)

    def ends(self, answer: Array, may_look: Array) -> Array:
        """(B,) bool, whether the answer is the last: wherever there is one."""
        return answer >= 0

    def toward(self, goal: Array, here: Array, size: Array, label: Array, may_look: Array) -> Array:
        """The action of the expert: look at the cell nearest to the goal, then answer.

        Args:
            goal: (B, 2) pixels.
            here: (B, 2) pixels, the last glimpse.
            size: (B, 2) of the images, pixels.
            label: (B,) int64.
            may_look: (B,) bool, a glimpse is left.
        """
        xp = xp_of(goal)
        cells = to_pixels(const(self.cells, goal)[None, :, :], size[:, None, :])
        best = xp.argmin(ops.norm(cells - goal[:, None, :]), axis=-1)
        there = ops.every(row_at(cells, best) == here)
        return xp.where(there | ~may_look, label + len(self.cells), best)


class ContinuousGlimpses:
    """A position of the next glimpse and a score for each class; the highest after the last glimpse is the answer.

    Source: Mnih et al. (2014), "Recurrent models of visual attention".

    Args:
        side: cells of the grid along each side that discrete control would have.
        classes: number of classes.
    """

    def __init__(self, side: int, classes: int) -> None:
        self.side, self.classes = side, classes
        self.space: Space = spaces.Box(-1, 1, (2 + classes,), np.float32)
        self.answer_shown: Observable | None = OneHot(classes)

    def random_places(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """(count, 2) positions in [-1, 1]."""
        rng.integers(0, self.side**2, count)  # as many draws as discrete control takes
        return rng.uniform(-1, 1, (count, 2))

    def motion(self, action: Array, like: Array) -> tuple[Array, Array]:
        """The position of an action's glimpse, (B, 2) in [-1, 1], and the class of its highest score, (B,)."""
        xp = xp_of(like)
        return xp.clip(xp.astype(action[:, :2], xp.float64), -1, 1), xp.argmax(action[:, 2:], axis=-1)

    def ends(self, answer: Array, may_look: Array) -> Array:
        """(B,) bool, whether the answer is the last: when no glimpse is left."""
        return ~may_look

    def toward(self, goal: Array, here: Array, size: Array, label: Array, may_look: Array) -> Array:
        """The action of the expert, (B, 2 + classes) float32: look at the goal, and the label has the highest score."""
        xp = xp_of(goal)
        place, score = 2 * (goal + 0.5) / size - 1, 2 * one_hot(label, self.classes) - 1
        return xp.concat([xp.astype(place, xp.float32), score], axis=-1)


CONTROLS: dict[str, type[DiscreteGlimpses] | type[ContinuousGlimpses]] = {
    "discrete": DiscreteGlimpses,
    "continuous": ContinuousGlimpses,
}


def row_at(rows: Array, index: Array) -> Array:
    """(B, N, 2), (B,) int64 -> (B, 2): one row of each."""
    xp = xp_of(rows)
    return xp.sum(rows * xp.astype(one_hot(index, rows.shape[1])[:, :, None], rows.dtype), axis=1)


def to_pixels(place: Array, size: Array) -> Array:
    """(x, y) from [-1, 1], the image's edges, to pixels; no farther out than the centres of the outermost ones."""
    xp = xp_of(size)
    pixel = (place + 1) / 2 * size - 0.5
    return xp.minimum(xp.maximum(pixel, xp.zeros_like(pixel)), size - 1)
