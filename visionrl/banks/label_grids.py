"""The images or volumes of one split on one grid, with their labels, for deformable registration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl.banks.patches import colored, shared
from visionrl.datasets import ImageSample, VolumeSample
from visionrl.ops import DeviceTable

LABELS = 12  # structures whose overlap is measured, the largest of a split
DARK = 8.0  # grey level of the surroundings, at most


class ShapeBank:
    """Images or volumes scaled to a square or cube of ``side`` pixels, the longest side filling it, the rest 0.

    Args:
        samples: images or volumes; images are held grey.
        side: pixels along each axis.
        paired: the second half shows what the first half shows; of each two, the larger one decides how both are scaled,
            and the outermost pixels go on: a border of the smaller one's own would say where it is.

    Attributes:
        grey: (M, side, ..., side) uint8.
        labels: likewise, 1 to 12 for the largest structures of the split, 0 else.
        names: of these labels.
        pixels: ``grey``, flat, lent to any array library.
        structures: ``labels``, likewise, each with a border of 0, one pixel wide.
        units: (M,) float64, millimetres per pixel held, or pixels of the image where it has no spacing.
    """

    def __init__(
        self, samples: Sequence[ImageSample | VolumeSample], side: int, paired: bool = False
    ) -> None:
        self.side, self.beyond = side, "nearest" if paired else "constant"
        chosen = largest(samples)
        self.names = tuple(str(label) for label in chosen)
        table = np.zeros(max(chosen, default=0) + 1, np.uint8)
        table[list(chosen)] = np.arange(1, len(chosen) + 1)
        units = np.array([extent(sample) for sample in samples]) / side
        if paired:
            units = np.tile(units.reshape(2, -1).max(axis=0), 2)
        held = [self._held(sample, table, unit) for sample, unit in zip(samples, units, strict=True)]
        self.grey, self.labels = (np.stack([each[k] for each in held]) for k in (0, 1))
        self.units = DeviceTable(units)
        border = ((0, 0), *[(1, 1)] * (self.labels.ndim - 1))
        self.pixels, self.structures = (
            DeviceTable(self.grey.ravel()),
            DeviceTable(np.pad(self.labels, border).ravel()),
        )

    def _held(
        self, sample: ImageSample | VolumeSample, table: np.ndarray, unit: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Grey levels and labels of one sample."""
        from scipy.ndimage import gaussian_filter, map_coordinates

        image = sample.volume[0] if isinstance(sample, VolumeSample) else colored(sample.image, 1)[0]
        coarser = unit / fineness(sample)  # pixels of the sample per pixel held
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


def fineness(sample: ImageSample | VolumeSample) -> np.ndarray:
    """Millimetres per pixel along each axis, (y, x) or (z, y, x); 1 where an image has none."""
    if isinstance(sample, VolumeSample):
        return np.asarray(sample.spacing_mm, float)[::-1]
    return np.full(2, sample.spacing_mm or 1.0)


def extent(sample: ImageSample | VolumeSample) -> float:
    """The longest side, in millimetres or, without a spacing, in pixels."""
    image = sample.volume if isinstance(sample, VolumeSample) else sample.image
    return float((fineness(sample) * image.shape[1:]).max())


def largest(samples: Sequence[ImageSample | VolumeSample]) -> list[int]:
    """The labels with the most pixels in the masks of some samples, largest first, at most 12."""
    counts: dict[int, int] = {}
    for sample in samples:
        for label, count in (
            zip(*np.unique(sample.mask, return_counts=True), strict=True) if sample.mask is not None else ()
        ):
            counts[int(label)] = counts.get(int(label), 0) + int(count)
    counts.pop(0, None)
    return sorted(counts, key=lambda label: (-counts[label], label))[:LABELS]


def body(image: np.ndarray) -> np.ndarray:
    """Where an image shows something, bool; everywhere if it shows nothing."""
    from scipy.ndimage import gaussian_filter

    some = gaussian_filter(image.astype(np.float32), image.shape[0] / 24) > DARK
    return some if some.any() else np.ones_like(some)


def shape_bank(samples: Sequence[ImageSample | VolumeSample], side: int, paired: bool = False) -> ShapeBank:
    """The bank of some samples; environments over the same arrays share it."""
    pixels = [s.volume if isinstance(s, VolumeSample) else s.image for s in samples]
    return shared(ShapeBank, [*pixels, *(s.mask for s in samples)], samples, side, paired)
