"""Sequences of the MOTChallenge (Leal-Taixé et al., 2015; Milan et al., 2016): ``"mot:FOLDER"``.

FOLDER is a sequence, or holds sequences; where it holds ``train``, ``val`` or ``test`` instead, these are the splits.
A sequence has images in ``img1`` (or where ``imDir`` in ``seqinfo.ini`` says), ``gt/gt.txt`` and, if a detector ran,
``det/det.txt``:

* a line of ``gt.txt`` is one box: frame, identity, x, y, width, height, then a flag, a class and a visibility, which
  may be missing. Boxes with the flag 0 are not to be tracked and left out;
* a line of ``det.txt`` is one detection: frame, -1, x, y, width, height, score.

Frames, identities and pixels count from 1: the edges are x0 = x - 1, x1 = x - 1 + width, and likewise in y. A frame
without a line has no object. Boxes wholly outside the image are left out. The public ``test`` parts have no
``gt.txt`` and are refused.
"""

from __future__ import annotations

from configparser import ConfigParser
from configparser import Error as IniError
from functools import partial
from pathlib import Path

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import ImageFiles, list_images, numbers, read_image
from visionrl.datasets.readers.rects import rows_of, sequences
from visionrl.datasets.samples import MotSample

TRUTH = "gt/gt.txt"
DETECTIONS = "det/det.txt"
INFO = "seqinfo.ini"


@register_format("mot", kind=MotSample)
def read_mot(path: Path, options: ReadOptions) -> list[Entry]:
    """The sequences of a folder by name.

    Raises:
        ValueError: there is none.
    """
    folders = sequences(
        path,
        lambda folder: (folder / "img1").is_dir() or (folder / INFO).is_file(),
        f"img1/*.jpg with {TRUTH}",
    )
    return [Entry(folder.name, folder.name, partial(_read, folder)) for folder in folders]


def _read(folder: Path) -> MotSample:
    """One sequence; its frames stay on the disk."""
    pictures, said = _info(folder)
    frames = list_images(folder / pictures) if (folder / pictures).is_dir() else []
    if not frames or said not in (None, len(frames)):
        wanted = "one frame or more" if said is None else f"as many frames as {INFO} says, {said}"
        raise ValueError(f"{folder / pictures} must hold {wanted}, got {len(frames)}")
    if not (folder / TRUTH).is_file():
        raise ValueError(f"sequence {folder} must have a file {TRUTH}")
    _, height, width = read_image(frames[0]).shape
    truth = _table(folder / TRUTH, 9, len(frames), (width, height))
    truth = truth[truth[:, 6] != 0]
    rows = [truth[truth[:, 0] == frame] for frame in range(1, len(frames) + 1)]
    found = None
    if (folder / DETECTIONS).is_file():
        table = _table(folder / DETECTIONS, 7, len(frames), (width, height))
        found = [table[table[:, 0] == frame, 2:7] for frame in range(1, len(frames) + 1)]
    return MotSample(
        ImageFiles(frames),
        ids=[row[:, 1].astype(int) for row in rows],
        boxes=[row[:, 2:6] for row in rows],
        visibility=[np.clip(row[:, 8], 0, 1) for row in rows],
        detections=found,
    )


def _info(folder: Path) -> tuple[str, int | None]:
    """The folder of the images, and the number of frames where ``seqinfo.ini`` says it."""
    parser = ConfigParser()
    try:
        parser.read(folder / INFO)
        sequence = parser["Sequence"] if parser.has_section("Sequence") else {}
        length = sequence.get("seqLength")
        return sequence.get("imDir", "img1"), None if length is None else int(length)
    except (IniError, ValueError) as error:
        raise ValueError(f"{folder / INFO} must be an INI file with whole numbers: {error}") from error


def _table(file: Path, columns: int, frames: int, sides: tuple[int, int]) -> np.ndarray:
    """(R, columns) float64: frame, identity, the four edges, and the rest; missing cells are 1.

    Raises:
        ValueError: a line is no such line, or is of a frame that is not there, or the second of an identity.
    """
    rows: list[list[float]] = []
    known: set[tuple[float, float]] = set()
    for where, cells in rows_of(file):
        if not 6 <= len(cells) <= 10:
            raise ValueError(f"{where}: must hold 6 to 10 numbers, got {len(cells)}")
        frame, identity, x, y, width, height, *rest = numbers(cells, len(cells), where)
        if frame not in range(1, frames + 1):
            raise ValueError(f"{where}: the frame must be a whole number from 1 to {frames}, got {frame:g}")
        if width <= 0 or height <= 0:
            raise ValueError(f"{where}: width and height must be > 0, got {width:g} and {height:g}")
        if columns == 9 and ((frame, identity) in known or identity % 1):
            raise ValueError(
                f"{where}: identities must be whole and once in a frame, got {identity:g} in {frame:g}"
            )
        known.add((frame, identity))
        edges = [x - 1, y - 1, x - 1 + width, y - 1 + height]
        if edges[0] < sides[0] and edges[1] < sides[1] and edges[2] > 0 and edges[3] > 0:
            rows.append([frame, identity, *edges, *rest, 1, 1, 1, 1][:columns])
    return np.array(rows, float).reshape(-1, columns)
