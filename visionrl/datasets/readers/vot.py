"""Sequences of the Visual Object Tracking challenges, VOT (Kristan et al., 2013 to 2023): ``"vot:FOLDER"``.

FOLDER is a sequence, or holds sequences. A sequence has images ``00000001.jpg`` and so on, beside
``groundtruth.txt`` or, in newer years, in ``color``. A line of ``groundtruth.txt`` is one frame's

* rectangle: x, y, width, height;
* polygon: x1, y1, x2, y2, ..., three corners or more. The box is the smallest upright one around it, as the VOT toolkit
  turns polygons into rectangles;
* mask: ``m`` and x, y, width, height, then the lengths of runs of 0, 1, 0, ... over that window, row by row. The box is
  the extent of the ones.

Edges lie at the numbers as they stand. A line of NaN, of four 0, an empty mask, or a lone number (the toolkit's
codes) says that the object is not seen: such frames stay in the video, without a box, and those before the first box
are left out. Where there are ``groundtruth_1.txt`` and so on, each is a video of its own, ``bag_1``, of one subject.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.limits import limit_of
from visionrl.datasets.readers.files import list_images, natural_key, numbers
from visionrl.datasets.readers.rects import GONE, Box, rectangle, rows_of, sequences, video
from visionrl.datasets.samples import VideoSample

TRUTH = "groundtruth*.txt"
LARGEST = 1_000_000  # pixels of a side, or of a run


@register_format("vot", kind=VideoSample)
def read_vot(path: Path, options: ReadOptions) -> list[Entry]:
    """The sequences of a folder by name.

    Raises:
        ValueError: there is none.
    """
    folders = sequences(
        path, lambda folder: any(folder.glob(TRUTH)), "groundtruth.txt with *.jpg or color/*.jpg"
    )
    files = [(folder, file) for folder in folders for file in sorted(folder.glob(TRUTH), key=natural_key)]
    return [
        Entry(folder.name + file.stem.removeprefix("groundtruth"), folder.name, partial(_read, folder, file))
        for folder, file in files
    ]


def _read(folder: Path, truth: Path) -> VideoSample:
    """One sequence; its frames stay on the disk."""
    pictures = folder / "color" if (folder / "color").is_dir() else folder
    rows = rows_of(truth)
    boxes = [region(cells, where) for where, cells in rows]
    return video(list_images(pictures), boxes, [where for where, _ in rows], truth)


def region(cells: list[str], where: str) -> Box:
    """The box around a rectangle, a polygon or a mask; ``GONE`` where there is none.

    Raises:
        ValueError: it is none of these; ``where`` names the file and the line.
    """
    if cells[0].startswith("m"):
        return _mask(numbers([cells[0][1:], *cells[1:]], len(cells), where), where)
    if {cell.lower() for cell in cells} == {"nan"} or len(cells) == 1:
        return GONE
    if len(cells) == 4:
        return rectangle(cells, where, first=0)
    if len(cells) < 6 or len(cells) % 2:
        raise ValueError(f"{where}: must hold 4 numbers, or 6 or more in pairs, got {len(cells)}")
    corners = np.array(numbers(cells, len(cells), where)).reshape(-1, 2)
    (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    if x0 == x1 or y0 == y1:
        raise ValueError(f"{where}: a polygon must have an area, got {' '.join(cells)!r}")
    return (x0, y0, x1, y1)


def _mask(values: list[float], where: str) -> Box:
    """The extent of a mask of run lengths."""
    if len(values) < 4:
        raise ValueError(f"{where}: a mask must begin with x, y, width and height, got {len(values)} numbers")
    if any(value % 1 or abs(value) > LARGEST for value in values) or min([*values[2:4], *values[4:]]) < 0:
        raise ValueError(
            f"{where}: a mask must be whole numbers, width, height and runs >= 0, up to {LARGEST}"
        )
    x, y, width, height = (int(value) for value in values[:4])
    runs = np.array(values[4:], np.int64)
    if int(runs.sum()) > width * height or width * height > limit_of("IMAGE"):
        raise ValueError(f"{where}: runs must fill {width} x {height} pixels at most, got {int(runs.sum())}")
    inside = np.flatnonzero(np.repeat(np.arange(len(runs)) % 2 == 1, runs))
    if not len(inside):
        return GONE
    rows, columns = inside // width, inside % width
    edges = (x + columns.min(), y + rows.min(), x + columns.max() + 1, y + rows.max() + 1)
    return tuple(float(edge) for edge in edges)  # type: ignore[return-value]
