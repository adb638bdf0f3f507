"""What tracking remembers."""

from __future__ import annotations

from dataclasses import dataclass

from visionrl.ops import Array


@dataclass(frozen=True)
class State:
    """Where the box is and which frame is on; B episodes.

    Attributes:
        image: (B,) int64, the video, by which evaluation groups episodes.
        frame: (B,) int64, index into the bank.
        last: (B,) int64, index of the episode's last frame.
        box: (B, 4) float64, (x0, y0, x1, y1) edges in pixels.
        moves: (B,) int64, moves made in this frame.
        begin: (B, 4) float64, the box with which this frame began; (B, 0) if it cannot be gone back to.
        template: (B, C, w, w) uint8, what the window shows at the start, or showed when it was updated; (B, 0) if the
            agent is not shown it.
        visited: (B, moves + 1) int64, the boxes of this frame, ``packed``, newest last; -1 where there is none yet.
        actions: (B, 10) int64, newest last, -1 before the start; with continuous control (B, 10, 3) float64, 0.
        frames: (B,) float64, frames that are done, those apart in which the object is not seen.
        scores: (B, 6) float64, ``scores.SCORES`` of these frames added up.
        seen: (B,) float64, 1 if the object is seen in the present frame, else 0.
        iou: (B,) float64, the box's overlap with the object in the present frame.
        gap: (B,) float64, pixels between their midpoints.
        reached: (B,) float64, the overlap that the last move came to, in the frame in which it was made.
        finished: (B,) bool, the last frame is done.
        model: ``filters.Known`` has this and the three below; (B, 0) if there is no correlation filter.
        filter: see there.
        first: see there.
        maps: see there.
        wide: (B, 5) float64, the peak of a wide window, as ``CorrelationFilter.peaks`` has it; (B, 0) if it is not
            looked for.
    """

    image: Array
    frame: Array
    last: Array
    box: Array
    begin: Array
    moves: Array
    template: Array
    visited: Array
    actions: Array
    frames: Array
    scores: Array
    seen: Array
    iou: Array
    gap: Array
    reached: Array
    finished: Array
    model: Array
    filter: Array
    first: Array
    maps: Array
    wide: Array
