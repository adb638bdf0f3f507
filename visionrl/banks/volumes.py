"""The voxels of one split at a few fixed scales, held once for all episodes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.banks.patches import filled_block, shared
from visionrl.datasets.samples import VolumeSample
from visionrl.ops import Array, DeviceTable, Recalled, xp_of
from visionrl.ops.volumes import Volumes

SLACK = 1.1  # by how much a spacing may leave a range before a volume is resampled
COARSEST = 10.0  # largest spacing that is resampled, in those of the range
Wanted = float | tuple[Sequence[float] | None, ...] | None


class VolumeBank(Recalled):
    """Volumes of any size at a few scales, one under the other in one padded block: a window is a plain copy.

    The volume at scale s is the mean of blocks of s x s x s voxels. A window's centre is rounded to the voxel grid of
    its scale, which is part of the definition; its centre voxel is number ``size // 2``. Outside the volume is 0.

    Args:
        volumes: each (1, D, H, W) uint8, no side shorter than the largest scale.
        size: side of the windows, voxels.
        scales: whole voxels of the volume per voxel of a window, one a level.

    Attributes:
        sizes: (M, 3) float64, (width, height, depth) of each volume, voxels.

    Raises:
        ValueError: a volume is too small.
    """

    def __init__(self, volumes: Sequence[np.ndarray], size: int, scales: Sequence[int]) -> None:
        self.size, self.scales = size, tuple(scales)
        self.sizes = np.array([volume.shape[:0:-1] for volume in volumes], float)
        if (shortest := self.sizes.min()) < max(scales):
            number = int(self.sizes.min(axis=1).argmin())
            raise ValueError(
                f"volume {number} must have sides >= {max(scales)}, the largest scale, got {shortest:g}"
            )
        depths = [volume.shape[1] // scale + size + 1 for volume in volumes for scale in scales]
        tops = np.cumsum([size, *depths])  # before the first there is a blank window
        wide, high, _ = (int(n) // min(scales) + size + 1 for n in self.sizes.max(axis=0))
        store = filled_block((1, 1, int(tops[-1]), high, wide), partial(self._fill, volumes, tops))
        self._store = DeviceTable(store, partial(ops.windows, size=size))
        self._tops = DeviceTable(tops[:-1])  # first plane of each volume's scales

    def _fill(self, volumes: Sequence[np.ndarray], tops: np.ndarray, store: np.ndarray) -> None:
        """Write every volume at every scale into the block."""
        pad = self.size // 2
        for item, volume in enumerate(volumes):
            for level, scale in enumerate(self.scales):
                small, top = block_mean(volume[0], scale), tops[item * len(self.scales) + level] + pad
                depth, height, width = small.shape
                store[0, 0, top : top + depth, pad : pad + height, pad : pad + width] = small

    def crop(self, index: Array, position: Array, level: Array, shown: Array) -> Array:
        """Windows around points; the arguments' leading axes broadcast.

        Args:
            index: (...) int64, volume.
            position: (..., 3) float64, (x, y, z) in voxels of the volume, inside it.
            level: (...) int64, number of the scale.
            shown: (...) bool; windows that are not are black.

        Returns:
            (..., size, size, size) uint8, axes (z, y, x).
        """
        xp = xp_of(position)
        cell, _ = self.cells(position, level)
        place = index * len(self.scales) + level
        top = xp.reshape(xp.take(self._tops.on(place), xp.reshape(place, (-1,)), axis=0), place.shape)
        x, y, z = ops.columns(cell)
        z = xp.where(shown, z + top, xp.zeros_like(z))
        return ops.patch(self._windows(index), xp.zeros_like(z), z, y, x)[..., 0, :, :, :]

    def cells(self, position: Array, level: Array) -> tuple[Array, Array]:
        """The voxel of a scale at a point, (..., 3) int64 (x, y, z), and that scale, (..., 1) float64."""
        xp = xp_of(position)
        flat = xp.take(ops.const(self.scales, position), xp.reshape(level, (-1,)), axis=0)
        scale = xp.reshape(flat, (*level.shape, 1))
        return xp.astype(xp.round((position + 0.5) / scale - 0.5), xp.int64), scale

    def inside(self, position: Array, level: Array, low: Array, high: Array) -> Array:
        """Masks of the windows' voxels that lie in a part of their volume.

        Args:
            position: (B, F, 1, 3) float64, (x, y, z), centres of the windows.
            level: (B or 1, 1, V) int64, their scales.
            low: (B, 3) float64, least (x, y, z) of the part.
            high: (B, 3) float64, largest.

        Returns:
            (B, F, V, size, size, size) uint8, 1 in the part, 0 outside.
        """
        xp = xp_of(position)
        cell, scale = self.cells(position, level)
        line = ops.const(tuple(k - self.size // 2 for k in range(self.size)), position)
        at = (xp.astype(cell, position.dtype)[..., None] + line + 0.5) * scale[..., None] - 0.5
        first, last = (edge[:, None, None, :, None] for edge in (low - 0.5, high + 0.5))
        x, y, z = (xp.astype(((at >= first) & (at <= last))[..., k, :], xp.uint8) for k in range(3))
        return z[..., :, None, None] * (y[..., None, :, None] * x[..., None, None, :])

    def _windows(self, index: Array) -> Array:
        """Every window, where the kernel wants it: beside torch tensors, else in NumPy."""
        return self._store.on(index if ops.is_torch(index) else self._store.array)


def block_mean(volume: np.ndarray, scale: int) -> np.ndarray:
    """(D, H, W) uint8 averaged over blocks of scale^3, rounded; incomplete last blocks are left out."""
    if scale == 1:
        return volume
    total = volume[tuple(slice(0, n // scale * scale) for n in volume.shape)].astype(np.float32)
    for axis in range(3):
        parts = (*total.shape[:axis], total.shape[axis] // scale, scale, *total.shape[axis + 1 :])
        total = total.reshape(parts).sum(axis=axis + 1)
    return np.rint(total / np.float32(scale**3)).astype(np.uint8)


def to_spacing(
    volume: np.ndarray, spacing_mm: Sequence[float], wanted_mm: float | Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """A volume with voxels of about this side, and how many of its own voxels one of them spans.

    A coarser axis is averaged over what each new voxel covers, a finer one is interpolated linearly. The number of
    voxels is rounded, so that spacings may still differ a little.

    Args:
        volume: (1, D, H, W) uint8.
        spacing_mm: (x, y, z), its own.
        wanted_mm: the new one, of cubes or (x, y, z); None leaves the volume as it is.

    Returns:
        (1, D', H', W') uint8, and (3,) float64 factors (x, y, z).
    """
    if wanted_mm is None:
        return volume, np.ones(3)
    old = np.array(volume.shape[1:])
    wanted = np.broadcast_to(np.asarray(wanted_mm, float), 3)[::-1]
    new = np.maximum(np.rint(old * np.asarray(spacing_mm)[::-1] / wanted), 1).astype(int)
    values = volume[0].astype(np.float32)
    for axis in np.argsort(new / old):  # those that shrink first: less to do for the others
        weights = _resampling(int(old[axis]), int(new[axis]))
        values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
    return np.rint(values).astype(np.uint8)[None], (old / new)[::-1]


def _resampling(old: int, new: int) -> np.ndarray:
    """(new, old) float32, what each old cell counts in each new one along an axis; rows sum to 1."""
    low = np.arange(new)[:, None] * old / new
    if new <= old:
        cells = np.arange(old)
        covered = np.minimum(low + old / new, cells + 1) - np.maximum(low, cells)
        return (np.maximum(covered, 0) * new / old).astype(np.float32)
    centre = np.clip(low + old / new / 2 - 0.5, 0, old - 1)
    return np.maximum(1 - np.abs(centre - np.arange(old)), 0).astype(np.float32)


def within_range(
    samples: Sequence[VolumeSample], least: Sequence[float], largest: Sequence[float]
) -> tuple[tuple[float, ...] | None, ...]:
    """Voxel spacings (x, y, z) at which volumes resemble those of a range; None where one does so by itself.

    Args:
        samples: the volumes. One whose spacing leaves the range by more than a tenth gets the nearest in it.
        least: (x, y, z) millimetres.
        largest: likewise.

    Raises:
        ValueError: voxels are more than ten times as large as the largest, so that nothing of use can be made of them.
    """
    low, high, found = np.asarray(least, float), np.asarray(largest, float), []
    for sample in samples:
        own = np.asarray(sample.spacing_mm, float)
        if (own > COARSEST * high).any():
            raise ValueError(
                f"{sample.name or 'the volume'} must have a spacing <= {(COARSEST * high).round(2).tolist()} mm, ten "
                f"times the largest that the agent knows, got {own.round(2).tolist()}"
            )
        near = ((own >= low / SLACK) & (own <= high * SLACK)).all()
        found.append(None if near else tuple(np.clip(own, low, high).tolist()))
    return tuple(found)


class Held(Recalled):
    """The volumes of some samples as an environment holds them.

    Args:
        volumes: each (1, D, H, W) uint8.
        spacings: (x, y, z) of each, millimetres.
        size: side of the windows, voxels.
        scales: see ``VolumeBank``.
        wanted_mm: sides of the voxels to hold, as ``to_spacing`` takes them; None keeps each volume's own.

    Attributes:
        bank: the voxels.
        factors: (M, 3) float64, (x, y, z), voxels of the sample per voxel held.
        spacings: (M, 3) float64, (x, y, z), millimetres per voxel held.
    """

    def __init__(
        self,
        volumes: Sequence[np.ndarray],
        spacings: Sequence[Sequence[float]],
        size: int,
        scales: tuple[int, ...],
        wanted_mm: Wanted,
    ) -> None:
        each = wanted_mm if isinstance(wanted_mm, tuple) else [wanted_mm] * len(volumes)
        held, factors = zip(*map(to_spacing, volumes, spacings, each), strict=True)
        self.bank, self.factors = VolumeBank(held, size, scales), np.array(factors)
        self.spacings = np.array(spacings, float) * self.factors


def volume_bank(
    samples: Sequence[VolumeSample], size: int, scales: tuple[int, ...], wanted_mm: Wanted = None
) -> Held:
    """The volumes of some samples; environments over the same arrays share them.

    Args:
        samples: what is held.
        size: side of the windows, voxels.
        scales: see ``VolumeBank``.
        wanted_mm: side of the cubic voxels to hold; or a tuple with (x, y, z) or None for each sample; None keeps all.
    """
    volumes = [sample.volume for sample in samples]
    spacings = tuple(tuple(float(s) for s in sample.spacing_mm) for sample in samples)
    return shared(_held, volumes, samples, spacings, size, scales, wanted_mm)


def _held(samples: Sequence[VolumeSample], *args: Any) -> Held:
    """The volumes of some samples as an environment holds them."""
    return Held([sample.volume for sample in samples], *args)


def cut_volumes(samples: Sequence[VolumeSample]) -> Volumes:
    """The volumes of some samples, to be cut at any angle; environments over the same arrays share them."""
    return shared(_volumes, [sample.volume for sample in samples], samples)


def _volumes(samples: Sequence[VolumeSample]) -> Volumes:
    """The volumes of some samples."""
    return Volumes([sample.volume[0] for sample in samples])
