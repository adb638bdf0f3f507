"""Pairs of 2D images: ``"pairs:FOLDER"``. The folder and those below it are searched; each may be one of these.

A table ``pairs.csv``
    One pair a row. Columns ``fixed`` and ``moving`` name the image files, beside the table. Others may be left out:
    ``fixed_points``, ``moving_points``, ``transform``, ``start`` (files), ``fixed_modality``, ``moving_modality``,
    ``fixed_spacing_mm``, ``moving_spacing_mm`` (numbers), ``fixed_mask``, ``moving_mask`` (images), ``name``,
    ``subject``.
A folder with two images
    ``fixed.*`` and ``moving.*``, or any two, the first by name being the fixed one. The points of ``NAME.png`` are in
    ``NAME.csv`` or ``NAME.txt``; ``transform.txt`` and ``start.txt`` may lie beside them.
A folder with ``img1.*``, ``img2.*``, ... and homographies ``H1to2p``, ... (Mikolajczyk & Schmid, 2005)
    ``img1`` is the fixed image of every pair; a grid of points is carried by the homography.

Points are (x, y) in pixels from 0, whole numbers being pixel centres. A text file has two numbers a line, and line n of
both files is one place. A CSV file has a header; its columns ``x`` and ``y`` (in any case) are read, or the last two.
Where there is a column before them, it names the points: then those that both files have are taken. Without names,
files of different length are refused. A map is 2 x 3 numbers (or 3 x 3 with a last row 0 0 1) from pixels of the fixed
image to those of the moving one.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import check_folder, list_images, numbers, read_image
from visionrl.datasets.samples import PairSample
from visionrl.datasets.table import read_rows

TABLE = "pairs.csv"
COLUMNS = (
    *("fixed", "moving", "fixed_points", "moving_points", "transform", "start", "fixed_modality"),
    *(
        "moving_modality",
        "fixed_spacing_mm",
        "moving_spacing_mm",
        "fixed_mask",
        "moving_mask",
        "name",
        "subject",
    ),
)
VOLUMES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")
GRID = 9  # points along each side of a homography's image


@register_format("pairs", kind=PairSample)
def read_pairs(path: Path, options: ReadOptions) -> list[Entry]:
    """The pairs of a folder and of those below it, by path.

    Raises:
        ValueError: a folder holds images but no layout fits, or a table is malformed; the message names it.
    """
    check_folder(path)
    found: list[Entry] = []
    tables = {file.parent for file in path.rglob(TABLE)}
    for folder in sorted([path, *(below for below in path.rglob("*") if below.is_dir())]):
        if not tables & set(folder.parents):  # a table also speaks for the folders below it
            found += _of_folder(folder, path)
    return found


def _of_folder(folder: Path, root: Path) -> list[Entry]:
    """The pairs of one folder, not of those below."""
    name = folder.relative_to(root).as_posix() if folder != root else folder.resolve().name
    if (folder / TABLE).is_file():
        return _of_table(folder / TABLE, "" if folder == root else f"{name}/")
    volumes = sorted(file.name for file in folder.iterdir() if file.name.lower().endswith(VOLUMES))
    if volumes:
        raise ValueError(f"{folder}: pairs must be of 2D images, got the volume {volumes[0]}")
    images = list_images(folder)
    maps = {file.name: file for file in sorted(folder.glob("H1to*p"))}
    if maps and images:
        return [_of_homography(file, images, name) for file in maps.values()]
    if len(images) not in (0, 2):
        raise ValueError(
            f"{folder} must hold two images, or {TABLE}, or H1to2p and so on, got {len(images)} images"
        )
    return [_of_two_images(folder, images, name)] if images else []


def _of_two_images(folder: Path, images: list[Path], name: str) -> Entry:
    """The pair of a folder with two images and nothing else to say which is which."""
    fixed, moving = sorted(images, key=lambda file: file.name)
    cells = {"fixed": fixed.name, "moving": moving.name}
    for key, image in (("fixed_points", fixed), ("moving_points", moving)):
        beside = [image.with_suffix(suffix) for suffix in (".csv", ".txt")]
        if tables := [file.name for file in beside if file.is_file()]:
            cells[key] = tables[0]
    cells |= {key: f"{key}.txt" for key in ("transform", "start") if (folder / f"{key}.txt").is_file()}
    return Entry(name, name, partial(_read, folder, cells, str(folder)))


def _of_table(file: Path, prefix: str) -> list[Entry]:
    """The pairs of a table."""
    rows = read_rows(file)
    header = rows[0][1] if rows else []
    unknown = [title for title in header if title not in COLUMNS]
    if not {"fixed", "moving"} <= set(header) or unknown or len(rows) < 2:
        raise ValueError(
            f"{file} must have a header with fixed and moving, others among {', '.join(COLUMNS)}, and one row or "
            f"more, got {','.join(header)!r} and {max(len(rows) - 1, 0)} rows"
        )
    entries = []
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise ValueError(f"{file}, line {line}: must have {len(header)} cells, got {row}")
        cells = {title: cell for title, cell in zip(header, row, strict=True) if cell}
        name = prefix + cells.get("name", Path(cells.get("moving", str(line))).stem)
        read = partial(_read, file.parent, cells, f"{file}, line {line}")
        entries.append(Entry(name, prefix + cells.get("subject", "") if "subject" in cells else name, read))
    return entries


def _read(folder: Path, cells: dict[str, str], where: str) -> PairSample:
    """The pair that a row of the table, or a folder, describes."""
    if missing := [key for key in ("fixed", "moving") if key not in cells]:
        raise ValueError(f"{where}: must name the {missing[0]} image")
    points = [read_points(folder / cells[key]) if key in cells else None for key in COLUMNS[2:4]]
    fixed, moving = _matched(points[0], points[1], where)
    spacing = [cells[key] for key in ("fixed_spacing_mm", "moving_spacing_mm") if key in cells]
    others: dict[str, Any] = {
        key: read_map(folder / cells[key]) for key in ("transform", "start") if key in cells
    }
    others |= {
        key: read_image(folder / cells[key])[0] for key in ("fixed_mask", "moving_mask") if key in cells
    }
    return PairSample(
        read_image(folder / cells["fixed"]),
        read_image(folder / cells["moving"]),
        fixed,
        moving,
        modalities=(cells.get("fixed_modality", ""), cells.get("moving_modality", "")),
        spacing_mm=numbers(spacing, 2, f"{where}: spacing_mm of fixed and of moving") if spacing else None,
        **others,
    )


Named = tuple[list[str], np.ndarray]  # names, empty where there are none, and points


def _matched(
    fixed: Named | None, moving: Named | None, where: str
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The points of both files that belong to each other."""
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
        raise ValueError(
            f"{where}: point files must have equal length, or name their points, got {len(fixed[1])} and "
            f"{len(moving[1])} points"
        )
    return fixed[1], moving[1]


def read_points(file: Path) -> Named:
    """Names and (N, 2) points of a file.

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
    if len(titles) < 2:
        raise ValueError(f"{file} must have a header with x and y, got {','.join(titles)!r}")
    x, y = (
        (titles.index("x"), titles.index("y"))
        if {"x", "y"} <= set(titles)
        else (len(titles) - 2, len(titles) - 1)
    )
    points = [
        numbers([row[k] for k in (x, y) if k < len(row)], 2, f"{file}, line {n}") for n, row in rows[1:]
    ]
    names = [row[0] for _, row in rows[1:]] if min(x, y) > 0 else []
    if len(set(names)) < len(names):
        raise ValueError(
            f"{file} must name each point once, got {next(n for n in names if names.count(n) > 1)!r} twice"
        )
    return names, np.array(points, float).reshape(-1, 2)


def read_map(file: Path, projective: bool = False) -> np.ndarray:
    """(2, 3) map of a file, or (3, 3) of a homography."""
    if not file.is_file():
        raise ValueError(f"transform file {file} must exist")
    rows = [line.replace(",", " ").split() for line in _lines(file) if line.strip()]
    table = np.array([numbers(row, 3, f"{file}, row {n}") for n, row in enumerate(rows, 1)])
    if projective and table.shape == (3, 3):
        return table
    if projective or len(table) not in (2, 3) or (len(table) == 3 and not np.allclose(table[2], (0, 0, 1))):
        rule = "3 rows" if projective else "2 rows of 3 numbers, or a third 0 0 1"
        raise ValueError(f"{file} must have {rule}, got {table.tolist()}")
    return table[:2]


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


def _lines(file: Path) -> list[str]:
    """The lines of a text file."""
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} must be a text file in UTF-8: {error}") from error
