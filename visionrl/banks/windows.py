"""Windows of time in clips, of which a few frames were seen: what changes in them, and a classifier of that.

A window is described at twelve places, eight inside it and two on each side. Each shows the frame nearest to it of
those that were seen, so a description needs no other frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import cv2
import numpy as np

from visionrl.banks.clips import ClipBank, clip_bank, shared_by_clips
from visionrl.banks.fourier_ridge import FOLDS, FourierRidge, folds_by_class
from visionrl.banks.patches import colored
from visionrl.datasets.samples import ClipSample
from visionrl.metrics.segments import temporal_iou
from visionrl.ops import Array, DeviceTable, Recalled, const, xp_of

INSIDE, BESIDE = 8, 2  # places in a window, and on each side of it
PLACES = INSIDE + 2 * BESIDE
GRID = 12  # cells along each side of the small pictures whose change is measured
FLOOR, LEAK, LITTLE = 0.014, 1e-4, 0.3
"""Change of a cell that counts as noise, of intensities in [0, 1]; the share of it that is kept; the sum of changes at
which a centre is half sure."""

SURE = 0.03  # sum of changes at which slopes over a window are half sure
MOMENTS = 5  # of a change: size, centre (x, y), spread (x, y)
SHAPES = 12  # numbers about how the changes of a window go on
NUMBERS = (PLACES - 1) * MOMENTS + MOMENTS + SHAPES + PLACES + 1
WIDTH, APPEARANCES = 0.3, (0.0, 1.0)
"""Of the kernel; weights of the appearance beside the changes, of which the folds of the training clips choose."""

RIGHT = 0.5  # temporal IoU with a segment from which on a window is of its class
NEAR, FREE = 8, 16  # windows of a training clip: about each segment, and elsewhere
WINDOWS = 8192  # of all training clips, at most
LEAST = 4.0  # frames of a window
EVERY, CLOSER = (1, 2, 3, 4, 5, 6, 8), 0.5
"""Of the frames that were seen in training, and how often those are replaced by few over all and more in the window."""

ACTION = "action"  # the class where segments have no labels
CHUNK = 1024  # windows described at once
NONE_YET = 1e6  # frames from a place to the nearest seen one where none was


class ChangeBank(Recalled):
    """Small pictures of all frames of some clips, and how two of them differ; features where clips have no frames.

    Args:
        samples: the clips.

    Attributes:
        clips: the bank of their features.
        pictured: whether all clips have frames.
        cells: (F, N) float32, intensities of the cells in [0, 1], or the features; lent to any array library.
    """

    def __init__(self, samples: Sequence[ClipSample]) -> None:
        self.clips: ClipBank = clip_bank(samples)
        self.pictured = self.clips.channels > 0
        if not self.pictured:
            self.cells = self.clips.features
            return
        size, cells = int(self.clips.lengths.array.sum()), GRID * GRID * self.clips.channels
        found = np.empty((size, cells), np.float32)
        frames: list[Any] = [sample.frames for sample in samples]
        for row, frame in zip(found, chain.from_iterable(frames), strict=True):
            whole = colored(np.asarray(frame), self.clips.channels).transpose(1, 2, 0)
            small = cv2.resize(np.ascontiguousarray(whole), (GRID, GRID), interpolation=cv2.INTER_AREA)
            row[:] = small.reshape(GRID, GRID, -1).transpose(2, 0, 1).ravel() / 255
        self.cells = DeviceTable(found)

    def moments(self, clip: Array, times: Array) -> Array:
        """(B, K - 1, 5) float64, the changes between frames in a row: size, centre (x, y) and spread (x, y).

        Centre and spread are in halves of the picture from its middle, and 0 where nothing changes. Without
        pictures they are 0, and the size is the length of the difference of the features.

        Args:
            clip: (B,) int64.
            times: (B, K) int64, frames of the clips.
        """
        xp = xp_of(times)
        numbers = self.clips.number(clip, times)
        rows = xp.reshape(self.cells.rows(xp.reshape(numbers, (-1,))), (*numbers.shape, -1))
        change = xp.astype(rows[:, 1:, :] - rows[:, :-1, :], xp.float64)
        if not self.pictured:
            size = xp.sqrt(xp.sum(change * change, axis=-1))
            return xp.stack([size, *[xp.zeros_like(size)] * (MOMENTS - 1)], axis=-1)
        change = xp.abs(change - xp.mean(change, axis=-1)[..., None])
        strong = xp.maximum(change - FLOOR, LEAK * change)
        sums = strong @ const(moment_table(self.clips.channels), strong)
        size = sums[..., 0]
        x, y, x2, y2 = (sums[..., k] / (size + LITTLE) for k in range(1, MOMENTS))
        spread = [xp.sqrt(xp.maximum(a - b * b, xp.zeros_like(a))) for a, b in ((x2, x), (y2, y))]
        return xp.stack([xp.sqrt(size), x, y, *spread], axis=-1)


def moment_table(channels: int) -> tuple[tuple[float, ...], ...]:
    """(N, 5), what each cell counts in the sum, in x, y, and in their squares; cells of one channel after the other."""
    place = (2 * np.arange(GRID) + 1) / GRID - 1
    y, x = (np.tile(part.ravel(), channels) for part in np.meshgrid(place, place, indexing="ij"))
    return tuple(map(tuple, np.stack([np.ones_like(x), x, y, x * x, y * y], axis=1).tolist()))


def window_places(
    window: Array, inside: int = INSIDE, beside: int = BESIDE, shift: Array | None = None
) -> Array:
    """(B, inside + 2 * beside) float64, frames at equal distances in windows (B, 2), and on each side of them.

    Args:
        window: (B, 2) float64, first frame and the one after the last.
        inside: places in it.
        beside: places on each side.
        shift: (B,) float64 in [-0.5, 0.5), of all places, in their distance; None: none.
    """
    xp = xp_of(window)
    steps = const(tuple((k + 0.5) / inside for k in range(-beside, inside + beside)), window)[None, :]
    steps = steps if shift is None else steps + shift[:, None] / inside
    return xp.floor(window[:, :1] + steps * (window[:, 1:] - window[:, :1]))


def nearest_seen(looks: Array, places: Array) -> tuple[Array, Array]:
    """The frame nearest to each place of those that were seen, (B, P) int64, and its distance, (B, P) float64.

    Args:
        looks: (B, S) int64, frames seen; -1 for none yet. Of two as near the one seen first counts.
        places: (B, P) float64, whole numbers.
    """
    xp = xp_of(looks)
    seen = xp.astype(looks, xp.float64)[:, None, :]
    far = xp.where(seen >= 0, xp.abs(seen - places[:, :, None]), xp.full_like(seen, NONE_YET))
    first = xp.argmin(far, axis=2)
    flat = xp.take_along_axis(looks, first, axis=1)
    return xp.maximum(flat, xp.zeros_like(flat)), xp.min(far, axis=2)


def shapes(moments: Array) -> Array:
    """(B, 12): how changes go on in a window: mean centre and spread, their slopes and bends, and where the change is.

    Args:
        moments: (B, P - 1, 5) as of ``ChangeBank.moments``, at the places of a window.
    """
    xp = xp_of(moments)
    size = moments[..., 0] * moments[..., 0]
    time = const(tuple((k + 0.5 - (PLACES - 1) / 2) / INSIDE * 2 for k in range(PLACES - 1)), size)[None, :]
    total = xp.sum(size, axis=1)[:, None] + SURE
    late = time - xp.sum(size * time, axis=1)[:, None] / total
    wide = xp.sum(size * late * late, axis=1)[:, None] / total
    found = []
    for part in (moments[..., 1], moments[..., 2], moments[..., 3] + moments[..., 4]):
        mean = xp.sum(size * part, axis=1)[:, None] / total
        slope = xp.sum(size * late * (part - mean), axis=1)[:, None] / total / (wide + 0.02)
        bend = xp.sum(size * (late * late - wide) * (part - mean), axis=1)[:, None] / total / (wide + 0.02)
        found += [mean, slope, bend]
    inner = xp.sum(size[:, BESIDE : PLACES - 1 - BESIDE], axis=1)[:, None] / total
    return xp.concat([*found, inner, xp.sqrt(wide), xp.log(total)], axis=1)


class WindowBank(ChangeBank):
    """Descriptions of windows of time, by the frames that were seen."""

    def describe(self, clip: Array, looks: Array, window: Array) -> Array:
        """(B, ``NUMBERS``) float64: changes from place to place and over all, how they go on, how far seen frames are.

        Args:
            clip: (B,) int64.
            looks: (B, S) int64, frames seen, -1 for none yet.
            window: (B, 2) float64, first frame and the one after the last.
        """
        xp = xp_of(window)
        times, far = nearest_seen(looks, window_places(window))
        moments = self.moments(clip, times)
        ends = self.moments(clip, xp.stack([times[:, 0], times[:, -1]], axis=1))
        length = window[:, 1:] - window[:, :1]
        gaps = xp.minimum(far / length * INSIDE, xp.full_like(far, 4.0))
        flat = xp.reshape(moments, (-1, (PLACES - 1) * MOMENTS))
        return xp.concat([flat, ends[:, 0, :], shapes(moments), gaps, xp.log(length)], axis=1)

    def appearance(self, clip: Array, looks: Array, window: Array) -> Array:
        """(B, 3 * D) float64, features of the frames in windows: their mean, range, and the last less the first."""
        xp = xp_of(window)
        times, _ = nearest_seen(looks, window_places(window, beside=0))
        rows = xp.astype(self.clips.rows(clip, times), xp.float64)
        mean, spread = xp.mean(rows, axis=1), xp.max(rows, axis=1) - xp.min(rows, axis=1)
        return xp.concat([mean, spread, rows[:, -1, :] - rows[:, 0, :]], axis=1)


class WindowClassifier(FourierRidge):
    """Class scores of windows of time, the last for "none"; it learns from windows of which more and less was seen.

    Args:
        samples: training clips, with segments and their labels.
        names: the classes.

    Attributes:
        fold: (V,) int64, the fold of each training clip.
        weight: of the appearance; 0 leaves it out.
        surprise: weight -> mean negative log probability of windows of clips not learnt from.
    """

    def __init__(self, samples: Sequence[ClipSample], names: tuple[str, ...]) -> None:
        rng, count = np.random.default_rng(0), len(samples)
        self.folds, self.classes = min(FOLDS, count), len(names) + 1
        firsts = [names.index(labels_of(one)[0]) if len(one.segments) else -1 for one in samples]
        self.fold = folds_by_class(np.array(firsts), self.folds, rng)
        bank, drawn = window_bank(samples), [draw_windows(rng, sample, names) for sample in samples]
        clip = np.repeat(np.arange(count), [len(one.labels) for one in drawn])
        kept = np.sort(rng.permutation(len(clip))[:WINDOWS])
        clip, labels = clip[kept], np.concatenate([one.labels for one in drawn])[kept]
        looks, windows = joined_looks([d.looks for d in drawn]), np.concatenate([d.windows for d in drawn])
        fold, whole = self.fold[clip], (clip, looks[kept], windows[kept])
        pieces = [[part[k : k + CHUNK] for part in whole] for k in range(0, len(clip), CHUNK)]
        changes = np.concatenate([bank.describe(*piece) for piece in pieces])
        looking = np.concatenate([bank.appearance(*piece) for piece in pieces])
        fitted = {}
        for self.weight in APPEARANCES:
            value = self._fit(changes, looking, labels, fold)
            fitted[value] = dict(vars(self))
        self.__dict__.update(fitted[min(fitted)])
        self.surprise = {one["weight"]: value for value, one in fitted.items()}

    def _fit(self, changes: np.ndarray, looking: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> float:
        """Learn with the present weight of the appearance."""
        rows, shares = changes, np.full(changes.shape[1], 1 / changes.shape[1])
        if self.weight:
            rows = np.concatenate([changes, looking], axis=1)
            shares = np.concatenate([shares, np.full(looking.shape[1], self.weight / looking.shape[1])])
        return self.fit(rows, labels, fold, np.random.default_rng(1), WIDTH, shares / shares.sum())

    def window_scores(
        self, bank: WindowBank, clip: Array, fold: Array, looks: Array, window: Array
    ) -> tuple[Array, Array]:
        """Scores of windows, (B, C) probabilities, and the description they are of, (B, ``NUMBERS``).

        Args:
            bank: of the clips that the windows are in.
            clip: (B,) int64.
            fold: (B,) int64, as of ``FourierRidge.scores``.
            looks: (B, S) int64, frames seen, -1 for none yet.
            window: (B, 2) float64, first frame and the one after the last.
        """
        found = bank.describe(clip, looks, window)
        rows = found
        if self.weight:
            rows = xp_of(found).concat([found, bank.appearance(clip, looks, window)], axis=1)
        return self.scores(rows, fold), found


@dataclass(frozen=True)
class TrainingWindows:
    """Windows of one training clip; N of them.

    Attributes:
        windows: (N, 2) float64.
        looks: (N, S) int64, frames seen, -1 beyond the last.
        labels: (N,) int64, the number of a class; that of classes for "none".
    """

    windows: np.ndarray
    looks: np.ndarray
    labels: np.ndarray


def joined_looks(looks: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of frames seen, (N, S) each with an S of its own, below each other; -1 beyond the last."""
    found = np.full((sum(map(len, looks)), max(one.shape[1] for one in looks)), -1)
    row = 0
    for one in looks:
        found[row : row + len(one), : one.shape[1]] = one
        row += len(one)
    return found


def labels_of(sample: ClipSample) -> Sequence[str]:
    """The classes of a clip's segments; ``ACTION`` where they have none."""
    return sample.segment_labels or (ACTION,) * len(sample.segments)


def draw_windows(rng: np.random.Generator, sample: ClipSample, names: tuple[str, ...]) -> TrainingWindows:
    """Draw windows about the segments of a clip and elsewhere, and frames seen: of all, every k-th, or more within."""
    length = len(sample)
    truth = np.asarray(sample.segments, float).reshape(-1, 2)
    sizes = np.diff(truth, axis=1)[:, 0]
    usual = float(np.exp(np.log(sizes).mean())) if len(sizes) else length / 8
    lengths = np.clip(np.exp(rng.normal(np.log(usual), 0.7, FREE)), LEAST, length)
    starts = rng.uniform(0, length - lengths)
    windows = [np.stack([starts, starts + lengths], axis=1)]
    for (start, end), size in zip(truth, sizes, strict=True):
        windows.append(
            np.array([start, end]) + size * rng.normal(0, 1, (NEAR, 2)) * rng.uniform(0, 0.4, (NEAR, 1))
        )
    found = np.sort(np.clip(np.concatenate(windows), 0, length), axis=1)
    found = found[np.diff(found, axis=1)[:, 0] >= min(LEAST, length)]
    overlaps = temporal_iou(found, truth)
    labels = np.full(len(found), len(names))
    if len(truth):
        known = np.array([names.index(one) for one in labels_of(sample)])
        labels = np.where(overlaps.max(axis=1) >= RIGHT, known[overlaps.argmax(axis=1)], labels)
    seen = [seen_frames(rng, one, length) for one in found]
    looks = np.full((len(found), max(map(len, seen), default=1)), -1)
    for row, one in zip(looks, seen, strict=True):
        row[: len(one)] = one
    return TrainingWindows(found, looks, labels)


def seen_frames(rng: np.random.Generator, window: np.ndarray, length: int) -> np.ndarray:
    """Draw frames of a clip that were seen: every k-th, and in half of the cases more in and about a window (2,)."""
    every = float(rng.choice(EVERY))
    frames = np.arange(rng.uniform(0, every), length, every)
    if rng.random() < CLOSER and every > 1:
        size = float(window[1] - window[0])
        step = max(1.0, size / rng.uniform(3, 2 * INSIDE))
        near = np.arange(window[0] - size * rng.uniform(0, 1), window[1] + size * rng.uniform(0, 1), step)
        frames = np.concatenate(
            [np.arange(rng.uniform(0, 1), length, length / INSIDE), near[(near >= 0) & (near < length)]]
        )
    return np.unique(np.clip(frames.astype(int), 0, length - 1))


def window_bank(samples: Sequence[ClipSample]) -> WindowBank:
    """The bank of some clips; environments over the same ones share it."""
    return shared_by_clips(WindowBank, samples)


def window_classifier(samples: Sequence[ClipSample], names: tuple[str, ...]) -> WindowClassifier:
    """The classifier of some training clips, whose classes are named; environments over the same ones share it."""
    return shared_by_clips(WindowClassifier, samples, names)
