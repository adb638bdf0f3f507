"""Sequences of the Cell Tracking Challenge (Maška et al., 2014; Ulman et al., 2017): ``"ctc:FOLDER"``.

FOLDER is a sequence, or a data set that holds sequences, or holds data sets. A sequence is a folder ``01`` of frames
``t000.tif`` with its truth beside it, in ``01_GT/TRA``:

* ``man_track000.tif``, one a frame, is of the frame's size; 0 is background, every other value a cell's identity;
* a line of ``man_track.txt`` is one cell: identity, its first and its last frame, and its mother's identity or 0.

The box of a cell is the extent of its mask. In many data sets of the challenge ``TRA`` has only a mark in each cell;
where ``01_ST/SEG`` (masks made by several programs), else ``01_GT/SEG``, has a ``man_seg000.tif`` for every frame, a
cell's mask is the one there that covers more than half of its mark; the mark where none does, or where that one covers
another's too.

A division ends the mother: her daughters are new identities. A cell may be missing between its first and its last
frame. Nothing is known to be hidden, and there are no detections; the task draws them from the boxes.

Frames are grey. Those of 8 bit stay as they are. Those of 16 bit go by one line for the whole sequence, on which the
first frame's 0.1st percentile becomes 0 and its 99.9th 255; what lies beyond is cut. Volumes, which have several
images in a file, are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import ImageFiles, check_folder, list_folders, numbers
from visionrl.datasets.readers.greys import read_greys
from visionrl.datasets.readers.rects import rows_of
from visionrl.datasets.samples import MotSample

TRACKS = "man_track.txt"
SEGMENTED = ("ST", "GT")  # where whole masks may be, in order of preference
DARK, BRIGHT = 0.1, 99.9  # percentiles that become black and white
LABELS = 65535  # the largest label that a mask of 16 bit holds
Lives = dict[int, tuple[int, int, str]]  # identity -> first frame, last frame, line for messages


@register_format("ctc", kind=MotSample)
def read_ctc(path: Path, options: ReadOptions) -> list[Entry]:
    """The sequences by name; those of several data sets have the data set's name in front.

    Raises:
        ValueError: there is none.
    """
    level = [check_folder(path)]
    for _ in range(3):
        folders = [folder for folder in level if numbered(folder, "t")]
        if folders:
            names = [folder.name if folder == path else str(folder.relative_to(path)) for folder in folders]
            return [Entry(name, name, partial(_read, f)) for name, f in zip(names, folders, strict=True)]
        level = sorted(child for folder in level for child in list_folders(folder))
    raise ValueError(f"{path} must be or hold sequences: looked for 01/t000.tif, here and two folders down")


def numbered(folder: Path, stem: str) -> dict[int, Path]:
    """The files ``<stem><digits>.tif`` of a folder by number; none where there is no folder.

    Raises:
        ValueError: two have the same number.
    """
    files: dict[int, Path] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if match := re.fullmatch(rf"{stem}(\d+)\.tiff?", file.name):
            number = int(match[1])
            if number in files:
                raise ValueError(
                    f"{file} must be the only one of frame {number}, got {files[number].name} too"
                )
            files[number] = file
    return files


@dataclass(frozen=True)
class Tone:
    """Conversion of intensities of 8 or 16 bit to 8, by a sequence's first frame; from a file to (1, H, W) uint8.

    Attributes:
        shape: (H, W) of the first frame.
        dtype: of its pixels, and of all others.
        low: intensity that becomes 0, for files of 16 bit.
        scale: factor of the intensities above it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    low: float
    scale: float

    @staticmethod
    def of(file: Path) -> Tone:
        """That of a first frame."""
        first = read_greys(file)
        low, high = np.percentile(first.astype(float), [DARK, BRIGHT]).tolist()
        return Tone(first.shape, first.dtype, low, 255 / max(high - low, 1))

    def __call__(self, file: Path) -> np.ndarray:
        """One frame.

        Raises:
            ValueError: it cannot be read, or differs from the first in its bits.
        """
        pixels = read_greys(file)[None]
        if pixels.dtype != self.dtype:
            raise ValueError(
                f"image file {file} must have {self.dtype} as the first frame, got {pixels.dtype}"
            )
        if self.dtype == np.uint8:
            return pixels.copy()
        return np.rint(np.clip((pixels - self.low) * self.scale, 0, 255)).astype(np.uint8)


def _read(folder: Path) -> MotSample:
    """One sequence; its frames stay on the disk."""
    files = numbered(folder, "t")
    truth = folder.parent / f"{folder.name}_GT" / "TRA"
    marks = numbered(truth, "man_track")
    if alone := sorted(files.keys() ^ marks.keys()):
        raise ValueError(
            f"{truth} must have one man_track*.tif a frame of {folder}, got {len(marks)} for {len(files)} frames: "
            f"{', '.join(map(str, alone[:5]))} without the other"
        )
    lives, whole = read_lives(truth / TRACKS), _segmented(folder, marks)
    paths = [file for _, file in sorted(files.items())]
    tone = Tone.of(paths[0])
    found = []
    for number, file in sorted(marks.items()):
        labels = _labels(file, tone.shape)
        boxes = extents(labels)
        _check_lives(sorted(boxes), number, file, lives)
        if whole:
            boxes |= covering(labels, _labels(whole[number], tone.shape))
        found.append(boxes)
    _check_seen(lives, set().union(*found), truth)
    for cell, (_, last, where) in lives.items():
        if last > max(marks):
            raise ValueError(f"{where}: cell {cell} must end by the last frame, {max(marks)}, got {last}")
    ids = [np.array(list(boxes), int) for boxes in found]
    edges = [np.array(list(boxes.values()), float).reshape(-1, 4) for boxes in found]
    return MotSample(ImageFiles(paths, tone), ids, edges)


def _segmented(folder: Path, marks: dict[int, Path]) -> dict[int, Path]:
    """The files of whole masks by number, from the first folder that has one for every frame; none where none has."""
    places = (folder.parent / f"{folder.name}_{name}" / "SEG" for name in SEGMENTED)
    return next(
        (files for files in (numbered(p, "man_seg") for p in places) if files.keys() >= marks.keys()), {}
    )


def read_lives(file: Path) -> Lives:
    """First and last frame of every cell in a ``man_track.txt``.

    Raises:
        ValueError: the file is missing, or a line is not four whole numbers, or says what cannot be.
    """
    if not file.is_file():
        raise ValueError(f"{file} must exist: it says from when to when each cell is there")
    lives: Lives = {}
    mothers: dict[int, int] = {}
    for where, cells in rows_of(file):
        row = numbers(cells, 4, where)
        if any(value % 1 or value < 0 for value in row) or not 0 < row[0] <= LABELS:
            raise ValueError(f"{where}: must be whole numbers >= 0, the first 1 to {LABELS}, got {cells}")
        cell, first, last, mothers[int(row[0])] = (int(value) for value in row)
        if cell in lives or last < first:
            wrong = "identities must be once in the file" if cell in lives else "last frame must be >= first"
            raise ValueError(f"{where}: {wrong}, got {' '.join(cells)}")
        lives[cell] = first, last, where
    for cell, mother in mothers.items():
        first, _, where = lives[cell]
        if mother and (mother not in lives or lives[mother][1] >= first):
            raise ValueError(
                f"{where}: the mother must be a cell that ended before frame {first}, got {mother}"
            )
    return lives


def extents(labels: np.ndarray) -> dict[int, tuple[float, ...]]:
    """The box of every label but 0 in an (H, W) mask: label -> edges."""
    from scipy.ndimage import find_objects

    return {
        label: tuple(float(edge) for edge in (x.start, y.start, x.stop, y.stop))
        for label, (y, x) in ((k, found) for k, found in enumerate(find_objects(labels), 1) if found)
    }


def covering(marks: np.ndarray, segments: np.ndarray) -> dict[int, tuple[float, ...]]:
    """The boxes of the segments that cover more than half of one mark, and of no other: mark -> edges."""
    pairs, counts = np.unique(np.stack([marks, segments])[:, marks > 0], axis=1, return_counts=True)
    areas = np.bincount(marks.ravel())
    most = (pairs[1] > 0) & (2 * counts > areas[pairs[0]])
    owners = {int(mark): int(segment) for mark, segment in pairs[:, most].T}
    shared = np.bincount(list(owners.values()), minlength=1) > 1
    boxes = extents(segments)
    return {mark: boxes[segment] for mark, segment in owners.items() if not shared[segment]}


def _labels(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W) int64 of a mask, once it has the frame's shape."""
    labels = read_greys(file, "mask")
    if labels.shape != shape or labels.min() < 0 or labels.max() > LABELS:
        raise ValueError(
            f"mask {file} must have the frame's shape {shape} and values 0 to {LABELS}, got {labels.shape} and "
            f"{labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64)


def _check_lives(cells: list[int], frame: int, file: Path, lives: Lives) -> None:
    """Refuses cells that the table does not know, or not in this frame."""
    for cell in cells:
        if cell not in lives:
            raise ValueError(f"mask {file}: every cell must have a line in {TRACKS}, got {cell} without one")
        first, last, where = lives[cell]
        if not first <= frame <= last:
            raise ValueError(
                f"{where}: cell {cell} must be in frames {first} to {last} alone, got it in {file}"
            )


def _check_seen(lives: Lives, seen: set[int], truth: Path) -> None:
    """Refuses a table without cells, and cells that no mask shows."""
    if not lives:
        raise ValueError(f"{truth / TRACKS} must have a line a cell, got none")
    for cell, (_, _, where) in lives.items():
        if cell not in seen:
            raise ValueError(f"{where}: cell {cell} must be in a mask of {truth}, got none with it")
