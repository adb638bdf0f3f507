"""The correlation filters of Tracking-v0: what a state holds of them and what the agent sees; array-API code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.core import batch
from visionrl.core.observables import Image, Observable, Vector
from visionrl.ops import Array, xp_of
from visionrl.ops.correlation_filter import MAPS, CorrelationFilter, FilterState, WideSearch

PEAK_LIMIT = 10.0  # of the numbers that describe peaks


@dataclass(frozen=True)
class ResponseState(FilterState):
    """Filters, their responses, and the peak of a wide window; B episodes, (B, 0) each where there is no filter.

    Attributes:
        wide: (B, 5) float64, the peak as ``CorrelationFilter.peaks`` has it; (B, 0) if the window is not searched.
    """

    wide: Array


class Responses:
    """The filters of all episodes; without a filter, all that it gives is empty.

    Args:
        side: of the window that is searched, pixels, even; 0 is no filter.
        pyramid: the frames.
        wide: a wider window is searched too.
    """

    def __init__(self, side: int, pyramid: Any, wide: bool = False) -> None:
        self.pyramid, self.filter = pyramid, CorrelationFilter(side) if side else None
        self.wide = WideSearch(self.filter) if self.filter and wide else None

    def observables(self) -> dict[str, Observable]:
        """The observables ``response`` and ``peaks``."""
        if not self.filter:
            return {}
        numbers = Vector((MAPS + bool(self.wide)) * 5, -PEAK_LIMIT, PEAK_LIMIT)
        return {"response": Image(MAPS, self.filter.cells), "peaks": numbers}

    def start(self, frame: np.ndarray, box: np.ndarray) -> ResponseState:
        """The state of one episode after its first frame, numbered (1,), with the box (1, 4)."""
        if not self.filter:
            return ResponseState(*np.zeros((5, 0)))
        known = self.filter.start(self.pyramid, frame, box)
        wide = self.wide_peak(known.filter, frame, box, np.zeros((1, 0)))
        return batch.take(ResponseState(**vars(known), wide=wide), 0)

    def update(
        self, known: ResponseState, done: tuple[Array, Array], frame: Array, learn: Array
    ) -> dict[str, Array]:
        """The fields that change once boxes are placed; see ``CorrelationFilter.update``."""
        if not self.filter:
            return {}
        after = self.filter.update(self.pyramid, known, done, frame, learn)
        return {**vars(after), "wide": self.wide_peak(after.filter, frame, done[1], known.wide)}

    def wide_peak(self, filters: Array, frame: Array, box: Array, nothing: Array) -> Array:
        """The peak of the wide window around boxes, (B, 5); ``nothing`` if it is not searched."""
        return self.wide.peak(self.pyramid, filters, frame, box) if self.wide else nothing

    def peaks(self, known: ResponseState, box: Array) -> Array:
        """The strongest places of the responses, see ``CorrelationFilter.peaks``; None without a filter.

        (B, 4, 5), or (B, 5, 5) with the wide window's.
        """
        if not self.filter:
            return None
        peaks = self.filter.peaks(known.maps, box)
        return xp_of(peaks).concat([peaks, known.wide[:, None, :]], axis=1) if self.wide else peaks

    def search_squares(self, box: Array) -> list[Array]:
        """The squares in which the filters look for peaks at the present size, edges in pixels, (B, 4) each."""
        if not self.filter:
            return []
        scales = (1.0, self.wide.scale) if self.wide else (1.0,)
        return [self.filter.search_square(box, scale) for scale in scales]

    def seen(self, known: ResponseState, box: Array) -> dict[str, Array]:
        """The values of the observables."""
        if not self.filter:
            return {}
        xp, peaks = xp_of(box), self.peaks(known, box)
        side = xp.sqrt(ops.area(box))[:, None, None]
        value, sharp = peaks[..., 3], peaks[..., 4] / 10
        share = 10 * (value / xp.maximum(value[:, :1], 0.01) - 1)
        numbers = xp.concat([peaks[..., :2] / side, xp.stack([value, sharp, share], axis=-1)], axis=-1)
        grey = xp.astype(xp.round(255 * xp.clip(known.maps, 0.0, 1.0)), xp.uint8)
        return {"response": grey, "peaks": xp.clip(numbers, -PEAK_LIMIT, PEAK_LIMIT)}
