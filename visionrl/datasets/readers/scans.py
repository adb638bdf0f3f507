"""Folders of scans with a landmark file or a label map each; what ``nifti:``, ``nrrd:`` and ``mha:`` share.

Layouts
    * side by side: ``a.nii.gz`` with ``a.txt`` (.csv, .fcsv, .mrk.json), or with a label map ``a_label.nii.gz``, or
      both. A label map ends in ``_``, ``-`` or ``.`` and label, labels, labelmap, seg, segmentation, dseg, mask,
      masks, gt or roi, in any case;
    * in folders: ``images/`` with ``landmarks/`` (``points/``), or with ``labels/`` (``masks/``, ``label``, ``mask``,
      ``segmentations``), or both, and also ``imagesTr/`` with ``labelsTr/``, in any case. The files of a scan have its
      name, with or without something after ``_``, ``-`` or ``.`` ("a.nii.gz" and "a_points.csv"), or the scan's name
      continues that of its file;
    * where FOLDER has no scans: one of these in every folder below (``p1/ct.nii.gz`` with ``p1/label.nii.gz``,
      ``sub-01/anat/sub-01_T1w.nii.gz``), in which a single label map or landmark file belongs to all scans. They are
      called by the folder where it has one scan, and the first folder is the subject.

Every scan must have one of the two, or none has: then there are no landmarks, as some tasks need none. Landmarks are
those of the landmark file, else the centroids of the labels, named by ``labels.csv`` (``id,name``), ``labels.json`` or
``dataset.json`` (nnU-Net) in the folder, else "label_1", ... All landmark files must name the same landmarks; one that
a scan does not show has empty cells. A label that a scan lacks is not in it.

Where landmark files do not say what their numbers are, all of a folder are voxel indices if they are whole numbers
that lie inside the scans, else millimetres if these lie inside (in the system of the format: RAS for NIfTI, LPS for the
others), else voxel indices. A warning is given where the other would fit as well.

A sample is named by its scan. Its subject is BIDS' ``sub-...`` where names begin so, else the name without a trailing
``_NUMBER``, unless that leaves a single subject. Values become bytes: see ``scan_grid.to_grey``. What is wrong with one
scan makes it a bad sample, not the folder.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.embedded.volumes import centroids
from visionrl.datasets.formats import Entry
from visionrl.datasets.guard import refuse
from visionrl.datasets.readers.csv_points import guess
from visionrl.datasets.readers.files import folders_below, has_suffix
from visionrl.datasets.readers.scan_grid import (
    Grid,
    same_grid,
    to_grey,
    to_labels,
    to_volume,
    to_voxels,
    volume_affine,
    volume_spacing,
)
from visionrl.datasets.readers.scan_points import SUFFIXES, PointsFile, read_points
from visionrl.datasets.samples import VolumeSample
from visionrl.datasets.stated_splits import split_of
from visionrl.datasets.text import read_json, read_rows

LABEL_WORDS = (
    "label",
    "labels",
    "labelmap",
    "seg",
    "segmentation",
    "dseg",
    "mask",
    "masks",
    "msk",
    "gt",
    "roi",
)
LABEL_ENDS = tuple(gap + word for word in LABEL_WORDS for gap in "_-.")
IMAGE_FOLDERS = ("images", "imagesTr", "image")
LABEL_FOLDERS = ("labels", "labelsTr", "masks", "label", "mask", "segmentations")
POINT_FOLDERS = ("landmarks", "points")
Open = Callable[[Path], Grid]


@dataclass(frozen=True)
class Case:
    """The files of one scan.

    Attributes:
        name: of the sample.
        image: the scan.
        labels: its label map.
        points: its landmarks.
        subject: who it shows.
    """

    name: str
    image: Path
    labels: Path | None
    points: Path | None
    subject: str = ""


def read_scans(folder: Path, suffixes: Sequence[str], open_grid: Open, world: str) -> list[Entry]:
    """Entries of a folder.

    Args:
        folder: see the module.
        suffixes: of scans and label maps.
        open_grid: reads the header of a file.
        world: "RAS" or "LPS", what millimetres are where a file does not say.

    Raises:
        ValueError: there is no scan, one lacks its landmarks, or these are malformed or lie outside.
    """
    cases = find_cases(folder, suffixes)
    if bare := [case for case in cases if case.labels is None and case.points is None]:
        bare = [] if len(bare) == len(cases) else bare
    opened = [attempt(_opened, case, open_grid, suffixes if case in bare else ()) for case in cases]
    good = [one for one in opened if not isinstance(one, ValueError)]
    placed = iter(place_each([grid for grid, _, _ in good], [points for _, points, _ in good], world))
    names = label_names(folder)
    entries = []
    for case, one in zip(cases, opened, strict=True):
        points = one if isinstance(one, ValueError) else next(placed)
        if isinstance(one, ValueError) or isinstance(points, ValueError):
            read: Callable[[], VolumeSample] = partial(refuse, points)
        else:
            read = partial(read_case, one[0], one[2], points, names)
        entries.append(Entry(case.name, case.subject, read))
    return entries


def attempt(function: Callable[..., Any], *args: Any) -> Any:
    """The result of a function, or the ValueError that it raises."""
    try:
        return function(*args)
    except ValueError as error:
        return error


def _opened(
    case: Case, open_grid: Open, lacking: Sequence[str]
) -> tuple[Grid, PointsFile | None, Grid | None]:
    """The header, the landmarks and the label map of a scan.

    Raises:
        ValueError: one is malformed; or it has neither, where others have (then ``lacking`` are the suffixes).
    """
    if lacking:
        raise ValueError(
            f"{case.image} must have a landmark file ({', '.join(SUFFIXES)}) or a label map "
            f"({case.name}{LABEL_ENDS[0]}{lacking[0]}), found neither beside it nor in "
            f"{', '.join((*POINT_FOLDERS, *LABEL_FOLDERS))}"
        )
    points = read_points(case.points) if case.points else None
    return open_grid(case.image), points, open_grid(case.labels) if case.labels else None


def read_case(
    grid: Grid, labels: Grid | None, points: dict[str, np.ndarray] | None, names: dict[int, str]
) -> VolumeSample:
    """One scan with its landmarks.

    Raises:
        ValueError: the label map has another grid or no label, or voxels are no numbers.
    """
    mask = None
    if labels is not None:
        same_grid(labels, grid)
        mask = to_labels(to_volume(labels), labels.file)
        known = {int(k): names.get(int(k), f"label_{k}") for k in np.unique(mask) if k}
        points = points or centroids(mask, known)
    return VolumeSample(
        to_grey(to_volume(grid), grid.file)[None],
        spacing_mm=volume_spacing(grid),
        points=points or {},
        mask=mask,
        names=known if mask is not None else {},
        affine=volume_affine(grid),
    )


def place(
    grids: Sequence[Grid], found: Sequence[PointsFile | None], world: str
) -> list[dict[str, np.ndarray] | None]:
    """Name -> (x, y, z) in voxels, for every scan that has a landmark file.

    Raises:
        ValueError: files name different landmarks, or a landmark lies outside its scan.
    """
    placed = place_each(grids, found, world)
    for one in placed:
        if isinstance(one, ValueError):
            raise one
    return placed


def place_each(grids: Sequence[Grid], found: Sequence[PointsFile | None], world: str) -> list[Any]:
    """As ``place``, with the ValueError of a bad landmark file in its place."""
    first = next((points for points in found if points), None)
    pairs = [(grid, points) for grid, points in zip(grids, found, strict=True) if points]
    same = [(grid, points) for grid, points in pairs if first and set(points.points) == set(first.points)]
    unknown = _system([(grid, points) for grid, points in same if points.system is None], world)
    placed: list[Any] = []
    for grid, file in zip(grids, found, strict=True):
        if file is None or first is None:
            placed.append(None)
        elif differ := sorted(set(file.points) ^ set(first.points)):
            text = (
                f"{file.file} must name the landmarks of {first.file}, they differ in {', '.join(differ[:5])}; "
                "give one that is not in the scan empty cells"
            )
            placed.append(ValueError(text))
        else:
            system = file.system or unknown
            placed.append(attempt(_placed, grid, file, world if system == "mm" else system))
    return placed


def _system(pairs: list[tuple[Grid, PointsFile]], world: str) -> str:
    """Infers the coordinate system of files that do not state it; see the module."""
    fits = {
        system: all(_inside(grid, to_voxels(grid, points.shown, system)).all() for grid, points in pairs)
        for system in ("voxel", world)
    }
    whole = all((points.shown == np.rint(points.shown)).all() for _, points in pairs)
    chosen = "voxel" if fits["voxel"] and (whole or not fits[world]) else world
    if pairs and all(fits.values()):
        warnings.warn(
            f"the landmarks in {pairs[0][1].file.parent} would lie inside as voxel indices and as millimetres "
            f"({world}); they are taken as {chosen}; say which in a line '# voxel', '# RAS' or '# LPS'",
            stacklevel=2,
        )
    return chosen


def _placed(grid: Grid, points: PointsFile, system: str) -> dict[str, np.ndarray]:
    """Landmarks in voxels.

    Raises:
        ValueError: one lies outside.
    """
    names = [name for name, at in points.points.items() if at is not None]
    voxels = to_voxels(grid, points.shown, system)
    for name, at, inside in zip(names, points.shown, _inside(grid, voxels), strict=True):
        if not inside:
            unit = "voxel indices" if system == "voxel" else f"millimetres ({system})"
            raise ValueError(
                f"{points.file}: landmark {name!r} must lie inside {grid.file} of "
                f"{' x '.join(map(str, grid.shape))} voxels, got {at.tolist()} as {unit}"
            )
    return dict(zip(names, voxels, strict=True))


def _inside(grid: Grid, voxels: np.ndarray) -> np.ndarray:
    """(N,) bool, which points in voxels of the volume lie in it."""
    tops = to_voxels(grid, np.array([[0.0, 0, 0], np.array(grid.shape) - 1.0]), "voxel").max(axis=0)
    return ((voxels >= -0.5) & (voxels <= tops + 0.5)).all(axis=1)


def find_cases(folder: Path, suffixes: Sequence[str]) -> list[Case]:
    """The scans of a folder with their files, by name.

    Raises:
        ValueError: there is no scan.
    """
    if cases := _cases_of(folder, suffixes):
        subjects = subjects_of([case.name for case in cases])
        return [replace(case, subject=subject) for case, subject in zip(cases, subjects, strict=True)]
    done: set[Path] = set()
    for child in folders_below(folder):
        if not done & set(child.parents):
            found = _cases_of(child, suffixes, alone=True)
            done |= {child} if found else set()
            cases += [_nested(case, child.relative_to(folder), len(found)) for case in found]
    if not cases:
        raise ValueError(
            f"{folder} must hold scans ({', '.join(suffixes)}) or a folder images with them, found none"
        )
    return cases


def _nested(case: Case, place: Path, count: int) -> Case:
    """A scan of a folder below, called by the folder where it is the only one in there."""
    name = place.as_posix() if count == 1 else f"{place.as_posix()}/{case.name}"
    return replace(case, name=name, subject=place.parts[0])


def _cases_of(folder: Path, suffixes: Sequence[str], alone: bool = False) -> list[Case]:
    """The scans of one folder with their files; with ``alone`` a single label map or landmark file belongs to all."""
    inside = {child.name.lower(): child for child in sorted(folder.iterdir()) if child.is_dir()}
    here = next((inside[name.lower()] for name in IMAGE_FOLDERS if name.lower() in inside), folder)
    scans = {stem(file, suffixes): file for file in _files(here, suffixes)}
    beside = {name: file for name, file in scans.items() if _is_label(name)}
    beside |= {twin: scans[name] for name, twin in _twins(scans).items()}
    used = set(beside.values())
    images = {name: file for name, file in scans.items() if file not in used}
    for name in LABEL_FOLDERS:
        if name.lower() in inside:
            beside.update({stem(file, suffixes): file for file in _files(inside[name.lower()], suffixes)})
    places = [here, *(inside[name] for name in POINT_FOLDERS if name in inside)]
    texts = [file for place in places for file in _files(place, SUFFIXES)]
    named = ("labels", "dataset", "readme", "license")
    points = {stem(file, SUFFIXES): file for file in texts if not _about(file, named)}
    labels_of, points_of = match(list(images), list(beside)), match(list(images), list(points))
    if alone:
        labels_of = dict.fromkeys(images, *beside) if len(beside) == 1 else labels_of
        points_of = dict.fromkeys(images, *points) if len(points) == 1 else points_of
    if lost := sorted(str(file) for name, file in beside.items() if name not in labels_of.values()):
        few = ", ".join(lost[:5]) + (", ..." if len(lost) > 5 else "")
        warnings.warn(f"label maps that belong to no scan, by their names, are not read: {few}", stacklevel=2)
    return [
        Case(name, file, beside.get(labels_of.get(name, "")), points.get(points_of.get(name, "")))
        for name, file in sorted(images.items())
    ]


def _is_label(name: str) -> bool:
    """True if a file is a label map, by its name."""
    return name.lower().endswith(LABEL_ENDS) or name.lower() in LABEL_WORDS


def _twins(names: Iterable[str]) -> dict[str, str]:
    """Label maps named by a word in front, with their scans: ``segmentation-0`` of ``volume-0``."""
    split = {name: re.match(r"([A-Za-z]+)([_.-].+)", name) for name in names}
    front = {name: (parts[1].lower() in LABEL_WORDS, parts[2]) for name, parts in split.items() if parts}
    twins = {}
    for name, (is_label, rest) in front.items():
        scans = [other for other, (label, end) in front.items() if end == rest and not label]
        if is_label and len(scans) == 1:
            twins[name] = scans[0]
    return twins


def _about(file: Path, named: Sequence[str]) -> bool:
    """True if a text file is about the data set, not about a scan: by its name, or as a list of a split."""
    return file.stem.lower() in named or bool(split_of(file.stem))


def match(names: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """Name of a scan -> name of its file: equal, else the closest that continues after a ``_``, ``-`` or ``.``."""
    found = {name: name for name in names if name in files}
    rest = sorted(set(files) - set(found), key=len)
    for name in names:
        near = [f for f in rest if goes_on(f, name) or goes_on(name, f)]
        if name not in found and near:
            found[name] = min(near, key=lambda f: abs(len(f) - len(name)))
    return found


def goes_on(longer: str, shorter: str) -> bool:
    """True if a name continues another one after a ``_``, ``-`` or ``.``."""
    return longer.startswith(shorter) and longer[len(shorter) :][:1] in ("_", "-", ".")


def stem(file: Path, suffixes: Sequence[str]) -> str:
    """A file's name without its suffix, which may have two dots, and without nnU-Net's ``_0000``."""
    ending = next(suffix for suffix in suffixes if file.name.lower().endswith(suffix))
    return file.name[: -len(ending)].removesuffix("_0000")


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of a folder, by name, hidden ones left out; none where there is no folder."""
    every = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file for file in every if has_suffix(file, suffixes) and file.name[0] != "."]


def subjects_of(names: list[str]) -> list[str]:
    """The subject of each name; see the module."""
    if all(re.match(r"sub-[A-Za-z0-9]+", name) for name in names):
        return [name.split("_")[0] for name in names]
    return guess(names)


def label_names(folder: Path) -> dict[int, str]:
    """Label -> name, from labels.csv, labels.json or dataset.json; empty where there is none.

    Raises:
        ValueError: the file is malformed.
    """
    file = next(
        (folder / n for n in ("labels.csv", "labels.json", "dataset.json") if (folder / n).is_file()), None
    )
    if file is None:
        return {}
    try:
        if has_suffix(file, ".csv"):
            found = [row for _, row in read_rows(file) if any(cell.isdecimal() for cell in row[:2])]
            pairs = [row[:2] if row[0].isdecimal() else row[1::-1] for row in found]
            return {int(label): name for label, name in pairs}
        content = read_json(file)
        pairs = content.get("labels", content).items()
        return {
            int(k) if str(k).isdigit() else int(v): str(v) if str(k).isdigit() else str(k) for k, v in pairs
        }
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{file} must give each label a name: {error}") from error
