"""Scans in NIfTI files, by nibabel: ``"nifti:FOLDER"``.

Layouts, landmarks and labels: see ``readers.scans``. Files are .nii, .nii.gz, or FreeSurfer's .mgz. Orientation and
spacing are those of the affine, which a file must state (sform or qform). A file of 4 axes is refused unless the fourth
has length 1.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import check_folder
from visionrl.datasets.readers.scan_grid import Grid, check_grid
from visionrl.datasets.readers.scans import read_scans
from visionrl.datasets.samples import VolumeSample

SUFFIXES = (".nii.gz", ".nii", ".mgz")


@register_format("nifti", kind=VolumeSample)
def read_nifti(path: Path, options: ReadOptions) -> list[Entry]:
    """The scans of a folder, by name.

    Raises:
        ImportError: nibabel is missing.
        ValueError: see ``readers.scans.read_scans``.
    """
    return read_scans(check_folder(path), SUFFIXES, open_nifti, "RAS")


def open_nifti(file: Path) -> Grid:
    """The header of a file.

    Raises:
        ImportError: nibabel is missing.
        ValueError: it is no such file, has no affine, or is not 3D.
    """
    image = _load(file)
    shape = image.shape[:3] if image.shape[3:] == (1,) * (len(image.shape) - 3) else image.shape
    return check_grid(Grid(file, shape, np.asarray(image.affine, float), partial(_voxels, image, shape)))


def open_stack(file: Path) -> list[Grid]:
    """The header of a file of 3 axes, or of each volume of one of 4; errors as ``open_nifti``."""
    image = _load(file)
    if len(image.shape) != 4 or image.shape[3] == 1:
        return [open_nifti(file)]
    affine = np.asarray(image.affine, float)
    return [
        check_grid(Grid(file, image.shape[:3], affine, partial(_one_of, image, k)))
        for k in range(image.shape[3])
    ]


def _load(file: Path) -> Any:
    """The image of a file that states its affine."""
    try:
        import nibabel
    except ImportError as error:
        raise ImportError("NIfTI files need nibabel: pip install 'visionrl[volumes]'") from error
    try:
        image: Any = nibabel.load(file)
    except (
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
        OSError,
        EOFError,
    ) as error:
        raise ValueError(f"{file} must be a NIfTI file: {error}") from error
    header = image.header
    if isinstance(header, nibabel.Nifti1Header) and not (
        header["sform_code"] > 0 or header["qform_code"] > 0
    ):
        raise ValueError(f"{file} must state its affine: sform_code and qform_code are both 0")
    return image


def _voxels(image: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The array of an image, scaled as its header says."""
    return np.asarray(image.dataobj).reshape(shape)


def _one_of(image: Any, number: int) -> np.ndarray:
    """One of the volumes of an image of 4 axes, likewise."""
    return np.asarray(image.dataobj[..., number])
