"""The important frames of clips, counted: what jumps over them miss and hit; held once for all episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from visionrl.banks.clips import shared_by_clips
from visionrl.datasets.samples import ClipSample
from visionrl.ops import Array, DeviceTable, Recalled, xp_of

Table = tuple[tuple[int, ...], ...]
SHARE = 0.15  # of the frames are important in clips with people's scores and without segments
SIGMA, WINDOW = 1.0, 4  # frames; of the reward for landing near important ones (Lan et al., 2018)


class EventBank(Recalled):
    """Running counts of important frames: those in segments, else the best 15 % by people's scores.

    Args:
        samples: with segments or scores where ``labelled``.
        tolerance: frames from a seen one up to which an important one is covered.
        jumps: (S, A) whole numbers, frames that each action jumps at each of S speeds.
        next_speeds: (S, A) whole numbers, the speed after it.
        cost: of a frame that is seen, in covered frames; for the best actions.
        labelled: False makes no frame important.

    Attributes:
        important: (V, T) bool, T frames of the longest clip; lent to any array library, as all tables are.
        before: (V, T + 1) int64, important frames before each.
        hit: (V, T) float64, how near each frame is to important ones, 0 to 1.
        best: (V, T * S) int64, action at each frame and speed that gains most in the end.
    """

    def __init__(
        self,
        samples: Sequence[ClipSample],
        tolerance: int,
        jumps: Table,
        next_speeds: Table,
        cost: float,
        labelled: bool,
    ) -> None:
        counts = [len(sample) for sample in samples]
        important = np.zeros((len(samples), max(counts)), bool)
        for row, sample in zip(important, samples, strict=True):
            row[: len(sample)] = important_frames(sample) if labelled else False
        before = np.concatenate([np.zeros((len(samples), 1), int), np.cumsum(important, axis=1)], axis=1)
        bell = np.exp(-0.5 * (np.arange(-WINDOW, WINDOW + 1) / SIGMA) ** 2)
        hit = np.stack([np.convolve(row, bell / bell.sum(), "same") for row in important.astype(float)])
        best = [
            best_actions(row, n, tolerance, np.array(jumps), np.array(next_speeds), cost).ravel()
            for row, n in zip(before, counts, strict=True)
        ]
        self.important, self.before = DeviceTable(important), DeviceTable(before)
        self.hit, self.best = DeviceTable(hit), DeviceTable(np.stack(best))

    def count_before(self, clip: Array, time: Array) -> Array:
        """(B,) int64, important frames of clips before times (B,), which are moved into [0, T]."""
        return self.at(self.before, clip, xp_of(time).clip(time, 0, self.important.array.shape[1]))

    def at(self, table: DeviceTable, clip: Array, time: Array) -> Array:
        """(B,) of a table (V, T), at clips and times (B,) within it."""
        return xp_of(time).take_along_axis(table.rows(clip), time[:, None], axis=1)[:, 0]


def important_frames(sample: ClipSample) -> np.ndarray:
    """(T,) bool, the frames in segments, else the best 15 % by people's mean score."""
    count = len(sample)
    if sample.segments is not None:
        return inside(np.arange(count) + 0.5, np.asarray(sample.segments))
    found = np.zeros(count, bool)
    if sample.scores is not None:
        order = np.argsort(-np.asarray(sample.scores).mean(axis=0), kind="stable")
        found[order[: max(1, round(SHARE * count))]] = True
    return found


def inside(times: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """(N,) bool, which times (N,) are within one of some segments (n, 2), (start, end) each."""
    within = (times[:, None] >= segments[:, 0]) & (times[:, None] < segments[:, 1])
    return np.asarray(within.any(axis=1))


def best_actions(
    before: np.ndarray, length: int, tolerance: int, jumps: np.ndarray, next_speeds: np.ndarray, cost: float
) -> np.ndarray:
    """(T, S) int64 actions that cover most at least cost from each frame on, by dynamic programming.

    Args:
        before: (T + 1,) important frames before each.
        length: frames of the clip.
        tolerance: frames from a seen one up to which an important one is covered.
        jumps: (S, A), frames that each action jumps at each speed.
        next_speeds: (S, A), the speed after it.
        cost: of a frame that is seen, in covered frames.
    """
    longest = int(jumps.max())
    best, value = np.zeros((len(before) - 1, len(jumps)), int), np.zeros((length + longest + 1, len(jumps)))
    order = np.argsort(-jumps, axis=1, kind="stable")  # the longest of equally good jumps
    for time in range(length - 1, -1, -1):
        goal = time + np.arange(longest + 1)
        high = np.clip(goal + tolerance + 1, 0, length)
        low = np.clip(np.maximum(goal - tolerance, time + tolerance + 1), 0, length)
        gain = np.maximum(before[high] - before[low], 0) - cost
        total = np.where(time + jumps < length, gain[jumps] + value[time + jumps, next_speeds], 0.0)
        ranked = np.take_along_axis(total, order, axis=1)
        best[time] = np.take_along_axis(order, ranked.argmax(axis=1)[:, None], axis=1)[:, 0]
        value[time] = total.max(axis=1)
    return best


def event_bank(samples: Sequence[ClipSample], *args: Any) -> EventBank:
    """The important frames of some clips; environments over the same ones share them."""
    return shared_by_clips(EventBank, samples, *args)
