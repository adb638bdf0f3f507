"""Classical summaries of videos, and classical ways to fast-forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np

from visionrl.core import baseline
from visionrl.core.batch import stack
from visionrl.envs.video import fast_forward, summarization
from visionrl.envs.video.fast_forward import FastForward
from visionrl.envs.video.summarization import VideoSummarization
from visionrl.metrics.summary import keyshots
from visionrl.ops import DeviceTable

SUMMARY, FORWARD = "VideoSummarization-v0", "FastForward-v0"
ROUNDS, PENALTY = 20, 3.0  # of k-means; of the ridge, chosen on the validation films from 0.3, 1, 3, 10
CUT = 0.25  # distance of two pieces in a row from which on VSUMM counts a new cluster
SLOW, FAST, LEVELS = (1, 2, 3, 4), (6, 8, 10, 12, 15), (0.3, 0.5, 0.7, 0.8, 0.9)

Score = Callable[[VideoSummarization, int], np.ndarray]
SummaryRun = Callable[[VideoSummarization, summarization.State], summarization.State]
ForwardRun = Callable[[FastForward, fast_forward.State], fast_forward.State]


def by_score(score: Score) -> SummaryRun:
    """Return a method that scores all pieces of a clip at once, and keeps the best within the budget."""

    def run(task: VideoSummarization, state: summarization.State) -> summarization.State:
        clip = int(state.clip[0])
        sizes = task.pieces.sizes(clip)
        count = len(sizes)
        scores, kept = np.zeros_like(state.scores), np.zeros_like(state.kept)
        scores[0, :count] = score(task, clip)
        kept[0, :count] = keyshots(scores[0, :count], sizes, task.budget, np.random.default_rng(0))
        return replace(state, time=np.array([count]), scores=scores, kept=kept)

    return run


def count_of(task: VideoSummarization, clip: int) -> int:
    """The number of pieces of a clip."""
    return int(task.pieces.counts.array[clip])


def room(task: VideoSummarization, clip: int) -> int:
    """The number of pieces of a summary."""
    return max(1, int(task.budget * count_of(task, clip)))


def rows(table: DeviceTable, task: VideoSummarization, clip: int) -> np.ndarray:
    """(n, ...) float64, the rows of a clip's pieces in a table of all."""
    return table.array[clip * task.pieces.most :][: count_of(task, clip)].astype(float)


@baseline(SUMMARY, "constant", learns=False)
def constant(train: None) -> SummaryRun:
    """All pieces alike: tau is 0 by definition, F is chance's."""
    return by_score(lambda task, clip: np.zeros(count_of(task, clip)))


@baseline(SUMMARY, "first pieces", learns=False)
def first_pieces(train: None) -> SummaryRun:
    """The beginning of the video, as much as the budget allows."""
    return by_score(lambda task, clip: (np.arange(count_of(task, clip)) < room(task, clip)).astype(float))


@baseline(SUMMARY, "random scores", learns=False)
def random_scores(train: None) -> SummaryRun:
    """Scores by chance, of a seed of each clip."""
    return by_score(lambda task, clip: np.random.default_rng(clip).random(count_of(task, clip)))


@baseline(SUMMARY, "uniform", learns=False)
def uniform(train: None) -> SummaryRun:
    """Pieces at equal distances."""

    def score(task: VideoSummarization, clip: int) -> np.ndarray:
        found = np.zeros(count_of(task, clip))
        found[((np.arange(room(task, clip)) + 0.5) * len(found) / room(task, clip)).astype(int)] = 1
        return found

    return by_score(score)


@baseline(SUMMARY, "k-means", learns=False)
def k_means(train: None) -> SummaryRun:
    """As many clusters as the budget has pieces: the nearer to its centre, the better; those nearest come first."""

    def score(task: VideoSummarization, clip: int) -> np.ndarray:
        found = rows(task.pieces.features, task, clip)
        label, far = clusters(found, min(room(task, clip), len(found)))
        best = -far
        for number in np.unique(label):
            best[np.flatnonzero(label == number)[far[label == number].argmin()]] += 10
        return best

    return by_score(score)


def clusters(found: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) clusters of Lloyd's algorithm from centres at equal distances, and (n,) distances from their centres."""
    centres = found[((np.arange(count) + 0.5) * len(found) / count).astype(int)]
    for _ in range(ROUNDS):
        far = np.linalg.norm(found[:, None] - centres, axis=2)
        label = far.argmin(axis=1)
        centres = np.stack(
            [found[label == k].mean(axis=0) if (label == k).any() else centres[k] for k in range(count)]
        )
    far = np.linalg.norm(found[:, None] - centres, axis=2)
    return far.argmin(axis=1), far.min(axis=1)


@baseline(SUMMARY, "VSUMM", learns=False)
def vsumm(train: None) -> SummaryRun:
    """As many clusters as the pieces have cuts; one piece of each that is not small (de Avila et al., 2011)."""

    def score(task: VideoSummarization, clip: int) -> np.ndarray:
        found = rows(task.pieces.features, task, clip)
        cuts = int((np.linalg.norm(np.diff(found, axis=0), axis=1) > CUT).sum())
        label, far = clusters(found, min(1 + cuts, len(found)))
        best, sizes = np.zeros(len(found)), np.bincount(label)
        for number in np.flatnonzero(sizes >= 0.5 * sizes[sizes > 0].mean()):
            best[np.flatnonzero(label == number)[far[label == number].argmin()]] = 1
        return best

    return by_score(score)


@baseline(SUMMARY, "motion energy", learns=False)
def motion_energy(train: None) -> SummaryRun:
    """The more the picture changes from frame to frame, the better."""
    return by_score(lambda task, clip: rows(task.pieces.change, task, clip)[:, 0])


@baseline(SUMMARY, "ridge regression")
def ridge(train: VideoSummarization) -> SummaryRun:
    """People's mean score as a linear function of what the agent sees of a piece; the supervised row."""
    seen = [seen_of(train, clip) for clip in range(train.items)]
    worth = [train.pieces.worth.array[clip, : len(one)] for clip, one in enumerate(seen)]
    every, target = np.concatenate(seen), np.concatenate([one - one.mean() for one in worth])
    middle, spread = every.mean(axis=0), every.std(axis=0) + 1e-6
    plain = (every - middle) / spread
    weights = np.linalg.solve(
        plain.T @ plain + PENALTY * len(plain) / 10 * np.eye(plain.shape[1]), plain.T @ target
    )
    return by_score(lambda task, clip: (seen_of(task, clip) - middle) / spread @ weights)


def seen_of(task: VideoSummarization, clip: int) -> np.ndarray:
    """(n, N) all observations of a clip's pieces but the context, which depends on what is kept."""
    count = count_of(task, clip)
    start = stack([task.sample(np.random.default_rng(0), clip)] * count)
    seen = task.observe(replace(start, time=np.arange(count)))
    return np.concatenate([seen[key] for key in ("motion", "ahead", "repeats")], axis=1).astype(float)


@baseline(SUMMARY, "mean of the people", learns=False)
def mean_user(train: None) -> SummaryRun:
    """The mean of what people said, which nobody else knows: the upper reference."""

    def score(task: VideoSummarization, clip: int) -> np.ndarray:
        if not task.labelled:
            raise ValueError("mean of the people must be given samples with scores, got one without labels")
        return task.pieces.worth.array[clip, : count_of(task, clip)]

    return by_score(score)


def with_frames(task: FastForward, state: fast_forward.State, frames: np.ndarray) -> fast_forward.State:
    """The last state of an episode that has seen some frames."""
    seen = np.zeros_like(state.seen)
    seen[0, frames] = True
    return replace(state, time=np.array([len(task.samples[int(state.clip[0])])]), seen=seen)


@baseline(FORWARD, "uniform, 1 in 7", learns=False)
def uniform_jumps(train: None) -> ForwardRun:
    """Every seventh frame, 14.3 %: the row to beat."""
    return lambda task, state: with_frames(
        task, state, np.arange(0, len(task.samples[int(state.clip[0])]), 7)
    )


@baseline(FORWARD, "random frames, 1 in 7", learns=False)
def random_frames(train: None) -> ForwardRun:
    """As many frames by chance, of a seed of each clip."""

    def run(task: FastForward, state: fast_forward.State) -> fast_forward.State:
        length = len(task.samples[int(state.clip[0])])
        order = np.random.default_rng(int(state.clip[0])).permutation(length)
        return with_frames(task, state, order[: -(-length // 7)])

    return run


@baseline(FORWARD, "motion energy")
def motion_jumps(train: FastForward) -> ForwardRun:
    """A short jump where the frame differs much from the last one seen, else a long one.

    Both jumps and the threshold are those that do best on the training films at 15 % of their frames or less.
    """
    held = [train.bank.features_of(clip) for clip in range(train.items)]
    steps = np.concatenate([np.linalg.norm(np.diff(rows, axis=0), axis=1) for rows in held])
    best, chosen = -1.0, (1, FAST[-1], 0.0)
    for slow, fast, level in product(SLOW, FAST, np.quantile(steps, LEVELS).tolist()):
        starts = [stack([train.sample(np.random.default_rng(0), clip)]) for clip in range(train.items)]
        seen = [jumps(rows, slow, fast, level) for rows in held]
        ends = [with_frames(train, *one) for one in zip(starts, seen, strict=True)]
        found = [train.metrics(end) for end in ends]
        value = float(np.mean([one["above_uniform"] for one in found]))
        if np.mean([one["processed"] for one in found]) <= fast_forward.GOAL_SEEN and value > best:
            best, chosen = value, (slow, fast, level)

    def run(task: FastForward, state: fast_forward.State) -> fast_forward.State:
        return with_frames(task, state, jumps(task.bank.features_of(int(state.clip[0])), *chosen))

    return run


def jumps(rows: np.ndarray, slow: int, fast: int, level: float) -> np.ndarray:
    """Frames seen of (T, D) features: a slow jump follows a change above the level, a fast one all others."""
    seen = [0]
    last = rows[0]
    while (now := seen[-1]) < len(rows):
        change = float(np.linalg.norm(rows[now] - last))
        last = rows[now]
        seen.append(now + (slow if change > level else fast))
    return np.array(seen[:-1])
