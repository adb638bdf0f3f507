"""Classical trackers: the constant box, template matching, OpenCV's MIL, and correlation filters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from visionrl.core import baseline
from visionrl.envs.tracking.controls import PeakSelection, strongest
from visionrl.envs.tracking.state import State
from visionrl.ops.correlation_filter import CorrelationFilter, WideSearch

Run = Callable[[Any, State], State]
Tracker = Callable[[np.ndarray], np.ndarray]
PlaceBox = Callable[[np.ndarray, State], np.ndarray]
StartTracker = Callable[[np.ndarray, np.ndarray], Tracker]
MIL_MIN_SIDE = 6  # side of the smallest box that OpenCV's MIL can start on, pixels
MIL_BORDER = 40  # it searches up to 25 pixels around its box
SEARCH_SIDE = 64  # side of the window of the correlation filter, pixels


@dataclass(frozen=True)
class MatchingConfig:
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
    return run_tracker(lambda image, box: lambda later: box)


@baseline("Tracking-v0", "template matching", learns=False)
def template_matching(train: Any, config: MatchingConfig = MatchingConfig()) -> Run:
    """Normalised cross-correlation of the first frame's box, around the last position, at a few sizes.

    Source: Lewis (1995), "Fast normalized cross-correlation"; ``cv2.TM_CCOEFF_NORMED``.
    """
    return run_tracker(lambda image, box: TemplateMatcher(image, box, config))


@baseline("Tracking-v0", "MIL", learns=False)
def mil(train: Any) -> Run:
    """OpenCV's boosted classifier of object and surroundings, learned on line from bags of windows; one size.

    OpenCV draws its samples from a generator that cannot be seeded, so that runs differ a little.

    Source: Babenko, Yang & Belongie (2009), "Visual tracking with online multiple instance learning".
    """
    return run_tracker(MilTracker)


@baseline("Tracking-v0", "correlation filter", learns=False)
def correlation_filter(train: Any) -> Run:
    """The strongest peak of the correlation filter of control "follow", which always learns: what an agent must beat.

    Source: Kiani Galoogahi, Fagg & Lucey (2017), "Learning background-aware correlation filters for visual tracking".
    """

    def start(task: Any, first: State) -> PlaceBox:
        pyramid, always, control = task.bank.pyramid, np.array([True]), PeakSelection(task.min_size)
        searcher = CorrelationFilter(SEARCH_SIDE)
        known = searcher.start(pyramid, first.frame, first.box)

        def place(done: np.ndarray, state: State) -> np.ndarray:
            nonlocal known
            known = searcher.update(pyramid, known, (done, state.box), state.frame, always)
            peaks = searcher.peaks(known.maps, state.box)
            return control.motion(state.box, task.bank.sizes.rows(state.frame), np.array([0]), peaks)

        return place

    return run_filter(start)


@dataclass(frozen=True)
class RedetectConfig:
    """Constants of the re-detecting tracker; heights of peaks are in shares of the usual one.

    Chosen on ten training videos of ``"long-cutout-videos"``: as they are, with every sixth frame alone, with a quarter
    of the frames left out, and with the object covered for twelve frames.

    Attributes:
        low: the filter is in doubt below this: it does not learn, and the wide window is searched.
        found: a peak of the wide window must be higher than this to be gone to,
        clear: and so many times as high as the strongest of the near ones.
        lost: below this, and with nothing in the wide window, the box stays.
        rate: share of the usual height that a frame without doubt replaces.
    """

    low: float = 0.6
    found: float = 0.5
    clear: float = 1.3
    lost: float = 0.4
    rate: float = 0.03


@baseline("Tracking-v0", "correlation filter, re-detecting", learns=False)
def re_detecting(train: Any, config: RedetectConfig = RedetectConfig()) -> Run:
    """The correlation filter that also searches the wide window of control "redetect" where its peaks are low.

    Source: the idea is that of Kalal, Mikolajczyk & Matas (2012), "Tracking-learning-detection", not the rule.
    """
    return run_filter(lambda task, first: RedetectingTracker(task, first, config).box)


class RedetectingTracker:
    """The filter of one episode, and how high its peaks usually are; see ``RedetectConfig``."""

    def __init__(self, task: Any, state: State, config: RedetectConfig) -> None:
        self.task, self.pyramid, self.config, self.sure = task, task.bank.pyramid, config, True
        self.control = PeakSelection(task.min_size, wide=True)
        self.filter = CorrelationFilter(SEARCH_SIDE)
        self.wide = WideSearch(self.filter)
        self.known = self.filter.start(self.pyramid, state.frame, state.box)
        self.usual = float(self.filter.peaks(self.known.maps, state.box)[0, 0, 3])

    def box(self, done: np.ndarray, state: State) -> np.ndarray:
        """The box in the frame of a state, (1, 4), once frame ``done`` (1,) is over."""
        learn = np.array([self.sure])
        self.known = self.filter.update(self.pyramid, self.known, (done, state.box), state.frame, learn)
        peaks = self.filter.peaks(self.known.maps, state.box)
        near = float(peaks[0, strongest(peaks)[0], 3])
        if near > self.config.low * self.usual:
            return self.move(state, 0, peaks, near)
        wide = self.wide.peak(self.pyramid, self.known.filter, state.frame, state.box)
        peaks, far = np.concatenate([peaks, wide[:, None]], axis=1), float(wide[0, 3])
        if far > max(self.config.found * self.usual, self.config.clear * near):
            return self.move(state, self.control.choices - 1, peaks, far)
        lost = near < self.config.lost * self.usual
        return self.move(state, self.control.stay if lost else 0, peaks, near)

    def move(self, state: State, action: int, peaks: np.ndarray, height: float) -> np.ndarray:
        """The box after an action, (1, 4); remember whether its peak is sure, and if so how high it is."""
        self.sure = height > self.config.low * self.usual
        if self.sure:
            self.usual += self.config.rate * (height - self.usual)
        limit = self.task.bank.sizes.rows(state.frame)
        return self.control.motion(state.box, limit, np.array([action]), peaks)


def run_filter(start: Callable[[Any, State], PlaceBox]) -> Run:
    """Episodes in which a filter places the box in every frame after the first, and moves on at once.

    Args:
        start: the task and its first state -> what gives the box (1, 4) in the frame of a state, told which frame (1,)
            is done before it.
    """

    def run(task: Any, state: State) -> State:
        place = start(task, state)
        before, state = state, task.step(state, task.hold)
        while not state.finished[0]:
            before = replace(state, box=place(before.frame, state))
            state = task.step(before, task.hold)
        return state

    return run


def run_tracker(start: StartTracker) -> Run:
    """Episodes in which a tracker places the box freely in every frame after the first, and moves on at once.

    Args:
        start: the first frame, (H, W, C) uint8, and its box (4,) -> the tracker, which maps a later frame to a box.
    """

    def run(task: Any, state: State) -> State:
        tracker = start(task.bank.image(int(state.frame[0])), state.box[0])
        state = task.step(state, task.hold)
        while not state.finished[0]:
            box = tracker(task.bank.image(int(state.frame[0])))
            state = task.step(replace(state, box=box[None]), task.hold)
        return state

    return run


class TemplateMatcher:
    """A tracker by normalised cross-correlation; see ``MatchingConfig``."""

    def __init__(self, image: np.ndarray, box: np.ndarray, config: MatchingConfig) -> None:
        self.config = config
        self.center, self.size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        self.shape = np.maximum(np.rint(self.size * min(config.side / self.size.max(), 1)), 3).astype(int)
        self.template = crop_resized(image, self.center, self.size, self.shape)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The box in a frame."""
        center, self.size, score = find_template(image, self.template, self.center, self.size, self.config)
        self.center = np.clip(center, 0, image.shape[1::-1])
        if self.config.rate and score > self.config.sure:
            newest = crop_resized(image, self.center, self.size, self.shape)
            self.template = (1 - self.config.rate) * self.template + self.config.rate * newest
        return np.concatenate([self.center - self.size / 2, self.center + self.size / 2])


class MilTracker:
    """``cv2.TrackerMIL``; frames get a border of repeated pixels, for it breaks down where it has no room."""

    def __init__(self, image: np.ndarray, box: np.ndarray) -> None:
        sides = image.shape[1::-1]
        low, high = np.clip(np.rint([box[:2], box[2:]]), 0, sides).astype(int)
        low = np.minimum(low, np.array(sides) - 1)
        size = np.maximum(high - low, MIL_MIN_SIDE)
        self.box, self.first = box, low
        self.tracker = cv2.TrackerMIL.create()
        self.tracker.init(add_border(image), (low + MIL_BORDER).tolist() + size.tolist())

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The box in a frame: the first one, moved as far as OpenCV's whole pixels moved."""
        _, found = self.tracker.update(add_border(image))
        shift = np.array(found[:2]) - MIL_BORDER - self.first
        return self.box + np.tile(shift, 2)


def add_border(image: np.ndarray) -> np.ndarray:
    """An image with ``MIL_BORDER`` more pixels on each side, in the three channels that OpenCV asks for."""
    wide = cv2.copyMakeBorder(image, *4 * (MIL_BORDER,), cv2.BORDER_REPLICATE)
    return cv2.cvtColor(wide, cv2.COLOR_GRAY2BGR if wide.ndim == 2 else cv2.COLOR_RGB2BGR)


def find_template(
    image: np.ndarray, template: np.ndarray, center: np.ndarray, size: np.ndarray, config: MatchingConfig
) -> tuple[np.ndarray, np.ndarray, float]:
    """Finds the template's best match: centre (x, y), size (width, height), both in pixels, and the correlation."""
    shape = np.array(template.shape[1::-1])
    wide = np.rint(config.search * shape).astype(int)
    best: tuple[np.ndarray, np.ndarray, float] = (center, size, -np.inf)
    for scale in config.scales:
        unit = size * scale / shape
        area = crop_resized(image, center, unit * wide, wide)
        scores = cv2.matchTemplate(area, template, cv2.TM_CCOEFF_NORMED)
        y, x = np.mgrid[: scores.shape[0], : scores.shape[1]]
        shift = np.stack([x, y], -1) - (wide - shape) / 2
        scores -= config.penalty * (scale != 1) + config.pull * (shift / shape * shift / shape).sum(-1)
        row, column = np.unravel_index(np.argmax(scores), scores.shape)
        if scores[row, column] > best[2]:
            best = (center + shift[row, column] * unit, size * scale, float(scores[row, column]))
    return best


def crop_resized(image: np.ndarray, center: np.ndarray, size: np.ndarray, shape: np.ndarray) -> np.ndarray:
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
