"""What Tracking-v0 has and shows of correlation filters; array-API code."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from gymnasium import spaces

from visionrl import ops
from visionrl.core import check_range
from visionrl.envs.tracking.state import State
from visionrl.ops import Array, xp_of
from visionrl.ops.correlation_filter import MAPS, CorrelationFilter, Known
from visionrl.ops.wide import Wide

KNOWN = tuple(field.name for field in fields(Known))
FAR = 10.0  # limit of the numbers that describe peaks
LEAST = 16  # side of the smallest window that a filter searches, pixels


class Responses:
    """The filters of all episodes; without any, what a state has in their place.

    Args:
        side: of the window that is searched, pixels; 0 is no filter.
        pyramid: the frames.
        redetect: a wider window is searched too.

    Raises:
        ValueError: the side is odd or too small.
    """

    def __init__(self, side: int, pyramid: Any, redetect: bool = False) -> None:
        check_range("response", side, 0)
        if side % 2 or 0 < side < LEAST:
            raise ValueError(f"response must be 0, or even and >= {LEAST}, got {side}")
        self.pyramid, self.filter = pyramid, CorrelationFilter(side) if side else None
        self.wide = Wide(self.filter) if self.filter and redetect else None

    def spaces(self) -> dict[str, spaces.Space]:
        """Of what is told."""
        if not self.filter:
            return {}
        maps = (MAPS, self.filter.cells, self.filter.cells)
        peaks = spaces.Box(-FAR, FAR, ((MAPS + bool(self.wide)) * 5,), np.float32)
        return {"response": spaces.Box(0, 255, maps, np.uint8), "peaks": peaks}

    def begun(self, frame: np.ndarray, box: np.ndarray) -> dict[str, np.ndarray]:
        """What is known after the first frame, numbered (1,), with the box (1, 4): fields of one episode's state."""
        if not self.filter:
            return {name: np.zeros(0) for name in (*KNOWN, "wide")}
        known = self.filter.begin(self.pyramid, frame, box)
        wide = self.widely(known, frame, box, np.zeros((1, 0)))
        return {name: getattr(known, name)[0] for name in KNOWN} | {"wide": wide[0]}

    def after(self, state: State, box: Array, frame: Array, learn: Array) -> dict[str, Array]:
        """The same once boxes are placed, (B, 4), and the next frame is on; the rows ``learn`` (B,) learn."""
        known = Known(*(getattr(state, name) for name in KNOWN))
        if not self.filter:
            return vars(known) | {"wide": state.wide}
        known = self.filter.after(self.pyramid, known, (state.frame, box), frame, learn)
        return vars(known) | {"wide": self.widely(known, frame, box, state.wide)}

    def widely(self, known: Known, frame: Array, box: Array, nothing: Array) -> Array:
        """The peak of the wide window around boxes, (B, 5); ``nothing`` if it is not looked for."""
        return self.wide.peak(self.pyramid, known.filter, frame, box) if self.wide else nothing

    def peaks(self, state: State) -> tuple[Array, ...]:
        """Where the responses are strongest, see ``CorrelationFilter.peaks``; nothing without a filter.

        (B, 4, 5), or (B, 5, 5) with the wide window's.
        """
        if not self.filter:
            return ()
        peaks = self.filter.peaks(state.maps, state.box)
        return (xp_of(peaks).concat([peaks, state.wide[:, None, :]], axis=1) if self.wide else peaks,)

    def searched(self, state: State) -> tuple[Array, ...]:
        """The squares that the filters search at the present size, edges in pixels, (B, 4). Nothing without a filter."""
        if not self.filter:
            return ()
        scales = (1.0, 2 * self.wide.far / self.filter.cells) if self.wide else (1.0,)
        return tuple(self.filter.square(state.box, scale) for scale in scales)

    def told(self, state: State) -> dict[str, Array]:
        """What the agent is told."""
        if not self.filter:
            return {}
        xp, (peaks,) = xp_of(state.maps), self.peaks(state)
        side = xp.sqrt(ops.area(state.box))[:, None, None]
        value, sharp = peaks[..., 3], peaks[..., 4] / 10
        share = 10 * (value / xp.maximum(value[:, :1], 0.01) - 1)
        numbers = xp.concat([peaks[..., :2] / side, xp.stack([value, sharp, share], axis=-1)], axis=-1)
        flat = xp.reshape(xp.clip(numbers, -FAR, FAR), (numbers.shape[0], -1))
        grey = xp.astype(xp.round(255 * xp.clip(state.maps, 0.0, 1.0)), xp.uint8)
        return {"response": grey, "peaks": xp.astype(flat, xp.float32)}


def check_filters(response: int, redetect: bool, control: str, pixels: bool) -> None:
    """Raise ValueError where what is asked for needs a filter or control "follow" and has none."""
    if not response and (control == "follow" or not pixels):
        raise ValueError(f"response must not be 0 with control 'follow' or without pixels, got {response}")
    if redetect and control != "follow":
        raise ValueError(f"redetect must be False without control 'follow', got True and {control!r}")
