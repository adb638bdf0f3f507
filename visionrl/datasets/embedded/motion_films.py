"""Embedded films in which one object makes several motions, with rest between them: for temporal detection.

Every pixel comes from a photograph, as in ``clips``, whose motions these are; no photograph is in two splits.
"""

from __future__ import annotations

import numpy as np

from visionrl.datasets.embedded.clips import MOTIONS, REACH, SIDE, drawn_at, grainy, motion, place
from visionrl.datasets.embedded.compose import paste, poses
from visionrl.datasets.embedded.cutouts import cutouts
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.samples import ClipSample
from visionrl.datasets.splits import SPLITS, check_split

FPS = 8.0
FILMS = {"train": 512, "val": 64, "test": 128}
COUNTS, CHANCES = (0, 1, 2, 3), (0.08, 0.17, 0.5, 0.25)  # motions of a film
SHORTEST, LONGEST = 96, 144  # frames of a film
REST = 8  # least frames before, between and after motions
ROOM = 1.0 * REACH, 0.6  # most that the object moves away along an axis, pixels, and log of its scales' ratio

_SEED = 6637


class MotionFilms(GeneratedDataset[ClipSample]):
    """Films of 96 to 144 frames (3, 40, 40) uint8 at 8 a second, in which an object makes 0 to 3 motions, mostly two.

    Each motion is of one of the eight classes of ``Motions`` and takes 8 to 16 frames; it begins where the one before
    it ended. Before, between and after the motions the object rests for eight frames or more. The motions are the
    ``segments``, each with its class, and there are no others. Item ``i`` depends on the split and ``i`` alone.

    Args:
        split: "train", "val" or "test".
        count: number of films; None: 512, 64 and 128 of the three splits.

    Raises:
        ValueError: another split, or ``count`` below 1.
        FileNotFoundError: a photograph is missing from the installed scikit-image.
    """

    def __init__(self, split: str, count: int | None = None) -> None:
        super().__init__(split, count, FILMS)

    def _make(self, number: int) -> ClipSample:
        rng = np.random.default_rng((_SEED, SPLITS.index(self.split), number))
        kinds = motion_kinds(rng, int(rng.choice(COUNTS, p=CHANCES)))
        length, segments = motion_times(rng, len(kinds))
        others = cutouts(check_split(self.split))
        cutout = others[rng.integers(len(others))]
        centre, scale, angle = path(kinds, segments, length)
        centre += (SIDE - 1) / 2 - (centre.min(axis=0) + centre.max(axis=0)) / 2 + rng.uniform(-3, 3, 2)
        scale /= np.sqrt(scale.min() * scale.max())
        drawn = drawn_at(rng, cutout, rng.uniform(11, 15) * scale.max())
        matrices = poses(drawn, centre, scale / scale.max(), angle + rng.uniform(-0.3, 0.3))
        frames = np.empty((length, SIDE, SIDE, 3), np.uint8)
        frames[:] = place(rng, self.split, cutout.photograph, (SIDE, SIDE))
        for time in range(length):
            if time and np.array_equal(matrices[time], matrices[time - 1]):
                frames[time] = frames[time - 1]
            else:
                paste(frames[time], drawn, matrices[time])
        return ClipSample(
            grainy(rng, frames),
            segments=segments.astype(float),
            segment_labels=kinds,
            fps=FPS,
            name=f"{self.split} film {number}",
        )


def motion_kinds(rng: np.random.Generator, count: int) -> tuple[str, ...]:
    """Classes of motions in turn, such that the object stays in the picture, and about as large."""
    while True:
        kinds = tuple(MOTIONS[k] for k in rng.integers(len(MOTIONS), size=count).tolist())
        ends = np.stack([np.arange(count) * 2, np.arange(count) * 2 + 2], axis=1)
        centre, scale, _ = path(kinds, ends, 2 * count + 1)
        moved = np.ptp(centre, axis=0).max()
        if moved <= ROOM[0] + 1e-9 and np.log(scale.max() / scale.min()) <= ROOM[1] + 1e-9:
            return kinds


def motion_times(rng: np.random.Generator, count: int) -> tuple[int, np.ndarray]:
    """The length of a film, and (count, 2) int64 first frames of motions and those after their last."""
    length, sizes = int(rng.integers(SHORTEST, LONGEST + 1)), rng.integers(8, 17, count)
    free = length - int(sizes.sum()) - REST * (count + 1)
    gaps = np.diff(np.sort(rng.integers(0, free + 1, count)), prepend=0) + REST
    starts = np.cumsum(gaps) + np.cumsum(sizes) - sizes
    return length, np.stack([starts, starts + sizes], axis=1)


def path(
    kinds: tuple[str, ...], segments: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres (T, 2), scales (T,) and angles (T,) of an object that makes one motion after another.

    Args:
        kinds: of the motions.
        segments: (n, 2), first frame of each and the one after its last.
        length: T.
    """
    centre, scale, angle = np.zeros((length, 2)), np.ones(length), np.zeros(length)
    for kind, (start, end) in zip(kinds, segments.tolist(), strict=True):
        done = np.clip((np.arange(length) - start + 1) / (end - start), 0, 1)
        there, size, turn = motion(kind, done, np.zeros(2))
        first, before, _ = motion(kind, np.zeros(1), np.zeros(2))
        centre, scale, angle = centre + there - first, scale * size / before, angle + turn
    return centre, scale, angle
