"""Random smooth deformations of images and volumes, and what differs from scanner to scanner; NumPy.

A deformation is the flow along a random smooth velocity field for one unit of time, computed by scaling and
squaring (Arsigny et al., 2006, "A log-Euclidean framework for statistics on diffeomorphisms"), then a small rotation,
scaling and shift. Two families of functions follow: those of episodes, in pixels, and those of the embedded scans, in
millimetres.

Convention of episodes
    Fields are (n, ..., n, d), displacements in pixels, in the order (x, y) or (x, y, z), while their axes are in the
    order of arrays, (y, x) or (z, y, x). Nodes lie evenly from an image's first pixel to its last.
Convention of scans
    Axes, vectors and points are in the order of the array, (z, y, x); the centre of a scan is the origin of its
    millimetres. Fields live on a lattice of 21 x 21 x 21 nodes from a scan's first voxel to its last, and are
    linear in between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from visionrl.ops.fields import linear_basis

NODES = 21  # along each axis of a scan's lattice
FAMILIES = ("noise", "bumps", "waves")
SQUARINGS = 6
ROTATION, SCALING, SHIFT = 6.0, 0.08, 0.03  # of episodes: degrees, share, share of the side; largest
PLANES = {2: ((0, 1),), 3: ((1, 2), (2, 0), (0, 1))}  # in which episodes are rotated, (x, y, z)

_CUTS = ((1, None), (None, -1))


# -- both --------------------------------------------------------------------------------------------------------------
def gaussian_bumps(
    rng: np.random.Generator, places: np.ndarray, centres: np.ndarray, widths: np.ndarray
) -> np.ndarray:
    """Random vectors at positions (..., d): the sum of Gaussian pushes about centres (k, d), of widths (k,)."""
    gaps = ((places[..., None, :] - centres) ** 2).sum(axis=-1)
    return np.exp(-gaps / (2 * widths**2)) @ rng.normal(size=centres.shape)


def plane_waves(
    rng: np.random.Generator, places: np.ndarray, shortest: float, longest: float, count: int = 8
) -> np.ndarray:
    """Random vectors at positions (..., d): the sum of plane waves of lengths between two."""
    axes = places.shape[-1]
    ways = rng.normal(size=(count, axes))
    ways *= (
        2 * np.pi / rng.uniform(shortest, longest, (count, 1)) / np.linalg.norm(ways, axis=1, keepdims=True)
    )
    return np.sin(places @ ways.T + rng.uniform(0, 2 * np.pi, count)) @ rng.normal(size=(count, axes))


def scale_and_square(velocity: np.ndarray, displaced: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Displacement after one unit of time along a velocity field, by squaring 6 times.

    ``displaced(field)`` gives a field's vectors where the field itself takes the nodes.
    """
    field = velocity / 2**SQUARINGS
    for _ in range(SQUARINGS):
        field = field + displaced(field)
    return field


def rotation(angles: Sequence[float] | np.ndarray, planes: Sequence[tuple[int, int]]) -> np.ndarray:
    """(d, d) rotation, d = 2 or 3, by one angle (radians) a plane, one after the other.

    A plane is two axes, the first of which is turned onto the second.
    """
    whole = np.eye(2 if len(planes) == 1 else 3)
    for angle, (i, j) in zip(angles, planes, strict=False):
        part = np.eye(len(whole))
        part[i, i] = part[j, j] = np.cos(angle)
        part[i, j], part[j, i] = -np.sin(angle), np.sin(angle)
        whole = part @ whole
    return whole


# -- episodes ----------------------------------------------------------------------------------------------------------
def random_deformation(
    rng: np.random.Generator, split: str, nodes: int, axes: int, side: int, rms: float
) -> np.ndarray:
    """A random field (nodes, ..., nodes, axes), of which nothing folds.

    Args:
        rng: all chance.
        split: "train", "val", "test" or "all"; decides the family of the velocity.
        nodes: along each axis.
        axes: 2 or 3.
        side: pixels along each axis.
        rms: root mean square of the velocity, shares of the side.
    """
    family = {"train": FAMILIES[0], "val": FAMILIES[1], "test": FAMILIES[2]}.get(split, FAMILIES[0])
    places = lattice(nodes, axes) * (side - 1)
    velocity = random_velocity(rng, family, nodes, axes) * rms * side
    bent = places + exponential(velocity, (side - 1) / (nodes - 1))
    angles = np.radians(rng.uniform(-ROTATION, ROTATION, 3))
    linear = rotation(angles, PLANES[axes]) * rng.uniform(1 - SCALING, 1 + SCALING, axes)
    middle = (side - 1) / 2
    return (bent - middle) @ linear.T + middle + rng.uniform(-SHIFT, SHIFT, axes) * side - places


def random_velocity(rng: np.random.Generator, family: str, nodes: int, axes: int) -> np.ndarray:
    """(nodes, ..., nodes, axes) smooth random vectors whose root mean square length is 1.

    "noise" is white noise under a Gaussian, "bumps" 16 Gaussian pushes, "waves" 8 plane waves; an eighth to a third of
    the side wide.
    """
    at = lattice(nodes, axes)
    if family == "noise":
        from scipy.ndimage import gaussian_filter

        white = rng.normal(size=(axes, *[nodes] * axes))
        field = np.stack([gaussian_filter(part, nodes / 8, mode="wrap") for part in white], axis=-1)
    elif family == "bumps":
        field = gaussian_bumps(rng, at, rng.uniform(0, 1, (16, axes)), rng.uniform(0.1, 0.2, 16))
    else:
        field = plane_waves(rng, at, 0.45, 1.1)
    return field / np.sqrt((field**2).sum(axis=-1).mean())


def exponential(velocity: np.ndarray, step: float) -> np.ndarray:
    """Displacement after one unit of time along a velocity, both in pixels, ``step`` of them from node to node."""
    index = np.moveaxis(np.indices(velocity.shape[:-1]).astype(float), 0, -1)
    return scale_and_square(velocity, lambda field: interpolate(field, index + field[..., ::-1] / step))


def interpolate(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Interpolates values (..., k) of a lattice linearly at positions (..., d) in nodes, in the order of its axes.

    Outside, the border is extended.
    """
    from scipy.ndimage import map_coordinates

    at = np.moveaxis(places, -1, 0)
    parts = [map_coordinates(values[..., k], at, order=1, mode="nearest") for k in range(values.shape[-1])]
    return np.stack(parts, axis=-1)


def warp_image(image: np.ndarray, field: np.ndarray, order: int) -> np.ndarray:
    """An image (side, ..., side) seen through a field: each pixel shows the place that it is displaced to; 0 outside.

    Args:
        image: any numbers.
        field: (n, ..., n, d) displacements, pixels.
        order: 1 linear, 0 nearest.
    """
    from scipy.ndimage import map_coordinates

    side, nodes = image.shape[0], field.shape[0]
    index = np.moveaxis(np.indices(image.shape).astype(float), 0, -1)
    dense = interpolate(field, index * (nodes - 1) / (side - 1))
    at = np.moveaxis(index + dense[..., ::-1], -1, 0)
    return map_coordinates(image, at, order=order, mode="grid-constant")


def lattice(nodes: int, axes: int) -> np.ndarray:
    """(nodes, ..., nodes, axes) positions from 0 to 1, (x, y) or (x, y, z)."""
    line = np.linspace(0, 1, nodes)
    return np.stack(np.meshgrid(*[line] * axes, indexing="ij")[::-1], axis=-1)


def perturb_intensity(rng: np.random.Generator, image: np.ndarray, jitter: float) -> np.ndarray:
    """An image of its own contrast, brightness and noise, uint8; what is black stays dark.

    Args:
        rng: all chance.
        image: intensities from 0 to 255.
        jitter: how much differs, in [0, 1].
    """
    gamma, gain = np.exp(rng.uniform(-0.25, 0.25, 2) * (jitter, jitter / 2))
    noise = rng.normal(0, 1, image.shape) * rng.uniform(1, 6) * jitter
    return np.clip(np.rint(255 * gain * (image / 255) ** gamma + noise), 0, 255).astype(np.uint8)


# -- scans -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Grid:
    """Voxel grid of a scan.

    Attributes:
        shape: (3,) voxels.
        spacing: (3,) millimetres.
    """

    shape: tuple[int, ...]
    spacing: np.ndarray

    def to_mm(self, voxels: np.ndarray) -> np.ndarray:
        """(..., 3) voxels as millimetres from the centre."""
        return (voxels - (np.array(self.shape) - 1) / 2) * self.spacing

    def to_voxels(self, mm: np.ndarray) -> np.ndarray:
        """(..., 3) millimetres from the centre as voxels."""
        return mm / self.spacing + (np.array(self.shape) - 1) / 2

    def nodes(self) -> np.ndarray:
        """(21, 21, 21, 3) millimetres of the lattice."""
        axes = [np.linspace(0, n - 1, NODES) for n in self.shape]
        return self.to_mm(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))


@dataclass(frozen=True)
class ScanDeformation:
    """Map of positions from a new scan to the source scan that it is resampled from.

    Attributes:
        source: grid of the source.
        target: grid of the new scan.
        places: (21, 21, 21, 3) voxels of the source, for the nodes of the target.
    """

    source: Grid
    target: Grid
    places: np.ndarray

    def everywhere(self) -> np.ndarray:
        """(3, D, H, W) float32 voxels of the source, for every voxel of the new scan."""
        field = np.moveaxis(self.places, -1, 0).astype(np.float32)
        z, y, x = (_node_weights(n) for n in self.target.shape)
        rows = y @ (field @ x.T)  # (3, 21, H, W)
        return (z @ rows.reshape(3, NODES, -1)).reshape(3, *self.target.shape)

    def carry(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) voxels of the source as voxels of the new scan, by Newton's method with a fixed slope.

        Places that the new scan does not reach come out outside of it.
        """
        scale = (np.array(self.target.shape) - 1) / (NODES - 1)
        middle = self.places[NODES // 2, NODES // 2, NODES // 2]
        slope = self.target.spacing / self.source.spacing
        found = (points - middle) / slope + (np.array(self.target.shape) - 1) / 2
        for _ in range(60):
            here = interpolate_vectors(self.places, (found / scale).T).T
            beyond = found - np.clip(found, 0, np.array(self.target.shape) - 1)
            found = found + 0.7 * (points - here - beyond * slope) / slope
        return found


def random_flow(
    rng: np.random.Generator, family: str, source: Grid, strength_mm: float
) -> Callable[[np.ndarray], np.ndarray]:
    """A random map from (..., 3) millimetres about a new scan's middle to voxels of the source.

    It turns by up to 6 degrees, scales by up to 8 %, shifts by up to 10 mm and deforms elastically.

    Args:
        rng: all chance.
        family: kind of elastic deformation, one of ``FAMILIES``.
        source: grid of the scan that is deformed.
        strength_mm: root mean square of the velocity.

    Raises:
        ValueError: there is no such family.
    """
    bend = exponential_mm(random_velocity_mm(rng, family, source, strength_mm), source)
    turn = rotation_zyx(np.radians(rng.uniform(-6, 6, 3))) * rng.uniform(0.92, 1.08, 3)
    shift = rng.uniform(-10, 10, 3)

    def place(mm: np.ndarray) -> np.ndarray:
        moved = mm @ turn.T + shift
        at = source.to_voxels(moved) / (np.array(source.shape) - 1) * (NODES - 1)
        bent = moved + np.moveaxis(interpolate_vectors(bend, np.moveaxis(at, -1, 0)), 0, -1)
        return source.to_voxels(bent)

    return place


def random_velocity_mm(rng: np.random.Generator, family: str, grid: Grid, strength_mm: float) -> np.ndarray:
    """(21, 21, 21, 3) smooth random velocity in millimetres.

    * "noise": white noise under a Gaussian of 45 mm;
    * "bumps": 16 Gaussian pushes of 35 to 70 mm;
    * "waves": 8 plane waves of 160 to 400 mm.

    Raises:
        ValueError: there is no such family.
    """
    at = grid.nodes()
    if family == "noise":
        field = rng.normal(size=at.shape)
        for axis, (n, step) in enumerate(zip(grid.shape, grid.spacing, strict=True)):
            line = np.arange(NODES) * (n - 1) * step / (NODES - 1)
            kernel = np.exp(-((line[:, None] - line) ** 2) / (2 * 45.0**2))
            field = np.moveaxis(np.tensordot(kernel, field, axes=(1, axis)), 0, axis)
    elif family == "bumps":
        centres = at.reshape(-1, 3)[rng.integers(at[..., 0].size, size=16)]
        field = gaussian_bumps(rng, at, centres, rng.uniform(35, 70, 16))
    elif family == "waves":
        field = plane_waves(rng, at, 160, 400)
    else:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}")
    return field * strength_mm / np.sqrt((field**2).sum(axis=-1).mean())


def exponential_mm(velocity: np.ndarray, grid: Grid) -> np.ndarray:
    """(21, 21, 21, 3) displacement in millimetres after one unit of time along a velocity."""
    index = np.indices(velocity.shape[:3]).astype(float)
    step = (np.array(grid.shape) - 1) * grid.spacing / (NODES - 1)

    def displaced(field: np.ndarray) -> np.ndarray:
        return np.moveaxis(interpolate_vectors(field, index + np.moveaxis(field / step, -1, 0)), 0, -1)

    return scale_and_square(velocity, displaced)


def rotation_zyx(angles: np.ndarray) -> np.ndarray:
    """(3, 3) rotation by angles in radians about the first, then the second, then the third axis of an array."""
    return rotation(angles, ((1, 2), (0, 2), (0, 1)))


def interpolate_vectors(field: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(3, ...) vectors of a (D, H, W, 3) field at positions (3, ...) in nodes; see ``interpolate_volume``."""
    return np.stack([interpolate_volume(np.ascontiguousarray(field[..., k]), places) for k in range(3)])


def interpolate_volume(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Interpolates values (D, H, W) linearly at positions (3, ...): (...); the border is extended.

    Faster than SciPy, and float32 is kept.
    """
    tops = np.array(values.shape, np.int32).reshape(3, *[1] * (places.ndim - 1)) - 1
    places = np.clip(places, 0, tops.astype(places.dtype))
    low = np.minimum(places.astype(np.int32), tops - 1)
    z, y, x = places - low.astype(places.dtype)
    plane, row = values.shape[1] * values.shape[2], values.shape[2]
    first, flat = low[0] * plane + low[1] * row + low[2], values.reshape(-1)

    def along_x(cell: np.ndarray) -> np.ndarray:
        near = np.take(flat, cell)
        return near + (np.take(flat, cell + 1) - near) * x

    upper = along_x(first)
    upper += (along_x(first + row) - upper) * y
    lower = along_x(first + plane)
    lower += (along_x(first + plane + row) - lower) * y
    return upper + (lower - upper) * z


def sample_scan(volume: np.ndarray, labels: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (linear, float32) and labels (nearest) at positions of a scan; 0 outside.

    Args:
        volume: (D, H, W) float32.
        labels: (D, H, W) integers.
        places: (3, ...) float32 in voxels.
    """
    limit = np.array(volume.shape, np.int32).reshape(3, *[1] * (places.ndim - 1))
    near = np.rint(places).astype(np.int32)
    inside = ((near >= 0) & (near < limit)).all(axis=0)
    z, y, x = near * inside
    cell = (z * volume.shape[1] + y) * volume.shape[2] + x
    found = np.take(labels.reshape(-1), cell) * inside
    some = inside & np.take(_dilate(volume != 0).reshape(-1), cell)
    values = np.zeros(places.shape[1:], np.float32)
    values[some] = interpolate_volume(volume, places[:, some])
    return values, found.astype(labels.dtype)


def rescan(rng: np.random.Generator, volume: np.ndarray, noise: float) -> np.ndarray:
    """Give a volume another contrast, a smooth bias field of about 10 % and noise: (D, H, W) uint8.

    Args:
        rng: all chance.
        volume: (D, H, W) float32 in [0, 255].
        noise: largest standard deviation, grey levels.
    """
    gamma, gain = rng.uniform(0.8, 1.25), rng.uniform(0.9, 1.1)
    field = rng.normal(size=(3, 3, 3))
    for axis, n in enumerate(volume.shape):
        basis = linear_basis(np.linspace(0, 2, n), 3, 1.0)
        field = np.moveaxis(np.tensordot(basis, field, axes=(1, axis)), 0, axis)
    seen = np.exp(0.1 * field.astype(np.float32)) * np.float32(255 * gain)
    seen *= (volume / np.float32(255)) ** np.float32(gamma)
    seen += rng.standard_normal(volume.shape, np.float32) * np.float32(rng.uniform(0, noise))
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)


def _dilate(some: np.ndarray) -> np.ndarray:
    """(D, H, W) bool of one: True in a voxel, or in one beside it."""
    for axis in range(3):
        ahead, behind = (tuple(slice(*cut) if k == axis else slice(None) for k in range(3)) for cut in _CUTS)
        wide = some.copy()
        wide[ahead] |= some[behind]
        wide[behind] |= some[ahead]
        some = wide
    return some


@lru_cache(maxsize=32)
def _node_weights(size: int) -> np.ndarray:
    """(size, 21) float32, what each node counts at each voxel along an axis."""
    return linear_basis(np.linspace(0, NODES - 1, size), NODES, 1.0).astype(np.float32)
