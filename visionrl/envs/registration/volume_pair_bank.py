"""The pairs of volumes of one split, held once for all episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl import ops
from visionrl.datasets import PairSample
from visionrl.datasets.bank import shared
from visionrl.datasets.volume_bank import block_mean, to_spacing
from visionrl.envs.registration.labels import label_maps
from visionrl.envs.registration.pair_bank import HELD
from visionrl.envs.registration.places import Places, Ruler
from visionrl.envs.registration.transforms import carry
from visionrl.ops import Array, Resident, const, xp_of
from visionrl.ops.volumes import Volumes, plane

# Axis to the right, axis down, its sign: axial, coronal, sagittal.
PLANES = ((0, 1, 1.0), (0, 2, -1.0), (1, 2, -1.0))


class VolumePairBank:
    """Volumes of one voxel size, averaged once for every scale, with points and the true maps.

    A window is three cuts at right angles through the middle, axial, coronal and sagittal; at scale s its pixels are s
    voxels apart, and the volume was averaged over blocks of s voxels. Places are (x, y, z) in millimetres from the
    middle of their volume.

    Args:
        samples: the pairs.
        size: side of the cuts, pixels.
        scales: voxels per pixel, whole numbers, one a level.
        kind: of the true maps: "rigid", "similarity" or "affine".
        voxel_mm: side of the cubic voxels held.
        lattice: places along each side at which labels are compared.

    Attributes:
        places: points and true maps; errors are in millimetres.
        masks: label maps, or None where a pair has none.
        rooms: (M,) float64, half the shortest side of the fixed volumes, millimetres.

    Raises:
        ValueError: a pair has too few points for the kind, or a volume is too small.
    """

    pictures = channels = len(PLANES)

    def __init__(
        self,
        samples: Sequence[PairSample],
        size: int,
        scales: Sequence[int],
        kind: str,
        voxel_mm: float,
        lattice: int,
    ) -> None:
        self.size, self.scales, self.voxel_mm = size, tuple(scales), voxel_mm
        self.rulers = [(ruler(s.fixed, s.spacing_mm[0]), ruler(s.moving, s.spacing_mm[1])) for s in samples]
        self.places = Places(samples, self.rulers, kind, np.ones(len(samples)))
        self.masks = label_maps(samples, self.rulers, lattice)
        extents = np.array(
            [[extent(s.fixed, s.spacing_mm[0]), extent(s.moving, s.spacing_mm[1])] for s in samples]
        )
        self.rooms, self.sizes = extents[:, 0].min(axis=1) / 2, Resident(extents[:, 1])
        self._stores = tuple(
            self._store([getattr(s, name) for s in samples], [s.spacing_mm[which] for s in samples])
            for which, name in enumerate(("fixed", "moving"))
        )
        every = np.arange(len(samples))
        self._seen = Resident(self._windows(0, every, np.tile(np.eye(3, 4), (len(every), 1, 1))))

    def _store(
        self, volumes: Sequence[np.ndarray], spacings: Sequence[np.ndarray]
    ) -> tuple[Volumes, Resident, Resident]:
        """Volumes at all scales; millimetres per voxel and the middle, in voxels, of each: (M * scales, 3) both."""
        blocks, steps, middles = [], [], []
        for volume, spacing in zip(volumes, spacings, strict=True):
            held, factor = to_spacing(volume, spacing.tolist(), self.voxel_mm)
            if min(held.shape[1:]) < max(self.scales):
                raise ValueError(
                    f"volumes must have sides >= {max(self.scales) * self.voxel_mm:g} mm, the largest scale, got "
                    f"{(extent(volume, spacing)).round(2).tolist()}"
                )
            for scale in self.scales:
                blocks.append(block_mean(held[0], scale))
                steps.append(spacing * factor * scale)
                middles.append(np.array(held.shape[:0:-1]) / 2 / scale - 0.5)
        return Volumes(blocks), Resident(np.array(steps)), Resident(np.array(middles))

    def fixed_windows(self, pair: Array, frame: Array | None = None) -> Array:
        """The fixed volumes about their middles, or as maps (B, 3, 4) show them: (B, scales, 3, w, w) uint8."""
        if frame is not None:
            return self._windows(0, pair, frame)
        return xp_of(pair).take(self._seen.on(pair), pair, axis=0)

    def moving_windows(self, pair: Array, pose: Array, levels: Sequence[int] | None = None) -> Array:
        """The moving volumes as maps (B, 3, 4) bring them onto the fixed ones: (B, scales, 3, w, w) uint8."""
        return self._windows(1, pair, pose, levels)

    def _windows(self, which: int, pair: Array, pose: Array, levels: Sequence[int] | None = None) -> Array:
        """Cuts at some levels, default all, of the fixed (0) or the moving (1) volumes."""
        xp, rows = xp_of(pose), pose.shape[0]
        levels = tuple(range(len(self.scales)) if levels is None else levels)
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
        seen = plane(volumes, index, centre, right, down, self.size)
        return xp.reshape(seen, (rows, len(levels), len(PLANES), self.size, self.size))

    def inside(self, pair: Array, pose: Array, level: int) -> Array:
        """Which pixels of a level's cuts show the moving volume: (B, 3 * w * w) bool, cut by cut, row by row."""
        unit = self.scales[level] * self.voxel_mm
        line = [(k - self.size / 2 + 0.5) * unit for k in range(self.size)]
        spots = [
            tuple(x * (axis == a) + y * sign * (axis == b) for axis in range(3))
            for a, b, sign in PLANES
            for y in line
            for x in line
        ]
        xp, places = xp_of(pose), const(tuple(spots), pose)
        half = xp.take(self.sizes.on(pair), pair, axis=0) / 2
        at = xp.abs(carry(pose, xp.broadcast_to(places[None, :, :], (pose.shape[0], *places.shape))))
        return ops.every(at <= half[:, None, :])


def extent(volume: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """(3,) sides (x, y, z) of a volume (1, D, H, W), millimetres."""
    return np.array(volume.shape[:0:-1]) * spacing_mm


def ruler(volume: np.ndarray, spacing_mm: np.ndarray) -> Ruler:
    """How voxels become places."""
    spacing = np.asarray(spacing_mm, float)
    return Ruler(spacing, -(np.array(volume.shape[:0:-1]) - 1) / 2 * spacing)


def volume_pair_bank(
    samples: Sequence[PairSample],
    size: int,
    scales: tuple[int, ...],
    kind: str,
    voxel_mm: float,
    lattice: int,
) -> VolumePairBank:
    """The bank of some pairs; environments over the same arrays share it."""
    pixels = [getattr(sample, name) for sample in samples for name in HELD]
    return shared(VolumePairBank, pixels, samples, size, scales, kind, voxel_mm, lattice)
