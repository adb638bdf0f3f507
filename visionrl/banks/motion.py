"""Motion between frames, on a coarse grid: small grey pictures and optical flow, held once for all episodes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from visionrl.banks.patches import colored, shared
from visionrl.datasets.samples import MotSample
from visionrl.ops import Array, DeviceTable, Recalled, xp_of

GRID = 24  # cells along each side of a frame
SIDE, LEAST = 208, 32  # longer and least side of the pictures between which the flow is computed, pixels
INNER = 0.4  # sides of the part of a box whose flow counts, in sides of the box: less of it is background


class MotionBank(Recalled):
    """Small pictures of all F frames, and the flow from the frame before (Kroeger et al., 2016, "DIS").

    Args:
        samples: the videos; their frames lie one after the other.

    Attributes:
        small: (F, G, G) float32 in [0, 1], mean intensities of the cells; lent to any array library, as all tables are.
        flow: (F, G, G * 2) float32, (x, y) by which each cell of the frame before moved, in sides of the frame; 0 for
            first frames.
    """

    def __init__(self, samples: Sequence[MotSample]) -> None:
        small, flow = [], []
        search = flow_search()
        for sample in samples:
            before = None
            for frame in sample.frames:
                grey = reduced(np.asarray(frame))
                small.append(cv2.resize(grey, (GRID, GRID), interpolation=cv2.INTER_AREA) / np.float32(255))
                flow.append(
                    np.zeros((GRID, GRID, 2), np.float32) if before is None else cells(search, before, grey)
                )
                before = grey
        self.small = DeviceTable(np.stack(small))
        self.flow = DeviceTable(np.stack(flow).reshape(len(flow), GRID, -1))

    def difference(self, frame: Array, other: Array) -> Array:
        """(B, G, G) float32, absolute difference of two frames (B,)."""
        return xp_of(frame).abs(self.small.rows(frame) - self.small.rows(other))

    def flow_in(self, frame: Array, box: Array) -> Array:
        """(B, M, 2) mean flow to frames (B,) in the middle of boxes (B, M, 4) of the frame before, in its sides."""
        xp = xp_of(box)
        middle, half = (box[..., :2] + box[..., 2:]) / 2, (box[..., 2:] - box[..., :2]) * INNER / 2
        inner = xp.concat([middle - half, middle + half], axis=-1)
        return mean_in(xp.reshape(self.flow.rows(frame), (frame.shape[0], GRID, GRID, 2)), inner)


def mean_in(grid: Array, box: Array) -> Array:
    """Means of a grid (B, G, G, C) over boxes (B, M, 4) in sides of the frame: (B, M, C); 0 outside and for NaN."""
    xp = xp_of(grid)
    rows, count, size = grid.shape[0], box.shape[1], grid.shape[1]
    across, down = (share_of_cells(box[..., k], box[..., k + 2], size) for k in (0, 1))
    lines = xp.matmul(down, xp.reshape(xp.astype(grid, box.dtype), (rows, size, -1)))
    return xp.sum(xp.reshape(lines, (rows, count, size, -1)) * across[..., None], axis=2)


def share_of_cells(low: Array, high: Array, size: int) -> Array:
    """Share of spans (B, M), in sides of the frame, in each of ``size`` cells: (B, M, size); sums to 1 or 0."""
    xp = xp_of(low)
    edge = xp.arange(size, dtype=low.dtype, device=low.device)
    part = xp.clip(
        xp.minimum(high[..., None] * size, edge + 1) - xp.maximum(low[..., None] * size, edge), 0, None
    )
    part = xp.where(part > 0, part, xp.zeros_like(part))
    total = xp.sum(part, axis=-1)[..., None]
    return part / xp.where(total > 0, total, xp.ones_like(total))


def flow_search() -> cv2.DISOpticalFlow:
    """The dense inverse search with constants that do best on the validation split of the embedded videos at 2 ms."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setPatchStride(4)
    search.setGradientDescentIterations(16)
    search.setVariationalRefinementIterations(0)
    return search


def reduced(frame: np.ndarray) -> np.ndarray:
    """A frame (C, H, W) uint8 in grey, its longer side ``SIDE`` pixels."""
    grey = colored(frame, 1)[0]
    high, wide = (max(LEAST, round(side * SIDE / max(grey.shape))) for side in grey.shape)
    return cv2.resize(np.ascontiguousarray(grey), (wide, high), interpolation=cv2.INTER_AREA)


def cells(search: cv2.DISOpticalFlow, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(G, G, 2) float32 mean flow of the cells, in sides of the frame."""
    found = search.calc(before, after, None) / np.array(before.shape[::-1], np.float32)  # type: ignore[call-overload]
    return cv2.resize(found.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)


def motion_bank(samples: Sequence[MotSample]) -> MotionBank:
    """The bank of some videos; environments over the same frames share it."""
    return shared(MotionBank, [sample.frames for sample in samples], samples)
