"""Sets of a few frames of a clip: a summary of their features, and a classifier of such summaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from visionrl.banks.clips import ClipBank, clip_bank, shared_by_clips
from visionrl.banks.fourier_ridge import FOLDS, WIDTH, FourierRidge, folds_by_class
from visionrl.datasets.samples import ClipSample
from visionrl.ops import Array, xp_of

PARTS = 3  # of a summary, each as wide as a frame's features
DRAWS = 20  # sets of frames of each training clip
SIZES = (1, 2, 3, 4, 5, 8, 64)  # frames of a set, or all
SHARES = (0.2, 0.25, 0.2, 0.12, 0.08, 0.08, 0.07)  # how often each is drawn
FAR = 1e9


def frame_times(count: Array, positions: int) -> Array:
    """(B, N) int64, the frames of N positions at equal distances in clips of ``count`` (B,); short ones repeat."""
    xp = xp_of(count)
    places = 2 * xp.arange(positions, dtype=xp.int64, device=count.device) + 1
    return (places[None, :] * count[:, None]) // (2 * positions)


def summarised(features: Array, seen: Array) -> Array:
    """(B, 3 * D): the mean of some frames' features, their range, and the difference of the last and the first.

    Args:
        features: (B, N, D) of all positions, in the order of time.
        seen: (B, N) bool, which count; a row without any is all 0.
    """
    xp = xp_of(features)
    weight, known = xp.astype(seen, features.dtype), seen[:, :, None]
    count = xp.sum(weight, axis=1)[:, None]
    mean = xp.sum(features * weight[:, :, None], axis=1) / xp.maximum(count, xp.ones_like(count))
    far = xp.full_like(features, FAR)
    spread = xp.max(xp.where(known, features, -far), axis=1) - xp.min(xp.where(known, features, far), axis=1)
    places = xp.arange(seen.shape[1], dtype=xp.int64, device=seen.device)[None, :]
    end = xp.full_like(xp.astype(seen, xp.int64), seen.shape[1])
    first = xp.min(xp.where(seen, places, end - 1), axis=1)
    last = xp.max(xp.where(seen, places, 0 * end), axis=1)
    at = [xp.astype(places == one[:, None], features.dtype)[:, :, None] for one in (last, first)]
    change = xp.sum(features * (at[0] - at[1]), axis=1)
    found = xp.concat([mean, spread, change], axis=1)
    return xp.where(count > 0, found, xp.zeros_like(found))


class FrameSetClassifier(FourierRidge):
    """Class scores of sets of frames, by their summaries; C classes.

    Args:
        bank: features of the training clips.
        labels: number of the class of each.
        positions: frames of a clip that may be seen.
        classes: C.

    Attributes:
        fold: (V,) int64, the fold of each training clip.
    """

    def __init__(self, bank: ClipBank, labels: Sequence[int], positions: int, classes: int) -> None:
        rng, count = np.random.default_rng(0), len(labels)
        self.folds, self.classes = min(FOLDS, count), classes
        self.fold = folds_by_class(np.array(labels), self.folds, rng)
        features = bank.rows(np.arange(count), frame_times(bank.lengths.array, positions)).astype(float)
        chances = np.array(SHARES) / sum(SHARES)
        drawn = rng.choice(np.minimum(SIZES, positions), (DRAWS, count), p=chances)
        ranks = rng.random((DRAWS, count, positions)).argsort(axis=2).argsort(axis=2)
        sets = ranks < drawn[:, :, None]
        rows = np.concatenate([summarised(features, one) for one in sets])
        self.fit(rows, np.tile(labels, DRAWS), np.tile(self.fold, DRAWS), rng, WIDTH)


def frame_set_classifier(
    samples: Sequence[ClipSample], names: tuple[str, ...], positions: int
) -> FrameSetClassifier:
    """The classifier of some training clips, whose classes are named; environments over the same ones share it."""
    return shared_by_clips(_classifier, samples, names, positions)


def _classifier(samples: Sequence[ClipSample], names: tuple[str, ...], positions: int) -> FrameSetClassifier:
    """Make the classifier, on the bank of the frames."""
    labels = [names.index(sample.label) for sample in samples]
    return FrameSetClassifier(clip_bank(samples), labels, positions, len(names))


def event_ends(lengths: np.ndarray, events: Sequence[Any], positions: int) -> np.ndarray:
    """(V, 2) int64, positions just before and after the first event of each clip; the quarters where none is known.

    Args:
        lengths: (V,) frames of the clips.
        events: of each clip, (n, 2) segments, or None.
        positions: frames of a clip that may be seen.
    """
    found = np.tile([positions // 4, (3 * positions) // 4], (len(lengths), 1))
    for row, (times, own) in enumerate(zip(frame_times(lengths, positions), events, strict=True)):
        if own is not None and len(own):
            before, after = np.flatnonzero(times < own[0][0]), np.flatnonzero(times >= own[0][1])
            found[row] = before[-1] if len(before) else 0, after[0] if len(after) else positions - 1
    return found
