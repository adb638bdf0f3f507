"""Summaries of a video: the frames kept, its class, and the segments of actions in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Summary:
    """The frames of a video that an agent kept or looked at, and how it scored the pieces of the video.

    Attributes:
        frames: (K,) int64, from 0, in order.
        count: frames of the video.
        pieces: (P, 2) int64, first frame of each piece and the one after its last; none where frames were not scored.
        scores: (P,) float64, more is more important; on no scale.
        fps: frames per second; None: unknown.
    """

    frames: np.ndarray
    count: int
    pieces: np.ndarray
    scores: np.ndarray
    fps: float | None = None

    def joined(self, others: Sequence[Summary]) -> Summary:
        """This result: a video has one summary."""
        return self

    def rows(self) -> list[dict[str, Any]]:
        """The pieces; seconds are None where the frame rate is unknown."""
        kept = set(self.frames.tolist())
        return [
            {
                "start": start,
                "end": end,
                "seconds": None if self.fps is None else round(start / self.fps, 3),
                "score": round(score, 6),
                "kept": start in kept,
            }
            for (start, end), score in zip(self.pieces.tolist(), self.scores.tolist(), strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values; frames from 0."""
        found = {"frames": self.count, "fps": self.fps, "kept": self.frames.tolist()}
        return {**found, "pieces": self.rows()} if len(self.pieces) else found


@dataclass(frozen=True)
class ClipClass:
    """The class of a clip, and the frames that the agent looked at.

    Attributes:
        label: name of the class; None where the agent gave no answer.
        frames: (K,) int64, from 0, in the order in which they were looked at.
        count: frames of the clip.
        fps: frames per second; None: unknown.
        confidence: as of ``ImageClass``.
    """

    label: str | None
    frames: np.ndarray
    count: int
    fps: float | None = None
    confidence: float | None = None

    def joined(self, others: Sequence[ClipClass]) -> ClipClass:
        """This result: a clip has one class."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values; frames from 0."""
        found = {"label": self.label, "confidence": self.confidence, "looked_at": self.frames.tolist()}
        return {**found, "frames": self.count, "fps": self.fps}


@dataclass(frozen=True)
class Segments:
    """The segments of actions that an agent found in a clip, and the frames that it looked at.

    Attributes:
        segments: (N, 2) float64, first frame of each and the one after its last, from 0.
        labels: N class names.
        scores: (N,) float64 in [0, 1].
        frames: (K,) int64, looked at, from 0, in that order.
        count: frames of the clip.
        fps: frames per second; None: unknown.
    """

    segments: np.ndarray
    labels: tuple[str, ...]
    scores: np.ndarray
    frames: np.ndarray
    count: int
    fps: float | None = None

    def joined(self, others: Sequence[Segments]) -> Segments:
        """The segments of all parts of a clip."""
        every = (self, *others)
        return replace(
            self,
            segments=np.concatenate([one.segments for one in every]),
            labels=tuple(label for one in every for label in one.labels),
            scores=np.concatenate([one.scores for one in every]),
            frames=np.concatenate([one.frames for one in every]),
        )

    def rows(self) -> list[dict[str, Any]]:
        """The segments in the order of time; seconds are None where the frame rate is unknown."""
        found = []
        for number in np.lexsort((self.segments[:, 1], self.segments[:, 0])).tolist():
            start, end = self.segments[number].tolist()
            seconds = [None if self.fps is None else round(edge / self.fps, 3) for edge in (start, end)]
            row = {"label": self.labels[number], "score": round(float(self.scores[number]), 6)}
            found.append({**row, "start": round(start, 2), "end": round(end, 2), "segment": seconds})
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain values; frames from 0, ``segment`` in seconds."""
        found = {"frames": self.count, "fps": self.fps, "looked_at": self.frames.tolist()}
        return {**found, "segments": self.rows()}
