"""The state of single-object tracking."""

from __future__ import annotations

from dataclasses import dataclass

from visionrl.envs.tracking.controls import BoxMoves
from visionrl.envs.tracking.responses import ResponseState
from visionrl.metrics.tracking import BoxScores
from visionrl.ops import Array


@dataclass(frozen=True)
class State(BoxMoves, BoxScores, ResponseState):
    """The frame, the box and its moves, its scores, and the correlation filter (see these three); B episodes.

    Attributes:
        image: (B,) int64, the video, by which evaluation groups episodes.
        frame: (B,) int64, index into the bank.
        last: (B,) int64, index of the episode's last frame.
        template: (B, C, w, w) uint8, the window at the start, or when it was updated last; (B, 0) if it is not shown.
        finished: (B,) bool, the last frame is done.
        path: (B, T, 4) float64, the box with which each frame ended, counted from the video's first; NaN where none is
            yet; (B, 0, 4) where episodes are clips.
    """

    image: Array
    frame: Array
    last: Array
    template: Array
    finished: Array
    path: Array
