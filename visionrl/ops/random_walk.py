"""Random-walker segmentation (Grady, 2006) from a few labelled pixels, by columns of the inverse of the Laplacian.

Seeds lie on a fixed set of pixels, "cells", so the columns of (L + eps I)^-1 that belong to them can be computed once
an image. With C the columns of the k seeds, W their rows there and y the labels +1 and -1, the field C W^-1 y is +1
and -1 at the seeds and harmonic everywhere else: the exact solution with hard seeds.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from visionrl.ops.xp import Array, Recalled, is_torch, like, one_hot, to_numpy, xp_of

EPSILON = 1e-6  # on the diagonal: the Laplacian alone is singular
WEAKEST = 1e-6  # weight of an edge, at least: regions never part altogether
FACTORS = 1 << 30  # bytes of factorised matrices kept, about
MEMORY = 3 << 30  # bytes of columns, at most


def laplacian(image: np.ndarray, valid: np.ndarray, beta: float) -> Any:
    """The Laplacian of a picture's pixels with ``EPSILON`` on its diagonal, a sparse (H * W, H * W) matrix.

    The weight between neighbours is exp(-beta * squared difference of colours / (10 * deviation * sqrt(C))), with
    colours in [0, 1], as in scikit-image; what is not valid is connected to nothing.

    Args:
        image: (C, H, W) uint8.
        valid: (H, W) bool.
        beta: how much a difference of colours parts two pixels.
    """
    from scipy.sparse import coo_array, dia_array

    colours = image.astype(np.float64) / 255
    scale = beta / (10 * max(float(colours[:, valid].std()), 1e-3) * np.sqrt(len(image)))
    number = np.arange(valid.size).reshape(valid.shape)
    ends, weights = [], []
    every, late, early = slice(None), slice(1, None), slice(-1)
    for one, other in (((every, late), (every, early)), ((late, every), (early, every))):
        gap = ((colours[:, *one] - colours[:, *other]) ** 2).sum(axis=0)
        joined = valid[one] & valid[other]
        ends.append(np.stack([number[one][joined], number[other][joined]]))
        weights.append(np.exp(-scale * gap[joined]) + WEAKEST)
    (first, second), weight = np.concatenate(ends, axis=1), np.concatenate(weights)
    size = valid.size
    degree = np.bincount(first, weight, size) + np.bincount(second, weight, size)
    off = coo_array((-weight, (first, second)), shape=(size, size))
    diagonal = np.where(valid.ravel(), degree + EPSILON, 1.0)
    return (off + off.T + dia_array((diagonal[None], [0]), shape=(size, size))).tocsc()


class GreenColumns(Recalled):
    """Columns of the inverse Laplacians of some pictures, computed when they are first needed.

    Args:
        images: (N, C, S, S) uint8.
        valid: (N, S, S) bool.
        pixels: (G,) int64, the cells: numbers of pixels, row by row, that seeds may lie on.
        beta: see ``laplacian``.
        memory: bytes of columns kept; pictures not used for longest are forgotten.
    """

    def __init__(
        self, images: np.ndarray, valid: np.ndarray, pixels: np.ndarray, beta: float, memory: int = MEMORY
    ) -> None:
        self.images, self.valid, self.pixels, self.beta = images, valid, pixels, beta
        shape = len(pixels), valid[0].size
        self.slots = max(1, min(len(images), memory // (4 * shape[0] * shape[1])))
        # picture -> place in the table, used last at the end
        self._slot_of: OrderedDict[int, int] = OrderedDict()
        self._factors: OrderedDict[int, Any] = OrderedDict()
        self._clear()

    def _clear(self) -> None:
        """An empty table; the system gives it memory as it is filled."""
        shape = self.slots, len(self.pixels), self.valid[0].size
        self._table, self._known = np.zeros(shape, np.float32), np.zeros(shape[:2], bool)
        self._on_device: dict[Any, Array] = {}

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        for key in ("_table", "_known", "_on_device"):
            state.pop(key)
        return {**state, "_slot_of": OrderedDict(), "_factors": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._clear()

    def fields(self, picture: Array, cells: Array, signs: Array) -> Array:
        """Fields of seeds in pictures, (B, S * S) float64: positive where a walker reaches a seed +1 first.

        Args:
            picture: (B,) int64.
            cells: (B, K) int64, number of each seed's cell, none twice; -1 is no seed.
            signs: (B, K) int64, +1 or -1.

        Returns:
            The field; -1 everywhere where there is no seed.
        """
        if is_torch(cells) and cells.device.type != "cpu":
            return self.fields_on_device(self._whole(cells), picture, cells, signs)
        found = self._fields(to_numpy(picture), to_numpy(cells), to_numpy(signs))
        return like(found, cells)

    def _fields(self, picture: np.ndarray, cells: np.ndarray, signs: np.ndarray) -> np.ndarray:
        """Fields on NumPy, row by row."""
        found = np.full((len(cells), self.valid[0].size), -1.0)
        for row, used in enumerate(cells >= 0):
            if used.any():
                here = cells[row, used]
                columns = self.columns(int(picture[row]), here)
                between = columns[:, self.pixels[here]].astype(np.float64)
                found[row] = np.linalg.solve(between, signs[row, used].astype(np.float64)) @ columns
        return found

    def fields_on_device(self, table: Array, picture: Array, cells: Array, signs: Array) -> Array:
        """Fields by the array API alone, from a table (N * G, S * S) of all columns."""
        xp, count = xp_of(cells), len(self.pixels)
        (rows, most), used = cells.shape, cells >= 0
        safe = xp.where(used, cells, xp.zeros_like(cells))
        columns = xp.take(table, xp.reshape(picture[:, None] * count + safe, (-1,)), axis=0)
        columns = xp.astype(xp.reshape(columns, (rows, most, -1)), xp.float64)
        columns = columns * xp.astype(used, xp.float64)[:, :, None]
        at = xp.take(like(self.pixels, cells), xp.reshape(safe, (-1,)))
        at = xp.broadcast_to(xp.reshape(at, (rows, 1, most)), (rows, most, most))
        between = xp.take_along_axis(columns, at, axis=2)
        pairs = xp.astype(used[:, :, None] & used[:, None, :], xp.float64)
        unit = xp.reshape(one_hot(xp.arange(most, device=cells.device), most), (1, most, most))
        unit = xp.astype(unit, xp.float64) * xp.astype(~used, xp.float64)[:, :, None]
        right = xp.astype(signs * xp.astype(used, xp.int64), xp.float64)
        weights = xp.linalg.solve(between * pairs + unit, right[:, :, None])
        field = xp.sum(weights * columns, axis=1)
        return xp.where(xp.any(used, axis=1)[:, None], field, -xp.ones_like(field))

    def columns(self, picture: int, cells: np.ndarray) -> np.ndarray:
        """Columns of some cells of a picture, (k, S * S) float32."""
        slot = self._slot(picture)
        if not self._known[slot, cells].all():
            missing = cells[~self._known[slot, cells]]
            right = np.zeros((self.valid[0].size, len(missing)))
            right[self.pixels[missing], np.arange(len(missing))] = 1
            self._table[slot, missing] = self._factor(picture).solve(right).T
            self._known[slot, missing] = True
        return self._table[slot, cells]

    def _slot(self, picture: int) -> int:
        """Place of a picture in the table; that of another, if there is no room."""
        if picture not in self._slot_of:
            full = len(self._slot_of) == self.slots
            slot = self._slot_of.popitem(last=False)[1] if full else len(self._slot_of)
            self._known[slot] = False
            self._slot_of[picture] = slot
        if self.slots < len(self.images):
            self._slot_of.move_to_end(picture)
        return self._slot_of[picture]

    def _factor(self, picture: int) -> Any:
        """The factorised Laplacian of a picture."""
        from scipy.sparse.linalg import splu

        if picture not in self._factors:
            matrix = laplacian(self.images[picture], self.valid[picture], self.beta)
            symmetric = {"SymmetricMode": True}
            self._factors[picture] = splu(
                matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric
            )
        entry = self._factors[picture]
        while len(self._factors) > max(FACTORS // (12 * entry.nnz), 1):
            self._factors.popitem(last=False)
        return entry

    def _whole(self, x: Array) -> Array:
        """All columns of all pictures, (N * G, S * S) float32, on the device of ``x``.

        Raises:
            ValueError: there is no memory for them.
        """
        if self.slots < len(self.images):
            raise ValueError(
                f"memory must hold the columns of all {len(self.images)} pictures on a device, "
                f"it holds those of {self.slots}; a smaller size needs less"
            )
        if x.device not in self._on_device:
            self._on_device[x.device] = self._copy_of_all(x)
        return self._on_device[x.device]

    def _copy_of_all(self, x: Array) -> Array:
        """See ``_whole``."""
        xp, shape = xp_of(x), (len(self.images) * len(self.pixels), self._table.shape[-1])
        if x.device.type == "meta":  # has no values
            return xp.empty(shape, dtype=xp.float32, device=x.device)
        for picture in range(len(self.images)):
            self.columns(picture, np.arange(len(self.pixels)))
        order = [self._slot(picture) for picture in range(len(self.images))]
        return like(self._table[order].reshape(shape), x)
