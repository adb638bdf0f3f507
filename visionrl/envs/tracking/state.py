"""The state of single-object tracking."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from visionrl.metrics.tracking import SCORES
from visionrl.ops import Array


@dataclass(frozen=True)
class State:
    """Present box and frame; B episodes. The defaults are those of one episode's start.

    Attributes:
        image: (B,) int64, the video, by which evaluation groups episodes.
        frame: (B,) int64, index into the bank.
        last: (B,) int64, index of the episode's last frame.
        box: (B, 4) float64, (x0, y0, x1, y1) edges in pixels.
        frame_box: (B, 4) float64, the box with which this frame began.
        moves: (B,) int64, moves made in this frame.
        template: (B, C, w, w) uint8, the window at the start, or when it was updated last; (B, 0) if it is not shown.
        visited: (B, moves + 1) int64, the boxes of this frame, ``pack_box``, newest last; -1 where there is none yet.
        actions: (B, 10) int64, newest last, -1 before the start; with continuous control (B, 10, 3) float64, 0.
        frames: (B,) float64, frames that are done, without those in which the object is not seen.
        scores: (B, 6) float64, sums of ``metrics.tracking.SCORES`` over these frames.
        seen: (B,) float64, 1 if the object is seen in the present frame, else 0.
        iou: (B,) float64, the box's overlap with the object in the present frame.
        center_error: (B,) float64, pixels between their centres.
        reached_iou: (B,) float64, the overlap after the last move, in the frame in which it was made.
        finished: (B,) bool, the last frame is done.
        model, filter, first, maps: see ``FilterState``; (B, 0) if there is no correlation filter.
        wide: (B, 5) float64, the peak of a wide window, as ``CorrelationFilter.peaks`` has it; (B, 0) if not searched.
    """

    image: Array
    frame: Array
    last: Array
    box: Array
    frame_box: Array
    template: Array
    visited: Array
    actions: Array
    iou: Array
    center_error: Array
    reached_iou: Array
    model: Array
    filter: Array
    first: Array
    maps: Array
    wide: Array
    moves: Array = 0
    frames: Array = 0.0
    scores: Array = field(default_factory=partial(np.zeros, len(SCORES)))
    seen: Array = 1.0
    finished: Array = False
