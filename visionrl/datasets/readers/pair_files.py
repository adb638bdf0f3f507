"""The files of one pair, of images or of volumes; what ``pairs:`` and ``learn2reg:`` share.

Points
    Of images: text with two numbers a line, or CSV with a header, whose columns ``x`` and ``y`` (or ``col`` and
    ``row``, in any case) are read; where there is a column before them, it names the points. Pixels from 0, whole
    numbers being centres. Of volumes: as in ``readers.scan_points``, .csv, .txt, .fcsv or .mrk.json, in voxel indices
    or millimetres.
    Where both files name their points, those that both have are taken; else line n of both is one place, and files of
    different length are refused.
Maps
    d rows of d + 1 numbers (or one more row 0 .. 0 1), from the fixed image to the moving one, in pixels; for volumes
    a line ``# voxel``, ``# RAS`` or ``# LPS`` may say what places are: indices (i, j, k) of the files, the default, or
    millimetres.
Label maps
    Images or volumes of whole numbers on the grid of their image. A NIfTI file of 4 axes holds one label in each last
    index, from 1; where several are set, the last counts.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.readers.files import check_inside, has_suffix, numbers, read_image
from visionrl.datasets.readers.itk import open_itk
from visionrl.datasets.readers.label_maps import read_label_map
from visionrl.datasets.readers.nifti import SUFFIXES as NIFTI
from visionrl.datasets.readers.nifti import open_nifti, open_stack
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
from visionrl.datasets.readers.scan_points import SYSTEMS, PointsFile
from visionrl.datasets.readers.scan_points import read_points as read_scan_points
from visionrl.datasets.readers.scans import place
from visionrl.datasets.samples import PairSample
from visionrl.datasets.text import read_rows, read_text

VOLUMES = (*NIFTI, ".mha", ".mhd", ".nrrd", ".nhdr")
SIDES = ("fixed", "moving")
AXES = {"x": ("x", "x_px", "col", "column"), "y": ("y", "y_px", "row")}
FILES = ("transform", "start", *(f"{side}_{what}" for side in SIDES for what in ("points", "mask")))
Cells = dict[str, str]  # what each file of a pair is called, and what is written about it
Named = tuple[list[str], np.ndarray]  # names, empty where there are none, and points


def is_volume(file: Path) -> bool:
    """True if a file is a volume, by its name."""
    return has_suffix(file, VOLUMES)


def read_pair(folder: Path, cells: Cells, where: str, system: str | None = None) -> PairSample:
    """The pair that a row of a table, or a folder, describes.

    Args:
        folder: in which the files are.
        cells: ``fixed``, ``moving``, and any of ``fixed_points``, ``moving_points``, ``transform``, ``start``,
            ``fixed_mask``, ``moving_mask`` (files), ``fixed_modality``, ``moving_modality``, ``fixed_spacing_mm``,
            ``moving_spacing_mm``.
        where: begins the messages.
        system: what the points of volumes are where their file does not say; None guesses.

    Raises:
        ValueError: a file is missing or malformed.
    """
    if missing := [key for key in SIDES if not cells.get(key)]:
        raise ValueError(f"{where}: must name the {missing[0]} image")
    for key in {*SIDES, *FILES} & set(cells):
        check_inside(folder / cells[key], folder, where=where)
    files = {key: folder / cells[key] for key in SIDES}
    for key, file in files.items():
        if not file.is_file():
            raise ValueError(f"{where}: the {key} image {file} must exist")
    shown = [is_volume(file) for file in files.values()]
    if not any(shown):
        return _images(folder, cells, where)
    if not all(shown):
        kinds = " and ".join(f"{'3D' if is_volume(file) else '2D'} {file.name}" for file in files.values())
        raise ValueError(f"{where}: fixed and moving must be of one dimension, got {kinds}")
    return _volumes(folder, cells, where, system)


def _modalities(cells: Cells) -> tuple[str, str]:
    return cells.get("fixed_modality", ""), cells.get("moving_modality", "")


def _images(folder: Path, cells: Cells, where: str) -> PairSample:
    """A pair of images."""
    points = [read_points(folder / cells[f"{k}_points"]) if f"{k}_points" in cells else None for k in SIDES]
    fixed, moving = _matched(points[0], points[1], where)
    spacing = [cells[f"{key}_spacing_mm"] for key in SIDES if f"{key}_spacing_mm" in cells]
    others: dict[str, Any] = {
        key: read_map(folder / cells[key]) for key in ("transform", "start") if key in cells
    }
    others |= {
        key: read_label_map(folder / cells[key]) for key in ("fixed_mask", "moving_mask") if key in cells
    }
    return PairSample(
        read_image(folder / cells["fixed"]),
        read_image(folder / cells["moving"]),
        fixed,
        moving,
        modalities=_modalities(cells),
        spacing_mm=numbers(spacing, 2, f"{where}: spacing_mm of fixed and of moving") if spacing else None,
        **others,
    )


def _volumes(folder: Path, cells: Cells, where: str, system: str | None) -> PairSample:
    """A pair of volumes."""
    if stated := [key for key in cells if key.endswith("_spacing_mm") and cells[key]]:
        raise ValueError(f"{where}: {stated[0]} must be left out for volumes, whose files state it")
    grids = [open_grid(folder / cells[key]) for key in SIDES]
    others: dict[str, Any] = {}
    given = [folder / cells[f"{key}_points"] if f"{key}_points" in cells else None for key in SIDES]
    if given[0] and given[1]:
        points = _placed(grids, [given[0], given[1]], where, system)
        others |= dict(zip(("fixed_points", "moving_points"), points, strict=True))
    elif given[0] or given[1]:
        raise ValueError(f"{where}: points must be given of both volumes, got {given[0] or given[1]} alone")
    others |= {
        key: map_of_volumes(folder / cells[key], grids[0], grids[1])
        for key in ("transform", "start")
        if key in cells
    }
    others |= {
        f"{key}_mask": read_labels(folder / cells[f"{key}_mask"], grid)
        for key, grid in zip(SIDES, grids, strict=True)
        if f"{key}_mask" in cells
    }
    fixed, moving = (to_grey(to_volume(grid), grid.file)[None] for grid in grids)
    spacing = np.stack([volume_spacing(grid) for grid in grids])
    affines = np.stack([volume_affine(grid) for grid in grids])
    return PairSample(
        fixed, moving, modalities=_modalities(cells), spacing_mm=spacing, affines=affines, **others
    )


def open_grid(file: Path) -> Grid:
    """The header of a volume of any format that is read.

    Raises:
        ValueError: it is no such file, states no affine, or its spacing is not > 0.
    """
    return (open_nifti if has_suffix(file, NIFTI) else open_itk)(file)


def read_labels(file: Path, image: Grid) -> np.ndarray:
    """(D, H, W) label map on the grid of a volume.

    Raises:
        ValueError: it is missing, on another grid, or holds other than whole numbers >= 0, or no label.
    """
    if not file.is_file():
        raise ValueError(f"label map {file} must exist")
    maps = open_stack(file) if has_suffix(file, NIFTI) else [open_itk(file)]
    for one in maps:
        same_grid(one, image)
    if len(maps) == 1:
        return to_labels(to_volume(maps[0]), file)
    whole = np.zeros(to_volume(maps[0]).shape, np.uint8)
    for label, one in enumerate(maps, start=1):
        whole[to_volume(one) > 0] = label
    return to_labels(whole, file)


def _placed(grids: list[Grid], files: list[Path], where: str, system: str | None) -> list[np.ndarray]:
    """(N, 3) points of both volumes, in voxels, that belong to each other."""
    for file in files:
        if not file.is_file():
            raise ValueError(f"point file {file} must exist")
    found = [read_scan_points(file) for file in files]
    names = [[name for name, at in one.points.items() if at is not None] for one in found]
    named = any(some != [str(k) for k in range(len(some))] for some in names)
    if not named and len(names[0]) != len(names[1]):
        raise ValueError(_lengths(where, len(names[0]), len(names[1])))
    shared = [name for name in names[0] if name in names[1]]
    if not shared:
        raise ValueError(f"{where}: the point files must share a name, got {names[0][:3]} and {names[1][:3]}")
    kept: list[PointsFile | None] = [
        replace(one, points={n: one.points[n] for n in shared}, system=one.system or system) for one in found
    ]
    world = "RAS" if has_suffix(grids[0].file, NIFTI) else "LPS"
    return [np.stack([at[n] for n in shared]) for at in place(grids, kept, world) if at]


def _lengths(where: str, first: int, second: int) -> str:
    return (
        f"{where}: point files must have equal length, or name their points, got {first} and {second} points"
    )


def _matched(
    fixed: Named | None, moving: Named | None, where: str
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The points of both images that belong to each other."""
    if fixed is None or moving is None:
        return fixed and fixed[1], moving and moving[1]
    if fixed[0] and moving[0]:
        shared = [name for name in fixed[0] if name in moving[0]]
        if not shared:
            raise ValueError(
                f"{where}: the point files must share a name, got {fixed[0][:3]} and {moving[0][:3]}"
            )
        first, second = (table[1][[table[0].index(name) for name in shared]] for table in (fixed, moving))
        return first, second
    if len(fixed[1]) != len(moving[1]):
        raise ValueError(_lengths(where, len(fixed[1]), len(moving[1])))
    return fixed[1], moving[1]


def read_points(file: Path) -> Named:
    """Names and (N, 2) points of a file about an image.

    Raises:
        ValueError: it is missing, or a line does not hold what it must.
    """
    if not file.is_file():
        raise ValueError(f"point file {file} must exist")
    if file.suffix.lower() != ".csv":
        lines = [
            (n, line.replace(",", " ").split()) for n, line in enumerate(_lines(file), 1) if line.strip()
        ]
        return [], np.array([numbers(row, 2, f"{file}, line {n}") for n, row in lines], float).reshape(-1, 2)
    rows = read_rows(file)
    titles = [title.lower() for title in rows[0][1]] if rows else []
    names_of = [next((axis for axis, words in AXES.items() if title in words), "") for title in titles]
    if names_of.count("x") != 1 or names_of.count("y") != 1:
        raise ValueError(
            f"{file} must have a header with x and y (or col and row), got {','.join(titles)!r:.200}"
        )
    x, y = names_of.index("x"), names_of.index("y")
    points = [
        numbers([row[k] for k in (x, y) if k < len(row)], 2, f"{file}, line {n}") for n, row in rows[1:]
    ]
    names = [row[0] for _, row in rows[1:]] if min(x, y) > 0 else []
    if len(set(names)) < len(names):
        raise ValueError(
            f"{file} must name each point once, got {next(n for n in names if names.count(n) > 1)!r} twice"
        )
    return names, np.array(points, float).reshape(-1, 2)


def read_map(file: Path, axes: int = 2, projective: bool = False) -> np.ndarray:
    """(d, d + 1) map of a file, or (d + 1, d + 1) of a homography.

    Raises:
        ValueError: the file is missing or does not hold one.
    """
    if not file.is_file():
        raise ValueError(f"transform file {file} must exist")
    lines = [line.replace(",", " ") for line in _lines(file) if line.strip() and line.lstrip()[0] != "#"]
    rows = [numbers(line.split(), axes + 1, f"{file}, row {n}") for n, line in enumerate(lines, 1)]
    table, last = np.array(rows), np.eye(axes + 1)[-1]
    if projective and len(table) == axes + 1:
        return table
    if projective or len(table) not in (axes, axes + 1) or not np.allclose(table[axes:], last):
        plain = f"{axes} rows of {axes + 1} numbers, or one more {' '.join(f'{x:g}' for x in last)}"
        raise ValueError(f"{file} must have {'3 rows' if projective else plain}, got {table.tolist()}")
    return table[:axes]


def map_of_volumes(file: Path, fixed: Grid, moving: Grid) -> np.ndarray:
    """(3, 4) map of a file, from voxels of the fixed volume to those of the moving one, as the sample has them."""
    heads = [line.lstrip("# ").strip().lower() for line in _lines(file)] if file.is_file() else []
    system = next((SYSTEMS[head] for head in heads if head in SYSTEMS), "voxel")
    matrix = read_map(file, axes=3)
    corners = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    first = to_voxels(fixed, corners, system)
    second = to_voxels(moving, corners @ matrix[:, :3].T + matrix[:, 3], system)
    linear = np.linalg.solve(first[1:] - first[0], second[1:] - second[0]).T
    return np.column_stack([linear, second[0] - linear @ first[0]])


def _lines(file: Path) -> list[str]:
    """The lines of a file of numbers."""
    return read_text(file, numeric=True).split("\n")
