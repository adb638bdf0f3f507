"""Geometry of pairs in two or three axes: points and true maps; and checks of pairs.

Places are (x, y) or (x, y, z) from the middle of their image, in the unit that the environment counts in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from visionrl import ops
from visionrl.datasets import PairSample
from visionrl.ops import Array, DeviceTable, Recalled, xp_of
from visionrl.ops.transforms import KINDS, carry, fit, is_determined

GRID = 5  # points along each side of a pair that has a map but no points


@dataclass(frozen=True)
class PixelToWorld:
    """Conversion of an image's pixels to places: ``pixels * gain + shift``.

    Attributes:
        gain: (d,) units per pixel.
        shift: (d,) units.
    """

    gain: np.ndarray
    shift: np.ndarray

    def place(self, pixels: np.ndarray) -> np.ndarray:
        """(N, d) pixels as places."""
        return pixels * self.gain + self.shift

    def pixels(self, places: np.ndarray) -> np.ndarray:
        """(N, d) places as pixels."""
        return (places - self.shift) / self.gain


def pixel_matrix(matrix: np.ndarray, fixed: PixelToWorld, moving: PixelToWorld) -> np.ndarray:
    """(d, d + 1) from pixels of the fixed image to pixels of the moving one, of a map from place to place."""
    linear, shift = matrix[:, :-1], matrix[:, -1]
    here = linear * fixed.gain / moving.gain[:, None]
    return np.column_stack([here, moving.pixels(linear @ fixed.shift + shift)])


PixelToWorldPair = tuple[PixelToWorld, PixelToWorld]  # of the fixed and of the moving image


class PairGeometry(Recalled):
    """The points and true maps of some pairs.

    Args:
        samples: the pairs.
        to_world: of each.
        kind: of the true maps: "rigid", "similarity" or "affine".
        factors: (M,) by which errors are multiplied.

    Attributes:
        truth: (M, d, d + 1) float64, map from the fixed to the moving image: the given one, or the best for the points,
            or for the centroids of the labels that both label maps have (a shift, where these are few); NaN where a
            pair has none of these.
        starts: (M, d, d + 1) float64, from which the pairs themselves would start.

    Raises:
        ValueError: a pair has too few points for the kind.
    """

    def __init__(
        self,
        samples: Sequence[PairSample],
        to_world: Sequence[PixelToWorldPair],
        kind: str,
        factors: np.ndarray,
    ) -> None:
        axes = samples[0].fixed.ndim - 1
        ends = [ends_of(sample) for sample in samples]
        most = max(1, *(len(first) for first, _ in ends))
        points, weights = np.zeros((2, len(samples), most, axes)), np.zeros((len(samples), most))
        truth, starts = [], []
        for n, (sample, pair, both) in enumerate(zip(samples, ends, to_world, strict=True)):
            for which in (0, 1):
                points[which, n, : len(pair[which])] = both[which].place(pair[which])
            if len(pair[0]):
                weights[n, : len(pair[0])] = 1 / len(pair[0])
            else:
                weights[n, 0] = np.nan  # so that errors are NaN
            source, goal = points[:, n, : len(pair[0])]
            truth.append(true_map(sample, both, kind, source, goal))
            start = None if sample.start is None else spread(sample, both, sample.start)
            starts.append(np.eye(axes, axes + 1) if start is None else fit(kind, *start))
        self.fixed_points, self.moving_points, self.weights = map(DeviceTable, (*points, weights))
        self.factors = DeviceTable(factors)
        self.truth, self.starts = np.array(truth), np.array(starts)

    def error(self, pair: Array, matrix: Array) -> Array:
        """Target registration error of maps (B, d, d + 1) of pairs (B,): (B,) float64; NaN where nothing is known."""
        xp = xp_of(matrix)
        tables = (self.fixed_points, self.moving_points, self.weights, self.factors)
        first, second, weight, factor = (table.rows(pair) for table in tables)
        return factor * xp.sum(weight * ops.norm(carry(matrix, first) - second), axis=-1)


def true_map(
    sample: PairSample, to_world: PixelToWorldPair, kind: str, source: np.ndarray, goal: np.ndarray
) -> np.ndarray:
    """(d, d + 1) how a pair truly lies, of a kind; ``source`` and ``goal`` are the places of its points; else NaN."""
    if not has_truth(sample):
        return np.full((source.shape[1], source.shape[1] + 1), np.nan)
    if sample.transform is not None:
        return fit(kind, *spread(sample, to_world, sample.transform))
    if sample.fixed_points is None:  # centroids of labels: rough, so that few say nothing about turns
        for some in KINDS[KINDS.index(kind) :: -1]:
            if is_determined(some, source, twice=True):
                return fit(some, source, goal)
        return np.column_stack([np.eye(source.shape[1]), goal.mean(axis=0) - source.mean(axis=0)])
    try:
        return fit(kind, source, goal)
    except ValueError as error:
        raise ValueError(f"pair {sample.name!r}: {error}") from error


def inner_grid(shape: Sequence[int]) -> np.ndarray:
    """(5^d, d) float64 pixels spread over an image (C, H, W) or (C, D, H, W)."""
    lines = [np.linspace(0.1, 0.9, GRID) * (side - 1) for side in shape[:0:-1]]
    return np.stack(np.meshgrid(*lines), axis=-1).reshape(-1, len(lines))


def spread(
    sample: PairSample, to_world: PixelToWorldPair, matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places spread over the fixed image, and where a map from pixels to pixels takes them."""
    grid = inner_grid(sample.fixed.shape)
    return to_world[0].place(grid), to_world[1].place(grid @ matrix[:, :-1].T + matrix[:, -1])


def ends_of(sample: PairSample) -> tuple[np.ndarray, np.ndarray]:
    """Points of both images, (N, d) pixels each: the pair's own, a grid that its map carries, or centroids of labels.

    N is 0 where a pair has none of these.

    Raises:
        ValueError: the label maps share no label.
    """
    if sample.fixed_points is not None:
        return np.asarray(sample.fixed_points, float), np.asarray(sample.moving_points, float)
    if sample.transform is not None:
        grid = inner_grid(sample.fixed.shape)
        return grid, grid @ sample.transform[:, :-1].T + sample.transform[:, -1]
    if not has_truth(sample):
        none = np.zeros((0, sample.fixed.ndim - 1))
        return none, none
    masks = np.asarray(sample.fixed_mask), np.asarray(sample.moving_mask)
    labels = sorted({*np.unique(masks[0])} & {*np.unique(masks[1])} - {0})
    if not labels:
        raise ValueError(f"pair {sample.name!r}: the label maps must share a label, they have none in common")
    first, second = (
        np.array([np.argwhere(mask == label).mean(axis=0)[::-1] for label in labels]) for mask in masks
    )
    return first, second


def has_truth(sample: PairSample) -> bool:
    """True where a pair says how it lies: by points, a transform, or label maps of both images."""
    masked = sample.fixed_mask is not None and sample.moving_mask is not None
    return sample.fixed_points is not None or sample.transform is not None or masked


def without_truth(sample: PairSample) -> PairSample:
    """The pair without points, transform and label maps."""
    bare = replace(sample, fixed_points=None, moving_points=None, transform=None)
    return replace(bare, fixed_mask=None, moving_mask=None)


def check_truth(samples: Sequence[PairSample], who: str, instead: str = "") -> None:
    """Refuse pairs that do not say how they lie.

    Args:
        samples: the pairs.
        who: needs to know it, such as "reward_type 'truth'".
        instead: what needs no truth.

    Raises:
        ValueError: names who needs it, and the pair.
    """
    for sample in samples:
        if not has_truth(sample):
            raise ValueError(
                f"{who} needs points of both images, a transform, or label maps of both, pair {sample.name!r} has "
                f"none{instead and f'; {instead}'}"
            )


def two_modalities(samples: Sequence[PairSample]) -> DeviceTable | None:
    """(M,) bool, which pairs are of two modalities; None where none are."""
    differ = np.array([sample.modalities[0] != sample.modalities[1] for sample in samples])
    return DeviceTable(differ) if differ.any() else None


def check_modalities(samples: Sequence[PairSample], reward: str) -> None:
    """Refuse to compare intensities of different modalities as if they were alike.

    Raises:
        ValueError: names the pair.
    """
    for sample in samples:
        if reward == "ncc" and sample.modalities[0] != sample.modalities[1]:
            raise ValueError(
                f"reward_type 'ncc' needs images of one modality, pair {sample.name!r} has "
                f"{' and '.join(sample.modalities)}; take 'mi', 'dice' or 'truth'"
            )


def check_axes(samples: Sequence[PairSample], axes: int, other: str) -> None:
    """Refuse pairs of another dimension.

    Raises:
        ValueError: names the pair, and the task for it.
    """
    for sample in samples:
        if (found := sample.fixed.ndim - 1) != axes:
            raise ValueError(
                f"pair {sample.name!r} must be of {axes}D images, got {found}D ones; {other} is for those"
            )
