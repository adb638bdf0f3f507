"""Contours without learning: the box, the ellipse in it, GrabCut in it, each as the task's own contour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from visionrl.banks.outlines import (
    ellipse,
    few_vertices,
    grabcut_of_box,
    knots_of,
    outer,
    outline_of,
    rectangle,
)
from visionrl.core import baseline
from visionrl.core.registry import Run
from visionrl.envs.segmentation.contour import ContourSegmentation, State
from visionrl.envs.segmentation.spline_control import PIECES
from visionrl.ops.masks import iou
from visionrl.ops.polygons import closed_spline, polygon_mask

Guess = Callable[[np.ndarray, np.ndarray], np.ndarray]  # window (C, S, S), box (4,) -> mask (S, S) bool


@baseline("ContourSegmentation-v0", "box", learns=False)
def box_alone(train: None) -> Run:
    """The box itself."""
    return contour_of(lambda window, box: rectangle(box, window.shape[1]))


@baseline("ContourSegmentation-v0", "ellipse in the box", learns=False)
def ellipse_in_box(train: None) -> Run:
    """The ellipse that touches the box's sides."""
    return contour_of(lambda window, box: polygon_mask(ellipse(box, 48), *window.shape[1:]))


@baseline("ContourSegmentation-v0", "GrabCut in the box", learns=False)
def grabcut_in_box(train: None) -> Run:
    """GrabCut (Rother et al., 2004) from the box, its middle inside for certain; the ellipse where it finds nothing."""
    return contour_of(grabcut_of_box)


def contour_of(guess: Guess) -> Run:
    """A method that draws the outline of a mask, its largest part, as the task's control can."""

    def run(task: ContourSegmentation, state: State) -> State:
        item = int(state.object[0])
        mask = guess(task.bank.windows.array[item], task.bank.boxes.array[item])
        return drawn(task, state, outer(mask))

    return run


def drawn(task: ContourSegmentation, state: State, mask: np.ndarray) -> State:
    """The state with the contour of a mask, (S, S) bool of one part; unchanged but finished where it is empty."""
    finished = np.ones(1, bool)
    if not mask.any():
        return replace(state, finished=finished)
    item, side = int(state.object[0]), task.window
    vertices = np.zeros_like(state.vertices[0])
    if task.control == "polygon":
        cells = few_vertices(mask, task.grid, task.max_actions)
        vertices[: len(cells)] = (cells + 0.5) * side / task.grid
        count, filled = len(cells), polygon_mask(vertices[: len(cells)], side, side)
    else:
        vertices = knots_of(outline_of(mask), task.bank.boxes.array[item], task.points)
        count, filled = task.points, polygon_mask(closed_spline(vertices, PIECES), side, side)
    return replace(
        state,
        vertices=vertices[None],
        count=np.array([count]),
        mask=filled[None],
        finished=finished,
        iou=iou(filled[None], task.bank.masks.array[item][None]),
    )
