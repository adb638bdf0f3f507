"""Maps between images, and planes and poses in volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from visionrl.datasets import VolumeSample


@dataclass(frozen=True)
class Plane:
    """A view: a plane through a volume, and the slice that it cuts.

    Attributes:
        image: (H, W) uint8, the slice, at the volume's finest spacing.
        matrix: (4, 4) float64, maps (column, row, depth, 1) in pixels of the slice to (x, y, z, 1) in voxels of the
            volume; depth is along the normal, in pixels too.
        matrix_mm: (4, 4) float64, likewise to millimetres in LPS; None where the file does not say where it lies.
    """

    image: np.ndarray
    matrix: np.ndarray
    matrix_mm: np.ndarray | None = None

    @staticmethod
    def at(image: np.ndarray, matrix: np.ndarray, affine: np.ndarray | None = None) -> Plane:
        """A slice whose place is known in voxels, and the (4, 4) from voxels to millimetres, where known."""
        return Plane(image, matrix, None if affine is None else np.asarray(affine) @ matrix)

    def joined(self, others: Sequence[Plane]) -> Plane:
        """This result: a volume has one view."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the slice."""
        known = {} if self.matrix_mm is None else {"matrix_mm": self.matrix_mm.tolist()}
        return {"matrix": self.matrix.tolist(), **known}


@dataclass(frozen=True)
class LinearMap:
    """A linear map from a fixed image to a moving one.

    Attributes:
        matrix: (d, d + 1) float64, maps (x, y, 1) in pixels of the fixed file, or (x, y, z, 1) in voxels of the fixed
            volume as it is read, to those of the moving one; whole numbers are centres.
        matrix_mm: (4, 4) float64, likewise from millimetres to millimetres in LPS; None for images, and for volumes
            whose files do not say where their voxels lie.
    """

    matrix: np.ndarray
    matrix_mm: np.ndarray | None = None

    @staticmethod
    def between(matrix: np.ndarray, affines: np.ndarray | None = None) -> LinearMap:
        """The map in pixels, and in millimetres where (2, 4, 4) from voxels of both files to LPS are known."""
        if affines is None:
            return LinearMap(matrix)
        return LinearMap(matrix, affines[1] @ np.vstack([matrix, np.eye(4)[3]]) @ np.linalg.inv(affines[0]))

    def joined(self, others: Sequence[LinearMap]) -> LinearMap:
        """This result: a pair has one map."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = {"matrix": self.matrix.tolist()}
        return plain if self.matrix_mm is None else {**plain, "matrix_mm": self.matrix_mm.tolist()}


@dataclass(frozen=True)
class DisplacementField:
    """A field of displacements that bends a moving image onto a fixed one.

    Attributes:
        field: (d, H, W) or (d, D, H, W) float32, components along (x, y) or (x, y, z): displacement, in pixels, from
            each pixel of the fixed file to the corresponding place in the moving one.
    """

    field: np.ndarray

    def joined(self, others: Sequence[DisplacementField]) -> DisplacementField:
        """This result: a pair has one field."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values: the mean and the largest length, pixels; the field itself has a file of its own."""
        lengths = np.sqrt((self.field**2).sum(axis=0))
        return {"displacement_px": {"mean": float(lengths.mean()), "largest": float(lengths.max())}}


@dataclass(frozen=True)
class ScanPose:
    """Pose of a scan under a C-arm.

    Attributes:
        numbers: (6,) float64, shifts of the scan's middle from the origin, about which the C-arm turns, millimetres,
            and the rotation vector about it, degrees; x to the patient's left, y to the back, z to the head.
        matrix_mm: (4, 4) float64, maps millimetres of the scan to millimetres in the room: those in LPS where the file
            says where its voxels lie, else from the scan's middle along its axes.
        in_lps: True where ``matrix_mm`` begins in LPS, False where it begins at the scan's middle.
        radiographs: (V, size, size) uint8, the scan in this pose as each view of the C-arm shows it.
    """

    numbers: np.ndarray
    matrix_mm: np.ndarray
    in_lps: bool
    radiographs: np.ndarray

    @staticmethod
    def of(numbers: np.ndarray, pose: np.ndarray, scan: VolumeSample, radiographs: np.ndarray) -> ScanPose:
        """The pose of a scan whose (3, 4) matrix is in millimetres from its middle."""
        room, known = np.vstack([pose, np.eye(4)[3]]), scan.affine is not None
        if known:
            spacing = np.asarray(scan.spacing_mm, float)
            centred = np.diag([*spacing, 1.0])
            centred[:3, 3] = -(np.array(scan.volume.shape[:0:-1]) - 1) / 2 * spacing
            room = room @ centred @ np.linalg.inv(scan.affine)
        return ScanPose(numbers, room, known, radiographs)

    def joined(self, others: Sequence[ScanPose]) -> ScanPose:
        """This result: a scan has one pose."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the radiographs."""
        plain = {"shift_mm": self.numbers[:3].tolist(), "turn_degrees": self.numbers[3:].tolist()}
        return {**plain, "matrix_mm": self.matrix_mm.tolist(), "in_lps": self.in_lps}
