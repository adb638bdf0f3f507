"""Sequences of the Object Tracking Benchmark, OTB (Wu, Lim, Yang, 2013): ``"otb:FOLDER"``.

FOLDER is a sequence, or holds sequences. A sequence has ``img/`` with one image a frame, in order of the
numbers in their names, and ``groundtruth_rect.txt`` with one line a frame: x, y, width, height, apart by
comma, tab or space. OTB counts pixels from 1, so the box's edges are x0 = x - 1, x1 = x - 1 + width, and
likewise in y. A line of four NaN or four 0 says that the object is not seen; such frames stay in the video,
without a box, and those before the first box are left out. Where there are ``groundtruth_rect.1.txt`` and so on,
each is a video of its own, ``Jogging.1``, of one subject. Frames are read from their files on access.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import list_images, natural_key
from visionrl.datasets.readers.rects import rectangle, rows_of, sequences, video
from visionrl.datasets.samples import VideoSample

TRUTH = "groundtruth_rect*.txt"


@register_format("otb", kind=VideoSample)
def read_otb(path: Path, options: ReadOptions) -> list[Entry]:
    """The sequences of a folder by name.

    Raises:
        ValueError: there is none, or one lacks its images or its boxes.
    """
    folders = sequences(path, _is_sequence, "img/*.jpg (or .png) with groundtruth_rect.txt")
    return [entry for folder in folders for entry in _entries(folder)]


def _is_sequence(folder: Path) -> bool:
    """True if a folder has the images or the boxes of a sequence."""
    return (folder / "img").is_dir() or any(folder.glob(TRUTH))


def _entries(folder: Path) -> list[Entry]:
    """One entry a file of boxes."""
    if not (folder / "img").is_dir():
        raise ValueError(f"sequence {folder} must have a folder img with its frames")
    truths = sorted(folder.glob(TRUTH), key=natural_key)
    if not truths:
        raise ValueError(f"sequence {folder} must have a file groundtruth_rect.txt")
    names = [folder.name + file.name.removeprefix("groundtruth_rect").removesuffix(".txt") for file in truths]
    return [
        Entry(name, folder.name, partial(_read, folder, file))
        for name, file in zip(names, truths, strict=True)
    ]


def _read(folder: Path, truth: Path) -> VideoSample:
    """One sequence; its frames stay on the disk."""
    places = [where for where, _ in rows_of(truth)]
    return video(
        list_images(folder / "img"), [tuple(box) for box in read_boxes(truth).tolist()], places, truth
    )


def read_boxes(file: Path) -> np.ndarray:
    """(T, 4) float64 edges (x0, y0, x1, y1) in pixels, from lines of 1-based x, y, width, height; see ``rectangle``."""
    boxes = [rectangle(cells, where, first=1) for where, cells in rows_of(file)]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)
