"""Scans in NIfTI files, by nibabel: ``"nifti:FOLDER"``.

Layouts, landmarks and labels: see ``readers.scans``. Files are .nii, .nii.gz, or FreeSurfer's .mgz. Orientation and
spacing are those of the affine, which a file must state (sform or qform), in the unit that the header states (metres,
millimetres, micrometres; millimetres where it states none). A file of 4 axes is refused unless the fourth has length 1.
Compressed files are read to their end, and their checksum is compared.
"""

from __future__ import annotations

import gzip
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.guard import decoding
from visionrl.datasets.limits import check_volume_size
from visionrl.datasets.readers.files import check_folder, has_suffix
from visionrl.datasets.readers.scan_grid import Grid, check_grid
from visionrl.datasets.readers.scans import read_scans
from visionrl.datasets.samples import VolumeSample

SUFFIXES = (".nii.gz", ".nii", ".mgz")
UNITS = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 1e-3}  # millimetres
EXTRA = 1 << 24  # bytes that header and extensions may have


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
    image, affine = _load(file)
    shape = image.shape[:3] if image.shape[3:] == (1,) * (len(image.shape) - 3) else image.shape
    return check_grid(Grid(file, shape, affine, partial(_voxels, file, shape)))


def open_stack(file: Path) -> list[Grid]:
    """The header of a file of 3 axes, or of each volume of one of 4; errors as ``open_nifti``."""
    image, affine = _load(file)
    if len(image.shape) != 4 or image.shape[3] == 1:
        return [open_nifti(file)]
    return [
        check_grid(Grid(file, image.shape[:3], affine, partial(_one_of, file, k)))
        for k in range(image.shape[3])
    ]


def _load(file: Path) -> tuple[Any, np.ndarray]:
    """The image of a file that states its affine, and this affine in millimetres."""
    try:
        import nibabel
    except ImportError as error:
        raise ImportError("NIfTI files need nibabel: pip install 'visionrl[volumes]'") from error
    with decoding(file, "must be a NIfTI file"):
        image: Any = _opened(file)
        header = image.header
        nifti = isinstance(header, nibabel.Nifti1Header)
        kind, unit = header.get_data_dtype(), UNITS[header.get_xyzt_units()[0]] if nifti else 1.0
        affine = np.array(image.affine, float)
        packed = has_suffix(file, (".gz", ".mgz"))
        check_volume_size(file, image.shape, kind.itemsize, file.stat().st_size, packed)
    if nifti and not (header["sform_code"] > 0 or header["qform_code"] > 0):
        raise ValueError(f"{file} must state its affine: sform_code and qform_code are both 0")
    affine[:3] *= unit
    return image, affine


def _opened(file: Path) -> Any:
    """The image of a file; nibabel alone knows suffixes in small letters or in capitals, not in both."""
    import nibabel
    from nibabel.fileholders import FileHolder

    ending = next(one for one in SUFFIXES if has_suffix(file, one))
    if file.name.endswith((ending, ending.upper())):
        return nibabel.load(file)
    if ending == ".mgz":
        return nibabel.MGHImage.from_file_map({"image": FileHolder(str(file))})
    with gzip.open(file) if ending == ".nii.gz" else file.open("rb") as stream:
        size = int.from_bytes(stream.read(4), sys.byteorder)
    kind = nibabel.Nifti2Image if size in (540, 0x1C020000) else nibabel.Nifti1Image
    return kind.from_file_map({"image": FileHolder(str(file))})


def _whole(file: Path) -> Any:
    """The image of a file, read to its end."""
    image, _ = _load(file)
    if not has_suffix(file, (".gz", ".mgz")):
        return image
    most = int(np.prod(image.shape, dtype=object)) * image.header.get_data_dtype().itemsize + EXTRA
    with decoding(file, "must be a whole compressed file"), gzip.open(file) as stream:
        content = stream.read(most)
        if stream.read(1):
            raise ValueError(f"{file} is damaged: it holds more bytes than its header says")
        return type(image).from_bytes(content)


def _voxels(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The array of a file, scaled as its header says."""
    with decoding(file):
        return np.asarray(_whole(file).dataobj).reshape(shape)


def _one_of(file: Path, number: int) -> np.ndarray:
    """One of the volumes of a file of 4 axes, likewise."""
    with decoding(file):
        return np.asarray(_whole(file).dataobj[..., number])
