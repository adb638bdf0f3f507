"""Sequences of the MOTChallenge (Leal-Taixé et al., 2015; Milan et al., 2016): ``"mot:FOLDER"``.

FOLDER is a sequence, or holds sequences; where it holds ``train``, ``val`` or ``test`` instead, these are the splits.
A sequence has images in ``img1`` (or where ``imDir`` in ``seqinfo.ini`` says), ``gt/gt.txt`` and, if a detector ran,
``det/det.txt``:

* a line of ``gt.txt`` is one box: frame, identity, x, y, width, height, then a flag, a class and a visibility, which
  may be missing. Boxes with the flag 0 are not to be tracked and left out. Lines of 10 numbers are those of 2015 (the
  last three are a place in the world, or -1) or of VisDrone: they state no visibility, which counts as 1, as does -1;
* a line of ``det.txt`` is one detection: frame, -1, x, y, width, height, score.

Frames, identities and pixels count from 1: the edges are x0 = x - 1, x1 = x - 1 + width, and likewise in y. A frame
without a line has no object. Boxes wholly outside the image are left out. A sequence with ``det.txt`` and without
``gt.txt``, as in the public ``test`` parts, has no identities: it is for prediction. The numbers in the names of the
images must follow each other, and the size and number of frames that ``seqinfo.ini`` states must be theirs.
"""

from __future__ import annotations

import re
import warnings
from configparser import ConfigParser
from configparser import Error as IniError
from functools import partial
from pathlib import Path

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import (
    ImageFiles,
    check_inside,
    list_images,
    numbers,
    read_image,
    stated_path,
)
from visionrl.datasets.readers.rects import rows_of, sequences
from visionrl.datasets.samples import MotSample
from visionrl.datasets.text import read_text

TRUTH = "gt/gt.txt"
DETECTIONS = "det/det.txt"
INFO = "seqinfo.ini"
MISSING = (1, 1, 1)  # flag, class and visibility
LARGEST_BOX = 10  # sides of the frame
LARGEST_ID = 1 << 53


@register_format("mot", kind=MotSample)
def read_mot(path: Path, options: ReadOptions) -> list[Entry]:
    """The sequences of a folder by name.

    Raises:
        ValueError: there is none.
    """
    folders = sequences(
        path,
        lambda folder: (folder / "img1").is_dir() or (folder / INFO).is_file(),
        f"img1/*.jpg with {TRUTH} or {DETECTIONS}",
    )
    return [Entry(folder.name, folder.name, partial(_read, folder)) for folder in folders]


def _read(folder: Path) -> MotSample:
    """One sequence; its frames stay on the disk."""
    frames, (width, height) = _frames(folder)
    found = None
    if (folder / DETECTIONS).is_file():
        table = _table(folder / DETECTIONS, 7, len(frames), (width, height))
        found = [table[table[:, 0] == frame, 2:7] for frame in range(1, len(frames) + 1)]
    if not (folder / TRUTH).is_file():
        if found is None:
            raise ValueError(f"sequence {folder} must have a file {TRUTH}, or {DETECTIONS} for prediction")
        return MotSample(ImageFiles(frames), detections=found)
    truth = _table(folder / TRUTH, 9, len(frames), (width, height))
    _warn_of_numbers(frames, truth[:, 0], folder / TRUTH)
    truth = truth[truth[:, 6] != 0]
    if not len(truth):
        raise ValueError(
            f"{folder / TRUTH} must have a box in the image or more, got none whose flag is not 0"
        )
    rows = [truth[truth[:, 0] == frame] for frame in range(1, len(frames) + 1)]
    return MotSample(
        ImageFiles(frames),
        ids=[row[:, 1].astype(int) for row in rows],
        boxes=[row[:, 2:6] for row in rows],
        visibility=[row[:, 8] for row in rows],
        detections=found,
    )


def _frames(folder: Path) -> tuple[list[Path], tuple[int, int]]:
    """The images of a sequence, and their width and height.

    Raises:
        ValueError: there is none, one is missing, or number or size are not what ``seqinfo.ini`` says.
    """
    info = _info(folder)
    place = check_inside(folder / info.get("imDir", "img1"), folder, where=folder / INFO)
    frames = list_images(place) if place.is_dir() else []
    said = info.get("seqLength")
    if not frames or said not in (None, str(len(frames))):
        wanted = "one frame or more" if said is None else f"as many frames as {INFO} says, {said}"
        raise ValueError(f"{place} must hold {wanted}, got {len(frames)}")
    found = [re.search(r"(\d+)\D*$", frame.stem) for frame in frames]
    counts = [int(match[1]) for match in found if match and match[1].isascii()]
    gap = next((k for k in range(1, len(counts)) if counts[k] != counts[k - 1] + 1), None)
    if gap is not None and len(counts) == len(frames):
        raise ValueError(
            f"{place} must hold every frame of the sequence, got {frames[gap].name} after {frames[gap - 1].name}"
        )
    _, height, width = read_image(frames[0]).shape
    stated = (info.get("imWidth", str(width)), info.get("imHeight", str(height)))
    if stated != (str(width), str(height)):
        raise ValueError(
            f"{folder / INFO}: imWidth and imHeight must be the frames', {width} and {height}, got "
            f"{stated[0]} and {stated[1]}; the boxes may belong to other frames"
        )
    return frames, (width, height)


def _warn_of_numbers(frames: list[Path], stated: np.ndarray, file: Path) -> None:
    """Warn where names of images count from another number than 1, and lines could as well count as they do."""
    match = re.search(r"([0-9]+)[^0-9]*$", frames[0].stem)
    first = int(match[1]) if match else 1
    last = first + len(frames) - 1
    if first != 1 and len(stated) and stated.min() >= first and stated.max() <= last:
        warnings.warn(
            f"{file}: frames count from 1, which is {frames[0].name}; if the lines count as the names of images "
            f"do, all boxes are {abs(first - 1)} frames off",
            stacklevel=2,
        )


def _info(folder: Path) -> dict[str, str]:
    """Entries of ``seqinfo.ini``, under its own titles; none where it is not there.

    Raises:
        ValueError: it is no such file, or a number in it is none.
    """
    if not (folder / INFO).is_file():
        return {}
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(read_text(folder / INFO))
        named = next((name for name in parser.sections() if name.lower() == "sequence"), None)
        sequence = parser[named] if named else {}
        whole = {
            key: str(int(sequence[key])) for key in ("seqLength", "imWidth", "imHeight") if key in sequence
        }
        return whole | {key: stated_path(sequence[key]) for key in ("imDir",) if key in sequence}
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
        if max(width / sides[0], height / sides[1], abs(x) / sides[0], abs(y) / sides[1]) > LARGEST_BOX:
            raise ValueError(
                f"{where}: a box must lie within {LARGEST_BOX} times the frame of {sides[0]} x {sides[1]}, got "
                f"{' '.join(cells[2:6])}"
            )
        if columns == 9:
            if (frame, identity) in known or identity % 1 or not 0 <= identity < LARGEST_ID:
                raise ValueError(
                    f"{where}: identities must be whole and once in a frame, got {identity:g} in {frame:g}"
                )
            if rest and (rest[0] < 0 and rest[0] != -1):
                raise ValueError(
                    f"{where}: the flag, the seventh number, must be >= 0, or -1, got {rest[0]:g}"
                )
            rest = [*rest[:2], _visibility(rest, where)]
        known.add((frame, identity))
        edges = [x - 1, y - 1, x - 1 + width, y - 1 + height]
        if edges[0] < sides[0] and edges[1] < sides[1] and edges[2] > 0 and edges[3] > 0:
            rows.append([frame, identity, *edges, *rest, *MISSING[len(rest) :]][:columns])
    return np.array(rows, float).reshape(-1, columns)


def _visibility(rest: list[float], where: str) -> float:
    """The visibility in the cells after the box, 1 where they state none.

    Raises:
        ValueError: it is neither in [0, 1] nor -1.
    """
    if len(rest) != 3 or rest[2] == -1:
        return 1.0
    if not 0 <= rest[2] <= 1:
        raise ValueError(
            f"{where}: the visibility, the ninth number, must be in 0 to 1, or -1, got {rest[2]:g}"
        )
    return rest[2]
