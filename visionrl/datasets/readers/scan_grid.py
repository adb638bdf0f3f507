"""Positions of a scan's voxels in the patient, and reorientation of every scan to LPS.

Convention
    An affine is (4, 4) and takes (i, j, k, 1) of the file's array to millimetres towards the patient's right, front
    and head (RAS, as NIfTI and nibabel have it). Volumes come out as (z, y, x) growing towards head, back and left
    (LPS): axes are swapped and flipped, never interpolated, so an oblique scan stays oblique.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from visionrl.datasets.readers.label_maps import refuse_soft_edges

WIDEST = 1e6  # millimetres from voxel to voxel
SIGNS = np.array([-1.0, -1.0, 1.0])  # of RAS, in which x, y and z of a volume grow
PERCENTILES = (0.5, 99.5)
MOST = 65_535  # the largest label
EXACT, LARGEST = 1e6, 1e30  # values that float32 tells apart; the widest range


UNITS_MM = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 10.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1000.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1e-6),
}


def unit_mm(unit: str, where: object) -> float:
    """Millimetres in a unit of length.

    Raises:
        ValueError: it is not known; ``where`` names the file.
    """
    if unit.strip().lower() not in UNITS_MM:
        raise ValueError(f"{where}: the unit of length must be one of mm, um, cm, m, nm, got {unit!r:.50}")
    return UNITS_MM[unit.strip().lower()]


@dataclass(frozen=True)
class Grid:
    """The voxels of one file.

    Attributes:
        file: where they are.
        shape: (I, J, K).
        affine: (4, 4), see the module.
        read: gives the (I, J, K) array.
    """

    file: Path
    shape: tuple[int, ...]
    affine: np.ndarray
    read: Callable[[], np.ndarray]

    @property
    def spacing_mm(self) -> np.ndarray:
        """(3,) along i, j and k."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


def check_grid(grid: Grid) -> Grid:
    """The grid, once it is one of a volume in millimetres.

    Raises:
        ValueError: it is not 3D, or its affine is no rotation and positive spacing.
    """
    if len(grid.shape) != 3:
        raise ValueError(f"{grid.file} must hold one volume of 3 axes, got shape {tuple(grid.shape)}")
    good = (grid.spacing_mm > 0) & (grid.spacing_mm < WIDEST)
    if not np.isfinite(grid.affine).all() or not good.all():
        rule = "must have a spacing > 0 along each axis" + (
            ", and below 1 km" if (grid.spacing_mm >= WIDEST).any() else ""
        )
        raise ValueError(f"{grid.file} {rule}, got {grid.spacing_mm.round(6).tolist()}")
    ways = grid.affine[:3, :3] / grid.spacing_mm
    if np.abs(ways.T @ ways - np.eye(3)).max() > 1e-2:
        raise ValueError(f"{grid.file} must have axes at right angles, got the affine {grid.affine.tolist()}")
    return grid


def same_grid(labels: Grid, image: Grid) -> None:
    """Refuses a label map that is not on the image's grid.

    Raises:
        ValueError: size, orientation, spacing or place differ; names both files.
    """
    what = f"{labels.file} must be on the grid of {image.file}"
    if tuple(labels.shape) != tuple(image.shape):
        raise ValueError(f"{what}, {tuple(image.shape)} voxels, got {tuple(labels.shape)}")
    if _codes(labels) != _codes(image):
        raise ValueError(f"{what}, orientation {_codes(image)}, got {_codes(labels)}")
    if np.abs(labels.affine - image.affine).max() > 0.01 * float(image.spacing_mm.min()):
        raise ValueError(f"{what}, affine {image.affine.tolist()}, got {labels.affine.tolist()}")


def to_volume(grid: Grid) -> np.ndarray:
    """The file's voxels as (z, y, x) in LPS."""
    axes, flips = _order(grid)
    voxels = np.asarray(grid.read()).transpose(axes[::-1])
    return np.ascontiguousarray(np.flip(voxels, tuple(2 - k for k in range(3) if flips[k])))


def volume_spacing(grid: Grid) -> np.ndarray:
    """(x, y, z) of ``to_volume``, millimetres."""
    return grid.spacing_mm[list(_order(grid)[0])]


def volume_affine(grid: Grid) -> np.ndarray:
    """(4, 4), takes (x, y, z, 1) in voxels of ``to_volume`` to millimetres in LPS."""
    axes, flips = _order(grid)
    to_file = np.zeros((4, 4))  # (x, y, z, 1) -> (i, j, k, 1)
    for k, axis in enumerate(axes):
        to_file[axis, k] = -1.0 if flips[k] else 1.0
        to_file[axis, 3] = grid.shape[axis] - 1.0 if flips[k] else 0.0
    to_file[3, 3] = 1.0
    return np.diag([*SIGNS, 1.0]) @ grid.affine @ to_file


def to_voxels(grid: Grid, points: np.ndarray, system: str) -> np.ndarray:
    """Points as (x, y, z) in voxels of ``to_volume``.

    Args:
        grid: of the file.
        points: (N, 3).
        system: "voxel": (i, j, k) of the file, from 0; "RAS" or "LPS": millimetres.
    """
    axes, flips = _order(grid)
    if system != "voxel":
        world = points * (SIGNS if system == "LPS" else 1.0)
        points = np.linalg.solve(grid.affine, np.c_[world, np.ones(len(world))].T).T[:, :3]
    ordered = points[:, list(axes)]
    tops = np.array(grid.shape)[list(axes)] - 1
    return np.where(flips, tops - ordered, ordered)


def to_grey(voxels: np.ndarray, file: Path) -> np.ndarray:
    """Any real voxels as uint8: cut at their 0.5th and 99.5th percentile and scaled, bytes like all others.

    What is not finite becomes the lowest value.

    Raises:
        ValueError: they are no real numbers, or all the same.
    """
    if voxels.dtype.kind not in "buif":
        raise ValueError(f"{file} must hold one real number a voxel, got {voxels.dtype}")
    finite = np.isfinite(voxels)
    if not finite.any():
        raise ValueError(f"{file} must have finite voxels, got none")
    some = voxels[::2, ::2, ::2][finite[::2, ::2, ::2]] if min(voxels.shape) > 32 else voxels[finite]
    low, high = np.percentile(some, PERCENTILES).tolist() if len(some) else (0.0, 0.0)
    if not high > low:
        low, high = float(voxels[finite].min()), float(voxels[finite].max())
    if not high > low:
        raise ValueError(f"{file} must have voxels that differ, all are {low:g}")
    if high - low > LARGEST:
        raise ValueError(f"{file} must have voxels within {LARGEST:g} of each other, got {low:g} to {high:g}")
    values = np.clip(np.where(finite, voxels, low), low, high)
    if max(abs(low), abs(high)) < EXACT:
        values = values.astype(np.float32)
    scaled = (values - values.dtype.type(low)) * values.dtype.type(255 / (high - low))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def to_labels(voxels: np.ndarray, file: Path) -> np.ndarray:
    """A label map as integers.

    Raises:
        ValueError: it holds other than whole numbers >= 0, or nothing but 0.
    """
    if (
        voxels.dtype.kind not in "buif"
        or not (np.isfinite(voxels) & (voxels >= 0)).all()
        or voxels.max() > MOST
    ):
        raise ValueError(f"{file} must hold whole numbers from 0 to {MOST}, it is a label map")
    whole = voxels.astype(np.int64)
    if not np.array_equal(whole, voxels):
        raise ValueError(f"{file} must hold whole numbers >= 0, it is a label map")
    if not whole.any():
        raise ValueError(f"{file} must have a label > 0, every voxel is 0")
    refuse_soft_edges(whole, file)
    return whole.astype(np.uint8 if whole.max() < 256 else np.int32)


def _order(grid: Grid) -> tuple[tuple[int, ...], np.ndarray]:
    """The file's axis that lies along each of x, y and z, and whether it has to be flipped."""
    ways = grid.affine[:3, :3] / grid.spacing_mm
    axes = max(permutations(range(3)), key=lambda order: sum(abs(ways[k, order[k]]) for k in range(3)))
    return axes, np.array([ways[k, axes[k]] * SIGNS[k] < 0 for k in range(3)])


def _codes(grid: Grid) -> str:
    """Three letters, where the file's i, j and k grow to, such as "RAS"."""
    axes, flips = _order(grid)
    names = [pair[int(flip)] for pair, flip in zip(("LR", "PA", "SI"), flips, strict=True)]
    return "".join(names[axes.index(axis)] for axis in range(3))
