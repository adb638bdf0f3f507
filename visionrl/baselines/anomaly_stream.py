"""Rules for streams of cells: nothing is a defect, or all whose anomaly score is above a level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from visionrl.core import baseline
from visionrl.core.registry import Run
from visionrl.envs.recognition.anomaly_stream import AnomalyStream, State

TASK = "AnomalyStream-v0"


def with_answers(state: State, answers: np.ndarray) -> State:
    """The state of some episodes at their end, of answers (B, T)."""
    return replace(state, taken=answers.astype(np.int64), step=np.full(len(answers), answers.shape[1]))


@baseline(TASK, "all normal", learns=False)
def all_normal(train: None) -> Run:
    """No cell is said to show a defect."""
    return lambda task, state: with_answers(state, np.zeros_like(state.stream))


@baseline(TASK, "threshold on padim")
def padim_threshold(train: AnomalyStream) -> Run:
    """Cells whose features have a large Mahalanobis distance to good ones; the level has the best F1 in training."""
    return threshold(train, "padim")


@baseline(TASK, "threshold on the detector")
def detector_threshold(train: AnomalyStream) -> Run:
    """Cells with a large score of the task's own detector; the level has the best F1 on the training images."""
    return threshold(train, train.detector)


def threshold(train: AnomalyStream, detector: str) -> Run:
    """The level of a detector's scores with the best F1 over all cells of the training images."""
    scores, truth = train.bank_of(detector).nearby.array.ravel(), train.truth
    scores, defect = scores[truth >= 0], truth[truth >= 0] == 1
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(defect[order])
    f1 = 2 * found / (np.arange(1, len(order) + 1) + max(defect.sum(), 1))
    level = scores[order][f1.argmax()]

    def run(task: AnomalyStream, state: State) -> State:
        found = task.bank_of(detector).nearby.array.ravel()
        return with_answers(state, found[state.stream] >= level)

    return run
