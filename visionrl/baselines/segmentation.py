"""Segmentation without an agent: seeds by chance or by the robot user, and methods that need a box, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from visionrl.banks.masks import mask_box
from visionrl.core import baseline
from visionrl.envs.segmentation.seeds import Segmentation, State
from visionrl.envs.segmentation.segmenters import SEGMENTERS
from visionrl.ops.grabcut import grabcut

ROUNDS = 3  # of GrabCut from a box
Run = Callable[[Segmentation, State], State]
Find = Callable[[Segmentation, State], np.ndarray]


@baseline("Segmentation-v0", "random seeds, right labels", learns=False)
def random_seeds(train: None) -> Run:
    """Cells by chance, with the labels that the truth has there: what seeds alone are worth, without a choice."""

    def run(task: Segmentation, state: State) -> State:
        rng = np.random.default_rng(int(state.image[0]))
        while not task.terminated(state)[0]:
            free = task.action_mask(state)[0, : task.grid**2]
            cell = int(rng.choice(np.flatnonzero(free | ~free.any())))
            on_object = bool(task.on_object.array[int(state.image[0]), cell])
            state = task.step(state, np.array([cell + (0 if on_object else task.grid**2)]))
        return state

    return run


@baseline("Segmentation-v0", "watershed, the robot's clicks", learns=False)
def robot_watershed(train: None) -> Run:
    """The robot user clicks where the watershed of the seeds so far is wrong."""

    def run(task: Segmentation, state: State) -> State:
        segment = SEGMENTERS["watershed"](task.bank, task.grid, task.beta)
        state = with_mask(task, state, segment(state.image, state.cells, state.signs))
        while not task.terminated(state)[0]:
            state = task.step(state, task.expert(state))
            state = with_mask(task, state, segment(state.image, state.cells, state.signs))
        return state

    return run


@baseline("Segmentation-v0", "GrabCut in the object's box", learns=False)
def grabcut_box(train: None) -> Run:
    """GrabCut (Rother, Kolmogorov & Blake, 2004) from the true box, or from the box that a user gives."""
    return one_shot(_grabcut_box)


@baseline("Segmentation-v0", "GrabCut, the first clicks", learns=False)
def grabcut_clicks(train: None) -> Run:
    """GrabCut from the user's clicks alone."""

    def find(task: Segmentation, state: State) -> np.ndarray:
        segment = SEGMENTERS["grabcut"](task.bank, task.grid, task.beta)
        return segment(state.image, state.cells, state.signs)[0]

    return one_shot(find)


@baseline("Segmentation-v0", "Otsu, the first clicks", learns=False)
def otsu(train: None) -> Run:
    """The brighter or the darker part by Otsu's threshold (1979), whichever the click on the object lies in."""

    def find(task: Segmentation, state: State) -> np.ndarray:
        known = task.bank.known(state.image)[0]
        grey = task.bank.image(state.image)[0].mean(axis=0).round().astype(np.uint8)
        level, _ = cv2.threshold(grey[known].reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
        bright = grey > level
        clicks = task.pixels[state.cells[0][(state.signs[0] > 0) & (state.cells[0] >= 0)]]
        is_bright = bright.ravel()[clicks].mean() >= 0.5 if len(clicks) else True
        return (bright == is_bright) & known

    return one_shot(find)


def one_shot(find: Find) -> Run:
    """A method that places no seed: its mask is the result."""

    def run(task: Segmentation, state: State) -> State:
        done = with_mask(task, state, find(task, state)[None])
        return replace(done, finished=np.ones(1, bool))

    return run


def with_mask(task: Segmentation, state: State, mask: np.ndarray) -> State:
    """The state with another mask, and its quality."""
    state = replace(state, mask=mask)
    if not task.labelled:
        return state
    quality = state.quality.copy()
    quality[0, int(state.steps[0])] = task.measure(state)[0]
    return replace(state, quality=quality)


def _grabcut_box(task: Segmentation, state: State) -> np.ndarray:
    """(S, S) bool, GrabCut in the box of the object; without a box, in all but the edge of the image.

    Where GrabCut finds nothing, because the colours in the box are those around it, the box itself is the mask.
    """
    known = task.bank.known(state.image)[0]
    x0, y0, x1, y1 = np.rint(_box(task, int(state.image[0]), known)).astype(int)
    labels = np.full(known.shape, cv2.GC_BGD, np.uint8)
    labels[y0:y1, x0:x1] = cv2.GC_PR_FGD
    if (labels == cv2.GC_BGD).sum() < 8:
        return labels != cv2.GC_BGD  # the box leaves no background to learn from
    found = grabcut(task.bank.image(state.image)[0], labels, ROUNDS) & known
    return found if found.any() else (labels != cv2.GC_BGD) & known


def _box(task: Segmentation, item: int, known: np.ndarray) -> np.ndarray:
    """(4,) edges of the object's box in pixels of the square."""
    if task.labelled:
        return np.array(mask_box(task.bank.truth.array[item]))
    sample = task.samples[task.bank.items[item][0]]
    if sample.boxes is not None and len(sample.boxes):
        return np.asarray(sample.boxes[0]) / np.tile(task.bank.factor(item), 2)
    x0, y0, x1, y1 = mask_box(known)
    margin = 0.05 * max(x1 - x0, y1 - y0)
    return np.array([x0 + margin, y0 + margin, x1 - margin, y1 - margin])
