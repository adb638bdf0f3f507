"""Controls of an agent that jumps forward in a video: a number of frames, or a speed that it changes."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from gymnasium import spaces

from visionrl.ops import Array, DeviceTable, xp_of

FASTEST, HARDEST = 20, 5  # frames per step, and most change of them per step, of Ramos et al. (2020)


class JumpControl(Protocol):
    """Jumps of actions, in tables over the S speeds that an agent may have; it starts with speed 0.

    Attributes:
        space: of the actions.
        longest: frames of the longest jump.
        jumps: (S, A) int64, frames that each action jumps at each speed.
        next_speeds: (S, A) int64, the speed after it.
        acceleration: (S,) float64 in [0, 1], of each speed.
    """

    space: spaces.Discrete
    longest: int
    jumps: DeviceTable
    next_speeds: DeviceTable
    acceleration: DeviceTable


class SkipControl:
    """Any jump: action k goes k + 1 frames on, whatever the last jump was.

    Args:
        longest: frames of the longest jump.
    """

    def __init__(self, longest: int) -> None:
        self.longest, self.space = longest, spaces.Discrete(longest)
        self.jumps = DeviceTable(np.arange(1, longest + 1)[None])
        self.next_speeds = DeviceTable(np.zeros((1, longest), np.int64))
        self.acceleration = DeviceTable(np.zeros(1))


class SpeedControl:
    """Slower, as fast, faster: actions 0, 1 and 2 (Ramos et al., 2020).

    The acceleration is taken off the jump or added to it; then it grows by one when faster and shrinks when slower. Speed
    number ``5 * (jump - 1) + acceleration - 1`` has a jump of 1 to 20 frames and an acceleration of 1 to 5.
    """

    def __init__(self) -> None:
        self.longest, self.space = FASTEST, spaces.Discrete(3)
        jump, pace = np.divmod(np.arange(FASTEST * HARDEST), HARDEST)
        way = np.array([-1, 0, 1])
        jumps = np.clip(jump[:, None] + 1 + way * (pace[:, None] + 1), 1, FASTEST)
        paces = np.clip(pace[:, None] + 1 + way, 1, HARDEST)
        self.jumps = DeviceTable(jumps)
        self.next_speeds = DeviceTable((jumps - 1) * HARDEST + paces - 1)
        self.acceleration = DeviceTable((pace + 1.0) / HARDEST)


def entry(table: DeviceTable, speed: Array, action: Array) -> Array:
    """(B,) entries of a table (S, A) at speeds and actions (B,)."""
    xp = xp_of(speed)
    return xp.take_along_axis(table.rows(speed), xp.astype(action, xp.int64)[:, None], axis=1)[:, 0]
