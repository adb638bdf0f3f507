"""Orders in which to look at an image without learning to look; what was seen is scored by the task's own detector.

The verdict is "defect" where the score is above the level that pays most on the training images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from visionrl.core import baseline, batch
from visionrl.envs.recognition.anomaly import AnomalyDetection, State

TASK = "AnomalyDetection-v0"
LEVELS = np.linspace(-2, 12, 57)  # from which a score is one of a defect

Run = Callable[[AnomalyDetection, State], State]
Order = Callable[[AnomalyDetection, np.ndarray], np.ndarray]  # images (B,) -> cells (B, K), in order


def raster(task: AnomalyDetection, image: np.ndarray) -> np.ndarray:
    """The cells row by row."""
    return np.tile(np.arange(task.grid**2), (len(image), 1))


def by_chance(task: AnomalyDetection, image: np.ndarray) -> np.ndarray:
    """The cells by chance, of a seed of each image."""
    return np.stack([np.random.default_rng(number).permutation(task.grid**2) for number in image.tolist()])


def largest_first(task: AnomalyDetection, image: np.ndarray) -> np.ndarray:
    """The cells with the largest scores of the task's detector from afar first."""
    return np.argsort(-task.bank.hints.array[image], axis=1, kind="stable")


def distant_first(task: AnomalyDetection, image: np.ndarray) -> np.ndarray:
    """The cells farthest from good ones first, from afar, by the detector "padim" whatever the task's is."""
    return np.argsort(-task.bank_of("padim").hints.array[image], axis=1, kind="stable")


def nearby_first(task: AnomalyDetection, image: np.ndarray) -> np.ndarray:
    """The cells nearest to large scores seen so far first: a look at a cell says something of those beside it.

    The first cell is the one with the largest score from afar.
    """
    grid, found = task.grid, []
    row, column = np.divmod(np.arange(grid**2), grid)
    near = np.hypot(row[:, None] - row, column[:, None] - column)
    for number in image.tolist():
        far, own = task.bank.hints.array[number], task.bank.nearby.array[number]
        cells = [int(far.argmax())]
        for _ in range(task.budget - 1):
            guess = np.max(own[cells][:, None] - 2 * near[cells], axis=0)
            guess[cells] = -np.inf
            cells.append(int(np.argmax(guess + 0.01 * far)))
        found.append(cells)
    return np.array(found)


def with_looks(state: State, cells: np.ndarray) -> State:
    """The state of some episodes after looks at cells (B, K) alone, which may be more than the budget."""
    return replace(state, taken=cells.astype(np.int64), step=np.full(len(cells), cells.shape[1]))


def with_verdict(task: AnomalyDetection, state: State, level: float) -> State:
    """The verdict by the score."""
    said = (task.score(state) > level).astype(np.int64)
    return replace(state, said=said, finished=np.ones(len(said), bool))


def best_level(task: AnomalyDetection, state: State) -> float:
    """The level that pays most on the images of a state."""
    return float(max(LEVELS, key=lambda level: task.points(with_verdict(task, state, level)).mean()))


def every_image(task: AnomalyDetection) -> State:
    """The first states of all images."""
    return batch.stack([task.sample(np.random.default_rng(0), item) for item in range(task.items)])


def looking(order: Order, train: AnomalyDetection, every: bool = False) -> Run:
    """Look in an order, as often as may be or at all cells, then judge by the level that pays most in training."""

    def looked(task: AnomalyDetection, state: State) -> State:
        cells = order(task, np.asarray(state.image))
        return with_looks(state, cells if every else cells[:, : task.budget])

    level = best_level(train, looked(train, every_image(train)))
    return lambda task, state: with_verdict(task, looked(task, state), level)


@baseline(TASK, "random cells")
def random_cells(train: AnomalyDetection) -> Run:
    """Cells by chance, of a seed of each image."""
    return looking(by_chance, train)


@baseline(TASK, "raster")
def first_cells(train: AnomalyDetection) -> Run:
    """The first cells, row by row."""
    return looking(raster, train)


@baseline(TASK, "surprise first")
def surprise_first(train: AnomalyDetection) -> Run:
    """The cells whose features from afar have the largest Mahalanobis distance to good ones."""
    return looking(distant_first, train)


@baseline(TASK, "nearest surprise first")
def nearest_surprise_first(train: AnomalyDetection) -> Run:
    """The cell with the largest score from afar, then those nearest to large scores seen so far."""
    return looking(nearby_first, train)


@baseline(TASK, "detector's own surprise first")
def own_surprise_first(train: AnomalyDetection) -> Run:
    """The cells with the largest scores of the task's own detector from afar."""
    return looking(largest_first, train)


@baseline(TASK, "all cells")
def all_cells(train: AnomalyDetection) -> Run:
    """All cells, also where these are more than the budget."""
    return looking(raster, train, every=True)


def until_found(task: AnomalyDetection, state: State, level: float) -> State:
    """The state after looks at the largest scores from afar until a cell is above a level, which has the defect."""
    cells = largest_first(task, np.asarray(state.image))[:, : task.budget]
    scores = np.take_along_axis(task.bank.nearby.array[np.asarray(state.image)], cells, axis=1)
    found = scores > level
    looks = np.where(found.any(axis=1), found.argmax(axis=1) + 1, cells.shape[1])
    taken = np.where(np.arange(cells.shape[1]) < looks[:, None], cells, -1)
    return replace(with_looks(state, taken), step=looks)


@baseline(TASK, "detector's own surprise first, until found")
def early_stop(train: AnomalyDetection) -> Run:
    """The cells with the largest scores from afar, until one is above the level that pays most on training images."""
    start = every_image(train)
    level = float(
        max(
            LEVELS,
            key=lambda one: train.points(with_verdict(train, until_found(train, start, one), one)).mean(),
        )
    )
    return lambda task, state: with_verdict(task, until_found(task, state, level), level)
