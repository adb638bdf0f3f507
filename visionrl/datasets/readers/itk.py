"""Scans that SimpleITK reads: ``"nrrd:FOLDER"``, ``"mha:FOLDER"``, ``"dicom:FOLDER"``.

NRRD (.nrrd, .nhdr) and MetaImage (.mha, .mhd): layouts, landmarks and labels as in ``readers.scans``. A file must state
its spacing; its unit of length is heeded (``space units``, ``DistanceUnits``). Voxels lie in the file, or in one in its
folder.

DICOM: every folder in FOLDER, at any depth, that holds one series is a scan, named by its path; so is FOLDER itself. A
landmark file (.txt, .csv, .fcsv, .mrk.json) or a label map (.nrrd, .mha; "label", "seg" or "mask" in its name) lies in
the scan's folder, or beside it under the folder's name; every series must have one of the two, or none has. Slices must
be evenly spaced, of one size, orientation and unit; each has its own slope and intercept. The subject is the PatientID,
else the name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.guard import decoding, refuse
from visionrl.datasets.limits import check_volume_size
from visionrl.datasets.readers.dicom_pixels import check_lengths, check_pixels
from visionrl.datasets.readers.files import check_folder, folders_below, has_suffix, is_hidden
from visionrl.datasets.readers.scan_grid import SIGNS, Grid, check_grid
from visionrl.datasets.readers.scan_points import SUFFIXES as POINT_SUFFIXES
from visionrl.datasets.readers.scan_points import read_points
from visionrl.datasets.readers.scans import attempt, goes_on, label_names, place_each, read_case, read_scans
from visionrl.datasets.readers.volume_header import Header, check_voxels, read_header
from visionrl.datasets.samples import VolumeSample

SUFFIXES = {"nrrd": (".nrrd", ".nhdr"), "mha": (".mha", ".mhd")}
SPACING, PHOTOMETRIC = "0028|0030", "0028|0004"
SHARED = (
    "0028|0010",
    "0028|0011",
    SPACING,
    PHOTOMETRIC,
    "0028|0002",
    "0054|1001",
    "0010|0020",
)  # rows, columns, ..., units, patient
GREY = ("", "MONOCHROME1", "MONOCHROME2")
SCALING = ("0028|1052", "0028|1053", "0028|0100", "0028|0103")  # intercept, slope, bits, sign
ITK = (*SUFFIXES["nrrd"], *SUFFIXES["mha"])
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
        ValueError: there is none.
    """
    found = {folder: attempt(open_series, folder) for folder in (path, *folders_below(check_folder(path)))}
    opened = {folder: grid for folder, grid in found.items() if grid is not None}
    if not opened:
        raise ValueError(f"{path} must hold folders with a DICOM series each, found none")
    files = {folder: _side_files(folder) for folder in opened}
    bare = (
        []
        if not any(map(any, files.values()))
        else [folder for folder, both in files.items() if not any(both)]
    )
    opened |= {folder: _lacking(folder) for folder in bare}
    points = {folder: attempt(read_points, file) if file else None for folder, (file, _) in files.items()}
    opened |= {folder: one for folder, one in points.items() if isinstance(one, ValueError)}
    good = [folder for folder, grid in opened.items() if not isinstance(grid, ValueError)]
    placed = place_each([opened[folder] for folder in good], [points[folder] for folder in good], "LPS")
    at, names, entries = dict(zip(good, placed, strict=True)), label_names(path), []
    for folder, grid in opened.items():
        name = folder.relative_to(path).as_posix() if folder != path else path.name
        wrong = next((one for one in (grid, at.get(folder)) if isinstance(one, ValueError)), None)
        read: Any = partial(_case, grid, files[folder][1], at.get(folder), names)
        entries.append(
            Entry(name, "" if wrong else patient(folder), partial(refuse, wrong) if wrong else read)
        )
    return [replace(entry, subject=entry.subject or entry.name) for entry in entries]


def _case(grid: Grid, labels: Path | None, points: Any, names: dict[int, str]) -> VolumeSample:
    """One series with its landmarks or its label map."""
    return read_case(grid, open_itk(labels) if labels else None, points, names)


def _lacking(folder: Path) -> ValueError:
    """The error of a series that has no landmarks where others have."""
    return ValueError(
        f"{folder} must have a landmark file ({', '.join(POINT_SUFFIXES)}) or a label map, found neither"
    )


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


@contextmanager
def quiet(itk: Any) -> Iterator[None]:
    """Keep ITK from writing warnings to stderr, such as that a folder holds no series."""
    shown = itk.ProcessObject.GetGlobalWarningDisplay()
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        itk.ProcessObject.SetGlobalWarningDisplay(shown)


def open_itk(file: Path) -> Grid:
    """The header of a NRRD or MetaImage file.

    Raises:
        ImportError: SimpleITK is missing.
        ValueError: it is no such file, does not state its spacing, or is not 3D.
    """
    itk, header = simple_itk(), read_header(file)
    reader = itk.ImageFileReader()
    reader.SetFileName(str(file))
    if file.suffix not in ITK:  # ITK knows suffixes in small letters only
        reader.SetImageIO("NrrdImageIO" if file.suffix.lower() in (".nrrd", ".nhdr") else "MetaImageIO")
    with decoding(file, f"must be a {file.suffix} file"):
        reader.ReadImageInformation()
    if reader.GetNumberOfComponents() != 1:
        raise ValueError(f"{file} must hold one number a voxel, got {reader.GetNumberOfComponents()}")
    affine = _affine(reader)
    affine[:3] *= header.factor
    return check_grid(Grid(file, reader.GetSize(), affine, partial(_checked_voxels, reader, header)))


def _checked_voxels(reader: Any, header: Header) -> np.ndarray:
    """The (I, J, K) array of a file, once its checksum is right."""
    check_voxels(header)
    with decoding(header.file):
        return _voxels(reader)


def open_series(folder: Path) -> Grid | None:
    """The one DICOM series of a folder, None where there is none.

    Raises:
        ImportError: SimpleITK is missing.
        ValueError: there are several, or slices are uneven.
    """
    itk = simple_itk()
    slices = [file for file in sorted(folder.iterdir()) if file.is_file() and not _side(file)]
    if not slices:
        return None
    for file in slices:
        check_lengths(file)
    with quiet(itk), decoding(folder, "must hold slices that GDCM can read"):
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
    read, suffix = {Path(file).name for file in files}, Path(files[0]).suffix
    lost = [file for file in slices if file.suffix == suffix and file.name not in {*read, "DICOMDIR"}]
    lost = [file for file in lost if not is_hidden(file.name)]
    if lost:
        raise ValueError(f"{lost[0]} must be a slice of the series, as the other {len(files)} files are")
    heads, step = _slices(files)
    affine = _affine(heads[0])
    affine[:3, 2] = step * SIGNS
    shape = (*heads[0].GetSize()[:2], len(files))
    stored = sum(Path(file).stat().st_size for file in files)
    check_volume_size(folder, shape, 1, stored, deflated=True)
    if {_scaling(head) for head in heads} != {_scaling(heads[0])}:
        reader.SetOutputPixelType(itk.sitkFloat64)  # else that of the first slice is taken for all
    return check_grid(Grid(folder, shape, affine, partial(_series, reader, folder, files, heads[0])))


def _series(reader: Any, folder: Path, files: Sequence[str], head: Any) -> np.ndarray:
    """The (I, J, K) array of a series; ITK turns MONOCHROME1 into MONOCHROME2."""
    for file in files:
        check_pixels(Path(file), *head.GetSize()[:2])
    with decoding(folder):
        return _voxels(reader)


def _scaling(head: Any) -> tuple[Any, ...]:
    """Slope and intercept from the stored numbers of a slice to its values; whole numbers are its kind, too."""
    return (head.GetPixelID(), *(_tag(head, tag) for tag in SCALING))


def _tag(head: Any, tag: str) -> str:
    """The text of a tag, empty where a slice has none."""
    return head.GetMetaData(tag).strip() if head.HasMetaDataKey(tag) else ""


def _slices(files: Sequence[str]) -> tuple[list[Any], np.ndarray]:
    """The headers of the slices, and the way from slice to slice, (3,) millimetres in LPS.

    Raises:
        ValueError: there is only one, or they are uneven, or differ in what all must share.
    """
    heads = [_head(file) for file in files]
    if len(heads) < 2:
        raise ValueError(
            f"{Path(files[0]).parent} must hold a DICOM series of two slices or more, got {len(heads)}"
        )
    for file, head in zip(files, heads, strict=True):
        facts = [(_tag(head, tag), _tag(heads[0], tag)) for tag in SHARED]
        if differ := [pair for pair in facts if pair[0] != pair[1]]:
            raise ValueError(f"{file} must have what {files[0]} has, {differ[0][1]!r}, got {differ[0][0]!r}")
        if (kind := _tag(head, PHOTOMETRIC)) not in GREY:
            raise ValueError(f"{file} must be grey, {' or '.join(GREY[1:])}, got {kind!r:.100}")
        sides = [float(word) for word in _tag(head, SPACING).split("\\") if word]
        intercept, slope = (
            float(_tag(head, tag) or other) for tag, other in zip(SCALING, (0, 1), strict=False)
        )
        if not slope or not np.isfinite([slope, intercept]).all():
            raise ValueError(
                f"{file} must have a finite RescaleSlope other than 0 and intercept, got {slope:g} and {intercept:g}"
            )
        if not all(0 < side < 1e6 for side in sides):
            raise ValueError(f"{file} must have a PixelSpacing > 0, got {_tag(head, SPACING)!r:.100}")
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
    return heads, middle


def _head(file: str) -> Any:
    reader = simple_itk().ImageFileReader()
    reader.SetFileName(file)
    reader.LoadPrivateTagsOff()
    with decoding(file, "must be a DICOM file"):
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
    return has_suffix(file, (*POINT_SUFFIXES, *ITK, ".json"))


def _side_files(folder: Path) -> tuple[Path | None, Path | None]:
    """The landmark file and the label map of a series, None where there is none."""
    inside = [
        file
        for file in sorted(folder.iterdir())
        if file.is_file() and not file.name.startswith(("labels.", "."))
    ]
    near = [file for file in sorted(folder.parent.iterdir()) if file.is_file() and not is_hidden(file.name)]
    beside = [file for file in near if goes_on(file.name, folder.name)]
    points = [file for file in (*inside, *beside) if has_suffix(file, POINT_SUFFIXES)]
    maps = [file for file in (*inside, *beside) if has_suffix(file, ITK)]
    maps = [file for file in maps if any(word in file.stem.lower() for word in ("label", "seg", "mask"))]
    return points[0] if points else None, maps[0] if maps else None
