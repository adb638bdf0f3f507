"""Sets of a few frames of a clip: a summary of their features, and a classifier of such summaries.

The classifier is a ridge regression on random Fourier features (Rahimi & Recht, 2007), so it is learnt in a second and
needs no library of networks. The training clips themselves are scored by one that has not learnt from them, as agents
that learn from these scores must not see ones that are too good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from visionrl.banks.clips import ClipBank, clip_bank, shared_by_clips
from visionrl.datasets.samples import ClipSample
from visionrl.ops import Array, DeviceTable, Recalled, xp_of

PARTS = 3  # of a summary, each as wide as a frame's features
FOLDS, DRAWS, WAVES = 5, 20, 768  # parts of the training clips, sets of frames of each clip, Fourier features
WIDTH, PENALTY = 0.1, 0.3
"""Of kernel and ridge; chosen by the folds of JHMDB from .03, .1, .2 and .1, .3, 1."""

SIZES = (1, 2, 3, 4, 5, 8, 64)  # frames of a set, or all
SHARES = (0.2, 0.25, 0.2, 0.12, 0.08, 0.08, 0.07)  # how often each is drawn
SHARPNESS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 30)
"""Of probabilities; what fits clips not learnt from best is taken."""

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


class FrameSetClassifier(Recalled):
    """Class scores of sets of frames; C classes.

    Args:
        bank: features of the training clips.
        labels: number of the class of each.
        positions: frames of a clip that may be seen.
        classes: C.

    Attributes:
        fold: (V,) int64, the fold of each training clip; those of a class go to all in turn.
        folds: their number, which is the number of the classifier that has learnt from all.
        waves: (3 * D, W) float64, and ``phase`` (W,), of the Fourier features of a scaled summary.
        centre: (3 * D,) float64, and ``scale``, of the summaries.
        weights: (W + 1, (folds + 1) * C) float64.
        sharpness: what the regression's values are multiplied by before the softmax.
    """

    def __init__(self, bank: ClipBank, labels: Sequence[int], positions: int, classes: int) -> None:
        rng, count = np.random.default_rng(0), len(labels)
        self.folds, self.classes = min(FOLDS, count), classes
        order = np.argsort(np.array(labels) + rng.random(count), kind="stable")  # by class, by chance within
        self.fold = np.argsort(order) % self.folds
        clips = np.arange(count)
        features = bank.rows(clips, frame_times(bank.lengths.array, positions)).astype(float)
        chances = np.array(SHARES) / sum(SHARES)
        sizes = np.minimum(SIZES, positions)
        drawn = rng.choice(sizes, (DRAWS, count), p=chances)
        ranks = rng.random((DRAWS, count, positions)).argsort(axis=2).argsort(axis=2)
        sets = ranks < drawn[:, :, None]
        rows = np.concatenate([summarised(features, one) for one in sets])
        centre, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-6
        wide = rows.shape[1]
        self.centre, self.scale = DeviceTable(centre), DeviceTable(scale)
        self.waves = DeviceTable(rng.normal(size=(wide, WAVES)) * np.sqrt(2 * WIDTH / wide))
        self.phase = DeviceTable(rng.uniform(0, 2 * np.pi, WAVES))
        waved, every = self.waved(rows), np.tile(labels, DRAWS)
        self.weights, self.sharpness = DeviceTable(self._solved(waved, every)), 1.0
        raw = self._raw(waved, np.tile(self.fold, DRAWS))
        self.sharpness = min(SHARPNESS, key=lambda one: _surprise(one * raw, every))

    def _solved(self, waved: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(W + 1, (folds + 1) * C) weights without each fold, and with all, from Fourier features of all sets."""
        target, fold = np.eye(self.classes)[labels], np.tile(self.fold, DRAWS)
        own = [fold == one for one in range(self.folds)]
        gram = np.stack([waved[some].T @ waved[some] for some in own])
        moment = np.stack([waved[some].T @ target[some] for some in own])
        penalty = PENALTY * np.eye(waved.shape[1])
        found = [
            np.linalg.solve(gram.sum(0) - left + penalty, moment.sum(0) - gone)
            for left, gone in [*zip(gram, moment, strict=True), (0 * gram[0], 0 * moment[0])]
        ]
        return np.concatenate(found, axis=1)

    def scaled(self, summaries: Array) -> Array:
        """Summaries (B, 3 * D), each of their numbers with mean 0 and deviation 1 over the training clips."""
        return (summaries - self.centre.on(summaries)) / self.scale.on(summaries)

    def waved(self, summaries: Array) -> Array:
        """(B, W + 1) Fourier features of summaries (B, 3 * D), and a 1."""
        xp = xp_of(summaries)
        scaled = self.scaled(summaries)
        found = xp.cos(scaled @ self.waves.on(summaries) + self.phase.on(summaries)) * (2 / WAVES) ** 0.5
        return xp.concat([found, xp.ones_like(found[:, :1])], axis=1)

    def scores(self, summaries: Array, fold: Array) -> Array:
        """(B, C) probabilities of classes.

        Args:
            summaries: (B, 3 * D) float64.
            fold: (B,) int64, by the classifier that has not learnt from this fold; ``folds`` for that of all.
        """
        xp = xp_of(summaries)
        raw = self.sharpness * self._raw(self.waved(summaries), fold)
        odds = xp.exp(raw - xp.max(raw, axis=1)[:, None])
        return odds / xp.sum(odds, axis=1)[:, None]

    def _raw(self, waved: Array, fold: Array) -> Array:
        """(B, C) values of the regression for Fourier features (B, W + 1)."""
        split = xp_of(waved).reshape(waved @ self.weights.on(waved), (-1, self.folds + 1, self.classes))
        return xp_of(waved).take_along_axis(split, fold[:, None, None], axis=1)[:, 0, :]


def _surprise(raw: np.ndarray, labels: np.ndarray) -> float:
    """The mean negative log probability of labels (N,) under the softmax of (N, C)."""
    top = raw.max(axis=1)
    total = top + np.log(np.exp(raw - top[:, None]).sum(axis=1))
    return float((total - raw[np.arange(len(raw)), labels]).mean())


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
