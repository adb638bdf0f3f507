"""Planes through volumes, in array-API code: one rule for every library.

Convention
    Volumes are uint8, axes (z, y, x); positions are (x, y, z) in voxels, voxel centres at whole numbers. Interpolation
    is trilinear; outside a volume everything is 0. Values are rounded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl.ops.geometry import columns, unit
from visionrl.ops.xp import Array, DeviceTable, Recalled, const, xp_of

ACROSS = ((1, 2), (0, 2), (0, 1))  # axes that run right and down in an image of the plane across x, y and z


class Volumes(Recalled):
    """Volumes of any size with a border of zeros, one after the other in one block, lent to any array library.

    Args:
        volumes: each (D, H, W) uint8.

    Attributes:
        voxels: (N,) uint8, all of them.
        layout: (M, 4) int64, number of the first voxel, depth, height and width of each, with the border.
    """

    def __init__(self, volumes: Sequence[np.ndarray]) -> None:
        padded = [np.pad(volume, 1) for volume in volumes]
        self.voxels = DeviceTable(np.concatenate([volume.ravel() for volume in padded]))
        first = np.cumsum([0, *(volume.size for volume in padded[:-1])])
        self.layout = DeviceTable(np.array([(n, *v.shape) for n, v in zip(first, padded, strict=True)]))


def plane(volumes: Volumes, index: Array, centre: Array, right: Array, down: Array, size: int) -> Array:
    """Flat cuts through volumes.

    Args:
        volumes: what is cut.
        index: (B,) int64, volume of each cut.
        centre: (B, 3) float64, (x, y, z) in voxels, what the middle of the image shows.
        right: (B, 3) float64, way from a pixel to the one on its right, voxels.
        down: (B, 3) float64, likewise to the one below.
        size: side of the images, pixels.

    Returns:
        (B, size, size) uint8.
    """
    xp = xp_of(centre)
    line = xp.astype(xp.arange(size, dtype=xp.int64, device=centre.device), centre.dtype) - (size - 1) / 2
    voxels, layout = volumes.voxels.on(index), xp.take(volumes.layout.on(index), index, axis=0)
    first, *sides = (column[:, None, None] for column in columns(layout))
    cells, shares = [], []
    for axis, side in enumerate(reversed(sides)):  # x, y, z
        way = (
            line[None, :, None] * down[:, axis, None, None] + line[None, None, :] * right[:, axis, None, None]
        )
        top = xp.astype(side - 1, centre.dtype)
        at = xp.minimum(xp.maximum(way + centre[:, axis, None, None] + 1, xp.zeros_like(top)), top)
        low = xp.minimum(xp.floor(at), top - 1)
        cells.append(xp.astype(low, xp.int64))
        shares.append(xp.astype(at - low, xp.float32))
    _, height, width = sides
    corner = first + (cells[2] * height + cells[1]) * width + cells[0]

    def along(step: Array, axis: int) -> Array:
        """Between two corners, edges or faces along an axis, the nearer one ``step`` from the first corner."""
        if axis < 0:
            flat = xp.reshape(corner + step, (-1,))
            return xp.astype(xp.reshape(xp.take(voxels, flat, axis=0), corner.shape), xp.float32)
        near, far = along(step, axis - 1), along(step + (1, width, width * height)[axis], axis - 1)
        return near + (far - near) * shares[axis]

    return xp.astype(xp.round(along(xp.zeros_like(first), 2)), xp.uint8)


def plane_normal(angles: Array) -> Array:
    """Normals of length 1, (B, 3), of planes whose first three numbers (B, 3 or more) are direction angles, degrees."""
    return unit(xp_of(angles).cos(angles[:, :3] * (np.pi / 180)))


def picture_axes(normal: Array, across: int) -> tuple[Array, Array]:
    """Directions of length 1, (B, 3) each, that run right and down in an image of a plane across axis 0, 1 or 2."""
    xp = xp_of(normal)
    first, second = (const(tuple(float(k == axis) for k in range(3)), normal) for axis in ACROSS[across])
    right = unit(first - xp.sum(first * normal, axis=-1)[:, None] * normal)
    down = second - xp.sum(second * normal, axis=-1)[:, None] * normal
    down = unit(down - xp.sum(down * right, axis=-1)[:, None] * right)
    return right, -down if across < 2 else down  # the head is up


def plane_through(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Normal of length 1, (3,), of the plane through three points (3, 3), and its distance from the origin along it.

    Raises:
        ValueError: they lie on a line.
    """
    normal = np.cross(points[1] - points[0], points[2] - points[0])
    length = np.linalg.norm(normal)
    if length < 1e-6 * max(float(np.abs(points).max()), 1.0) ** 2:
        raise ValueError(f"landmarks must span a plane, these lie on a line: {points.round(2).tolist()}")
    normal = normal / length
    return normal, float(normal @ points[0])
