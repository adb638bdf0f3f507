"""The correlation filters of Tracking-v0: what a state holds of them and what the agent sees; array-API code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.core.observables import Image, Observable, Vector
from visionrl.ops import Array, xp_of
from visionrl.ops.correlation_filter import MAPS, CorrelationFilter, FilterState, WideSearch

FIELDS = ("model", "filter", "first", "maps", "wide")
PEAK_LIMIT = 10.0  # of the numbers that describe peaks


class Responses:
    """The filters of all episodes; without a filter, all that it gives is empty.

    The fields of a state that it owns are those of ``FilterState``, and ``wide``, (B, 5) the peak of the wide window;
    arrays of 0 numbers a row where there is none.

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

    def start(self, frame: np.ndarray, box: np.ndarray) -> dict[str, np.ndarray]:
        """The fields of one episode after its first frame, numbered (1,), with the box (1, 4)."""
        if not self.filter:
            return {name: np.zeros(0) for name in FIELDS}
        known = self.filter.start(self.pyramid, frame, box)
        wide = self.wide_peak(known.filter, frame, box, np.zeros((1, 0)))
        return {name: values[0] for name, values in {**vars(known), "wide": wide}.items()}

    def update(
        self, known: Mapping[str, Array], done: tuple[Array, Array], frame: Array, learn: Array
    ) -> dict[str, Array]:
        """The fields that change once boxes are placed; see ``CorrelationFilter.update``."""
        if not self.filter:
            return {}
        before = FilterState(*(known[name] for name in FIELDS[:-1]))
        after = self.filter.update(self.pyramid, before, done, frame, learn)
        return {**vars(after), "wide": self.wide_peak(after.filter, frame, done[1], known["wide"])}

    def wide_peak(self, filters: Array, frame: Array, box: Array, nothing: Array) -> Array:
        """The peak of the wide window around boxes, (B, 5); ``nothing`` if it is not searched."""
        return self.wide.peak(self.pyramid, filters, frame, box) if self.wide else nothing

    def peaks(self, maps: Array, wide: Array, box: Array) -> Array:
        """The strongest places of the responses, see ``CorrelationFilter.peaks``; None without a filter.

        (B, 4, 5), or (B, 5, 5) with the wide window's.
        """
        if not self.filter:
            return None
        peaks = self.filter.peaks(maps, box)
        return xp_of(peaks).concat([peaks, wide[:, None, :]], axis=1) if self.wide else peaks

    def search_squares(self, box: Array) -> list[Array]:
        """The squares in which the filters look for peaks at the present size, edges in pixels, (B, 4) each."""
        if not self.filter:
            return []
        scales = (1.0, self.wide.scale) if self.wide else (1.0,)
        return [self.filter.search_square(box, scale) for scale in scales]

    def seen(self, maps: Array, wide: Array, box: Array) -> dict[str, Array]:
        """The values of the observables."""
        if not self.filter:
            return {}
        xp, peaks = xp_of(maps), self.peaks(maps, wide, box)
        side = xp.sqrt(ops.area(box))[:, None, None]
        value, sharp = peaks[..., 3], peaks[..., 4] / 10
        share = 10 * (value / xp.maximum(value[:, :1], 0.01) - 1)
        numbers = xp.concat([peaks[..., :2] / side, xp.stack([value, sharp, share], axis=-1)], axis=-1)
        grey = xp.astype(xp.round(255 * xp.clip(maps, 0.0, 1.0)), xp.uint8)
        return {"response": grey, "peaks": xp.clip(numbers, -PEAK_LIMIT, PEAK_LIMIT)}
