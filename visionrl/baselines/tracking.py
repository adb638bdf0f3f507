"""What a user would pick instead of an agent: the first box, template matching, a correlation filter, OpenCV's MIL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from visionrl.core import baseline
from visionrl.envs.tracking.follow import Follow
from visionrl.envs.tracking.state import State
from visionrl.ops.correlation_filter import CorrelationFilter

Run = Callable[[Any, State], State]
Tracker = Callable[[np.ndarray], np.ndarray]
Place = Callable[[np.ndarray, State], np.ndarray]
Begin = Callable[[np.ndarray, np.ndarray], Tracker]
LEAST = 6  # side of the smallest box that OpenCV's MIL can be begun on, pixels
SEARCHED = 64  # side of the window of the correlation filter, pixels
BORDER = 40  # it looks up to 25 pixels around its box


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


@baseline("Tracking-v0", "constant box", learns=False)
def constant_box(train: Any) -> Run:
    """The first frame's box in every frame: what a tracker must beat to be worth its time."""
    return followed(lambda image, box: lambda later: box)


@baseline("Tracking-v0", "template matching", learns=False)
def template_matching(train: Any, how: Matching = Matching()) -> Run:
    """Normalised cross-correlation of the first frame's box, around the last position, at a few sizes.

    Source: Lewis (1995), "Fast normalized cross-correlation"; ``cv2.TM_CCOEFF_NORMED``.
    """
    return followed(lambda image, box: Template(image, box, how))


@baseline("Tracking-v0", "MIL", learns=False)
def mil(train: Any) -> Run:
    """OpenCV's boosted classifier of object and surroundings, learned on line from bags of windows; one size.

    OpenCV draws its samples from a generator that cannot be seeded, so that runs differ a little.

    Source: Babenko, Yang & Belongie (2009), "Visual tracking with online multiple instance learning".
    """
    return followed(Mil)


@baseline("Tracking-v0", "correlation filter", learns=False)
def correlation_filter(train: Any) -> Run:
    """To the peak of the correlation filter of ``control="follow"``, which always learns: what an agent must beat.

    Source: Kiani Galoogahi, Fagg & Lucey (2017), "Learning background-aware correlation filters for visual tracking".
    """

    def begin(task: Any, first: State) -> Place:
        pyramid, always, rule = task.bank.pyramid, np.array([True]), Follow(task.smallest)
        keep = CorrelationFilter(SEARCHED)
        known = keep.begin(pyramid, first.frame, first.box)

        def place(done: np.ndarray, state: State) -> np.ndarray:
            nonlocal known
            known = keep.after(pyramid, known, (done, state.box), state.frame, always)
            peaks = keep.peaks(known.maps, state.box)
            return rule.moved(state.box, task.limit(state), np.array([0]), peaks)

        return place

    return placed_by(begin)


def placed_by(begin: Callable[[Any, State], Place]) -> Run:
    """Episodes in which a filter places the box in every frame after the first, and moves on at once.

    Args:
        begin: the task and its first state -> what gives the box (1, 4) in the frame of a state, told which frame (1,)
            is done before it.
    """

    def run(task: Any, state: State) -> State:
        place = begin(task, state)
        before, state = state, task.step(state, task.hold)
        while not state.finished[0]:
            before = replace(state, box=place(before.frame, state))
            state = task.step(before, task.hold)
        return state

    return run


def followed(begin: Begin) -> Run:
    """Episodes in which a tracker places the box freely in every frame after the first, and moves on at once.

    Args:
        begin: the first frame, (H, W, C) uint8, and its box (4,) -> the tracker, which maps a later frame to a box.
    """

    def run(task: Any, state: State) -> State:
        tracker = begin(task.bank.image(int(state.frame[0])), state.box[0])
        state = task.step(state, task.hold)
        while not state.finished[0]:
            box = tracker(task.bank.image(int(state.frame[0])))
            state = task.step(replace(state, box=box[None]), task.hold)
        return state

    return run


class Template:
    """Follows a box by its looks; see ``Matching``."""

    def __init__(self, image: np.ndarray, box: np.ndarray, how: Matching) -> None:
        self.how = how
        self.center, self.size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        self.shape = np.maximum(np.rint(self.size * min(how.side / self.size.max(), 1)), 3).astype(int)
        self.looks = look(image, self.center, self.size, self.shape)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The box in a frame."""
        center, self.size, score = find(image, self.looks, self.center, self.size, self.how)
        self.center = np.clip(center, 0, image.shape[1::-1])
        if self.how.rate and score > self.how.sure:
            newest = look(image, self.center, self.size, self.shape)
            self.looks = (1 - self.how.rate) * self.looks + self.how.rate * newest
        return np.concatenate([self.center - self.size / 2, self.center + self.size / 2])


class Mil:
    """``cv2.TrackerMIL``; frames get a border of repeated pixels, for it breaks down where it has no room."""

    def __init__(self, image: np.ndarray, box: np.ndarray) -> None:
        sides = image.shape[1::-1]
        low, high = np.clip(np.rint([box[:2], box[2:]]), 0, sides).astype(int)
        low = np.minimum(low, np.array(sides) - 1)
        size = np.maximum(high - low, LEAST)
        self.box, self.first = box, low
        self.tracker = cv2.TrackerMIL.create()
        self.tracker.init(framed(image), (low + BORDER).tolist() + size.tolist())

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The box in a frame: the first one, moved as far as OpenCV's whole pixels moved."""
        _, found = self.tracker.update(framed(image))
        shift = np.array(found[:2]) - BORDER - self.first
        return self.box + np.tile(shift, 2)


def framed(image: np.ndarray) -> np.ndarray:
    """An image with ``BORDER`` more pixels on each side, in the three channels that OpenCV asks for."""
    wide = cv2.copyMakeBorder(image, *4 * (BORDER,), cv2.BORDER_REPLICATE)
    return cv2.cvtColor(wide, cv2.COLOR_GRAY2BGR if wide.ndim == 2 else cv2.COLOR_RGB2BGR)


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
