"""The images or volumes of one split on one grid, with their labels, for deformable registration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl import ops
from visionrl.banks.patches import colored, shared
from visionrl.datasets import ImageSample, VolumeSample
from visionrl.metrics.registration import mean_dice
from visionrl.ops import Array, DeviceTable, Recalled, const, fields, xp_of

STRIDE = 2  # pixels along each axis from place to place where overlap is measured
LABELS = 12  # whose overlap is measured, the largest of a split
DARK = 8.0  # grey level of the surroundings, at most
SMOOTHING = 1e-3  # of the true field of pairs, against points that lie on each other

Shape = ImageSample | VolumeSample


class LabelGrids(Recalled):
    """Images or volumes scaled to a square or cube of ``side`` pixels, the longest side filling it, the rest 0.

    Fields are (B, n, ..., n, d) displacements in pixels held, see ``ops.fields``.

    Args:
        samples: images or volumes; images are held grey.
        side: pixels along each axis.
        paired: the second half shows what the first half shows; of each two, the larger decides how both are scaled,
            and the outermost pixels go on: a border of the smaller one's own would say where it is.

    Attributes:
        grey: (M, side, ..., side) uint8.
        labels: likewise, 1 to 12 for the largest structures of the split, 0 else.
        names: of these labels.
        pixels: ``grey``, flat, lent to any array library.
        bordered: ``labels``, likewise, each with a border of 0, one pixel wide.
        units: (M,) float64, millimetres per pixel held, or pixels of the image where it has no spacing.
    """

    def __init__(self, samples: Sequence[Shape], side: int, paired: bool = False) -> None:
        self.side, self.beyond = side, "nearest" if paired else "constant"
        chosen = largest_labels(samples)
        self.names = tuple(str(label) for label in chosen)
        table = np.zeros(max(chosen, default=0) + 1, np.uint8)
        table[list(chosen)] = np.arange(1, len(chosen) + 1)
        units = np.array([longest_side(sample) for sample in samples]) / side
        if paired:
            units = np.tile(units.reshape(2, -1).max(axis=0), 2)
        held = [self._held(sample, table, unit) for sample, unit in zip(samples, units, strict=True)]
        self.grey, self.labels = (np.stack([each[k] for each in held]) for k in (0, 1))
        self.units = DeviceTable(units)
        border = ((0, 0), *[(1, 1)] * (self.labels.ndim - 1))
        self.pixels, self.bordered = (
            DeviceTable(self.grey.ravel()),
            DeviceTable(np.pad(self.labels, border).ravel()),
        )

    @classmethod
    def of(cls, samples: Sequence[Shape], side: int, paired: bool = False) -> LabelGrids:
        """The bank of some samples; environments over the same arrays share it."""
        pixels = [s.volume if isinstance(s, VolumeSample) else s.image for s in samples]
        return shared(cls, [*pixels, *(s.mask for s in samples)], samples, side, paired)

    def _held(self, sample: Shape, table: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray]:
        """Grey levels and labels of one sample."""
        from scipy.ndimage import gaussian_filter, map_coordinates

        image = sample.volume[0] if isinstance(sample, VolumeSample) else colored(sample.image, 1)[0]
        coarser = unit / spacing_of(sample)  # pixels of the sample per pixel held
        middle = (np.array(image.shape) - 1) / 2
        line = np.arange(self.side) - (self.side - 1) / 2
        at = np.stack(
            np.meshgrid(*(m + line * c for m, c in zip(middle, coarser, strict=True)), indexing="ij")
        )
        smooth = gaussian_filter(image.astype(np.float32), np.maximum(coarser - 1, 0) / 2)
        grey = np.clip(np.rint(map_coordinates(smooth, at, order=1, mode=self.beyond)), 0, 255).astype(
            np.uint8
        )
        mask = np.zeros(image.shape, np.uint8) if sample.mask is None else sample.mask
        known = np.take(table, np.where(mask < len(table), mask, 0))
        return grey, map_coordinates(known, at, order=0)

    def compare(
        self, image: Array, fixed: Array, field: Array, places: Sequence[Array]
    ) -> tuple[Array, Array]:
        """Fixed images and moving ones under a field on a grid of places, (B, w, ..., w) uint8 each.

        Args:
            image: (B,) int64, index of the moving image.
            fixed: (B, side^d) uint8.
            field: (B, n, ..., n, d).
            places: (B, w) pixels along x, y (and z).
        """
        xp, grid, nodes = xp_of(field), fields.mesh(places), field.shape[1]
        gap = (self.side - 1) / (nodes - 1)
        moved = grid + fields.at_grid(
            field, [fields.linear_basis(line, nodes, gap) for line in reversed(places)]
        )
        pixels = self.side ** len(places)
        rows = xp.arange(grid.shape[0], dtype=xp.int64, device=grid.device)
        return (
            fields.sample_linear(xp.reshape(fixed, (-1,)), rows * pixels, grid, self.side),
            fields.sample_linear(self.pixels.on(image), image * pixels, moved, self.side),
        )

    def windows(
        self, image: Array, fixed: Array, field: Array, point: Array, scales: Sequence[int], size: int
    ) -> Array:
        """Fixed and moving images about points (B, d), (B, 2 * scales, w, ..., w) uint8; see ``compare``.

        ``scales`` are pixels per pixel of a window, ``size`` is the side w of the windows.
        """
        shown: list[Array] = []
        for scale in scales:
            line = const(tuple(scale * (k - (size - 1) / 2) for k in range(size)), point)
            places = [point[:, k, None] + line[None, :] for k in range(point.shape[-1])]
            shown += self.compare(image, fixed, field, places)
        return xp_of(point).stack(shown, axis=1)

    def compared_labels(self, labels: np.ndarray) -> np.ndarray:
        """(N,) labels (side, ..., side) of a fixed image where overlap is measured."""
        return labels[(slice(None, None, STRIDE),) * labels.ndim].ravel()

    def labels_under(self, image: Array, field: Array) -> Array:
        """Labels of moving images (B,) under a field, where overlap is measured, (B, N) uint8."""
        xp, nodes = xp_of(field), field.shape[1]
        line = const(tuple(float(k) for k in range(0, self.side, STRIDE)), field)
        weight = fields.linear_basis(line[None, :], nodes, (self.side - 1) / (nodes - 1))
        shifts = ops.columns(fields.at_grid(field, [weight] * field.shape[-1]))
        places = [xp.reshape(line, (-1, *[1] * k)) + shift for k, shift in enumerate(shifts)]
        found = fields.sample_nearest(self.bordered.on(image), image, places, self.side)
        return xp.reshape(found, (image.shape[0], -1))

    def dice(self, image: Array, field: Array, labels: Array) -> Array:
        """Mean Dice of the labels of fixed images (B, N) and of moving ones (B,) under a field: (B,) float64."""
        return mean_dice(self.labels_under(image, field), labels, len(self.names))

    def dice_of(self, image: Array, field: Array, labels: Array, single: Sequence[int]) -> dict[str, Array]:
        """Dice of single labels, each by itself: "dice_LABEL" -> (B,) float64."""
        xp, moving, found = xp_of(field), self.labels_under(image, field), {}
        for name in map(str, single):
            number = self.names.index(name) + 1
            first, second = (xp.astype(some == number, xp.uint8) for some in (moving, labels))
            found[f"dice_{name}"] = mean_dice(first, second, 1)
        return found


def spacing_of(sample: Shape) -> np.ndarray:
    """Millimetres per pixel along each axis, (y, x) or (z, y, x); 1 where an image has none."""
    if isinstance(sample, VolumeSample):
        return np.asarray(sample.spacing_mm, float)[::-1]
    return np.full(2, sample.spacing_mm or 1.0)


def longest_side(sample: Shape) -> float:
    """The longest side, in millimetres or, without a spacing, in pixels."""
    image = sample.volume if isinstance(sample, VolumeSample) else sample.image
    return float((spacing_of(sample) * image.shape[1:]).max())


def largest_labels(samples: Sequence[Shape]) -> list[int]:
    """The labels with the most pixels in the masks of some samples, largest first, at most 12."""
    counts: dict[int, int] = {}
    for sample in samples:
        for label, count in (
            zip(*np.unique(sample.mask, return_counts=True), strict=True) if sample.mask is not None else ()
        ):
            counts[int(label)] = counts.get(int(label), 0) + int(count)
    counts.pop(0, None)
    return sorted(counts, key=lambda label: (-counts[label], label))[:LABELS]
