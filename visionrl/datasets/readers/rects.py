"""Helpers of the readers of videos: folders of sequences, lines of boxes, and checks of both together.

A row in which the object is not seen (the formats say how they mark it) stays a frame of the video, without a box.
Frames before the object is first seen are left out: a tracker starts from a box.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from visionrl.datasets.readers.files import ImageFiles, check_folder, list_folders, numbers, read_image
from visionrl.datasets.samples import VideoSample
from visionrl.datasets.text import read_lines

Box = tuple[float, float, float, float]
GONE = (np.nan,) * 4


def sequences(path: Path, is_sequence: Callable[[Path], bool], looked_for: str) -> list[Path]:
    """The folder itself where it is a sequence, else those in it that are, by name.

    Raises:
        ValueError: there is none.
    """
    children = list_folders(check_folder(path))
    folders = [path] if is_sequence(path) else [child for child in children if is_sequence(child)]
    if not folders:
        raise ValueError(
            f"{path} must be or hold sequences: looked for {looked_for}, here and one folder down"
        )
    return folders


def rows_of(file: Path) -> list[tuple[str, list[str]]]:
    """Reads every line that is not empty: its place, for messages, and its cells, separated by comma, tab or space."""
    return [
        (f"{file}, line {number}", [cell.strip('"') for cell in re.split(r"\s*[,;]\s*|\s+", line)])
        for number, line in read_lines(file, numeric=True)
    ]


def rectangle(cells: Sequence[str], where: str, first: int) -> Box:
    """The edges (x0, y0, x1, y1) of x, y, width, height, where pixels are counted from ``first``.

    Four NaN, or four 0, say that the object is not seen.

    Raises:
        ValueError: there are other than four finite numbers, or no positive width and height.
    """
    if {cell.lower() for cell in cells} == {"nan"} and len(cells) == 4:
        return GONE
    x, y, width, height = numbers(cells, 4, where)
    if x == y == width == height == 0:
        return GONE
    if width <= 0 or height <= 0:
        raise ValueError(f"{where}: width and height must be > 0, got {width:g} and {height:g}")
    return (x - first, y - first, x - first + width, y - first + height)


def check_frames(files: Sequence[Path]) -> None:
    """Refuses pictures that are no frames: one without a number among others with one, or two of one number.

    Raises:
        ValueError: there is such a picture; the boxes after it would belong to other frames.
    """
    found = [re.search(r"[0-9]+(?=[^0-9]*$)", file.stem) for file in files]
    numbered = [int(match[0]) for match in found if match]
    if numbered and len(numbered) < len(files):
        odd = next(file for file, match in zip(files, found, strict=True) if not match)
        raise ValueError(f"{odd.parent} must hold frames alone, which have a number, got {odd.name}")
    twice = [number for number, count in Counter(numbered).items() if count > 1]
    if twice:
        alike = [file.name for file, number in zip(files, numbered, strict=True) if number == twice[0]]
        raise ValueError(f"{files[0].parent} must hold each frame once, got {alike[0]} and {alike[1]}")


def video(files: Sequence[Path], boxes: Sequence[Box], places: Sequence[str], truth: Path) -> VideoSample:
    """The frames and boxes of a sequence, checked against each other; the frames stay on the disk.

    Args:
        files: one image a frame.
        boxes: one a frame, ``GONE`` where the object is not seen.
        places: where each box is written, for messages.
        truth: the file or folder of the boxes, likewise.

    Raises:
        ValueError: the numbers of frames and boxes differ, or there is no frame, or no box at all, or one that lies
            outside the frame.
    """
    if len(files) != len(boxes):
        held = f"in {files[0].parent.name}" if files else "beside it"
        raise ValueError(
            f"{truth} must have one line a frame, got {len(boxes)} lines for {len(files)} frames {held}"
        )
    if not files:
        raise ValueError(f"{truth}: a video must have one frame or more, got 0")
    check_frames(files)
    edges = np.array(boxes, float).reshape(-1, 4)
    _, height, width = read_image(files[0]).shape
    lost = (edges[:, :2] >= [width, height]).any(axis=1) | (edges[:, 2:] <= 0).any(axis=1)
    if lost.any():
        row = int(np.argmax(lost))
        raise ValueError(
            f"{places[row]}: the box must overlap the frame of width {width} and height {height}, "
            f"got {edges[row].tolist()}"
        )
    known = ~np.isnan(edges).any(axis=1)
    if not known.any():
        raise ValueError(f"{truth} must show the object in one frame or more, got none")
    begin = int(np.argmax(known))
    return VideoSample(ImageFiles(files[begin:]), edges[begin:])
