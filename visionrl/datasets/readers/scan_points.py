"""Landmarks of one scan in a file: .txt, .csv, or 3D Slicer's .fcsv and .mrk.json.

txt, csv: a line a point, ``x, y, z`` or ``name, x, y, z``, apart by commas, tabs or (in .txt) spaces; points without
a name are called "0", "1", ... by line. A header line may precede them: ``name,x,y,z`` or ``x,y,z``. A name whose
three cells are empty is a landmark that the scan does not show. A line ``# voxel``, ``# RAS`` or ``# LPS`` says what
the numbers are: indices (i, j, k) into the file's array from 0, or millimetres towards right, front and head, or left,
back and head. Without it see ``readers.scans``. Other lines with # are skipped.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visionrl.datasets.readers.files import numbers

SUFFIXES = (".mrk.json", ".fcsv", ".csv", ".txt")
FCSV_COLUMNS = ("id", "x", "y", "z", "ow", "ox", "oy", "oz", "vis", "sel", "lock", "label")
SYSTEMS = {"voxel": "voxel", "voxels": "voxel", "ijk": "voxel", "ras": "RAS", "lps": "LPS"}
SLICER = {"0": "RAS", "RAS": "RAS", "1": "LPS", "LPS": "LPS", "2": "voxel", "IJK": "voxel"}


@dataclass(frozen=True)
class PointsFile:
    """The landmarks of one file.

    Attributes:
        file: the file.
        points: name -> (3,) float64, or None where the scan does not show it.
        system: "voxel", "RAS", "LPS", or None where the file does not say.
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
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} must be a text file in UTF-8: {error}") from error
    if file.name.endswith(".json"):
        rows, system = _markups(text, file)
    elif file.suffix == ".fcsv":
        rows, system = _fiducials(text, file)
    else:
        rows, system = _table(text, file)
    points: dict[str, np.ndarray | None] = {}
    for where, name, cells in rows:
        if name in points:
            raise ValueError(f"{where}: each landmark must stand once, got {name!r} again")
        points[name] = np.array(numbers(cells, 3, where)) if any(cells) else None
    if not any(at is not None for at in points.values()):
        raise ValueError(f"{file} must hold a landmark or more, found none")
    return PointsFile(file, points, system)


Rows = list[tuple[str, str, list[str]]]  # (file and line, name, three cells)


def _table(text: str, file: Path) -> tuple[Rows, str | None]:
    """Rows of a plain table."""
    rows: Rows = []
    system, first = None, True
    for line, content in enumerate(text.splitlines(), start=1):
        content = content.strip()
        if content.startswith("#"):
            system = SYSTEMS.get(content.lstrip("# ").lower(), system)
            continue
        cells = [cell.strip() for cell in re.split(r"[,;\t]", content)]
        if len(cells) == 1 and file.suffix == ".txt":
            cells = content.split()
        if not any(cells):
            continue
        where = f"{file}, line {line}"
        if len(cells) not in (3, 4):
            raise ValueError(f"{where}: must be x,y,z or name,x,y,z, got {content!r}")
        header, first = first and [cell.lower() for cell in cells[-3:]] == ["x", "y", "z"], False
        if not header:
            rows.append((where, cells[0] if len(cells) == 4 else str(len(rows)), cells[-3:]))
    return rows, system


def _fiducials(text: str, file: Path) -> tuple[Rows, str | None]:
    """Rows of Slicer's .fcsv."""
    rows: Rows = []
    system, columns = None, list(FCSV_COLUMNS)
    for line, content in enumerate(text.splitlines(), start=1):
        head = re.fullmatch(r"#\s*(\w+)\s*=\s*(.*?)\s*", content)
        if head and head[1] == "CoordinateSystem":
            system = _slicer_system(head[2], file)
        elif head and head[1] == "columns":
            columns = [name.strip() for name in head[2].split(",")]
        elif content.strip() and not content.startswith("#"):
            cells = dict(zip(columns, [cell.strip() for cell in content.split(",")], strict=False))
            where = f"{file}, line {line}"
            if not {"x", "y", "z"} <= set(cells):
                raise ValueError(f"{where}: must have the columns x, y and z, got {content!r}")
            rows.append((where, cells.get("label") or str(len(rows)), [cells[k] for k in "xyz"]))
    if system is None:
        raise ValueError(f"{file} must have a line '# CoordinateSystem = ...'")
    return rows, system


def _markups(text: str, file: Path) -> tuple[Rows, str | None]:
    """Rows of Slicer's .mrk.json."""
    try:
        (markup, *_) = json.loads(text)["markups"]
        system = _slicer_system(str(markup.get("coordinateSystem", "LPS")), file)
        found = [(str(p.get("label") or k), p["position"]) for k, p in enumerate(markup["controlPoints"])]
        rows = [(f"{file}, {name!r}", name, [str(x) for x in at]) for name, at in found]
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file} must be a .mrk.json of 3D Slicer with controlPoints: {error}") from error
    return rows, system


def _slicer_system(code: str, file: Path) -> str:
    if code not in SLICER:
        raise ValueError(f"{file}: CoordinateSystem must be one of {', '.join(SLICER)}, got {code!r}")
    return SLICER[code]
