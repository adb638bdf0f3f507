"""Radiographs of volumes, rendered: line integrals along the rays of a point source (Joseph, 1982).

Each ray is sampled where it meets the slices of the volume that lie across the beam, bilinearly in the slice, and the
sum is multiplied by the way from slice to slice. In between a slice its pixels are a projective picture of it, so a
render is one OpenCV call a slice on the CPU; on an accelerator it is one ``grid_sample`` a slice for all rows.
``ops.reference`` has the plain rule.

Convention
    Volumes are axes (z, y, x), voxel centres at whole numbers; outside they are 0. Places are (x, y, z) in millimetres
    from the middle of a volume, along its axes. Pixel centres of a render lie at corner + column * right + row * down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from visionrl.ops.resample import _spread
from visionrl.ops.xp import Array, DeviceTable, Recalled, is_torch, like, to_numpy

if TYPE_CHECKING:
    from torch import Tensor

AXES = {
    "x": (0, 1),
    "y": (1, 0),
}  # axis across which the slices lie, and the one along their rows; columns are along z


class Beam(NamedTuple):
    """The rays of B renders, as each volume sees them; (B, 3) float64, millimetres each.

    Attributes:
        source: where all rays start.
        corner: middle of the first pixel.
        right: way from a pixel to the one on its right.
        down: likewise to the one below.
    """

    source: Array
    corner: Array
    right: Array
    down: Array


class Densities(Recalled):
    """Volumes as slices across the beam, lent to any array library.

    Args:
        volumes: each (D, H, W) float32, what a millimetre of each voxel adds to a ray.
        spacings: (M, 3), (x, y, z) millimetres per voxel.
        across: "y" for slices (z, x) from front to back, "x" for slices (z, y) from side to side.

    Attributes:
        slices: (M, K, Z, U) float32, smaller volumes padded with 0 behind.
        sizes: (M, 3) int64, K, U and Z of each volume.
        spacings: (M, 3) float64, millimetres along K, U and Z.
        axes: places of these axes among (x, y, z).
    """

    def __init__(self, volumes: Sequence[np.ndarray], spacings: np.ndarray, across: str = "y") -> None:
        first, second = AXES[across]
        self.axes = (first, second, 2)
        turned = [volume.transpose(2 - first, 0, 2 - second) for volume in volumes]
        shape = np.max([volume.shape for volume in turned], axis=0)
        store = np.zeros((len(volumes), *shape), np.float32)
        for place, volume in zip(store, turned, strict=True):
            place[tuple(map(slice, volume.shape))] = volume
        self.slices = DeviceTable(store)
        self.sizes = DeviceTable(np.array([(v.shape[0], v.shape[2], v.shape[1]) for v in turned]))
        self.spacings = DeviceTable(np.asarray(spacings, float)[:, list(self.axes)])


def render(densities: Densities, index: Array, beam: Beam, size: int) -> Array:
    """Line integrals from a source to a square detector.

    Rays that run along the slices, or a source between them, have no meaning here.

    Args:
        densities: what is shone through.
        index: (B,) int64, volume of each render.
        beam: where the rays are.
        size: pixels along each side.

    Returns:
        (B, size, size) float32, density times millimetres.
    """
    if is_torch(index) and index.device.type != "cpu":
        return render_torch(densities, index, beam, size)
    rows, rays = to_numpy(index), Beam(*map(to_numpy, beam))
    out = np.empty((len(rows), size, size), np.float32)

    def some(part: range) -> None:
        for b in part:
            out[b] = _render(densities, rows[b], Beam(*(way[b] for way in rays)), size)

    _spread(some, len(rows))
    return like(out, index)


def _render(densities: Densities, index: int, beam: Beam, size: int) -> np.ndarray:
    """One render, (size, size) float32."""
    total, seen = np.zeros((size, size), np.float32), np.empty((size, size), np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    slices = densities.slices.array[index]
    for number, matrix in enumerate(_homographies(densities, index, beam)):
        cv2.warpPerspective(slices[number], matrix, (size, size), dst=seen, flags=flags)
        cv2.accumulate(seen, total)
    total *= _stride(densities, index, beam, size)
    return total


def _homographies(densities: Densities, index: int, beam: Beam) -> np.ndarray:
    """(K, 3, 3) maps from (column, row, 1) of a render to (u, z, 1) of each slice, times a number."""
    count, *sides = densities.sizes.array[index]
    spacing = densities.spacings.array[index]
    ways = np.stack([beam.right, beam.down, beam.corner - beam.source])[:, list(densities.axes)]
    source = beam.source[list(densities.axes)]
    deep, *flat = ways.T
    ahead = (np.arange(count) - (count - 1) / 2) * spacing[0] - source[0]
    rows = [
        (source[k] * deep + ahead[:, None] * way) / spacing[k] + (side - 1) / 2 * deep
        for k, way, side in zip((1, 2), flat, sides, strict=True)
    ]
    return np.stack([*rows, np.broadcast_to(deep, rows[0].shape)], axis=1)


def _stride(densities: Densities, index: int, beam: Beam, size: int) -> np.ndarray:
    """(size, size) float32, millimetres along each ray from slice to slice."""
    line = np.arange(size)
    rays = [
        start + line * right + line[:, None] * down
        for start, right, down in zip(beam.corner - beam.source, beam.right, beam.down, strict=True)
    ]
    length = np.sqrt(rays[0] ** 2 + rays[1] ** 2 + rays[2] ** 2)
    return (densities.spacings.array[index, 0] * length / np.abs(rays[densities.axes[0]])).astype(np.float32)


def render_torch(densities: Densities, index: Tensor, beam: Beam, size: int) -> Tensor:
    """Render by ``grid_sample``, on any device; see ``render``."""
    import torch
    from torch.nn import functional as F

    store = densities.slices.on(index)
    sides, spacing = densities.sizes.on(index)[index], densities.spacings.on(index)[index]
    order = torch.tensor(densities.axes, device=index.device)
    rays = _torch_rays(beam, size)[:, order]  # (B, 3, size, size), along K, U, Z
    source = beam.source[:, order]
    sides, spacing = (part[:, :, None, None] for part in (sides, spacing))
    slope, middle = (
        rays[:, 1:] / rays[:, :1] * spacing[:, :1] / spacing[:, 1:],
        (sides - 1) / 2,
    )  # voxels a slice
    ahead = (
        source[:, :1, None, None] / spacing[:, :1] + middle[:, :1]
    )  # slices from the first one to the source
    first = source[:, 1:, None, None] / spacing[:, 1:] + middle[:, 1:] - ahead * slope
    ends = torch.tensor(store.shape[:1:-1], device=index.device).clamp(min=2) - 1  # of U and Z
    start, step = ((2 * way.permute(0, 2, 3, 1) / ends).float() for way in (first, slope))
    total = torch.zeros((len(index), size, size), device=index.device)
    for number in range(store.shape[1]):  # slices beyond a smaller volume are 0
        seen = F.grid_sample(store[index, number][:, None], start + number * step - 1, align_corners=True)
        total = total + seen[:, 0]
    stride = spacing[:, 0] * rays.square().sum(dim=1).sqrt() / rays[:, 0].abs()
    return total * stride.float()


def _torch_rays(beam: Beam, size: int) -> Tensor:
    """(B, 3, size, size) ways from the source to every pixel."""
    import torch

    line = torch.arange(size, device=beam.source.device, dtype=beam.source.dtype)
    start, right, down = (way[:, :, None, None] for way in (beam.corner - beam.source, beam.right, beam.down))
    return start + right * line + down * line[:, None]
