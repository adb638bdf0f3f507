"""Where episodes begin: with the video, at twenty times of it (TRE), or beside the object in twelve ways (SRE)."""

from __future__ import annotations

import numpy as np

SEGMENTS = 20  # of temporal robustness evaluation
LEAST = 20  # frames of a segment, where the video has as many
# what spatial robustness evaluation makes of a box: (dx, dy) in its sides, and a factor of its size
SHIFTS = (
    *((-0.1, 0, 1), (0.1, 0, 1), (0, -0.1, 1), (0, 0.1, 1)),
    *((-0.1, -0.1, 1), (0.1, -0.1, 1), (-0.1, 0.1, 1), (0.1, 0.1, 1)),
    *((0, 0, 0.8), (0, 0, 0.9), (0, 0, 1.1), (0, 0, 1.2)),
)
PARTS = {"first": 1, "temporal": SEGMENTS, "spatial": len(SHIFTS)}
"""Episodes that one video makes."""


def span(
    rng: np.random.Generator, seen: np.ndarray, clip: int | None, start: str, part: int
) -> tuple[int, int]:
    """First and last frame of an episode; the object is seen in the first.

    Args:
        rng: draws the clip, from all that begin where the object is seen.
        seen: (T,) bool, in which frames that is.
        clip: frames; None for all to the end.
        start: a key of ``PARTS``.
        part: which of the video's episodes.
    """
    length = min(clip or len(seen), len(seen))
    if start == "temporal":
        first = segment(seen, part)
        return first, min(first + length, len(seen)) - 1
    places = np.flatnonzero(seen[: len(seen) - length + 1])
    first = int(places[rng.integers(len(places))])
    return first, first + length - 1


def segment(seen: np.ndarray, part: int) -> int:
    """The frame with which a segment begins.

    The first begins with the video, the last 20 frames before its end, the others at equal steps between, by the
    rule of the benchmark's own program: only frames count in which the object is seen (Wu, Lim & Yang, 2013).
    """
    places = np.flatnonzero(seen[: max(len(seen) - LEAST + 1, 1)])
    return int(places[min(part * len(places) // (SEGMENTS - 1), len(places) - 1)])


def shifted(box: np.ndarray, part: int) -> np.ndarray:
    """(4,) edges of a box that a tenth of its sides is shifted, or that is scaled; see ``SHIFTS``."""
    dx, dy, factor = SHIFTS[part]
    size = box[2:] - box[:2]
    center, half = (box[:2] + box[2:]) / 2 + size * [dx, dy], size * factor / 2
    return np.concatenate([center - half, center + half])
