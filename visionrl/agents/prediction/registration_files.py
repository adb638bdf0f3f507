"""Files of registrations, as ITK, ANTs and 3D Slicer read them.

Maps and fields go from the fixed image to the moving one, as those that resample an image must. Of volumes they are in
millimetres in LPS; of images in pixels, which is what ITK makes of an image whose spacing is 1.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence

import numpy as np

from visionrl.agents.prediction.agent import Prediction
from visionrl.agents.prediction.outputs import Contents, png, writes
from visionrl.core.results import DisplacementField, LinearMap, ScanPose
from visionrl.datasets import PairSample

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

Carry = Callable[[np.ndarray], np.ndarray]  # (N, d) pixels of the fixed image -> of the moving one


@writes(LinearMap)
def linear_files(prediction: Prediction) -> Contents:
    """An ITK transform, its matrix as text, and the moving image on the fixed one's grid."""
    result: LinearMap = prediction.result  # type: ignore[assignment]
    pair: PairSample = prediction.task.samples[0]  # type: ignore[attr-defined]
    matrix, axes = result.matrix, len(result.matrix)
    warped = warp(pair.moving, pair.fixed.shape[1:], lambda at: at @ matrix[:, :axes].T + matrix[:, axes])
    if axes == 2:
        whole = np.vstack([matrix, np.eye(3)[2]])
        return {
            ".tfm": itk_transform(whole),
            ".txt": matrix_text(whole),
            "-warped.png": png(warped.transpose(1, 2, 0)),
        }
    first, second = affines_of(pair)
    whole = second @ np.vstack([matrix, np.eye(4)[3]]) @ np.linalg.inv(first)
    if result.matrix_mm is None:
        text = matrix_text(np.vstack([matrix, np.eye(4)[3]]), "voxel")
    else:
        text = matrix_text(whole, "LPS")
    image = nifti(warped[0].transpose(2, 1, 0), first)
    return {".tfm": itk_transform(whole), ".txt": text, "-warped.nii.gz": compressed(image)}


@writes(DisplacementField)
def field_files(prediction: Prediction) -> Contents:
    """The field as NIfTI, as ITK and ANTs read it, and the moving image on the fixed one's grid.

    The field's file has 5 axes (x, y, z, 1, d) and the intent "vector"; components are along LPS, in millimetres, of
    images along x and y, in pixels. It is not compressed, which would save a seventh and cost seconds.
    """
    result: DisplacementField = prediction.result  # type: ignore[assignment]
    pair: PairSample = prediction.task.samples[0]  # type: ignore[attr-defined]
    field = result.field
    warped = warp(
        pair.moving, field.shape[1:], lambda at: at + field[(slice(None), *at.T[::-1].astype(int))].T
    )
    if len(field) == 2:
        vectors = field.transpose(2, 1, 0)[:, :, None, None]
        return {
            "-field.nii": nifti(vectors, np.eye(4), "vector"),
            "-warped.png": png(warped.transpose(1, 2, 0)),
        }
    first, second = affines_of(pair)
    vectors = displacement_mm(field, first, second).transpose(3, 2, 1, 0)[:, :, :, None]
    image = nifti(warped[0].transpose(2, 1, 0), first)
    return {"-field.nii": nifti(vectors, first, "vector"), "-warped.nii.gz": compressed(image)}


@writes(ScanPose)
def pose_files(prediction: Prediction) -> Contents:
    """The pose's matrix as text, from the scan to the room of the C-arm, and the radiographs beside one another."""
    result: ScanPose = prediction.result  # type: ignore[assignment]
    radiographs = np.concatenate([*result.radiographs], axis=1)
    text = matrix_text(result.matrix_mm, "LPS" if result.in_lps else "millimetres from the middle")
    return {".txt": text, "-render.png": png(radiographs[..., None])}


def displacement_mm(field: np.ndarray, fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """A field (3, D, H, W) in voxels in millimetres along LPS, given (4, 4) from voxels to LPS of both volumes."""
    found, inner = np.empty_like(field), np.indices(field.shape[2:], float)
    for row in range(field.shape[1]):
        here = np.stack([inner[1], inner[0], np.full_like(inner[0], row)])
        there, here = (
            np.tensordot(affine[:3, :3], places, axes=1) + affine[:3, 3, None, None]
            for affine, places in ((moving, here + field[:, row]), (fixed, here))
        )
        found[:, row] = there - here
    return found


def affines_of(pair: PairSample) -> tuple[np.ndarray, np.ndarray]:
    """(4, 4) from voxels to millimetres in LPS of both volumes; as far as their spacing says where it is unknown."""
    if pair.affines is not None:
        return pair.affines[0], pair.affines[1]
    first, second = (np.diag([*spacing, 1.0]) for spacing in pair.spacing_mm)
    return first, second


def itk_transform(matrix: np.ndarray) -> str:
    """An affine transform (d + 1, d + 1) as ITK's text file, ``.tfm``."""
    axes = len(matrix) - 1
    numbers = [*matrix[:axes, :axes].ravel(), *matrix[:axes, axes]]
    rows = [
        "#Insight Transform File V1.0",
        "#Transform 0",
        f"Transform: AffineTransform_double_{axes}_{axes}",
        f"Parameters: {' '.join(f'{x:.17g}' for x in numbers)}",
        f"FixedParameters: {' '.join('0' * axes)}",
    ]
    return "\n".join(rows) + "\n"


def matrix_text(matrix: np.ndarray, system: str = "") -> str:
    """A matrix row by row; above it what its places are, as ``transform.txt`` of ``pairs:`` has it."""
    rows = [" ".join(f"{x:.17g}" for x in row) for row in matrix]
    return "\n".join([f"# {system}", *rows] if system else rows) + "\n"


def warp(moving: np.ndarray, shape: Sequence[int], carry: Carry) -> np.ndarray:
    """A moving image on the grid of a fixed one, linearly; 0 where it shows nothing.

    Like ITK it shows something up to half a pixel from the centres of its outermost pixels.

    Args:
        moving: (C, H, W) or (1, D, H, W) uint8.
        shape: (H, W) or (D, H, W) of the fixed image.
        carry: (N, d) pixels of the fixed image, (x, y) or (x, y, z), -> those of the moving one.

    Returns:
        (C, *shape) uint8.
    """
    from scipy.ndimage import map_coordinates

    sides, warped = np.array(moving.shape[:0:-1]), np.zeros((len(moving), *shape), np.uint8)
    inner = np.indices(shape[1:], float).reshape(len(shape) - 1, -1)
    for row in range(shape[0]):
        index = np.concatenate([np.full_like(inner[:1], row), inner])
        places = carry(index[::-1].T)
        inside = ((places >= -0.5) & (places <= sides - 0.5)).all(axis=1)
        for channel, plane in enumerate(moving):
            seen = map_coordinates(plane, places.T[::-1], np.float32, order=1, mode="nearest")
            warped[channel, row] = np.where(inside, np.rint(seen), 0).reshape(shape[1:])
    return warped


def nifti(voxels: np.ndarray, affine: np.ndarray, intent: str = "none") -> bytes:
    """A NIfTI file.

    Args:
        voxels: axes (x, y, z, ...).
        affine: (4, 4), from (x, y, z, 1) in voxels to millimetres in LPS.
        intent: NIfTI's word for what they mean.

    Raises:
        ImportError: nibabel is missing.
    """
    try:
        import nibabel
    except ImportError as error:
        raise ImportError("NIfTI files need nibabel: pip install 'visionrl[volumes]'") from error
    image = nibabel.Nifti1Image(voxels, LPS_TO_RAS @ affine)
    image.header.set_xyzt_units("mm")
    image.header.set_intent(intent)
    return image.to_bytes()


def compressed(content: bytes) -> bytes:
    """A file compressed by gzip, fast, the same each time."""
    return gzip.compress(content, compresslevel=1, mtime=0)
