"""Orders in which to look at an image without learning to look; what was seen is scored by the task's own detector.

The verdict is "defect" where the score is above the level that pays most on the training images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

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


def surprise_first(detector: str | None, task: AnomalyDetection, image: np.ndarray) -> np.ndarray:
    """The most unusual cells first, from afar.

    Args:
        detector: that says how unusual they are; None is the task's own.
        task: of the images.
        image: (B,).
    """
    bank = task.bank if detector is None else task.bank_of(detector)
    return np.argsort(-bank.hints.array[image], axis=1, kind="stable")


def nearby_first(task: AnomalyDetection, image: np.ndarray) -> np.ndarray:
    """The most unusual neighbour of what was seen first: a look at a cell says something of those beside it.

    The first cell is the one that is most unusual from afar.
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


def with_looks(task: AnomalyDetection, state: State, cells: np.ndarray) -> State:
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


def looking(order: Order, every: bool, train: AnomalyDetection) -> Run:
    """Look in an order, as often as may be or at all cells, then judge."""

    def looked(task: AnomalyDetection, state: State) -> State:
        cells = order(task, np.asarray(state.image))
        return with_looks(task, state, cells if every else cells[:, : task.budget])

    level = best_level(train, looked(train, every_image(train)))
    return lambda task, state: with_verdict(task, looked(task, state), level)


for _name, _order, _every in (
    ("random cells", by_chance, False),
    ("raster", raster, False),
    ("surprise first", partial(surprise_first, "padim"), False),
    ("nearest surprise first", nearby_first, False),
    ("detector's own surprise first", partial(surprise_first, None), False),
    ("all cells", raster, True),
):
    baseline(TASK, _name)(partial(looking, _order, _every))


def until_found(task: AnomalyDetection, state: State, level: float) -> State:
    """Look where the detector is most surprised from afar until a cell is above a level, which has the defect."""
    cells = surprise_first(None, task, np.asarray(state.image))[:, : task.budget]
    scores = np.take_along_axis(task.bank.nearby.array[np.asarray(state.image)], cells, axis=1)
    found = scores > level
    looks = np.where(found.any(axis=1), found.argmax(axis=1) + 1, cells.shape[1])
    taken = np.where(np.arange(cells.shape[1]) < looks[:, None], cells, -1)
    return replace(with_looks(task, state, taken), step=looks)


@baseline(TASK, "detector's own surprise first, until found")
def early_stop(train: AnomalyDetection) -> Run:
    """The same order, which ends at the first cell above the level that pays most on the training images."""
    start = every_image(train)
    level = float(
        max(
            LEVELS,
            key=lambda one: train.points(with_verdict(train, until_found(train, start, one), one)).mean(),
        )
    )
    return lambda task, state: with_verdict(task, until_found(task, state, level), level)
