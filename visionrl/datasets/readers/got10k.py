"""Sequences of GOT-10k (Huang, Zhao, Huang, 2021): ``"got10k:FOLDER"``.

FOLDER is a sequence, or holds sequences; where it holds ``train``, ``val`` or ``test`` instead, these are the splits. A
sequence has images ``00000001.jpg`` and so on, and ``groundtruth.txt`` with one line a frame: x, y, width, height, of
which the edges are x, x + width, y, y + height. ``absence.label`` has one number a frame, 1 where the object is not
in the image, and ``cover.label`` one from 0, wholly hidden, to 8, wholly seen. Frames with absence 1 or cover 0, and
lines of four NaN or four 0, have no box; they stay in the video, but for those before the first box.
The public ``test`` part has the first box alone and is refused.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import list_images, numbers
from visionrl.datasets.readers.rects import GONE, rectangle, rows_of, sequences, video
from visionrl.datasets.samples import VideoSample

TRUTH = "groundtruth.txt"
UNSEEN = {"absence.label": 1, "cover.label": 0}
MOST = {"absence.label": 1, "cover.label": 8}  # largest number in each


@register_format("got10k", kind=VideoSample)
def read_got10k(path: Path, options: ReadOptions) -> list[Entry]:
    """The sequences of a folder by name.

    Raises:
        ValueError: there is none.
    """
    folders = sequences(path, lambda folder: (folder / TRUTH).is_file(), f"*.jpg with {TRUTH}")
    return [Entry(folder.name, folder.name, partial(_read, folder)) for folder in folders]


def _read(folder: Path) -> VideoSample:
    """One sequence; its frames stay on the disk."""
    rows = rows_of(folder / TRUTH)
    boxes = [rectangle(cells, where, first=0) for where, cells in rows]
    for name, unseen in UNSEEN.items():
        if (folder / name).is_file():
            labels = [numbers(cells, 1, where)[0] for where, cells in rows_of(folder / name)]
            if len(labels) != len(boxes):
                raise ValueError(
                    f"{folder / name} must have one line a line of {TRUTH}, got {len(labels)} for {len(boxes)}"
                )
            bad = [k for k, label in enumerate(labels) if label % 1 or not 0 <= label <= MOST[name]]
            if bad:
                rule = f"must hold whole numbers from 0 to {MOST[name]}"
                raise ValueError(f"{folder / name} {rule}, got {labels[bad[0]]:g} for frame {bad[0] + 1}")
            boxes = [GONE if label == unseen else box for label, box in zip(labels, boxes, strict=True)]
    return video(list_images(folder), boxes, [where for where, _ in rows], folder / TRUTH)
