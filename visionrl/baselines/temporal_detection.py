"""Ways to find segments of actions without learning where to look: all with the task's own classifier of windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from visionrl.banks.windows import LEAST
from visionrl.core import baseline
from visionrl.envs.video.temporal import State, TemporalDetection
from visionrl.metrics.detection import suppress
from visionrl.metrics.segments import as_boxes

TASK = "TemporalDetection-v0"
LENGTHS, STRIDE = 6, 0.15  # quantiles of the training segments' lengths; of the shortest, between windows
MOST, FAINT = 32, 0.02  # segments of a clip; least score of one
OVERLAP = 0.3  # windows of one class that overlap a better one more are dropped; best on val of .2, .3, .5
ROWS = 512  # windows scored at once

Run = Callable[[TemporalDetection, State], State]
Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # windows (N, 2), classes (N,), scores (N,)


def with_frames(task: TemporalDetection, state: State, every: int | None) -> State:
    """The start of an episode in which every k-th frame of the part is seen, and no other; None: those of the start."""
    if every is None:
        return state
    low, high = task.parts.array[int(state.item[0])].astype(int).tolist()
    frames = np.arange(low + min((every - 1) // 2, high - low - 1), high, every)
    looks = np.full((1, int(np.diff(task.parts.array, axis=1).max())), -1)  # as wide in all episodes
    looks[0, : len(frames)] = frames
    return replace(state, looks=looks)


def with_segments(task: TemporalDetection, state: State, found: Found) -> State:
    """The end of an episode in which some segments are emitted, the best first."""
    windows, labels, scores = found
    state = replace(
        state, found=np.full((1, MOST, 3), np.nan), labels=np.full((1, MOST), -1), finished=np.ones(1, bool)
    )
    for number in np.argsort(-scores, kind="stable")[:MOST]:
        one = slice(number, number + 1)
        state = task.emit(state, np.ones(1, bool), windows[one], labels[one], scores[one])
    return state


def window_lengths(train: TemporalDetection) -> np.ndarray:
    """Lengths of windows, frames: quantiles of those of the training segments."""
    truth = train.truth.array[train.kinds.array >= 0]
    sizes = np.quantile(truth[:, 1] - truth[:, 0], (np.arange(LENGTHS) + 0.5) / LENGTHS)
    return np.unique(np.maximum(sizes.round(), LEAST))


def slid(lengths: np.ndarray, part: np.ndarray) -> np.ndarray:
    """(N, 2) windows of some lengths at equal distances in a part of a clip; the whole part where none fits."""
    stride, found = max(1.0, STRIDE * float(lengths.min())), []
    for length in lengths[lengths <= part[1] - part[0]]:
        starts = np.arange(part[0], part[1] - length + 1e-6, stride)
        found.append(np.stack([starts, starts + length], axis=1))
    return np.concatenate(found) if found else part[None]


def scored(task: TemporalDetection, state: State, windows: np.ndarray) -> np.ndarray:
    """(N, C + 1) the classifier's scores of windows (N, 2) of one clip, by the frames seen."""
    found = []
    for k in range(0, len(windows), ROWS):
        some = windows[k : k + ROWS]
        clip, looks = np.repeat(state.clip, len(some)), np.repeat(state.looks, len(some), axis=0)
        found.append(task.classify(clip, looks, some)[0])
    return np.concatenate(found)


def best_windows(windows: np.ndarray, scores: np.ndarray) -> Found:
    """Windows left by non-maximum suppression in each class, of scores (N, C + 1)."""
    kept = [(np.zeros((0, 2)), np.zeros(0, int), np.zeros(0))]
    for number in range(scores.shape[1] - 1):
        likely = np.flatnonzero(scores[:, number] >= FAINT)
        own = likely[suppress(as_boxes(windows[likely]), scores[likely, number], OVERLAP, MOST)]
        kept.append((windows[own], np.full(len(own), number), scores[own, number]))
    windows, labels, values = (np.concatenate(part) for part in zip(*kept, strict=True))
    return windows, labels, values


def sliding(every: int) -> Callable[[TemporalDetection], Run]:
    """Windows by the frames at places of a part that are ``every`` frames apart."""

    def fit(train: TemporalDetection) -> Run:
        """Windows of the lengths of training segments everywhere, and non-maximum suppression."""
        lengths = window_lengths(train)

        def run(task: TemporalDetection, state: State) -> State:
            state = with_frames(task, state, every)
            windows = slid(lengths, task.parts.array[int(state.item[0])])
            return with_segments(task, state, best_windows(windows, scored(task, state, windows)))

        return run

    return fit


baseline(TASK, "sliding windows, all frames")(sliding(1))
for _every in (2, 3, 4, 5, 6, 8, 10, 12):
    baseline(TASK, f"sliding windows, 1 in {_every}")(sliding(_every))


@baseline(TASK, "whole clip")
def whole_clip(train: TemporalDetection) -> Run:
    """The whole clip as one segment of each class, scored by the classifier from the frames of the start."""

    def run(task: TemporalDetection, state: State) -> State:
        return with_segments(task, state, of_every_class(task, state, task.parts.array[state.item]))

    return run


@baseline(TASK, "mean segment")
def mean_segment(train: TemporalDetection) -> Run:
    """The mean segment of the training clips, in shares of a clip, of each class, scored by the classifier."""
    kinds, parts = train.kinds.array, train.parts.array[:, None, :]
    shares = (train.truth.array - parts[..., :1]) / (parts[..., 1:] - parts[..., :1])
    mean = shares[kinds >= 0].mean(axis=0)

    def run(task: TemporalDetection, state: State) -> State:
        low, high = task.parts.array[int(state.item[0])]
        return with_segments(task, state, of_every_class(task, state, (low + mean * (high - low))[None]))

    return run


def of_every_class(task: TemporalDetection, state: State, window: np.ndarray) -> Found:
    """One window (1, 2) as a segment of each class."""
    scores = scored(task, state, window)[0, :-1]
    return np.repeat(window, len(scores), axis=0), np.arange(len(scores)), scores
