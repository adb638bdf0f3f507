"""Overlap of the labels of two images under a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl import ops
from visionrl.banks.pair_geometry import PixelToWorldPair
from visionrl.datasets import PairSample
from visionrl.ops import Array, DeviceTable, Recalled, const, xp_of
from visionrl.ops.transforms import carry


class LabelMaps(Recalled):
    """The label maps of some pairs, compared at places spread evenly over the fixed image.

    Args:
        samples: the pairs; each has both masks.
        to_world: of each.
        lattice: places along each side.

    Attributes:
        known: all labels of the pairs, in order, without the background.
    """

    def __init__(
        self, samples: Sequence[PairSample], to_world: Sequence[PixelToWorldPair], lattice: int
    ) -> None:
        places, found, first = [], [], 0
        layout, blocks = [], []
        for sample, (fixed, _) in zip(samples, to_world, strict=True):
            there, here = np.asarray(sample.moving_mask), np.asarray(sample.fixed_mask)
            lines = [(np.arange(lattice) + 0.5) / lattice * side - 0.5 for side in here.shape[::-1]]
            pixels = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, here.ndim)
            places.append(fixed.place(pixels))
            found.append(here[tuple(np.rint(pixels).astype(int).T[::-1])])
            layout.append((first, *there.shape[::-1]))
            blocks.append(there.ravel().astype(np.int32))
            first += there.size
            self.axes = here.ndim
        self.known = sorted(set(np.unique(np.concatenate([*found, *blocks])).tolist()) - {0})
        self.places, self.labels = DeviceTable(np.array(places)), DeviceTable(np.array(found, np.int32))
        self.gains = DeviceTable(np.array([moving.gain for _, moving in to_world]))
        self.shifts = DeviceTable(np.array([moving.shift for _, moving in to_world]))
        self.layout, self.voxels = DeviceTable(np.array(layout)), DeviceTable(np.concatenate(blocks))

    def dice(self, pair: Array, matrix: Array) -> Array:
        """Twice the places where both have one label, per place where either has one, labels together: (B,) in [0, 1].

        1 where neither has a label. Source: Dice (1945).
        """
        here, there = self.seen(pair, matrix)
        return overlap((here == there) & (here > 0), here > 0, there > 0)

    def dice_of(self, pair: Array, matrix: Array, labels: Sequence[int]) -> dict[str, Array]:
        """Dice of single labels, each alone: "dice_LABEL" -> (B,) in [0, 1]."""
        here, there = self.seen(pair, matrix)
        alone = {f"dice_{label}": (here == label, there == label) for label in labels}
        return {name: overlap(a & b, a, b) for name, (a, b) in alone.items()}

    def seen(self, pair: Array, matrix: Array) -> tuple[Array, Array]:
        """The labels of both images at the places, (B, P) each; what the moving one does not cover is background."""
        xp = xp_of(matrix)
        tables = (self.places, self.labels, self.gains, self.shifts, self.layout)
        places, here, gain, shift, layout = (table.rows(pair) for table in tables)
        pixels = xp.round((carry(matrix, places) - shift[:, None, :]) / gain[:, None, :])
        first, *sides = ops.columns(layout)
        size = xp.astype(layout[:, 1:], pixels.dtype)[:, None, :]
        inside = ops.every((pixels >= 0) & (pixels < size))
        zero = const((0.0,), pixels)
        cell, step = xp.zeros_like(here, dtype=layout.dtype) + first[:, None], xp.ones_like(first)
        for column, side in zip(ops.columns(pixels), sides, strict=True):
            whole = xp.astype(xp.where(inside, column, zero), layout.dtype)
            cell, step = cell + whole * step[:, None], step * side
        there = xp.reshape(xp.take(self.voxels.on(pair), xp.reshape(cell, (-1,)), axis=0), cell.shape)
        return here, xp.where(inside, there, xp.zeros_like(there))


def overlap(both: Array, first: Array, second: Array) -> Array:
    """Twice the places of both per place of either, of (B, P) bool: (B,) float64; 1 where there is none."""
    xp = xp_of(both)
    shared, a, b = (xp.sum(xp.astype(some, xp.float64), axis=-1) for some in (both, first, second))
    either = a + b
    return xp.where(either > 0, 2 * shared / xp.where(either > 0, either, xp.ones_like(either)), 1.0)


def check_labels(labels: Sequence[int], known: Sequence[int]) -> None:
    """Refuse labels that the label maps of a split have not.

    Raises:
        ValueError: names the first of them, and those that there are.
    """
    if unknown := [label for label in labels if label not in known]:
        among = ", ".join(map(str, known)) or "none, as some images have no label map"
        raise ValueError(f"dice_of must be labels of the split's label maps ({among}), got {unknown[0]!r}")


def label_maps(
    samples: Sequence[PairSample], to_world: Sequence[PixelToWorldPair], lattice: int
) -> LabelMaps | None:
    """The label maps, or None where a pair has not both."""
    masked = all(sample.fixed_mask is not None and sample.moving_mask is not None for sample in samples)
    return LabelMaps(samples, to_world, lattice) if masked else None
