"""Where an object may be that has left the window of its filter: the strongest peak of a wider one; array-API code."""

from __future__ import annotations

from typing import Any

from visionrl import ops
from visionrl.ops import Array, xp_of
from visionrl.ops.correlation_filter import CorrelationFilter, summits
from visionrl.ops.looks import DIRECTIONS, described

TIMES = 3  # side of the wide window, in sides of the filter's own


class Wide:
    """The weights of a correlation filter slid over a wider window of cells of the same size.

    A filter weighs only the object, so its weights may lie anywhere. The height of a peak is what the filter would
    respond in the middle of its own window if that were there: the taper and the means of the colours that its window
    takes off are parts of the weights.

    Args:
        narrow: whose filters they are.
    """

    def __init__(self, narrow: CorrelationFilter) -> None:
        self.narrow, self.cells = narrow, TIMES * narrow.cells
        self.far = narrow.cells + narrow.cells // 4  # cells that peaks are looked for either way

    def peak(self, pyramid: Any, solved: Array, frame: Array, box: Array) -> Array:
        """(B, 5) where the response is strongest, as ``CorrelationFilter.peaks`` has it.

        Args:
            pyramid: the frames.
            solved: (B, D, n, n//2 + 1), the filters; n is the cells of their own window.
            frame: (B,) in which frames.
            box: (B, 4) around which boxes.
        """
        xp, cell = xp_of(box), self.narrow.reach(box) / self.narrow.cells
        dx, dy, top, sharp = (found[:, 0] for found in summits(self.map(pyramid, solved, frame, box)))
        return xp.stack([dx * cell, dy * cell, xp.ones_like(top), top, sharp], axis=-1)

    def map(self, pyramid: Any, solved: Array, frame: Array, box: Array) -> Array:
        """(B, 1, 2 far, 2 far) responses; the middle, cell ``far``, is the box's."""
        xp, shape = xp_of(box), (self.cells, self.cells)
        window = ops.resize(pyramid, frame, self.narrow.square(box, TIMES), TIMES * self.narrow.side)
        looks = xp.fft.rfftn(xp.astype(described(window), xp.float64), axes=(-2, -1))
        weights = xp.fft.rfftn(self.weights(solved), s=shape, axes=(-2, -1))
        spectrum = xp.sum(xp.conj(weights) * looks, axis=1, keepdims=True)
        response = xp.fft.irfftn(spectrum, s=shape, axes=(-2, -1))
        # a cell of it says where the upper left corner of the filter's own window lies
        shift, side = self.far - self.narrow.cells, 2 * self.far
        return xp.roll(response, (shift, shift), axis=(-2, -1))[:, :, :side, :side]

    def weights(self, solved: Array) -> Array:
        """(B, D, n, n) by which looks are weighed to give the response in the middle of a filter's own window."""
        xp = xp_of(solved)
        weights = self.narrow.back(solved) * self.narrow.taper.on(solved)
        colours = weights[:, DIRECTIONS:, ...]
        return xp.concat(
            [weights[:, :DIRECTIONS, ...], colours - xp.mean(colours, axis=(-2, -1), keepdims=True)], axis=1
        )
