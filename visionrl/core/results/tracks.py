"""Boxes of objects through a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class BoxTrack:
    """The box of one object in each frame of a video.

    Attributes:
        boxes: (T, 4) float64, (x0, y0, x1, y1) edges in pixels of the file, (0, 0) the upper left corner of the frame;
            up to the last frame that is done.
        first: number of the frame of the first box, from 0.
    """

    boxes: np.ndarray
    first: int = 0

    def joined(self, others: Sequence[BoxTrack]) -> BoxTrack:
        """This result: a video has one object."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values; boxes are (x, y, width, height), three decimals."""
        first = {"first": self.first} if self.first else {}
        return {**first, "boxes": np.round(corner_and_sides(self.boxes), 3).tolist()}


@dataclass(frozen=True)
class Tracks:
    """The boxes of many objects in a video, N in all, by frame and identity.

    Attributes:
        frames: (N,) int64, from 0.
        ids: (N,) int64, from 1: the same number is the same object.
        boxes: (N, 4) float64, (x0, y0, x1, y1) edges in pixels of the file.
        scores: (N,) float64, the score of the detection that a box overlaps most, by half at least; 0 where there is
            none, because the box goes on by the track's motion.
    """

    frames: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    def joined(self, others: Sequence[Tracks]) -> Tracks:
        """This result: a video has one set of tracks."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values; frames from 0, boxes are (x, y, width, height), three decimals."""
        sides = np.round(corner_and_sides(self.boxes), 3).tolist()
        rows = zip(self.frames.tolist(), self.ids.tolist(), sides, self.scores.tolist(), strict=True)
        return {"tracks": [{"frame": t, "id": k, "bbox": box, "score": score} for t, k, box, score in rows]}


@dataclass(frozen=True)
class VideoBoxes:
    """Boxes in the frames of a video, N in all, without identities.

    Attributes:
        frames: (N,) int64, from 0.
        boxes: (N, 4) float64, (x0, y0, x1, y1) edges in pixels of the file.
        scores: (N,) float64, of the detections; less where they were moved on since.
        detected: (K,) int64, frames on which the detector ran.
    """

    frames: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    detected: np.ndarray

    def joined(self, others: Sequence[VideoBoxes]) -> VideoBoxes:
        """This result: a video has one set of boxes."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values; frames from 0, boxes are (x, y, width, height), three decimals, scores four."""
        sides = np.round(corner_and_sides(self.boxes), 3).tolist()
        rows = zip(self.frames.tolist(), sides, np.round(self.scores, 4).tolist(), strict=True)
        return {
            "detected": self.detected.tolist(),
            "boxes": [{"frame": time, "bbox": box, "score": score} for time, box, score in rows],
        }


def corner_and_sides(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) x, y, width, height of edges (x0, y0, x1, y1)."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
