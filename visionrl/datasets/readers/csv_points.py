"""Landmarks in one CSV file: ``"csv:FOLDER"`` or ``"csv:FILE"``.

In a folder it is ``points.csv``, or the only CSV file, or ``train.csv``, ``val.csv``, ... (see ``stated_splits``),
which are the splits. Cells are apart by comma, semicolon or tab; with the last two a number may have a decimal comma.
The first line is a header; lines with # and ``sep=;`` may precede it. The image's file name, sought beside the CSV file
and in ``images`` beside it, is in the column ``file``, ``filename``, ``image``, ``path``, ..., else in the first. The
titles of the others, in any case, say what they are:

* NAME and an axis, as in ``nose_x``, ``nose y``, ``nose.X``, ``noseX``, ``x_nose``, ``x0``: x, y, or ``col`` and
  ``row``; the two of a point in any order and place; ``[px]`` may follow, other units are refused. Plain ``x`` and
  ``y`` are of one point, "0";
* NAME and ``v``, ``vis``, ``visible`` or ``visibility``: where it is 0 (or false), the point is not in the image;
* NAME and ``conf``, ``confidence``, ``score``, ``likelihood``, ``prob`` or ``occluded``: not used;
* ``subject``: see below; ``split`` (or ``set``, ``subset``, where all its cells are splits): train, val or test;
* ``width`` and ``height`` (or ``image_width``, ``image_height``): the image's, or the row is refused;
* 0, 1, 2, 3, ... are x0, y0, x1, y1, ...; points are named "0", "1", ...;
* others (age, width, ...) are not read; a warning names those that are not known to be about the image.

A table of DeepLabCut, with its three header lines (scorer, bodyparts, coords), is read as well; one of several animals
is refused, and so is a table with a line a landmark. Coordinates are in pixels from 0: whole numbers are pixel centres;
a table whose coordinates are all within 0 to 1 is refused, they are shares of the image's sides. A point whose two
cells are empty or NaN is not in the image.

A sample is named by its file name without the suffix. Its subject stands in a column ``subject``; without one
it is the name without a trailing ``_NUMBER`` (``Tom_Hanks_32`` and ``Tom_Hanks_51`` show one subject), unless
that leaves a single subject (``img_001``, ``img_002``, ...): then the number is a plain count and each sample
is a subject.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.csv_titles import (
    ABOUT,
    AXES,
    INDEX,
    LONG,
    SIDES,
    axis_of,
    cell_of,
    path_column,
    split_column,
)
from visionrl.datasets.readers.files import (
    IMAGE_SUFFIXES,
    check_inside,
    files_ending,
    is_empty,
    numbers,
    plain_names,
    read_image,
    stated_path,
)
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.stated_splits import split_lists, split_of
from visionrl.datasets.text import read_rows

INVISIBLE = ("0", "0.0", "false", "no")
DLC = ("scorer", "bodyparts", "coords")


@dataclass
class Columns:
    """Meanings of the columns of a table.

    Attributes:
        points: name of a point -> the indices of its x and y.
        visible: name of a point -> the index of its visibility, where there is one.
        count: of all columns.
        path: indices of the columns that make the path of the image.
        subject, split: indices, None where there is no such column.
        sides: index of a column -> the axis of the image whose length it states.
    """

    points: dict[str, tuple[int, int]]
    count: int
    visible: dict[str, int] = field(default_factory=dict)
    path: tuple[int, ...] = (0,)
    subject: int | None = None
    split: int | None = None
    sides: dict[int, int] = field(default_factory=dict)


@register_format("csv", kind=ImageSample)
def read_csv_points(path: Path, options: ReadOptions) -> list[Entry]:
    """The rows of the table, in order.

    Raises:
        ValueError: there is no table, or its header is malformed; the message names file and line.
    """
    if path.is_file():
        return _entries(path, "")
    return [entry for split, file in _tables_of(path).items() for entry in _entries(file, split)]


def _tables_of(folder: Path) -> dict[str, Path]:
    """The table of a folder under "", or those of its splits: points.csv, train.csv, ..., or the only CSV file."""
    tables = files_ending(folder, ".csv")
    if folder / "points.csv" in tables:
        return {"": folder / "points.csv"}
    if len(lists := split_lists(folder, ".csv")) == len(tables) > 1:
        return lists
    if len(tables) != 1:
        found = ", ".join(table.name for table in tables) or "none"
        raise ValueError(f"{folder} must hold points.csv or a single *.csv, found {found}")
    return {"": tables[0]}


def _entries(file: Path, split: str) -> list[Entry]:
    """One entry a row."""
    rows = read_rows(file)
    if len(rows) < 2:
        raise ValueError(f"{file} must have a header and one row or more, got {len(rows)} lines")
    if rows[0][1][0].lower() == DLC[0]:
        columns, rows = _deeplabcut([row for _, row in rows[:3]], file), rows[3:]
    else:
        columns, rows = _columns(rows[0][1], [row for _, row in rows[1:]], file), rows[1:]
    _refuse_shares([row for _, row in rows], columns, file)
    paths = [_path(row, columns) or f"line {line}" for line, row in rows]
    names = plain_names([Path(path) for path in paths])
    subjects = guess(names) if columns.subject is None else [cell_of(row, columns.subject) for _, row in rows]
    entries = []
    for name, subject, (line, row) in zip(names, subjects, rows, strict=True):
        where = f"{file}, line {line}"
        stated = split if columns.split is None else _split(cell_of(row, columns.split), where)
        title = f"{split}/{name}" if split else name
        read = partial(_read, file, where, row, columns)
        entries.append(
            Entry(title, f"{split}/{subject}" if split and subject else subject or title, read, stated)
        )
    return entries


def _path(row: list[str], columns: Columns) -> str:
    """The path of the image that a row states."""
    return stated_path("/".join(cell_of(row, index) for index in columns.path))


def _refuse_shares(rows: list[list[str]], columns: Columns, file: Path) -> None:
    """Refuses a table whose coordinates are shares of the image's sides, not pixels."""
    broken = 0
    for row in rows:
        for at in columns.points.values():
            try:
                values = [float(cell_of(row, index)) for index in at]
            except ValueError:
                continue
            if not all(0 <= value <= 1 for value in values):
                return
            broken += any(0 < value < 1 for value in values)
    if broken > 1:
        raise ValueError(
            f"{file}: coordinates must be pixels, all are within 0 to 1: multiply them by the images' sides"
        )


def _split(cell: str, where: str) -> str:
    """The split that a cell states."""
    if not split_of(cell):
        raise ValueError(f"{where}: split must be train, val or test, got {cell!r:.50}")
    return split_of(cell)


def _columns(header: list[str], rows: list[list[str]], file: Path) -> Columns:
    """Read the titles of a header.

    Raises:
        ValueError: a point lacks its x or its y, has one twice or a third coordinate, or no title is understood.
    """
    if header[0].lower().endswith(IMAGE_SUFFIXES):
        raise ValueError(f"{file} must start with a header line, got {','.join(header[:3])!r}")
    lower = [title.lower() for title in header]
    path = path_column(lower)
    subject = next((j for j, title in enumerate(lower) if title == "subject" and j != path), None)
    split = split_column(lower, rows, path)
    places = [j for j in range(len(header)) if j not in (path, subject, split)]
    titles = [header[j] for j in places]
    sides = {j: SIDES[title] for j, title in enumerate(lower) if title in SIDES}
    sides = sides if len(set(sides.values())) == 2 else {}
    columns = Columns({}, len(header), path=(path,), subject=subject, split=split, sides=sides)
    if titles and titles[0] in ("0", "1") and titles == [str(int(titles[0]) + j) for j in range(len(titles))]:
        _check_even(titles, file)
        pairs = {str(n): (places[2 * n], places[2 * n + 1]) for n in range(len(places) // 2)}
        return replace(columns, points=pairs)
    found: dict[str, dict[str, int]] = {}
    unknown = []
    for place, title in zip(places, titles, strict=True):
        name, axis = axis_of(title, titles, file)
        if axis and axis in found.setdefault(name, {}) and axis != "-":
            raise ValueError(f"{file} must have each column once, got {title!r} twice")
        if axis:
            found[name][axis] = place
        else:
            unknown.append(title)
    points = {name: axes for name, axes in found.items() if set(axes) != {"-"}}
    _check_pairs(points, titles, unknown, file)
    _refuse_long(lower, rows, list(points), file)
    if lost := [title for title in unknown if title and title.lower() not in {*ABOUT, *INDEX, *SIDES}]:
        warnings.warn(
            f"{file}: columns without coordinates are not read: {', '.join(lost[:10])}", stacklevel=2
        )
    return replace(
        columns,
        points={name: (axes["x"], axes["y"]) for name, axes in points.items()},
        visible={name: axes["v"] for name, axes in points.items() if "v" in axes},
    )


def _refuse_long(titles: list[str], rows: list[list[str]], points: list[str], file: Path) -> None:
    """Refuses a table with a line a landmark, whose names stand in a column."""
    named = [j for j, title in enumerate(titles) if title in LONG and j]
    if points == ["0"] and named and len({cell_of(row, named[0]) for row in rows}) > 1:
        raise ValueError(
            f"{file} must have one line an image with NAME_x and NAME_y, got a line a landmark, named in the column "
            f"{titles[named[0]]!r}"
        )


def _check_even(titles: list[str], file: Path) -> None:
    if not titles or len(titles) % 2:
        raise ValueError(f"{file} must have two columns a point, got {len(titles)} columns of coordinates")


def _check_pairs(
    points: dict[str, dict[str, int]], titles: list[str], unknown: list[str], file: Path
) -> None:
    """Refuses points without x or y, and tables without points."""
    if not points:
        _check_even(titles, file)
        raise ValueError(
            f"{file} must have titles NAME_x and NAME_y (or 0, 1, 2, ...) for its points, got"
            f" {', '.join(titles)!r:.200}"
        )
    if any("z" in axes for axes in points.values()):
        raise ValueError(
            f"{file} must have points of two coordinates, got a third: {', '.join(titles)!r:.200}"
        )
    if any(not {"x", "y"} <= set(axes) for axes in points.values()):
        if not unknown and all(name.isdecimal() for name in points):
            _check_even(titles, file)
        raise ValueError(
            f"{file} must have NAME_x and NAME_y once for every point, got {', '.join(titles)!s:.200}"
        )


def _deeplabcut(rows: list[list[str]], file: Path) -> Columns:
    """The columns of a table of DeepLabCut.

    Raises:
        ValueError: it has no such header, or is of several animals.
    """
    heads = [row[0].lower() for row in rows[:3]]
    if heads != list(DLC):
        raise ValueError(
            f"{file} must be a table of DeepLabCut of one animal, with the header lines {', '.join(DLC)}, got "
            f"{', '.join(heads)}"
        )
    found: dict[str, dict[str, int]] = {}
    first = next((j for j, name in enumerate(rows[1]) if j and name), 1)
    for j, (name, axis) in enumerate(zip(rows[1], rows[2], strict=False)):
        if j >= first:
            found.setdefault(name, {})[AXES.get(axis.lower(), axis)] = j
    _check_pairs(found, [f"{name}_{axis}" for name, axes in found.items() for axis in axes], [], file)
    points = {name: (axes["x"], axes["y"]) for name, axes in found.items()}
    return Columns(points, len(rows[1]), path=tuple(range(first)))


def guess(names: list[str]) -> list[str]:
    """The subject of each name: without a trailing ``_NUMBER``, unless that leaves a single subject."""
    subjects = [re.sub(r"_\d+$", "", name) for name in names]
    return subjects if len(set(subjects)) > 1 else list(names)


def _picture(file: Path, path: str, where: str) -> Path:
    """The image of a row.

    Raises:
        ValueError: it is not there, or outside the folder of the table.
    """
    roots = [file.parent, file.parent / "images"]
    options = [root / path for root in roots]
    if Path(path).suffix.lower() not in IMAGE_SUFFIXES:
        options += [root / f"{path}{suffix}" for root in roots for suffix in IMAGE_SUFFIXES]
    if Path(path).parts[:1] == ("labeled-data",):  # a project of DeepLabCut: the table lies beside the images
        options.append(file.parent / Path(path).name)
    picture = next((option for option in options if option.is_file()), None)
    if picture is None:
        raise ValueError(f"{where}: picture {path!r:.300} must lie beside the table or in images")
    return check_inside(picture, *roots, where=where)


def _read(file: Path, where: str, row: list[str], columns: Columns) -> ImageSample:
    """The image of a row with its points."""
    path = _path(row, columns)
    if len(row) != columns.count or not path:
        raise ValueError(f"{where}: must be a file name and {columns.count - 1} cells, got {row!r:.300}")
    points = {}
    for name, (x, y) in columns.points.items():
        hidden = name in columns.visible and row[columns.visible[name]].lower() in INVISIBLE
        if not hidden and not is_empty([row[x], row[y]]):
            points[name] = numbers([row[x], row[y]], 2, f"{where}, point {name!r}")
    image = read_image(_picture(file, path, where))
    for index, axis in columns.sides.items():
        if row[index] and numbers([row[index]], 1, where) != [image.shape[axis]]:
            raise ValueError(
                f"{where}: the stated {'width' if axis == 2 else 'height'} must be the picture's, "
                f"{image.shape[axis]}, got {row[index]}; the points may belong to another picture"
            )
    return ImageSample(image, points=points)
