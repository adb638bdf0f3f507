"""What a user would pick instead of an agent: template matching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from visionrl.core import baseline
from visionrl.envs.tracking.tracking import STOP, State


@dataclass(frozen=True)
class Matching:
    """Constants of the tracker.

    ``search``, ``scales``, ``pull`` and ``rate`` were chosen on the validation split of the embedded videos, from
    searches of 2 to 3, steps of size of 0 to 0.1, pulls of 0 to 0.4 and rates of 0 to 0.2.

    Attributes:
        side: longer side of the template, pixels.
        search: side of the window that is searched, in sides of the box.
        scales: sizes tried in every frame, relative to the last one.
        penalty: what a change of size must gain in correlation.
        pull: what a move by a whole side of the box must gain in correlation.
        rate: share of the template that the newest frame replaces; 0 keeps the first frame's for good.
        sure: correlation above which it does.
    """

    side: int = 64
    search: float = 2.5
    scales: tuple[float, ...] = (1.0, 0.95, 1.05)
    penalty: float = 0.01
    pull: float = 0.4
    rate: float = 0.15
    sure: float = 0.5


@baseline("Tracking-v0", "template matching", learns=False)
def template_matching(train: Any, how: Matching = Matching()) -> Callable[[Any, State], State]:
    """Normalised cross-correlation of the first frame's box, around the last position, at a few sizes.

    It places its box freely, then takes "stop" in every frame, so the task itself counts the overlaps.

    Source: Lewis (1995), "Fast normalized cross-correlation"; ``cv2.TM_CCOEFF_NORMED``.
    """

    def run(task: Any, state: State) -> State:
        stop = np.array([STOP])
        box = state.box[0]
        center, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        shape = np.maximum(np.rint(size * min(how.side / size.max(), 1)), 3).astype(int)
        template = look(task.bank.image(int(state.frame[0])), center, size, shape)
        state = task.step(state, stop)
        while not state.finished[0]:
            image = task.bank.image(int(state.frame[0]))
            center, size, score = find(image, template, center, size, how)
            center = np.clip(center, 0, image.shape[1::-1])
            if how.rate and score > how.sure:
                template = (1 - how.rate) * template + how.rate * look(image, center, size, shape)
            box = np.concatenate([center - size / 2, center + size / 2])
            state = task.step(replace(state, box=box[None]), stop)
        return state

    return run


def find(
    image: np.ndarray, template: np.ndarray, center: np.ndarray, size: np.ndarray, how: Matching
) -> tuple[np.ndarray, np.ndarray, float]:
    """Where the template fits best: centre (x, y), size (width, height), both in pixels, and the correlation."""
    shape = np.array(template.shape[1::-1])
    wide = np.rint(how.search * shape).astype(int)
    best: tuple[np.ndarray, np.ndarray, float] = (center, size, -np.inf)
    for scale in how.scales:
        unit = size * scale / shape
        area = look(image, center, unit * wide, wide)
        scores = cv2.matchTemplate(area, template, cv2.TM_CCOEFF_NORMED)
        y, x = np.mgrid[: scores.shape[0], : scores.shape[1]]
        shift = np.stack([x, y], -1) - (wide - shape) / 2
        scores -= how.penalty * (scale != 1) + how.pull * (shift / shape * shift / shape).sum(-1)
        row, column = np.unravel_index(np.argmax(scores), scores.shape)
        if scores[row, column] > best[2]:
            best = (center + shift[row, column] * unit, size * scale, float(scores[row, column]))
    return best


def look(image: np.ndarray, center: np.ndarray, size: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """A part of an image, (H, W, C) uint8, at another resolution; beyond the border its last pixels repeat.

    Args:
        image: (H, W, C) uint8.
        center: (x, y) edges, pixels.
        size: (width, height), pixels.
        shape: (width, height) of the result.

    Returns:
        (height, width, C) float32.
    """
    unit = size / shape
    offset = center - size / 2 + unit / 2 - 0.5
    matrix = np.array([[unit[0], 0, offset[0]], [0, unit[1], offset[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, shape.tolist(), flags=flags, borderMode=cv2.BORDER_REPLICATE).astype(
        np.float32
    )
