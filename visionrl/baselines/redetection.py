"""A correlation filter that knows when it has lost the object, and looks for it farther off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from visionrl.baselines.tracking import SEARCHED, Run, placed_by
from visionrl.core import baseline
from visionrl.envs.tracking.follow import Follow, strongest
from visionrl.envs.tracking.state import State
from visionrl.ops.correlation_filter import CorrelationFilter
from visionrl.ops.wide import Wide


@dataclass(frozen=True)
class Doubt:
    """Constants of the row; heights of peaks are in shares of the usual one.

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
def re_detecting(train: Any, how: Doubt = Doubt()) -> Run:
    """The row "correlation filter" that searches the wide window of ``redetect=True`` where its peaks are low.

    Source: the idea is that of Kalal, Mikolajczyk & Matas (2012), "Tracking-learning-detection"; the rule is not theirs.
    """
    return placed_by(lambda task, first: Seeker(task, first, how).box)


class Seeker:
    """The filter of one episode, and how high its peaks usually are; see ``Doubt``."""

    def __init__(self, task: Any, state: State, how: Doubt) -> None:
        self.task, self.pyramid, self.how, self.sure = task, task.bank.pyramid, how, True
        self.rule, self.filter = Follow(task.smallest, wide=True), CorrelationFilter(SEARCHED)
        self.wide = Wide(self.filter)
        self.known = self.filter.begin(self.pyramid, state.frame, state.box)
        self.usual = float(self.filter.peaks(self.known.maps, state.box)[0, 0, 3])

    def box(self, done: np.ndarray, state: State) -> np.ndarray:
        """Where the object is in the frame of a state, (1, 4), once frame ``done`` (1,) is over."""
        learn = np.array([self.sure])
        self.known = self.filter.after(self.pyramid, self.known, (done, state.box), state.frame, learn)
        peaks = self.filter.peaks(self.known.maps, state.box)
        near = float(peaks[0, strongest(peaks)[0], 3])
        if near > self.how.low * self.usual:
            return self.gone(state, 0, peaks, near)
        wide = self.wide.peak(self.pyramid, self.known.filter, state.frame, state.box)
        peaks, far = np.concatenate([peaks, wide[:, None]], axis=1), float(wide[0, 3])
        if far > max(self.how.found * self.usual, self.how.clear * near):
            return self.gone(state, self.rule.choices - 1, peaks, far)
        lost = near < self.how.lost * self.usual
        return self.gone(state, self.rule.stay if lost else 0, peaks, near)

    def gone(self, state: State, action: int, peaks: np.ndarray, height: float) -> np.ndarray:
        """The box after an action, (1, 4); whether that is sure is kept, and if so how high its peak is."""
        self.sure = height > self.how.low * self.usual
        if self.sure:
            self.usual += self.how.rate * (height - self.usual)
        return self.rule.moved(state.box, self.task.limit(state), np.array([action]), peaks)
