"""Pairs of images or of volumes: ``"pairs:FOLDER"``. The folder and those below it are searched.

Each may be one of these.

A table ``pairs.csv``
    One pair a row. Columns ``fixed`` and ``moving`` name the files, beside the table. Others may be left out:
    ``fixed_points``, ``moving_points``, ``transform``, ``start``, ``fixed_mask``, ``moving_mask`` (files; a mask is a
    label map), ``fixed_modality``, ``moving_modality`` (words), ``fixed_spacing_mm``, ``moving_spacing_mm`` (numbers,
    for images; volumes state theirs), ``name``, ``subject``, ``split`` (in every row, or it does not count).
Folders ``fixed_images`` and ``moving_images``
    Files of one name are a pair. ``fixed_labels``, ``moving_labels``, ``fixed_points``, ``moving_points`` (or
    ``..._landmarks``) may lie beside them, with files of the same names (DeepReg's layout).
A folder with two images, or two volumes
    ``fixed.*`` and ``moving.*``, or any two, the first by name being the fixed one. Points of ``NAME.png`` are in
    ``NAME.csv``, ``NAME.txt`` or ``NAME_points.csv``, its label map in ``NAME_label.png`` (_labels, _seg,
    _segmentation, _mask); ``transform.txt`` and ``start.txt`` may lie beside them.
A folder with ``img1.*``, ``img2.*``, ... and homographies ``H1to2p``, ... (Mikolajczyk & Schmid, 2005)
    ``img1`` is the fixed image of every pair; a grid of points is carried by the homography.

Volumes are .nii, .nii.gz, .mgz, .mha, .mhd, .nrrd and .nhdr. What the files hold: see ``readers.pair_files``.
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import (
    IMAGE_SUFFIXES,
    check_folder,
    folders_below,
    has_suffix,
    list_images,
    read_image,
)
from visionrl.datasets.readers.pair_files import SIDES, VOLUMES, Cells, is_volume, read_map, read_pair
from visionrl.datasets.readers.scan_points import SUFFIXES as POINTS
from visionrl.datasets.readers.scans import LABEL_ENDS, goes_on, match, stem
from visionrl.datasets.samples import PairSample
from visionrl.datasets.splits import split_of
from visionrl.datasets.text import read_rows

TABLE = "pairs.csv"
COLUMNS = (
    *("fixed", "moving", "fixed_points", "moving_points", "transform", "start", "fixed_mask", "moving_mask"),
    *(
        "fixed_modality",
        "moving_modality",
        "fixed_spacing_mm",
        "moving_spacing_mm",
        "name",
        "subject",
        "split",
    ),
)
PICTURES = (*VOLUMES, *IMAGE_SUFFIXES)
FOLDERS = tuple(f"{side}_images" for side in SIDES)
BESIDE = {"mask": ("labels", "masks"), "points": ("points", "landmarks")}  # a cell -> endings of its folder
MAPS = ("transform", "start")
GRID = 9  # points along each side of a homography's image


@register_format("pairs", kind=PairSample)
def read_pairs(path: Path, options: ReadOptions) -> list[Entry]:
    """The pairs of a folder and of those below it, by path.

    Raises:
        ValueError: a folder holds images but no layout fits, or a table is malformed; the message names it.
    """
    check_folder(path)
    found: list[Entry] = []
    folders = [path, *folders_below(path)]
    speak = {folder for folder in folders if (folder / TABLE).is_file() or _is_parallel(folder)}
    for folder in folders:
        if not speak & set(folder.parents):  # these also speak for the folders below them
            found += _of_folder(folder, path)
    return found


def _of_folder(folder: Path, root: Path) -> list[Entry]:
    """The pairs of one folder, not of those below."""
    name = folder.relative_to(root).as_posix() if folder != root else folder.resolve().name
    prefix = "" if folder == root else f"{name}/"
    if (folder / TABLE).is_file():
        return _of_table(folder / TABLE, prefix)
    if _is_parallel(folder):
        return _of_parallel(folder, prefix)
    pictures = list_pictures(folder)
    maps = {file.name: file for file in sorted(folder.glob("H1to*p"))}
    if maps and pictures:
        return [_of_homography(file, list_images(folder), name) for file in maps.values()]
    pictures = [file for file in pictures if not stem(file, PICTURES).lower().endswith(LABEL_ENDS)]
    if len(pictures) not in (0, 2):
        raise ValueError(
            f"{folder} must hold two images, or {TABLE}, or {' and '.join(FOLDERS)}, or H1to2p and so on, "
            f"got {len(pictures)} images"
        )
    return [_of_two(folder, pictures, name)] if pictures else []


def list_pictures(folder: Path) -> list[Path]:
    """The image files and volumes of a folder, by name; hidden ones are left out."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [file for file in files if has_suffix(file, PICTURES) and file.name[0] != "."]


def _of_two(folder: Path, pictures: list[Path], name: str) -> Entry:
    """The pair of a folder with two images and nothing else to say which is which."""
    files = sorted(folder.iterdir())
    labels = {stem(file, PICTURES): file.name for file in list_pictures(folder) if file not in pictures}
    points = {stem(file, POINTS): file.name for file in files if has_suffix(file, POINTS)}
    points = {key: file for key, file in points.items() if key not in MAPS}
    cells = {key: f"{key}.txt" for key in MAPS if (folder / f"{key}.txt").is_file()}
    plain = [re.sub(r"_(image|img|volume)$", "", stem(file, PICTURES)) for file in pictures]
    for side, file, own in zip(SIDES, pictures, plain, strict=True):
        cells[side] = file.name
        for key, found in (("mask", labels), ("points", points)):
            near = match([own], [other for other in found if other == own or goes_on(other, own)])
            if own in near:
                cells[f"{side}_{key}"] = found[near[own]]
    return Entry(name, name, partial(read_pair, folder, cells, str(folder)))


def _is_parallel(folder: Path) -> bool:
    """True if a folder has the layout of parallel folders."""
    return all((folder / name).is_dir() for name in FOLDERS)


def _of_parallel(folder: Path, prefix: str) -> list[Entry]:
    """The pairs of parallel folders."""
    fixed, moving = (_by_stem(folder / name) for name in FOLDERS)
    if alone := sorted(set(fixed) ^ set(moving)):
        raise ValueError(
            f"{folder}: {' and '.join(FOLDERS)} must have files of the same names, got {alone[0]!r} once"
        )
    _check_beside(folder, fixed)
    entries = []
    for name, file in fixed.items():
        cells: Cells = {"fixed": f"{FOLDERS[0]}/{file.name}", "moving": f"{FOLDERS[1]}/{moving[name].name}"}
        for side in SIDES:
            cells |= _beside(folder, side, name)
        entries.append(
            Entry(prefix + name, prefix + name, partial(read_pair, folder, cells, f"{folder}, {name}"))
        )
    return entries


def _by_stem(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by their names without ending.

    Raises:
        ValueError: two have one name.
    """
    found: dict[str, Path] = {}
    for file in list_pictures(folder):
        if (other := found.setdefault(stem(file, PICTURES), file)) != file:
            raise ValueError(f"{folder} must have one file a name, got {other.name} and {file.name}")
    return found


def _check_beside(folder: Path, known: Container[str]) -> None:
    """Refuses a label map or a file of points that belongs to no pair: it was meant for one.

    Raises:
        ValueError: there is one.
    """
    kinds = [(key, ending) for key, endings in BESIDE.items() for ending in endings]
    for side in SIDES:
        for key, ending in kinds:
            suffixes: Sequence[str] = PICTURES if key == "mask" else POINTS
            here = folder / f"{side}_{ending}"
            files = [
                file for file in (sorted(here.iterdir()) if here.is_dir() else []) if file.name[0] != "."
            ]
            lost = [
                file for file in files if has_suffix(file, suffixes) and stem(file, suffixes) not in known
            ]
            if lost:
                raise ValueError(f"{lost[0]} must have the name of a pair, there is none in {FOLDERS[0]}")


def _beside(folder: Path, side: str, name: str) -> Cells:
    """The label map and the points of one side of a pair, where they are."""
    cells: Cells = {}
    for key, endings in BESIDE.items():
        suffixes: Sequence[str] = PICTURES if key == "mask" else POINTS
        for ending in endings:
            here = folder / f"{side}_{ending}"
            for file in sorted(here.iterdir()) if here.is_dir() else []:
                if has_suffix(file, suffixes) and stem(file, suffixes) == name:
                    cells[f"{side}_{key}"] = f"{here.name}/{file.name}"
    return cells


def _of_table(file: Path, prefix: str) -> list[Entry]:
    """The pairs of a table."""
    rows = read_rows(file)
    header = [title.lower() for title in rows[0][1]] if rows else []
    odd = len(set(header)) < len(header) or set(header) - set(COLUMNS)
    if not {"fixed", "moving"} <= set(header) or odd or len(rows) < 2:
        raise ValueError(
            f"{file} must have a header with fixed and moving, others among {', '.join(COLUMNS)}, and one row or "
            f"more, got {','.join(header)!r} and {max(len(rows) - 1, 0)} rows"
        )
    entries = []
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise ValueError(f"{file}, line {line}: must have {len(header)} cells, got {row}")
        cells = {title: cell for title, cell in zip(header, row, strict=True) if cell}
        moving = Path(cells.get("moving", str(line)))
        name = prefix + cells.get("name", stem(moving, VOLUMES) if is_volume(moving) else moving.stem)
        subject, stated = prefix + cells["subject"] if "subject" in cells else name, cells.pop("split", "")
        split = split_of(stated)
        if stated and not split:
            raise ValueError(f"{file}, line {line}: split must be train, val or test, got {stated!r:.100}")
        read = partial(read_pair, file.parent, cells, f"{file}, line {line}")
        entries.append(Entry(name, subject, read, split))
    return entries if all(entry.split for entry in entries) else [replace(one, split="") for one in entries]


def _of_homography(file: Path, images: list[Path], name: str) -> Entry:
    """The pair of the first image and the one that a homography leads to."""
    number = re.sub(r"\D", "", file.name.removeprefix("H1to"))
    pair = [next((image for image in images if image.stem == f"img{k}"), None) for k in ("1", number)]
    if None in pair:
        raise ValueError(f"{file} needs the images img1 and img{number} beside it")

    def read() -> PairSample:
        fixed, moving = (read_image(image) for image in pair if image)
        lines = [(np.arange(GRID) + 0.5) / GRID * side - 0.5 for side in fixed.shape[:0:-1]]
        points = np.stack(np.meshgrid(*lines), axis=-1).reshape(-1, 2)
        carried = np.column_stack([points, np.ones(len(points))]) @ read_map(file, projective=True).T
        places = carried[:, :2] / carried[:, 2:]
        seen = ((places >= -0.5) & (places <= np.subtract(moving.shape[:0:-1], 0.5))).all(axis=1)
        return PairSample(fixed, moving, points[seen], places[seen], modalities=("photo", "photo"))

    return Entry(f"{name}/1to{number}", name, read)
