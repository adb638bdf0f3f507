"""A choice of whose response to follow; array-API code."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from visionrl import ops
from visionrl.envs.tracking.moves import KEPT, Jumps, Shifts, placed
from visionrl.ops import Array, one_hot, xp_of
from visionrl.ops.correlation_filter import MAPS, SCALES

# The strongest of the filter's peaks, then each map's; then there may be that of a wide window
CHOICES = MAPS + 1
RESIZED = 0.98  # what a peak counts at another size than the present one
WORTH = 0.5  # overlap from which the expert has the filter learn
GAIN = 0.03  # overlap that the expert must gain to choose another peak than the strongest,
CLEAR = 0.1  # and where one may be the wide window's: what gains less cannot be seen in the peaks, and hides what can


class Follow:
    """One choice per frame: to which filter's peak the box goes, and whether the filter learns from what is there.

    After Choi, Kwon & Lee (2018), "Real-time visual tracking by deep reinforced decision making", whose policy chooses
    among templates by their responses.

    Args:
        smallest: boxes do not become narrower or lower than this, pixels.
        wide: there is the peak of a wide window too.

    Attributes:
        choices: ways to go: to the strongest of the filter's own peaks, or to one of the peaks by number.
        go: the first of the actions that do not learn.
        stay: the one that does not move either.
        gain: overlap that the expert must gain to choose another peak than the strongest.
    """

    updates = False

    def __init__(self, smallest: float, wide: bool = False) -> None:
        self.smallest, self.choices = smallest, CHOICES + wide
        self.go, self.stay, self.gain = self.choices, 2 * self.choices, CLEAR if wide else GAIN
        self.space = spaces.Discrete(self.stay + 1)
        self.history = spaces.Box(0, 1, (KEPT * (self.stay + 1),), np.float32)
        self.blank = np.full(KEPT, -1)
        self.hold = np.array([self.stay])

    def moved(self, box: Array, limit: Array, action: Array, peaks: Array) -> Array:
        """The box after an action, (B, 4), in frames of (width, height) ``limit``; its shape stays as it is.

        Args:
            box: (B, 4) edges in pixels.
            limit: (B, 2).
            action: (B,).
            peaks: (B, 4, 5), see ``CorrelationFilter.peaks``; (B, 5, 5) with that of the wide window, the last.
        """
        xp = xp_of(box)
        choice = action % self.choices
        which = xp.where(choice == 0, strongest(peaks), choice - 1)
        place = xp.take_along_axis(peaks, which[:, None, None], axis=1)[:, 0, :]
        after = placed(box, place[:, :2], ops.size(box) * place[:, 2:3], limit, self.smallest)
        return xp.where((action == self.stay)[:, None], box, after)

    def ends(self, action: Array) -> Array:
        """(B,) bool, that every action ends the frame."""
        return xp_of(action).ones_like(action, dtype=xp_of(action).bool)

    def learns(self, action: Array) -> Array:
        """(B,) bool, whether the filter learns from where an action puts the box."""
        return action < self.go

    def kept(self, action: Array, box: Array) -> Array:
        """An action as the state keeps it, (B, 1)."""
        return action[:, None]

    def told(self, actions: Array) -> Array:
        """The last actions as the agent is told them, (B, 110) or (B, 130) float32, one-hot."""
        history = one_hot(actions, self.stay + 1)
        return xp_of(actions).reshape(history, (history.shape[0], -1))

    def toward(self, box: Array, limit: Array, target: Array, peaks: Array) -> Array:
        """The action after which a box fits best to another, (B,); it learns where that is well.

        Others than the strongest peak must be clearly better, so that the choice can be seen in the responses.
        """
        xp = xp_of(box)
        still = xp.zeros_like(limit[:, 0], dtype=xp.int64)
        places = [
            self.moved(box, limit, still + action, peaks) for action in (*range(self.choices), self.stay)
        ]
        first, *others = [ops.iou(place, target) for place in places]
        fits = xp.stack([first + self.gain, *others], axis=-1)
        best, fit = xp.argmax(fits, axis=-1), xp.max(fits, axis=-1)
        moving = best + xp.where(fit >= WORTH, still, still + self.go)
        return xp.where(best == self.choices, still + self.stay, moving)


def strongest(peaks: Array) -> Array:
    """(B,) which of the filter's own peaks, (B, 4, 5), is highest; another size than the present one counts less."""
    xp = xp_of(peaks)
    own = peaks[:, : len(SCALES), :]
    return xp.argmax(xp.where(own[..., 2] == 1, own[..., 3], RESIZED * own[..., 3]), axis=-1)


def control_of(name: str, step: float, smallest: float, updates: bool, wide: bool) -> Shifts | Jumps | Follow:
    """How the box is moved: "discrete", "continuous" or "follow"; each takes what concerns it."""
    if name == "discrete":
        return Shifts(step, smallest, updates)
    return Follow(smallest, wide) if name == "follow" else Jumps(smallest)
