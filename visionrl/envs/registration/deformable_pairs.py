"""The user's own pairs for deformable registration: both images on one grid, and how far points are from where they belong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.banks.label_grids import ShapeBank, fineness
from visionrl.banks.pair_geometry import PairGeometry, PixelToWorld
from visionrl.datasets import ImageSample, PairSample, VolumeSample, list_formats
from visionrl.datasets.formats import parse
from visionrl.ops import Array, fields, xp_of
from visionrl.ops.bending import lattice

SMOOTHING = 1e-3  # of the true field, against points that lie on each other


class DeformablePairs:
    """Where the points of some pairs are on a bank's grid, and a field that takes them where they belong.

    Args:
        samples: the pairs.
        bank: of what ``shapes`` makes of them.
        nodes: of fields, along each axis.

    Attributes:
        targets: (M, nodes, ..., nodes, d) float64: the pair's own map, or the affine map that fits its points best (the
            centroids of its labels where it has none; a rigid map or a shift where these are few), and what is left
            over at the points, spread by radial splines.

    Raises:
        ValueError: a pair has too few points for an affine map, or its label maps share no label.
    """

    def __init__(self, samples: Sequence[PairSample], bank: ShapeBank, nodes: int) -> None:
        self.nodes, self.gap = nodes, (bank.side - 1) / (nodes - 1)
        both = shapes(samples)
        ways = [ruler(each, unit, bank.side) for each, unit in zip(both, bank.units.array, strict=True)]
        rulers = [(ways[len(samples) + k], ways[k]) for k in range(len(samples))]
        self.places = PairGeometry(samples, rulers, "affine", np.ones(len(samples)))
        self.targets = np.stack([self._target(sample, k) for k, sample in enumerate(samples)])

    def _target(self, sample: PairSample, number: int) -> np.ndarray:
        """The true field of one pair."""
        from scipy.interpolate import RBFInterpolator

        matrix, known = self.places.truth[number], self.places.weights.array[number] > 0
        axes = len(matrix)
        nodes = lattice(self.nodes, axes).reshape(-1, axes) * self.gap * (self.nodes - 1)
        field = nodes @ matrix[:, :axes].T + matrix[:, axes] - nodes
        if sample.transform is None:
            first, second = (
                table.array[number][known] for table in (self.places.fixed_points, self.places.moving_points)
            )
            left = second - first @ matrix[:, :axes].T - matrix[:, axes]
            field += RBFInterpolator(first, left, kernel="linear", smoothing=SMOOTHING)(nodes)
        return field.reshape(*[self.nodes] * axes, axes)

    def error(self, pair: Array, field: Array) -> Array:
        """Mean distance of points from where fields (B, n, ..., n, d) take them, (B,) float64 pixels held."""
        tables = (self.places.fixed_points, self.places.moving_points, self.places.weights)
        first, second, weight = (xp_of(field).take(table.on(pair), pair, axis=0) for table in tables)
        moved = first + fields.at_points(field, first, self.gap)
        return xp_of(field).sum(weight * ops.norm(moved - second), axis=-1)


def shapes(samples: Sequence[PairSample]) -> list[ImageSample | VolumeSample]:
    """The moving images or volumes of some pairs, then the fixed ones; without masks if a pair has not both."""
    masked = all(sample.fixed_mask is not None and sample.moving_mask is not None for sample in samples)
    return [_shape(sample, which, masked) for which in (1, 0) for sample in samples]


def _shape(sample: PairSample, which: int, masked: bool) -> ImageSample | VolumeSample:
    """The fixed (0) or the moving (1) side of a pair."""
    image = (sample.fixed, sample.moving)[which]
    mask = (sample.fixed_mask, sample.moving_mask)[which] if masked else None
    spacing = None if sample.spacing_mm is None else np.asarray(sample.spacing_mm, float)[which]
    if image.ndim == 4 and spacing is not None:
        return VolumeSample(image, tuple(spacing.tolist()), mask=mask)
    return ImageSample(image, mask=mask, spacing_mm=None if spacing is None else float(spacing))


def ruler(shape: ImageSample | VolumeSample, unit: float, side: int) -> PixelToWorld:
    """How pixels of an image become pixels held, for a bank of a side; ``unit`` is the size of the latter."""
    image = shape.volume if isinstance(shape, VolumeSample) else shape.image
    gain = fineness(shape)[::-1] / unit
    return PixelToWorld(gain, (side - 1) / 2 - gain * (np.array(image.shape[:0:-1]) - 1) / 2)


def holds_pairs(data: Any) -> bool:
    """Whether what the user gives as ``data`` is of pairs: a format that yields them, or a sequence of them."""
    if isinstance(data, str):
        return parse(data)[0] in {form.name for form in list_formats(PairSample)}
    listed = hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, Mapping)
    return listed and len(data) > 0 and isinstance(data[0], PairSample)
