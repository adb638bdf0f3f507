"""Landmarks of one scan in a file: .txt, .csv, or 3D Slicer's .fcsv and .mrk.json.

txt, csv: a line a point, ``x, y, z`` or ``name, x, y, z``, apart by commas, semicolons, tabs (with a decimal point or
comma) or (in .txt) spaces; cells may be quoted; points without a name are called "0", "1", ... by line. A header line
may precede them; its titles, in any case and order, say which column is which: ``x``, ``y``, ``z``; ``i``, ``j``,
``k`` (voxel indices); ``r``, ``a``, ``s`` (RAS) or ``l``, ``p``, ``s`` (LPS), with or without a unit behind
(``x_mm``, ``x (um)``, ``x [voxel]``); ``name``, ``label``, ``landmark``, ``point`` or ``id``; ``defined`` 0 means
that the scan does not show it; other columns are not read. A name whose three cells are empty or NaN is a landmark
that the scan does not show. A line ``# voxel``, ``# RAS`` or ``# LPS`` says what the numbers are: indices (i, j, k)
into the file's array from 0, or millimetres towards right, front and head, or left, back and head. Without it see
``readers.scans``. Other lines with # are skipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visionrl.datasets.readers.files import is_empty, numbers
from visionrl.datasets.readers.scan_grid import unit_mm
from visionrl.datasets.text import decimal_point, read_json, read_text, split_line

SUFFIXES = (".mrk.json", ".fcsv", ".csv", ".txt")
FCSV_COLUMNS = ("id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label")
SYSTEMS = {"mm": "mm", "voxel": "voxel", "voxels": "voxel", "ijk": "voxel", "ras": "RAS", "lps": "LPS"}
TRIPLES = {"xyz": None, "ijk": "voxel", "ras": "RAS", "lps": "LPS"}  # titles of columns -> what they are
TITLE = re.compile(r"([a-z]+?)\s*[_ (\[]?\s*(mm|cm|m|[uµμ]m|vox\w*|px)?[)\]]?")  # and a unit
NAMES = ("name", "label", "landmark", "point", "title", "id")
SLICER = {"0": "RAS", "RAS": "RAS", "1": "LPS", "LPS": "LPS", "2": "voxel", "IJK": "voxel"}


@dataclass(frozen=True)
class PointsFile:
    """The landmarks of one file.

    Attributes:
        file: the file.
        points: name -> (3,) float64, or None where the scan does not show it.
        system: "voxel", "RAS", "LPS", "mm" (millimetres in the system of the scan's format), or None where the file
            does not say.
    """

    file: Path
    points: dict[str, np.ndarray | None]
    system: str | None

    @property
    def shown(self) -> np.ndarray:
        """(N, 3) those that the scan shows."""
        return np.array([at for at in self.points.values() if at is not None]).reshape(-1, 3)


def read_points(file: Path) -> PointsFile:
    """The landmarks of a file.

    Raises:
        ValueError: it is no text, a line is malformed, a name stands twice, or there is no landmark.
    """
    kind = file.suffix.lower()
    rows, system = (_markups if kind == ".json" else _fiducials if kind == ".fcsv" else _table)(file)
    points: dict[str, np.ndarray | None] = {}
    for where, name, cells in rows:
        if name in points:
            raise ValueError(f"{where}: each landmark must stand once, got {name!r} again")
        points[name] = None if is_empty(cells) else np.array(numbers(cells, 3, where))
    if not any(at is not None for at in points.values()):
        raise ValueError(f"{file} must hold a landmark or more, found none")
    return PointsFile(file, points, system)


Rows = list[tuple[str, str, list[str]]]  # (file and line, name, three cells)


@dataclass(frozen=True)
class Header:
    """Meanings of the titles of a table.

    Attributes:
        axes: the columns of the three coordinates.
        name: the column of the names, None where there is none.
        defined: the column that says whether a landmark is shown, likewise.
        system: as in ``PointsFile``.
        factor: millimetres in a unit of the numbers.
    """

    axes: tuple[int, ...]
    name: int | None
    defined: int | None
    system: str | None
    factor: float


def _table(file: Path) -> tuple[Rows, str | None]:
    """Rows of a plain table."""
    rows: Rows = []
    header, system, first = None, None, True
    for line, content in enumerate(read_text(file).split("\n"), start=1):
        content, where = content.strip(), f"{file}, line {line}"
        if content.startswith("#"):
            system = SYSTEMS.get(content.lstrip("# ").lower(), system)
            continue
        cells = _cells(content, where, file)
        if not any(cells):
            continue
        if first and (header := _header(cells, where)):
            first = False
            continue
        first = False
        rows.append(_row(cells, header, str(len(rows)), where))
    return rows, system or (header.system if header else None)


def _cells(content: str, where: str, file: Path) -> list[str]:
    """The cells of a line."""
    delimiter = next((one for one in (";", "\t") if content.count(one) > 1), ",")
    cells = split_line(content, where, delimiter)
    if delimiter != ",":
        cells = [decimal_point(cell) for cell in cells]
    return content.split() if len(cells) == 1 and file.suffix.lower() == ".txt" else cells


def _header(cells: list[str], where: str) -> Header | None:
    """The header in a first line; None where it is a point.

    Raises:
        ValueError: it has titles that do not name three coordinates, or a unit that is not known.
    """
    if is_empty(cells[-3:]) or any(_is_number(cell) for cell in cells):
        return None
    found = [TITLE.fullmatch(cell.lower()) for cell in cells]
    titles = [match[1] if match else cell.lower() for match, cell in zip(found, cells, strict=True)]
    triple = next((one for one in TRIPLES if all(titles.count(axis) == 1 for axis in one)), None)
    if triple is None:
        raise ValueError(
            f"{where}: must be x,y,z or name,x,y,z, or a header with x, y, z (or i, j, k; r, a, s; l, p, s), "
            f"got {','.join(cells)!r}"
        )
    axes = tuple(titles.index(axis) for axis in triple)
    units = {match[2] if (match := found[axis]) else None for axis in axes}
    if len(units) > 1:
        raise ValueError(f"{where}: the three coordinates must have one unit, got {','.join(cells)!r}")
    unit, system, factor = units.pop() or "", TRIPLES[triple], 1.0
    if unit[:3] == "vox" or unit == "px":
        system = "voxel"
    elif unit:
        system, factor = system or "mm", unit_mm(unit, where)
    name = next((titles.index(title) for title in NAMES if title in titles), None)
    return Header(axes, name, titles.index("defined") if "defined" in titles else None, system, factor)


def _is_number(cell: str) -> bool:
    """True if a cell is a finite number."""
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _row(cells: list[str], header: Header | None, number: str, where: str) -> tuple[str, str, list[str]]:
    """The place, name and coordinates of a line."""
    if header is None:
        if len(cells) not in (3, 4):
            raise ValueError(f"{where}: must be x,y,z or name,x,y,z, got {','.join(cells)!r}")
        return where, cells[0] if len(cells) == 4 else number, cells[-3:]
    if len(cells) <= max(header.axes):
        raise ValueError(f"{where}: must have as many cells as the header, got {','.join(cells)!r}")
    name = number if header.name is None or header.name >= len(cells) else cells[header.name] or number
    if header.defined is not None and cells[header.defined : header.defined + 1] == ["0"]:
        return where, name, ["", "", ""]
    at = [cells[axis] for axis in header.axes]
    if header.factor != 1 and not is_empty(at):
        at = [repr(value * header.factor) for value in numbers(at, 3, where)]
    return where, name, at


def _fiducials(file: Path) -> tuple[Rows, str | None]:
    """Rows of Slicer's .fcsv."""
    rows: Rows = []
    system, columns = None, list(FCSV_COLUMNS)
    for line, content in enumerate(read_text(file).split("\n"), start=1):
        head = re.fullmatch(r"#\s*(\w+)\s*=\s*(.*?)\s*", content)
        if head and head[1] == "CoordinateSystem":
            system = _slicer_system(head[2], file)
        elif head and head[1] == "columns":
            columns = [name.strip() for name in head[2].split(",")]
        elif content.strip() and not content.startswith("#"):
            where = f"{file}, line {line}"
            cells = dict(zip(columns, split_line(content, where), strict=False))
            if not {"x", "y", "z"} <= set(cells):
                raise ValueError(f"{where}: must have the columns x, y and z, got {content!r}")
            rows.append((where, cells.get("label") or str(len(rows)), [cells[k] for k in "xyz"]))
    if system is None:
        raise ValueError(f"{file} must have a line '# CoordinateSystem = ...'")
    return rows, system


def _markups(file: Path) -> tuple[Rows, str | None]:
    """Rows of Slicer's .mrk.json."""
    content = read_json(file)
    try:
        (markup,) = content["markups"]
        system = _slicer_system(str(markup.get("coordinateSystem", "LPS")), file)
        units = markup.get("coordinateUnits", "mm")
        factor = (
            1.0 if system == "voxel" else unit_mm(units if isinstance(units, str) else units[0], str(file))
        )
        rows: Rows = []
        for k, point in enumerate(markup["controlPoints"]):
            name, status = str(point.get("label") or k), point.get("positionStatus", "defined")
            at = point["position"] if status == "defined" else None
            rows.append((f"{file}, {name!r}", name, [str(x * factor) for x in at] if at else ["", "", ""]))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{file} must be a .mrk.json of 3D Slicer with one markup and its controlPoints: {error}"
        ) from error
    return rows, system


def _slicer_system(code: str, file: Path) -> str:
    if code not in SLICER:
        raise ValueError(f"{file}: CoordinateSystem must be one of {', '.join(SLICER)}, got {code!r}")
    return SLICER[code]
