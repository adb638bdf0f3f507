"""Scans that SimpleITK reads: ``"nrrd:FOLDER"``, ``"mha:FOLDER"``, ``"dicom:FOLDER"``.

NRRD (.nrrd, .nhdr) and MetaImage (.mha, .mhd): layouts, landmarks and labels as in ``readers.scans``. A file must state
its spacing.

DICOM: every folder in FOLDER, at any depth, that holds one series is a scan, named by its path; so is FOLDER itself. A
landmark file (.txt, .csv, .fcsv, .mrk.json) or a label map (.nrrd, .mha; "label", "seg" or "mask" in its name) lies in
the scan's folder, or beside it under the folder's name. Slices must be evenly spaced and of one orientation. The
subject is the PatientID, else the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import check_folder
from visionrl.datasets.readers.scan_grid import SIGNS, Grid, check_grid
from visionrl.datasets.readers.scan_points import SUFFIXES as POINT_SUFFIXES
from visionrl.datasets.readers.scan_points import read_points
from visionrl.datasets.readers.scans import goes_on, label_names, place, read_case, read_scans
from visionrl.datasets.samples import VolumeSample

SUFFIXES = {"nrrd": (".nrrd", ".nhdr"), "mha": (".mha", ".mhd")}
STATED = {
    ".nrrd": "space directions:",
    ".nhdr": "space directions:",
    ".mha": "ElementSpacing",
    ".mhd": "ElementSpacing",
}
HEADER_BYTES = 1 << 16
UNEVEN = 0.02  # of the distance between slices


@register_format("nrrd", kind=VolumeSample)
def read_nrrd(path: Path, options: ReadOptions) -> list[Entry]:
    """The scans of a folder, by name; errors as ``read_scans``, ImportError without SimpleITK."""
    return read_scans(check_folder(path), SUFFIXES["nrrd"], open_itk, "LPS")


@register_format("mha", kind=VolumeSample)
def read_mha(path: Path, options: ReadOptions) -> list[Entry]:
    """The scans of a folder, by name; errors as ``read_scans``, ImportError without SimpleITK."""
    return read_scans(check_folder(path), SUFFIXES["mha"], open_itk, "LPS")


@register_format("dicom", kind=VolumeSample)
def read_dicom(path: Path, options: ReadOptions) -> list[Entry]:
    """The series of all folders below, by path.

    Raises:
        ImportError: SimpleITK is missing.
        ValueError: there is none, a folder holds several, slices are uneven, or landmarks are missing or malformed.
    """
    folders = [folder for folder in (path, *sorted(check_folder(path).rglob("*"))) if folder.is_dir()]
    grids = [grid for folder in folders if (grid := open_series(folder)) is not None]
    if not grids:
        raise ValueError(f"{path} must hold folders with a DICOM series each, found none")
    files = [_side_files(grid.file) for grid in grids]
    placed = place(grids, [read_points(points) if points else None for points, _ in files], "LPS")
    names, entries = label_names(path), []
    for grid, (_, labels), points in zip(grids, files, placed, strict=True):
        name = grid.file.relative_to(path).as_posix() if grid.file != path else path.name
        read = partial(read_case, grid, open_itk(labels) if labels else None, points, names)
        entries.append(Entry(name, patient(grid.file) or name, read))
    return entries


def simple_itk(what: str = "DICOM, NRRD and MHA files need") -> Any:
    """The package; ``what`` says who asks for it.

    Raises:
        ImportError: it is missing; says how to get it.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise ImportError(f"{what} SimpleITK: pip install 'visionrl[volumes]'") from error
    return SimpleITK


def open_itk(file: Path) -> Grid:
    """The header of a NRRD or MetaImage file.

    Raises:
        ImportError: SimpleITK is missing.
        ValueError: it is no such file, does not state its spacing, or is not 3D.
    """
    reader = simple_itk().ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise ValueError(f"{file} must be a {file.suffix} file: {_last_line(error)}") from error
    with file.open("rb") as stream:
        if STATED[file.suffix.lower()].encode() not in stream.read(HEADER_BYTES):
            raise ValueError(
                f"{file} must state its affine, there is no {STATED[file.suffix.lower()]!r} in its header"
            )
    if reader.GetNumberOfComponents() != 1:
        raise ValueError(f"{file} must hold one number a voxel, got {reader.GetNumberOfComponents()}")
    return check_grid(Grid(file, reader.GetSize(), _affine(reader), partial(_voxels, reader)))


def open_series(folder: Path) -> Grid | None:
    """The one DICOM series of a folder, None where there is none.

    Raises:
        ImportError: SimpleITK is missing.
        ValueError: there are several, or slices are uneven.
    """
    itk = simple_itk()
    if not any(file.is_file() and not _side(file) for file in folder.iterdir()):
        return None
    series = itk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if len(series) > 1:
        raise ValueError(
            f"{folder} must hold one DICOM series, got {len(series)}: put each in a folder of its own"
        )
    if not series:
        return None
    reader = itk.ImageSeriesReader()
    files = reader.GetGDCMSeriesFileNames(str(folder), series[0])
    reader.SetFileNames(files)
    head, step = _slices(files)
    affine = _affine(head)
    affine[:3, 2] = step * SIGNS
    return check_grid(Grid(folder, (*head.GetSize()[:2], len(files)), affine, partial(_voxels, reader)))


def _slices(files: Sequence[str]) -> tuple[Any, np.ndarray]:
    """The header of the first slice, and the way from slice to slice, (3,) millimetres in LPS.

    Raises:
        ValueError: there is only one, or they are uneven.
    """
    heads = [_head(file) for file in files]
    if len(heads) < 2:
        raise ValueError(
            f"{Path(files[0]).parent} must hold a DICOM series of two slices or more, got {len(heads)}"
        )
    places = np.array([head.GetOrigin() for head in heads])
    steps = np.diff(places, axis=0)
    middle = np.median(steps, axis=0)
    uneven = np.abs(steps - middle).max(axis=1) > UNEVEN * max(float(np.linalg.norm(middle)), 1e-6)
    turned = [head.GetDirection() != heads[0].GetDirection() for head in heads[1:]]
    if uneven.any() or any(turned):
        number = int(np.argmax(uneven | np.array(turned)))
        raise ValueError(
            f"{files[number + 1]} must follow {files[number]} as the other slices follow each other, "
            f"{middle.round(3).tolist()} mm, got {steps[number].round(3).tolist()}; is a slice missing?"
        )
    return heads[0], middle


def _head(file: str) -> Any:
    reader = simple_itk().ImageFileReader()
    reader.SetFileName(file)
    reader.LoadPrivateTagsOff()
    reader.ReadImageInformation()
    return reader


def patient(folder: Path) -> str:
    """The PatientID of a folder's series, empty where it has none."""
    reader = simple_itk().ImageSeriesReader()
    head = _head(reader.GetGDCMSeriesFileNames(str(folder))[0])
    return head.GetMetaData("0010|0020").strip() if head.HasMetaDataKey("0010|0020") else ""


def _affine(reader: Any) -> np.ndarray:
    """(4, 4) RAS affine of a header in ITK's LPS."""
    dimension = reader.GetDimension()
    if dimension != 3:
        raise ValueError(
            f"{reader.GetFileName()} must hold one volume of 3 axes, got shape {reader.GetSize()}"
        )
    ways = np.array(reader.GetDirection()).reshape(3, 3) * np.array(reader.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = SIGNS[:, None] * ways, SIGNS * np.array(reader.GetOrigin())
    return affine


def _voxels(reader: Any) -> np.ndarray:
    """The (I, J, K) array that a reader reads."""
    return simple_itk().GetArrayFromImage(reader.Execute()).T


def _side(file: Path) -> bool:
    """True if a file is no part of a series."""
    return file.name.lower().endswith((*POINT_SUFFIXES, *SUFFIXES["nrrd"], *SUFFIXES["mha"], ".json"))


def _side_files(folder: Path) -> tuple[Path | None, Path | None]:
    """The landmark file and the label map of a series.

    Raises:
        ValueError: there is neither.
    """
    inside = [
        file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith("labels.")
    ]
    near = [file for file in sorted(folder.parent.iterdir()) if file.is_file()]
    beside = [file for file in near if goes_on(file.name, folder.name)]
    points = [file for file in (*inside, *beside) if file.name.lower().endswith(POINT_SUFFIXES)]
    maps = [file for file in (*inside, *beside) if file.suffix.lower() in STATED]
    maps = [file for file in maps if any(word in file.stem.lower() for word in ("label", "seg", "mask"))]
    if not points and not maps:
        raise ValueError(
            f"{folder} must have a landmark file ({', '.join(POINT_SUFFIXES)}) or a label map, found neither"
        )
    return points[0] if points else None, maps[0] if maps else None


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
