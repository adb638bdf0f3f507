"""Correlation filters that learn an object's appearance as it is tracked; B episodes, array-API code.

Their features are histograms of oriented gradients and of colour; a filter can also be slid over a wider window, to
find an object that has left its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi, sin
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.ops import Array, DeviceTable, const, xp_of

CELL = 2  # side of a cell of features, pixels
ORIENTATIONS = 6  # of edges, over half a turn
COLOR_BINS = 4  # of a colour axis
EDGE_FLOOR = 0.02  # edges weaker than this stay weak, in intensities of [0, 1]
DIRECTIONS = tuple((cos(pi * k / ORIENTATIONS), sin(pi * k / ORIENTATIONS)) for k in range(ORIENTATIONS))
SELECTIVITY = cos(pi / ORIENTATIONS)

SEARCH_SIDES = 4.0  # side of the window of a filter, in sides (root of the area) of the box
OBJECT_SIDES = 1.2  # side of the part of it that may have weights, in sides of the box
TARGET_SIGMA = 0.1  # standard deviation of the wanted response, in sides of the box
LEARNING_RATE = 0.02  # share of the model that a frame replaces
PENALTIES = (1.0, 10.0)  # of the two rounds in which a filter is solved
SCALES = (1.0, 0.96, 1.04)  # scales at which the filter searches for the object
MAPS = len(SCALES) + 1  # responses: of the filter at each size, and of the first frame's filter at the first
WIDE_SIDES = 3  # side of the wide window, in sides of the filter's own


@dataclass(frozen=True)
class FilterState:
    """State of correlation filters: their models, and their responses in the present frame.

    Attributes:
        model: (B, D, n, n//2 + 1) complex128, spectrum of the features of the object and its surroundings.
        filter: of the same shape, the filter that tells the object from its surroundings.
        first: of the same shape, the filter after the first frame.
        maps: (B, 4, n, n) float64, responses by ``SCALES`` and of ``first``; the middle, cell n // 2, is the box's.
    """

    model: Array
    filter: Array
    first: Array
    maps: Array


class CorrelationFilter:
    """Filters of windows around boxes: squares of ``SEARCH_SIDES``, whatever the box's shape.

    A filter is wanted whose correlation with the window is a peak on the object and nothing elsewhere, and whose
    weights are 0 off the object, so that all the surroundings serve as negative examples. It is solved in the
    frequency domain by two rounds of the alternating direction method of multipliers.

    Source: Kiani Galoogahi, Fagg & Lucey (2017), "Learning background-aware correlation filters for visual tracking";
    the sizes are tried as by Li & Zhu (2014).

    Args:
        side: side of the window, pixels.
    """

    def __init__(self, side: int) -> None:
        self.side, self.cells = side, side // CELL
        steps = np.minimum(np.arange(self.cells), self.cells - np.arange(self.cells))
        bell = np.exp(-0.5 * (steps * SEARCH_SIDES / (TARGET_SIGMA * self.cells)) ** 2)
        taper = np.hanning(self.cells + 2)[1:-1]
        self.target = DeviceTable(np.fft.rfft2(np.outer(bell, bell)))
        self.taper = DeviceTable(np.outer(taper, taper))
        self.offset = DeviceTable(np.abs(np.arange(self.cells) - (self.cells - 1) / 2))

    def start(self, pyramid: Any, frame: Array, box: Array) -> FilterState:
        """The state after the first frame, numbered (B,) in the pyramid, with boxes (B, 4)."""
        spectra = self.spectra(pyramid, [(frame, box, scale) for scale in SCALES])
        solved = self.solve(spectra[0], box)
        first = xp_of(box).asarray(solved, copy=True)
        return FilterState(spectra[0], solved, first, self.respond(spectra, solved, first))

    def update(
        self, pyramid: Any, state: FilterState, done: tuple[Array, Array], frame: Array, learn: Array
    ) -> FilterState:
        """The state once boxes are placed in a frame, with the responses around them in the next.

        Args:
            pyramid: the frames.
            state: before.
            done: (B,) the frame, (B, 4) the boxes.
            frame: (B,) the next one.
            learn: (B,) bool, which of the rows learn from the frame that is done.
        """
        xp, box = xp_of(frame), done[1]
        last, *now = self.spectra(pyramid, [(*done, 1.0), *((frame, box, scale) for scale in SCALES)])
        rate = xp.astype(learn, box.dtype)[:, None, None, None] * LEARNING_RATE
        model = state.model + rate * (last - state.model)
        solved = xp.where(learn[:, None, None, None], self.solve(model, box), state.filter)
        return FilterState(model, solved, state.first, self.respond(now, solved, state.first))

    def respond(self, spectra: list[Array], filters: Array, first: Array) -> Array:
        """(B, 4, n, n): the responses of filters to windows of ``SCALES``, and of first filters."""
        xp = xp_of(filters)
        pairs = [*((filters, seen) for seen in spectra), (first, spectra[0])]
        response = xp.stack([xp.sum(xp.conj(by) * seen, axis=1) for by, seen in pairs], axis=1)
        return xp.fft.fftshift(self.inverse_fft(response), axes=(-2, -1))

    def spectra(self, pyramid: Any, wanted: list[tuple[Array, Array, float]]) -> list[Array]:
        """(B, D, n, n//2 + 1) of each of some (frames, boxes, sizes relative to the boxes)."""
        frames, boxes, scales = zip(*wanted, strict=True)
        xp = xp_of(boxes[0])
        squares = [self.search_square(box, scale) for box, scale in zip(boxes, scales, strict=True)]
        window = ops.resize(pyramid, xp.concat(frames), xp.concat(squares), self.side)
        features = xp.astype(hog_color_features(window), xp.float64) * self.taper.on(window)
        spectrum = xp.fft.rfftn(features, axes=(-2, -1))
        rows = boxes[0].shape[0]
        return [spectrum[k * rows : (k + 1) * rows, ...] for k in range(len(wanted))]

    def solve(self, model: Array, box: Array) -> Array:
        """The filters of models, (B, D, n, n//2 + 1)."""
        xp, count, mask = xp_of(box), self.cells**2, self.object_mask(box)
        target = self.target.on(box) / count
        power = xp.sum(xp.real(xp.conj(model) * model), axis=1, keepdims=True)
        masked, dual = xp.zeros_like(model), xp.zeros_like(model)
        filters = masked
        for weight in PENALTIES:
            pull = target * power + xp.sum(xp.conj(model) * (weight * masked - dual), axis=1, keepdims=True)
            filters = (
                target * model - dual + weight * masked - model * pull / (power + weight * count)
            ) / weight
            near = self.inverse_fft(weight * filters + dual) * (count / (1 + weight * count)) * mask
            masked = xp.fft.rfftn(near, axes=(-2, -1))
            dual = dual + weight * (filters - masked)
        return filters

    def inverse_fft(self, spectrum: Array) -> Array:
        """(..., n, n) of spectra (..., n, n//2 + 1)."""
        return xp_of(spectrum).fft.irfftn(spectrum, s=(self.cells, self.cells), axes=(-2, -1))

    def object_mask(self, box: Array) -> Array:
        """(B, 1, n, n) float64, 1 in the cells in which a filter may have weights, else 0."""
        xp, offset = xp_of(box), self.offset.on(box)
        half = OBJECT_SIDES * ops.size(box) / self.search_side(box)[:, None] * (self.cells / 2)
        inside = offset <= xp.maximum(half, 1.5)[:, :, None]
        return xp.astype(inside[:, 1, :, None] & inside[:, 0, None, :], box.dtype)[:, None, ...]

    def search_side(self, box: Array) -> Array:
        """(B,) side of the window of boxes, pixels."""
        return SEARCH_SIDES * xp_of(box).sqrt(ops.area(box))

    def search_square(self, box: Array, scale: float) -> Array:
        """(B, 4) edges of the window of boxes, at another size of the object."""
        side = scale * self.search_side(box)[:, None]
        return ops.box_around(ops.center(box), xp_of(box).concat([side, side], axis=1))

    def peaks(self, maps: Array, box: Array) -> Array:
        """The peak of each response, (B, 4, 5): dx, dy in pixels, size relative to the box's, value, sharpness.

        A parabola through the strongest cell and its neighbours gives the place between cells. Sharpness is the peak's
        height over the mean, in standard deviations of the map.
        """
        xp = xp_of(maps)
        dx, dy, top, sharp = find_peaks(maps)
        size = const((*SCALES, 1.0), box) + xp.zeros_like(top)
        cell = size * self.search_side(box)[:, None] / self.cells
        return xp.stack([dx * cell, dy * cell, size, top, sharp], axis=-1)


class WideSearch:
    """The weights of a correlation filter slid over a wider window of cells of the same size.

    A filter has weights on the object alone, so they may lie anywhere. The height of a peak is what the filter would
    respond in the middle of its own window if that were there: the taper, and the means of the colours that its window
    takes off, are parts of the weights.

    Args:
        narrow: whose filters they are.
    """

    def __init__(self, narrow: CorrelationFilter) -> None:
        self.narrow, self.cells = narrow, WIDE_SIDES * narrow.cells
        self.far = narrow.cells + narrow.cells // 4  # cells in which peaks are searched, either way
        self.scale = 2 * self.far / narrow.cells  # side of that area, in sides of the filter's own window

    def peak(self, pyramid: Any, filters: Array, frame: Array, box: Array) -> Array:
        """(B, 5) the strongest place, in the form of ``CorrelationFilter.peaks``.

        Args:
            pyramid: the frames.
            filters: (B, D, n, n//2 + 1); n is the cells of their own window.
            frame: (B,) in which frames.
            box: (B, 4) around which boxes.
        """
        xp, cell = xp_of(box), self.narrow.search_side(box) / self.narrow.cells
        dx, dy, top, sharp = (found[:, 0] for found in find_peaks(self.map(pyramid, filters, frame, box)))
        return xp.stack([dx * cell, dy * cell, xp.ones_like(top), top, sharp], axis=-1)

    def map(self, pyramid: Any, filters: Array, frame: Array, box: Array) -> Array:
        """(B, 1, 2 far, 2 far) responses; the middle, cell ``far``, is the box's."""
        xp, shape = xp_of(box), (self.cells, self.cells)
        square = self.narrow.search_square(box, WIDE_SIDES)
        window = ops.resize(pyramid, frame, square, WIDE_SIDES * self.narrow.side)
        features = xp.fft.rfftn(xp.astype(hog_color_features(window), xp.float64), axes=(-2, -1))
        weights = xp.fft.rfftn(self.weights(filters), s=shape, axes=(-2, -1))
        spectrum = xp.sum(xp.conj(weights) * features, axis=1, keepdims=True)
        response = xp.fft.irfftn(spectrum, s=shape, axes=(-2, -1))
        # a cell of it says where the upper left corner of the filter's own window lies
        shift, side = self.far - self.narrow.cells, 2 * self.far
        return xp.roll(response, (shift, shift), axis=(-2, -1))[:, :, :side, :side]

    def weights(self, filters: Array) -> Array:
        """(B, D, n, n) weights of features that give the response in the middle of a filter's own window."""
        xp = xp_of(filters)
        weights = self.narrow.inverse_fft(filters) * self.narrow.taper.on(filters)
        colors = weights[:, ORIENTATIONS:, ...]
        colors = colors - xp.mean(colors, axis=(-2, -1), keepdims=True)
        return xp.concat([weights[:, :ORIENTATIONS, ...], colors], axis=1)


# -- peaks -------------------------------------------------------------------------------------------------------------
def find_peaks(maps: Array) -> tuple[Array, Array, Array, Array]:
    """The peaks of maps (..., n, n): dx and dy from cell n // 2 in cells, value, and sharpness; (...) each."""
    xp, n = xp_of(maps), maps.shape[-1]
    flat = xp.reshape(maps, (*maps.shape[:-2], n * n))
    best = xp.argmax(flat, axis=-1)
    row, column = best // n, best % n

    def at(y: Array, x: Array) -> Array:
        place = (y % n) * n + x % n
        return xp.take_along_axis(flat, place[..., None], axis=-1)[..., 0]

    top = at(row, column)
    dx = xp.astype(column - n // 2, maps.dtype) + subpixel_peak(at(row, column - 1), top, at(row, column + 1))
    dy = xp.astype(row - n // 2, maps.dtype) + subpixel_peak(at(row - 1, column), top, at(row + 1, column))
    sharp = (top - xp.mean(flat, axis=-1)) / (xp.std(flat, axis=-1) + 1e-9)
    return dx, dy, top, sharp


def subpixel_peak(before: Array, top: Array, after: Array) -> Array:
    """Peak of a parabola through three neighbours, in [-0.5, 0.5] from the middle one."""
    xp = xp_of(top)
    bend = 2 * top - before - after
    shift = 0.5 * (after - before) / xp.where(bend > 1e-12, bend, 1.0)
    return xp.where(bend > 1e-12, xp.clip(shift, -0.5, 0.5), 0.0)


# -- features ----------------------------------------------------------------------------------------------------------
def hog_color_features(window: Array) -> Array:
    """(B, D, n, n) float32 of windows (B, C, 2n, 2n) uint8; D is 10 for one channel and 18 for three.

    The first 6 are edges by orientation, in each cell relative to the edges around it (after Dalal & Triggs, 2005, with
    projections in the place of angles); then 4 bins of intensity, and of red against green and of blue against yellow.
    """
    xp = xp_of(window)
    pixels = xp.astype(window, xp.float32) / 255
    edges = oriented_edges(xp.mean(pixels, axis=1))
    return xp.concat([edges, color_histogram(cell_means(pixels))], axis=1)


def oriented_edges(grey: Array) -> Array:
    """(B, 6, n, n) of intensities (B, 2n, 2n): how strong edges of each orientation are, in [0, 1]."""
    xp = xp_of(grey)
    row, column = xp.zeros_like(grey[:, :1, :]), xp.zeros_like(grey[:, :, :1])
    dx = xp.concat([column, grey[:, :, 2:] - grey[:, :, :-2], column], axis=2)
    dy = xp.concat([row, grey[:, 2:, :] - grey[:, :-2, :], row], axis=1)
    turns, length = const(DIRECTIONS, grey), xp.sqrt(dx * dx + dy * dy)
    along = dx[:, None, ...] * turns[:, 0][:, None, None] + dy[:, None, ...] * turns[:, 1][:, None, None]
    excess = xp.maximum(xp.abs(along) - SELECTIVITY * length[:, None, ...], 0.0) / (1 - SELECTIVITY)
    strength = cell_means(excess)
    return xp.minimum(strength / (mean_norm(strength) + EDGE_FLOOR), 1.0)


def mean_norm(strength: Array) -> Array:
    """(B, 1, n, n) length of (B, D, n, n) vectors, the mean of 3 x 3 cells; at the border cells repeat."""
    xp = xp_of(strength)
    for axis in (2, 3):
        strength = xp.moveaxis(strength, axis, 0)
        strength = xp.concat([strength[:1, ...], strength, strength[-1:, ...]], axis=0)
        strength = xp.moveaxis(strength, 0, axis)
    length = xp.sqrt(xp.sum(strength * strength, axis=1, keepdims=True))
    rows = length[:, :, :-2, :] + length[:, :, 1:-1, :] + length[:, :, 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9


def color_histogram(pixels: Array) -> Array:
    """(B, 4, n, n) of grey cells (B, 1, n, n), or (B, 12, n, n) of RGB cells, values in [0, 1]; of mean 0."""
    xp = xp_of(pixels)
    axes = pixels[:, :1, ...]
    if pixels.shape[1] == 3:
        red, green, blue = (pixels[:, k : k + 1, ...] for k in range(3))
        opposed = [(red - green) * 1.5 + 0.5, ((red + green) / 2 - blue) * 1.5 + 0.5]
        axes = xp.concat([(red + green + blue) / 3, *opposed], axis=1)
    places = xp.clip(axes, 0.0, 1.0)[:, :, None, ...] * (COLOR_BINS - 1)
    bins = xp.maximum(1 - xp.abs(places - const(tuple(range(COLOR_BINS)), pixels)[:, None, None]), 0.0)
    flat = xp.reshape(bins, (bins.shape[0], -1, *bins.shape[3:]))
    return flat - xp.mean(flat, axis=(2, 3), keepdims=True)


def cell_means(pixels: Array) -> Array:
    """(..., n, n) means of the cells of (..., 2n, 2n)."""
    parts = [pixels[..., y::CELL, x::CELL] for y in range(CELL) for x in range(CELL)]
    return sum(parts[1:], parts[0]) / CELL**2
