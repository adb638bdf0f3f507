"""Pictures of active labelling: the regions taken, and what the segmenter makes of an image before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from visionrl.banks.regions import describe
from visionrl.datasets import ImageSample
from visionrl.ops import ridge
from visionrl.rendering import Canvas

if TYPE_CHECKING:
    from visionrl.envs.segmentation.labelling import ActiveLabelling, State

COLOURS = np.array(  # of classes, RGB; the first is transparent
    [
        (0, 0, 0),
        (80, 180, 255),
        (240, 70, 70),
        (250, 220, 80),
        (90, 200, 110),
        (220, 120, 230),
        (255, 150, 60),
    ],
    float,
)
MOST, COLUMNS = 12, 4  # images of a sheet
SHARE = 0.55  # of a class's colour


def picture(task: ActiveLabelling, state: State) -> np.ndarray:
    """Four panels: where the last region is; an image that scores, as predicted before and after; its truth.

    Args:
        task: whose images are drawn.
        state: without the axis B.
    """
    steps = int(state.step)
    last = int(state.taken[steps - 1]) if steps else int(state.offers[0, 0])
    shown = task.examples[0]
    before = state.weights if not steps else weights_without(task, state, last)
    panels = [
        with_regions(task, state, int(task.bank.image.array[last])),
        painted(shown.image, predicted(task, shown, before), f"{max(steps - 1, 0)} regions"),
        painted(shown.image, predicted(task, shown, state.weights), f"{steps}: mIoU {float(state.miou):.2f}"),
        painted(shown.image, describe(shown, task.table, task.max_side, task.coloured)[1], "truth"),
    ]
    high, wide = panels[1].shape[:2]
    panels[0] = cv2.resize(panels[0], (wide, high), interpolation=cv2.INTER_AREA)
    return np.concatenate([np.concatenate(panels[:2], axis=1), np.concatenate(panels[2:], axis=1)])


def sheet(task: ActiveLabelling, state: State) -> np.ndarray:
    """The images with the regions to label, each with its place in the order: those with the first ones, at most 12."""
    taken = state.taken[: int(state.step)]
    numbers = list(dict.fromkeys(task.bank.image.array[taken].tolist())) or [0]
    panels = [with_regions(task, state, number) for number in numbers[:MOST]]
    columns = min(len(panels), COLUMNS)
    high, wide = panels[0].shape[:2]
    same = [cv2.resize(panel, (wide, high), interpolation=cv2.INTER_AREA) for panel in panels]
    same += [np.zeros_like(same[0])] * (-len(same) % columns)
    rows = [np.concatenate(same[k : k + columns], axis=1) for k in range(0, len(same), columns)]
    return np.concatenate(rows)


def weights_without(task: ActiveLabelling, state: State, last: int) -> np.ndarray:
    """The segmenter before its last region."""
    if (state.taken[: int(state.step) - 1] == last).any():
        return state.weights
    gram, moment = state.gram - task.bank.gram.array[last], state.moment - task.bank.moment.array[last]
    return ridge.solve_ridge(gram[None], moment[None])[0][0]


def predicted(task: ActiveLabelling, sample: ImageSample, weights: np.ndarray) -> np.ndarray:
    """(H, W) classes that a segmenter gives an image, as held."""
    features, _ = describe(sample, task.table, task.max_side, task.coloured)
    return (features @ weights).argmax(axis=-1)


def painted(image: np.ndarray, classes: np.ndarray, words: str) -> np.ndarray:
    """An image (C, H, W) under the colours of its classes, with words."""
    high, wide = image.shape[1:]
    held = cv2.resize(classes.astype(np.int32), (wide, high), interpolation=cv2.INTER_NEAREST)
    rgb = np.broadcast_to(image, (3, high, wide)).astype(float)
    colour = COLOURS[np.where(held > 0, 1 + (held - 1) % (len(COLOURS) - 1), 0)].transpose(2, 0, 1)
    mixed = np.where(held > 0, (1 - SHARE) * rgb + SHARE * colour, rgb)
    canvas = Canvas(np.rint(mixed).astype(np.uint8))
    canvas.text(words)
    return canvas.pixels


def with_regions(task: ActiveLabelling, state: State, number: int) -> np.ndarray:
    """An image of the pool with the regions that are taken, each with its place in the order."""
    canvas = Canvas(task.samples[number].image)
    taken = state.taken[: int(state.step)]
    for order, region in enumerate(taken.tolist(), start=1):
        if task.bank.image.array[region] == number:
            canvas.box(task.bank.boxes[region], "agent")
            x0, y0, *_ = task.bank.boxes[region]
            canvas.text(str(order), (x0 + 2 / canvas.zoom, y0 + 18 / canvas.zoom))
    canvas.text(f"{len(taken)} regions" if task.labelled else task.samples[number].name)
    return canvas.pixels
