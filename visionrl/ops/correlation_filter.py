"""A correlation filter that learns what an object looks like as it is followed; B episodes, array-API code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.ops import Array, DeviceTable, const, xp_of
from visionrl.ops.looks import CELL, described

AREA = 4.0  # side of what a filter sees, in sides (root of the area) of the box
BODY = 1.2  # side of the part of it that may weigh, in sides of the box
SPREAD = 0.1  # standard deviation of the wanted response, in sides of the box
RATE = 0.02  # share of what is known that a frame replaces
PENALTIES = (1.0, 10.0)  # of the two rounds in which a filter is solved
SCALES = (1.0, 0.96, 1.04)  # sizes at which the filter looks for the object
MAPS = len(SCALES) + 1  # responses: of the filter at each size, and of the first frame's at the first


@dataclass(frozen=True)
class Known:
    """What filters have learnt, and how they respond to what is there now.

    Attributes:
        model: (B, D, n, n//2 + 1) complex128, spectrum of what the object and its surroundings look like.
        filter: of the same shape, the filter that tells the object from its surroundings.
        first: the same as it was after the first frame.
        maps: (B, 4, n, n) float64, responses by ``SCALES`` and of ``first``; the middle, cell n // 2, is the box's.
    """

    model: Array
    filter: Array
    first: Array
    maps: Array


class CorrelationFilter:
    """Filters of windows around boxes: squares of ``AREA`` sides, whatever the box's shape.

    A filter is wanted whose correlation with the window is a peak on the object and nothing elsewhere, and whose
    weights are 0 off the object, so that all the surroundings serve as examples of what it is not. It is solved in
    the frequency domain by two rounds of the alternating direction method of multipliers.

    Source: Kiani Galoogahi, Fagg & Lucey (2017), "Learning background-aware correlation filters for visual tracking";
    the sizes are tried as by Li & Zhu (2014).

    Args:
        side: side of the window, pixels.
    """

    def __init__(self, side: int) -> None:
        self.side, self.cells = side, side // CELL
        steps = np.minimum(np.arange(self.cells), self.cells - np.arange(self.cells))
        bell = np.exp(-0.5 * (steps * AREA / (SPREAD * self.cells)) ** 2)
        taper = np.hanning(self.cells + 2)[1:-1]
        self.wanted = DeviceTable(np.fft.rfft2(np.outer(bell, bell)))
        self.taper = DeviceTable(np.outer(taper, taper))
        self.middle = DeviceTable(np.abs(np.arange(self.cells) - (self.cells - 1) / 2))

    def begin(self, pyramid: Any, frame: Array, box: Array) -> Known:
        """What is known after the first frame, numbered (B,) in the pyramid, with boxes (B, 4)."""
        spectra = self.spectra(pyramid, [(frame, box, scale) for scale in SCALES])
        solved = self.solved(spectra[0], box)
        first = xp_of(box).asarray(solved, copy=True)
        return Known(spectra[0], solved, first, self.maps(spectra, solved, first))

    def after(
        self, pyramid: Any, known: Known, done: tuple[Array, Array], frame: Array, learn: Array
    ) -> Known:
        """What is known once boxes are placed in a frame, and how the filters respond around them in the next.

        Args:
            pyramid: the frames.
            known: what was known before.
            done: (B,) the frame, (B, 4) the boxes.
            frame: (B,) the next one.
            learn: (B,) bool, which of the rows learn from the frame that is done.
        """
        xp, box = xp_of(frame), done[1]
        last, *now = self.spectra(pyramid, [(*done, 1.0), *((frame, box, scale) for scale in SCALES)])
        rate = xp.astype(learn, box.dtype)[:, None, None, None] * RATE
        model = known.model + rate * (last - known.model)
        solved = xp.where(learn[:, None, None, None], self.solved(model, box), known.filter)
        return Known(model, solved, known.first, self.maps(now, solved, known.first))

    def maps(self, spectra: list[Array], solved: Array, first: Array) -> Array:
        """(B, 4, n, n): the responses to windows of ``SCALES``."""
        xp = xp_of(solved)
        pairs = [*((solved, seen) for seen in spectra), (first, spectra[0])]
        response = xp.stack([xp.sum(xp.conj(by) * seen, axis=1) for by, seen in pairs], axis=1)
        return xp.fft.fftshift(self.back(response), axes=(-2, -1))

    def spectra(self, pyramid: Any, wanted: list[tuple[Array, Array, float]]) -> list[Array]:
        """(B, D, n, n//2 + 1) of each of some (frames, boxes, sizes relative to the boxes)."""
        frames, boxes, scales = zip(*wanted, strict=True)
        xp = xp_of(boxes[0])
        squares = [self.square(box, scale) for box, scale in zip(boxes, scales, strict=True)]
        window = ops.resize(pyramid, xp.concat(frames), xp.concat(squares), self.side)
        looks = xp.astype(described(window), xp.float64) * self.taper.on(window)
        spectrum = xp.fft.rfftn(looks, axes=(-2, -1))
        rows = boxes[0].shape[0]
        return [spectrum[k * rows : (k + 1) * rows, ...] for k in range(len(wanted))]

    def solved(self, model: Array, box: Array) -> Array:
        """The filters of models, (B, D, n, n//2 + 1)."""
        xp, count, body = xp_of(box), self.cells**2, self.body(box)
        wanted = self.wanted.on(box) / count
        power = xp.sum(xp.real(xp.conj(model) * model), axis=1, keepdims=True)
        held, gap = xp.zeros_like(model), xp.zeros_like(model)
        filters = held
        for weight in PENALTIES:
            pull = wanted * power + xp.sum(xp.conj(model) * (weight * held - gap), axis=1, keepdims=True)
            filters = (
                wanted * model - gap + weight * held - model * pull / (power + weight * count)
            ) / weight
            near = self.back(weight * filters + gap) * (count / (1 + weight * count)) * body
            held = xp.fft.rfftn(near, axes=(-2, -1))
            gap = gap + weight * (filters - held)
        return filters

    def back(self, spectrum: Array) -> Array:
        """(..., n, n) of spectra (..., n, n//2 + 1)."""
        return xp_of(spectrum).fft.irfftn(spectrum, s=(self.cells, self.cells), axes=(-2, -1))

    def body(self, box: Array) -> Array:
        """(B, 1, n, n) float64, 1 in the cells on which a filter may weigh, else 0."""
        xp, near = xp_of(box), self.middle.on(box)
        half = BODY * ops.size(box) / self.reach(box)[:, None] * (self.cells / 2)
        inside = near <= xp.maximum(half, 1.5)[:, :, None]
        return xp.astype(inside[:, 1, :, None] & inside[:, 0, None, :], box.dtype)[:, None, ...]

    def reach(self, box: Array) -> Array:
        """(B,) side of the square around boxes, pixels."""
        return AREA * xp_of(box).sqrt(ops.area(box))

    def square(self, box: Array, scale: float) -> Array:
        """(B, 4) what the window of boxes shows, at another size of the object."""
        side = scale * self.reach(box)[:, None]
        return ops.box_around(ops.center(box), xp_of(box).concat([side, side], axis=1))

    def peaks(self, maps: Array, box: Array) -> Array:
        """Where the responses are strongest, (B, 4, 5): dx, dy in pixels, the size there relative to the box's; value; sharpness.

        Between the cells a parabola through the strongest and its neighbours tells. Sharpness is the peak's height
        over the mean, in standard deviations of the map.
        """
        xp = xp_of(maps)
        dx, dy, top, sharp = summits(maps)
        size = const((*SCALES, 1.0), box) + xp.zeros_like(top)
        cell = size * self.reach(box)[:, None] / self.cells
        return xp.stack([dx * cell, dy * cell, size, top, sharp], axis=-1)


def summits(maps: Array) -> tuple[Array, Array, Array, Array]:
    """Of maps (..., n, n) each (...): how far the strongest cell is right of n // 2 and below it, its value, its sharpness."""
    xp, n = xp_of(maps), maps.shape[-1]
    flat = xp.reshape(maps, (*maps.shape[:-2], n * n))
    best = xp.argmax(flat, axis=-1)
    row, column = best // n, best % n

    def at(y: Array, x: Array) -> Array:
        place = (y % n) * n + x % n
        return xp.take_along_axis(flat, place[..., None], axis=-1)[..., 0]

    top = at(row, column)
    dx = xp.astype(column - n // 2, maps.dtype) + vertex(at(row, column - 1), top, at(row, column + 1))
    dy = xp.astype(row - n // 2, maps.dtype) + vertex(at(row - 1, column), top, at(row + 1, column))
    sharp = (top - xp.mean(flat, axis=-1)) / (xp.std(flat, axis=-1) + 1e-9)
    return dx, dy, top, sharp


def vertex(before: Array, top: Array, after: Array) -> Array:
    """Where a parabola through three neighbours is highest, in [-0.5, 0.5] from the middle one."""
    xp = xp_of(top)
    bend = 2 * top - before - after
    shift = 0.5 * (after - before) / xp.where(bend > 1e-12, bend, 1.0)
    return xp.where(bend > 1e-12, xp.clip(shift, -0.5, 0.5), 0.0)
