"""Landmarks in one CSV file: ``"csv:FOLDER"`` or ``"csv:FILE"``.

In a folder it is ``points.csv``, or the only CSV file. The first line is a header. The first column is the
image's file name, sought beside the CSV file and in ``images`` beside it. The others are coordinates, two
columns a point: either ``NAME_x`` and ``NAME_y``, or under any other header x0, y0, x1, y1, ..., and then the
points are named "0", "1", ... Coordinates are in pixels from 0: whole numbers are pixel centres. A point
whose two cells are empty is not in the image.

A sample is named by its file name without the suffix. Its subject stands in a column ``subject``; without one
it is the name without a trailing ``_NUMBER`` (``Tom_Hanks_32`` and ``Tom_Hanks_51`` show one subject), unless
that leaves a single subject (``img_001``, ``img_002``, ...): then the number is a plain count and each sample
is a subject.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import IMAGE_SUFFIXES, numbers, read_image
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.text import read_rows

Columns = dict[str, tuple[int, int]]


@register_format("csv", kind=ImageSample)
def read_csv_points(path: Path, options: ReadOptions) -> list[Entry]:
    """The rows of the table, in order.

    Raises:
        ValueError: there is no table, its header is malformed, or a row is; the message names file and line.
    """
    file = path if path.is_file() else _table_of(path)
    rows = read_rows(file)
    if len(rows) < 2:
        raise ValueError(f"{file} must have a header and one row or more, got {len(rows)} lines")
    header = rows.pop(0)[1]
    if header[0].lower().endswith(IMAGE_SUFFIXES):
        raise ValueError(f"{file} must start with a header line, got {','.join(header[:3])!r}")
    for line, row in rows:
        if len(row) != len(header) or not row[0]:
            raise ValueError(
                f"{file}, line {line}: must be a file name and {len(header) - 1} cells, got {row}"
            )
    columns = _columns(header, file)
    names = [Path(row[0]).with_suffix("").as_posix() for _, row in rows]
    subjects = [row[header.index("subject")] for _, row in rows] if "subject" in header else guess(names)
    return [
        Entry(name, subject or name, partial(_read, file, line, row, columns))
        for name, subject, (line, row) in zip(names, subjects, rows, strict=True)
    ]


def _table_of(folder: Path) -> Path:
    """points.csv, or the only CSV file of a folder."""
    tables = sorted(folder.glob("*.csv"))
    if folder / "points.csv" in tables:
        return folder / "points.csv"
    if len(tables) != 1:
        found = ", ".join(table.name for table in tables) or "none"
        raise ValueError(f"{folder} must hold points.csv or a single *.csv, found {found}")
    return tables[0]


def _columns(header: list[str], file: Path) -> Columns:
    """Point name -> the indices of its x and y columns."""
    places = [j for j, title in enumerate(header) if j > 0 and title != "subject"]
    titles = [header[j] for j in places]
    if not places or len(places) % 2:
        raise ValueError(f"{file} must have two columns a point, got {len(places)} columns of coordinates")
    if not all(re.fullmatch(r".+_[xy]", title) for title in titles):
        return {str(n): (places[2 * n], places[2 * n + 1]) for n in range(len(places) // 2)}
    names = list(dict.fromkeys(title[:-2] for title in titles))
    if sorted(titles) != sorted(f"{name}_{axis}" for name in names for axis in "xy"):
        raise ValueError(f"{file} must have NAME_x and NAME_y once for every point, got {', '.join(titles)}")
    return {name: (header.index(f"{name}_x"), header.index(f"{name}_y")) for name in names}


def guess(names: list[str]) -> list[str]:
    """The subject of each name: without a trailing ``_NUMBER``, unless that leaves a single subject."""
    subjects = [re.sub(r"_\d+$", "", name) for name in names]
    return subjects if len(set(subjects)) > 1 else list(names)


def _read(file: Path, line: int, row: list[str], columns: Columns) -> ImageSample:
    """The image of a row with its points."""
    where = f"{file}, line {line}"
    places = [file.parent / row[0], file.parent / "images" / row[0]]
    picture = next((place for place in places if place.is_file()), None)
    if picture is None:
        raise ValueError(f"{where}: picture {row[0]!r} must lie beside the table or in images")
    cells = {name: [row[x], row[y]] for name, (x, y) in columns.items()}
    points = {name: numbers(pair, 2, f"{where}, point {name!r}") for name, pair in cells.items() if any(pair)}
    return ImageSample(read_image(picture), points=points)
