"""Sequences of the Object Tracking Benchmark, OTB (Wu, Lim, Yang, 2013): ``"otb:FOLDER"``.

FOLDER is a sequence, or holds sequences. A sequence has ``img/`` with one picture a frame, in order of the
numbers in their names, and ``groundtruth_rect.txt`` with one line a frame: x, y, width, height, apart by
comma, tab or space. OTB counts pixels from 1, so the box's edges are x0 = x - 1, x1 = x - 1 + width, and
likewise in y. Where there are ``groundtruth_rect.1.txt`` and so on, each is a video of its own,
``Jogging.1``, of one subject. Frames are read from their files when asked for.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import ImageFiles, check_folder, list_images, natural_key, numbers
from visionrl.datasets.samples import VideoSample

TRUTH = "groundtruth_rect*.txt"


@register_format("otb", kind=VideoSample)
def read_otb(path: Path, options: ReadOptions) -> list[Entry]:
    """The sequences of a folder by name.

    Raises:
        ValueError: there is none, or one lacks its pictures or its boxes.
    """
    children = sorted(child for child in check_folder(path).iterdir() if child.is_dir())
    folders = [path] if _is_sequence(path) else [child for child in children if _is_sequence(child)]
    if not folders:
        raise ValueError(
            f"{path} must be or hold OTB sequences: "
            "looked for img/*.jpg (or .png) with groundtruth_rect.txt, here and one folder down"
        )
    return [entry for folder in folders for entry in _entries(folder)]


def _is_sequence(folder: Path) -> bool:
    """Whether a folder has a sequence's pictures or boxes."""
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
    frames = list_images(folder / "img")
    boxes = read_boxes(truth)
    if len(frames) != len(boxes):
        raise ValueError(
            f"{truth} must have one line a frame, got {len(boxes)} lines for {len(frames)} frames in img"
        )
    return VideoSample(ImageFiles(frames), boxes)


def read_boxes(file: Path) -> np.ndarray:
    """(T, 4) float64 edges (x0, y0, x1, y1) in pixels, from lines of 1-based x, y, width, height.

    Raises:
        ValueError: a line has other than four finite numbers, or no positive width and height.
    """
    boxes = []
    for number, line in enumerate(file.read_text(encoding="latin-1").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        x, y, width, height = numbers(re.split(r"\s*,\s*|\s+", line.strip()), 4, where)
        if width <= 0 or height <= 0:
            raise ValueError(f"{where}: width and height must be > 0, got {width:g} and {height:g}")
        boxes.append((x - 1, y - 1, x - 1 + width, y - 1 + height))
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)
