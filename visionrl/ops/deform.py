"""New anatomy out of one scan: smooth invertible deformations, and what differs from scanner to scanner.

A deformation is the flow along a random smooth velocity field for one unit of time, computed by scaling and
squaring (Arsigny et al., 2006, "A log-Euclidean framework for statistics on diffeomorphisms"), so nothing folds.

Convention
    Axes, vectors and points are in the order of the array, (z, y, x); the centre of a scan is the origin of its
    millimetres. Fields live on a lattice of 21 x 21 x 21 nodes from a scan's first voxel to its last, and are
    linear in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

NODES = 21
FAMILIES = ("noise", "bumps", "waves")
SQUARINGS = 6

_CUTS = ((1, None), (None, -1))


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a scan are.

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
class Deformation:
    """Which place of a source scan each place of a new scan shows.

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
        z, y, x = (_between(n) for n in self.target.shape)
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
            here = vectors(self.places, (found / scale).T).T
            beyond = found - np.clip(found, 0, np.array(self.target.shape) - 1)
            found = found + 0.7 * (points - here - beyond * slope) / slope
        return found


def deformation(
    rng: np.random.Generator, family: str, source: Grid, target: Grid, strength_mm: float
) -> Deformation:
    """A random one of a new scan; see ``flow``.

    Args:
        rng: all chance.
        family: kind of bending, one of ``FAMILIES``.
        source: grid of the scan that is deformed.
        target: grid of the new scan.
        strength_mm: root mean square of the velocity.

    Raises:
        ValueError: there is no such family.
    """
    return Deformation(source, target, flow(rng, family, source, strength_mm)(target.nodes()))


def flow(
    rng: np.random.Generator, family: str, source: Grid, strength_mm: float
) -> Callable[[np.ndarray], np.ndarray]:
    """A random map from (..., 3) millimetres about a new scan's middle to voxels of the source.

    It turns by up to 6 degrees, scales by up to 8 %, shifts by up to 10 mm and bends. The arguments are those of
    ``deformation``.
    """
    bend = exponential(velocity(rng, family, source, strength_mm), source)
    turn = rotation(np.radians(rng.uniform(-6, 6, 3))) * rng.uniform(0.92, 1.08, 3)
    shift = rng.uniform(-10, 10, 3)

    def place(mm: np.ndarray) -> np.ndarray:
        moved = mm @ turn.T + shift
        at = source.to_voxels(moved) / (np.array(source.shape) - 1) * (NODES - 1)
        bent = moved + np.moveaxis(vectors(bend, np.moveaxis(at, -1, 0)), 0, -1)
        return source.to_voxels(bent)

    return place


def velocity(rng: np.random.Generator, family: str, grid: Grid, strength_mm: float) -> np.ndarray:
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
        centres, widths = at.reshape(-1, 3)[rng.integers(at[..., 0].size, size=16)], rng.uniform(35, 70, 16)
        gaps = ((at[..., None, :] - centres) ** 2).sum(axis=-1)
        field = np.exp(-gaps / (2 * widths**2)) @ rng.normal(size=(16, 3))
    elif family == "waves":
        ways = rng.normal(size=(8, 3))
        ways *= 2 * np.pi / rng.uniform(160, 400, (8, 1)) / np.linalg.norm(ways, axis=1, keepdims=True)
        field = np.sin(at @ ways.T + rng.uniform(0, 2 * np.pi, 8)) @ rng.normal(size=(8, 3))
    else:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}")
    return field * strength_mm / np.sqrt((field**2).sum(axis=-1).mean())


def exponential(field: np.ndarray, grid: Grid) -> np.ndarray:
    """(21, 21, 21, 3) displacement in millimetres after one unit of time along a velocity, by squaring 6 times."""
    index = np.indices(field.shape[:3]).astype(float)
    step = (np.array(grid.shape) - 1) * grid.spacing / (NODES - 1)
    bend = field / 2**SQUARINGS
    for _ in range(SQUARINGS):
        bend = bend + np.moveaxis(vectors(bend, index + np.moveaxis(bend / step, -1, 0)), 0, -1)
    return bend


def vectors(field: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(3, ...) vectors of a (D, H, W, 3) field at places (3, ...) in nodes; see ``linear``."""
    return np.stack([linear(np.ascontiguousarray(field[..., k]), places) for k in range(3)])


def linear(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values (D, H, W) between their nodes, at places (3, ...): (...); beyond the outermost nodes those count."""
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


def look_up(volume: np.ndarray, labels: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values (linear, float32) and labels (nearest) at places of a scan; 0 outside.

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
    some = inside & np.take(_around(volume).reshape(-1), cell)
    values = np.zeros(places.shape[1:], np.float32)
    values[some] = linear(volume, places[:, some])
    return values, found.astype(labels.dtype)


def _around(volume: np.ndarray) -> np.ndarray:
    """(D, H, W) bool: there is a value other than 0 in this voxel or in one beside it."""
    some = volume != 0
    for axis in range(3):
        ahead, behind = (tuple(slice(*cut) if k == axis else slice(None) for k in range(3)) for cut in _CUTS)
        wide = some.copy()
        wide[ahead] |= some[behind]
        wide[behind] |= some[ahead]
        some = wide
    return some


def rescan(rng: np.random.Generator, volume: np.ndarray, noise: float) -> np.ndarray:
    """(D, H, W) uint8: another contrast, a smooth bias field of about 10 %, noise.

    Args:
        rng: all chance.
        volume: (D, H, W) float32 in [0, 255].
        noise: standard deviation at most, grey levels.
    """
    gamma, gain = rng.uniform(0.8, 1.25), rng.uniform(0.9, 1.1)
    field = rng.normal(size=(3, 3, 3))
    for axis, n in enumerate(volume.shape):
        line, knots = np.linspace(0, 2, n), np.arange(3)
        hat = np.maximum(1 - np.abs(line[:, None] - knots), 0)
        field = np.moveaxis(np.tensordot(hat, field, axes=(1, axis)), 0, axis)
    seen = np.exp(0.1 * field.astype(np.float32)) * np.float32(255 * gain)
    seen *= (volume / np.float32(255)) ** np.float32(gamma)
    seen += rng.standard_normal(volume.shape, np.float32) * np.float32(rng.uniform(0, noise))
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)


@lru_cache(maxsize=32)
def _between(size: int) -> np.ndarray:
    """(size, 21) float32, what each node counts at each voxel along an axis."""
    at = np.linspace(0, NODES - 1, size)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(NODES)), 0).astype(np.float32)


def rotation(angles: np.ndarray) -> np.ndarray:
    """(3, 3) rotation by angles in radians about the first, then the second, then the third axis."""
    whole = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        whole = turn @ whole
    return whole
