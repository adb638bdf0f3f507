"""The pairs of volumes of one split, held once for all episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl.banks.image_pairs import HELD
from visionrl.banks.label_maps import label_maps
from visionrl.banks.pair_geometry import PairGeometry, PixelToWorld
from visionrl.banks.patches import shared
from visionrl.banks.volumes import block_mean, to_spacing
from visionrl.datasets import PairSample
from visionrl.ops import Array, DeviceTable, Recalled, const, xp_of
from visionrl.ops.volumes import Volumes, plane

# Axis to the right, axis down, its sign: axial, coronal, sagittal.
PLANES = ((0, 1, 1.0), (0, 2, -1.0), (1, 2, -1.0))


class VolumePairBank(Recalled):
    """Volumes of one voxel size, averaged once for every scale, with points and the true maps.

    A window is three cuts at right angles through the middle, axial, coronal and sagittal; at scale s its pixels are s
    voxels apart, and the volume was averaged over blocks of s voxels. Places are (x, y, z) in millimetres from the
    middle of their volume.

    Args:
        samples: the pairs.
        scales: voxels per pixel, whole numbers, one a level.
        kind: of the true maps: "rigid", "similarity" or "affine".
        voxel_mm: side of the cubic voxels held.
        lattice: places along each side at which labels are compared.

    Attributes:
        geometry: points and true maps; errors are in millimetres.
        masks: label maps, or None where a pair has none.
        half_extent: (M,) float64, half the shortest side of the fixed volumes, millimetres.

    Raises:
        ValueError: a pair has too few points for the kind.
    """

    pictures = channels = len(PLANES)

    def __init__(
        self,
        samples: Sequence[PairSample],
        scales: Sequence[int],
        kind: str,
        voxel_mm: float,
        lattice: int,
    ) -> None:
        self.scales, self.voxel_mm = tuple(scales), voxel_mm
        self.to_world = [
            (pixel_to_world(s.fixed, s.spacing_mm[0]), pixel_to_world(s.moving, s.spacing_mm[1]))
            for s in samples
        ]
        self.geometry = PairGeometry(samples, self.to_world, kind, np.ones(len(samples)))
        self.masks = label_maps(samples, self.to_world, lattice)
        extents = np.array(
            [[extent(s.fixed, s.spacing_mm[0]), extent(s.moving, s.spacing_mm[1])] for s in samples]
        )
        self.half_extent = extents[:, 0].min(axis=1) / 2
        self.sizes = tuple(DeviceTable(extents[:, which]) for which in (0, 1))
        self._stores = tuple(
            self._store([getattr(s, name) for s in samples], [s.spacing_mm[which] for s in samples])
            for which, name in enumerate(("fixed", "moving"))
        )

    def _store(
        self, volumes: Sequence[np.ndarray], spacings: Sequence[np.ndarray]
    ) -> tuple[Volumes, DeviceTable, DeviceTable]:
        """Volumes at all scales; millimetres per voxel and the middle, in voxels, of each: (M * scales, 3) both."""
        blocks, steps, middles = [], [], []
        for volume, spacing in zip(volumes, spacings, strict=True):
            held, factor = to_spacing(volume, spacing.tolist(), self.voxel_mm)
            for scale in self.scales:
                blocks.append(block_mean(filled(held[0], scale), scale))
                steps.append(spacing * factor * scale)
                middles.append(np.array(held.shape[:0:-1]) / 2 / scale - 0.5)
        return Volumes(blocks), DeviceTable(np.array(steps)), DeviceTable(np.array(middles))

    def windows(self, which: int, pair: Array, pose: Array, levels: Sequence[int], side: int) -> Array:
        """Cuts through the fixed (0) or the moving (1) volumes as maps (B, 3, 4) bring them to the view.

        Args:
            which: 0 or 1.
            pair: (B,) index.
            pose: from places of the view to places of the volumes.
            levels: numbers of scales.
            side: of the cuts, pixels.

        Returns:
            (B, levels, 3, side, side) uint8.
        """
        xp, rows, levels = xp_of(pose), pose.shape[0], tuple(levels)
        volumes, *tables = self._stores[which]
        index = xp.reshape(pair[:, None] * len(self.scales) + const(levels, pair)[None, :], (-1,))
        step, middle = (xp.take(table.on(pair), index, axis=0) for table in tables)
        pixel = const(tuple(self.scales[k] * self.voxel_mm for k in levels), pose)
        linear = xp.reshape(pose[:, None, :, :3] * pixel[None, :, None, None], (-1, 3, 3)) / step[:, :, None]
        centre = xp.repeat(pose[:, :, 3], len(levels), axis=0) / step + middle
        right = xp.stack([linear[:, :, a] for a, _, _ in PLANES], axis=1)
        down = xp.stack([linear[:, :, b] * sign for _, b, sign in PLANES], axis=1)
        index, centre = (xp.repeat(x, len(PLANES), axis=0) for x in (index, centre))
        right, down = (xp.reshape(x, (-1, 3)) for x in (right, down))
        seen = plane(volumes, index, centre, right, down, side)
        return xp.reshape(seen, (rows, len(levels), len(PLANES), side, side))

    def pixel(self, level: int) -> float:
        """Side of a cut's pixel at a level, millimetres."""
        return self.scales[level] * self.voxel_mm

    def grid(self, level: int, side: int) -> np.ndarray:
        """(3 * side * side, 3) places that the pixels of a level's cuts show, cut by cut, row by row."""
        line = (np.arange(side) - side / 2 + 0.5) * self.pixel(level)
        right, down = np.meshgrid(line, line)
        places = np.zeros((len(PLANES), side, side, 3))
        for cut, (a, b, sign) in zip(places, PLANES, strict=True):
            cut[..., a], cut[..., b] = right, down * sign
        return places.reshape(-1, 3)


def extent(volume: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """(3,) sides (x, y, z) of a volume (1, D, H, W), millimetres."""
    return np.array(volume.shape[:0:-1]) * spacing_mm


def filled(volume: np.ndarray, least: int) -> np.ndarray:
    """A volume (D, H, W) with zeros behind it along each axis on which it is shorter than ``least`` voxels."""
    return np.pad(volume, [(0, max(least - side, 0)) for side in volume.shape])


def check_sides(samples: Sequence[PairSample], least_mm: float) -> None:
    """Refuse volumes that are shorter than a pixel of the widest cut.

    Raises:
        ValueError: names the rule and the sides.
    """
    for sample in samples:
        for volume, spacing in zip((sample.fixed, sample.moving), sample.spacing_mm, strict=True):
            if (sides := extent(volume, spacing)).min() < least_mm:
                raise ValueError(
                    f"volumes must have sides >= {least_mm:g} mm, the largest scale, got {sides.round(2).tolist()}"
                )


def pixel_to_world(volume: np.ndarray, spacing_mm: np.ndarray) -> PixelToWorld:
    """Conversion of voxels to places."""
    spacing = np.asarray(spacing_mm, float)
    return PixelToWorld(spacing, -(np.array(volume.shape[:0:-1]) - 1) / 2 * spacing)


def volume_pair_bank(
    samples: Sequence[PairSample],
    scales: tuple[int, ...],
    kind: str,
    voxel_mm: float,
    lattice: int,
) -> VolumePairBank:
    """The bank of some pairs; environments over the same arrays share it."""
    pixels = [getattr(sample, name) for sample in samples for name in HELD]
    return shared(VolumePairBank, pixels, samples, scales, kind, voxel_mm, lattice)
