"""Landmarks in .pts files beside the images, as in 300-W (Sagonas et al., 2013): ``"pts:FOLDER"``.

FOLDER and the folders in it hold images with a .pts file of the same stem each::

    version: 1
    n_points: 2
    {
    120.5 80.0
    131.0 82.5
    }

What follows ``#`` or ``//`` in a line is a comment. 300-W counts pixels from 1, so 1 is taken off: (1, 1) is the centre
of the top-left pixel, which is (0, 0) here. Points are named by their place from 0: "0", "1", ... A sample is named by
its path in FOLDER without the suffix, and is a subject of its own. Images without a .pts file are left out.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.guard import refuse
from visionrl.datasets.readers.files import IMAGE_SUFFIXES, check_folder, files_ending, numbers, read_image
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.text import read_text

_COMMENT = re.compile(r"(?:#|//).*")
_LAYOUT = re.compile(r"\s*(?:version:\s*\S+\s+)?n_points:\s*(\d+)\s*\{([^{}]*)\}\s*", re.ASCII)


@register_format("pts", kind=ImageSample)
def read_pts_folder(path: Path, options: ReadOptions) -> list[Entry]:
    """The images of a folder that have a .pts file, by path.

    Raises:
        ValueError: there is none, one lacks its image, is malformed, or has another number of points than
            the first.
    """
    files = files_ending(check_folder(path), ".pts", below=True)
    if not files:
        raise ValueError(
            f"{path} must hold .pts files beside their pictures: looked for **/*.pts, found none"
        )
    found = [_points(file) for file in files]
    first = next((j for j, points in enumerate(found) if isinstance(points, np.ndarray)), 0)
    entries = []
    for file, points in zip(files, found, strict=True):
        name = file.relative_to(path).with_suffix("").as_posix()
        if isinstance(points, np.ndarray) and len(points) != len(found[first]):
            points = ValueError(
                f"{file} must have as many points as {files[first]}, {len(found[first])}, got {len(points)}"
            )
        read = partial(_read, file, points) if isinstance(points, np.ndarray) else partial(refuse, points)
        entries.append(Entry(name, name, read))
    return entries


def _points(file: Path) -> Any:
    """The points of a file, or what is wrong with it."""
    try:
        return read_points(file)
    except ValueError as error:
        return error


def _picture_of(file: Path) -> Path:
    """The one image that has the stem of a .pts file."""
    beside = sorted(other for other in file.parent.iterdir() if other.stem == file.stem)
    pictures = [other for other in beside if other.suffix.lower() in IMAGE_SUFFIXES]
    if len(pictures) != 1:
        found = ", ".join(picture.name for picture in pictures) or "none"
        raise ValueError(f"{file} must have one picture of the same stem beside it, found {found}")
    return pictures[0]


def _read(file: Path, points: np.ndarray) -> ImageSample:
    """The image with its points."""
    return ImageSample(
        read_image(_picture_of(file)), points={str(j): point for j, point in enumerate(points)}
    )


def read_points(file: Path) -> np.ndarray:
    """(N, 2) float64 (x, y) in pixels, 0-based, from a .pts file, which counts from 1.

    Raises:
        ValueError: the file has another layout, another number of points than it states, or what is no
            number.
    """
    lines = [_COMMENT.sub("", line).strip() for line in read_text(file, numeric=True).split("\n")]
    layout = _LAYOUT.fullmatch("\n".join(lines))
    if layout is None:
        raise ValueError(f'{file} must read "version: 1", "n_points: N", "{{", N lines "x y", "}}"')
    rows = [line.replace(",", " ").split() for line in layout[2].split("\n") if line]
    if str(len(rows)) != layout[1].lstrip("0") or not rows:
        raise ValueError(
            f"{file}: n_points must be the number of points and >= 1, got {layout[1]:.50} and {len(rows)}"
        )
    return np.array([numbers(row, 2, f"{file}, point {j}") for j, row in enumerate(rows)]) - 1
