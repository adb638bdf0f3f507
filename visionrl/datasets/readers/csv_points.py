"""Landmarks in one CSV file: ``"csv:FOLDER"`` or ``"csv:FILE"``.

In a folder it is ``points.csv``, or the only CSV file, or ``train.csv``, ``val.csv``, ... (see ``stated_splits``),
which are the splits. Cells are apart by comma, semicolon or tab. The first line is a header. The first column is the
image's file name, sought beside the CSV file and in ``images`` beside it. The titles of the others, in any case, say
what they are:

* NAME and an axis, as in ``nose_x``, ``nose y``, ``nose.X``, ``x_nose``, ``x0``: x, y, or ``col`` and ``row``; the two
  of a point in any order and place. Plain ``x`` and ``y`` are of one point, "0";
* NAME and ``v``, ``vis``, ``visible`` or ``visibility``: where it is 0 (or false), the point is not in the image;
* NAME and ``conf``, ``confidence``, ``score``, ``likelihood``, ``prob`` or ``occluded``: not used;
* ``subject``: see below; ``split``: train, val or test;
* 0, 1, 2, 3, ... are x0, y0, x1, y1, ...; points are named "0", "1", ...;
* others (age, width, ...) are not read; a warning names those that are not known to be about the image.

A table of DeepLabCut, with its three header lines (scorer, bodyparts, coords), is read as well; one of several animals
is refused. Coordinates are in pixels from 0: whole numbers are pixel centres. A point whose two cells are empty or NaN
is not in the image.

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

AXES = {
    **dict.fromkeys(("x", "col", "column"), "x"),
    **dict.fromkeys(("y", "row"), "y"),
    **dict.fromkeys(("z", "depth"), "z"),
    **dict.fromkeys(("v", "vis", "visible", "visibility"), "v"),
    **dict.fromkeys(
        ("conf", "confidence", "score", "likelihood", "prob", "probability", "occluded", "occ"), "-"
    ),
}
WORDS = "|".join(sorted(AXES, key=len, reverse=True))
BEHIND = re.compile(rf"(.+?)[_ .\-:/]+({WORDS})|(\d+)({WORDS})", re.IGNORECASE)  # nose_x, 0x
BEFORE = re.compile(rf"({WORDS})[_ .\-:/]+(.+)|({WORDS})(\d+)", re.IGNORECASE)  # x_nose, x0
ABOUT = {
    "width",
    "height",
    "image_width",
    "image_height",
    "id",
    "image_id",
    "index",
    "age",
    "sex",
    "gender",
    "score",
}
INVISIBLE = ("0", "0.0", "false", "no")
DLC = ("scorer", "bodyparts", "coords")


@dataclass
class Columns:
    """What the columns of a table are.

    Attributes:
        points: name of a point -> the indices of its x and y.
        visible: name of a point -> the index of its visibility, where there is one.
        count: of all columns.
        path: number of columns in front that make the path of the image.
        subject, split: indices, None where there is no such column.
    """

    points: dict[str, tuple[int, int]]
    count: int
    visible: dict[str, int] = field(default_factory=dict)
    path: int = 1
    subject: int | None = None
    split: int | None = None


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
        columns, rows = _columns(rows[0][1], file), rows[1:]
    paths = [stated_path("/".join(row[: columns.path])) or f"line {line}" for line, row in rows]
    names = plain_names([Path(path) for path in paths])
    subjects = guess(names) if columns.subject is None else [_cell(row, columns.subject) for _, row in rows]
    entries = []
    for name, subject, (line, row) in zip(names, subjects, rows, strict=True):
        where = f"{file}, line {line}"
        stated = split if columns.split is None else _split(_cell(row, columns.split), where)
        title = f"{split}/{name}" if split else name
        read = partial(_read, file, where, row, columns)
        entries.append(
            Entry(title, f"{split}/{subject}" if split and subject else subject or title, read, stated)
        )
    return entries


def _cell(row: list[str], index: int) -> str:
    """A cell of a row, empty where the row is too short."""
    return row[index] if index < len(row) else ""


def _split(cell: str, where: str) -> str:
    """The split that a cell states."""
    if not split_of(cell):
        raise ValueError(f"{where}: split must be train, val or test, got {cell!r:.50}")
    return split_of(cell)


def _columns(header: list[str], file: Path) -> Columns:
    """What the titles of a header say.

    Raises:
        ValueError: a point lacks its x or its y, has one twice or a third coordinate, or no title is understood.
    """
    if header[0].lower().endswith(IMAGE_SUFFIXES):
        raise ValueError(f"{file} must start with a header line, got {','.join(header[:3])!r}")
    special = {
        title.lower(): j for j, title in enumerate(header) if title.lower() in ("subject", "split") and j
    }
    places = [j for j in range(1, len(header)) if j not in special.values()]
    titles = [header[j] for j in places]
    columns = Columns({}, len(header), subject=special.get("subject"), split=special.get("split"))
    if titles and titles[0] in ("0", "1") and titles == [str(int(titles[0]) + j) for j in range(len(titles))]:
        _check_even(titles, file)
        pairs = {str(n): (places[2 * n], places[2 * n + 1]) for n in range(len(places) // 2)}
        return replace(columns, points=pairs)
    found: dict[str, dict[str, int]] = {}
    unknown = []
    for place, title in zip(places, titles, strict=True):
        name, axis = _title(title)
        if axis and axis in found.setdefault(name, {}) and axis != "-":
            raise ValueError(f"{file} must have each column once, got {title!r} twice")
        if axis:
            found[name][axis] = place
        else:
            unknown.append(title)
    points = {name: axes for name, axes in found.items() if set(axes) != {"-"}}
    _check_pairs(points, titles, unknown, file)
    if lost := [title for title in unknown if title and title.lower() not in ABOUT]:
        warnings.warn(
            f"{file}: columns without coordinates are not read: {', '.join(lost[:10])}", stacklevel=2
        )
    return replace(
        columns,
        points={name: (axes["x"], axes["y"]) for name, axes in points.items()},
        visible={name: axes["v"] for name, axes in points.items() if "v" in axes},
    )


def _title(title: str) -> tuple[str, str]:
    """The point and the axis of a title: x, y, z, v, or - for what is not used; empty where it is none."""
    if title.lower() in AXES:
        return "0", AXES[title.lower()]
    if match := BEHIND.fullmatch(title):
        return match[1] or match[3], AXES[(match[2] or match[4]).lower()]
    if match := BEFORE.fullmatch(title):
        return match[2] or match[4], AXES[(match[1] or match[3]).lower()]
    return "", ""


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
    return Columns(points, len(rows[1]), path=first)


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
    if Path(path).parts[:1] == ("labeled-data",):  # a project of DeepLabCut: the table lies beside the images
        options.append(file.parent / Path(path).name)
    picture = next((option for option in options if option.is_file()), None)
    if picture is None:
        raise ValueError(f"{where}: picture {path!r:.300} must lie beside the table or in images")
    return check_inside(picture, *roots, where=where)


def _read(file: Path, where: str, row: list[str], columns: Columns) -> ImageSample:
    """The image of a row with its points."""
    path = stated_path("/".join(row[: columns.path]))
    if len(row) != columns.count or not path:
        raise ValueError(f"{where}: must be a file name and {columns.count - 1} cells, got {row!r:.300}")
    points = {}
    for name, (x, y) in columns.points.items():
        hidden = name in columns.visible and row[columns.visible[name]].lower() in INVISIBLE
        if not hidden and not is_empty([row[x], row[y]]):
            points[name] = numbers([row[x], row[y]], 2, f"{where}, point {name!r}")
    return ImageSample(read_image(_picture(file, path, where)), points=points)
