"""The base of tasks about clips: an episode goes through one clip, of which the state holds the number and a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from visionrl.banks.clips import clip_bank
from visionrl.core import Task, arguments
from visionrl.datasets import ClipSample
from visionrl.ops import Array


@dataclass(frozen=True)
class ClipState:
    """A place in a clip; B episodes.

    Attributes:
        clip: (B,) int64, number of the clip.
        time: (B,) int64, the place in it: a frame, or a piece, from 0.
    """

    clip: Array
    time: Array


StateT = TypeVar("StateT", bound=ClipState)


@arguments
class ClipTask(Task[StateT]):
    """A task that goes through clips; a leaf calls ``load_clips`` in its ``setup``."""

    sample_type = ClipSample

    def load_clips(self, side: int | None = None, channels: int | None = None) -> None:
        """Load the clips and hold their features; with a ``side``, small pictures of that side too."""
        self.samples = self.load()
        self.bank = clip_bank(self.samples, side, channels)
        self.items = len(self.samples)

    def need(self, what: str) -> None:
        """Refuse clips without labels of a kind where labels are needed.

        Args:
            what: field of ``ClipSample``.

        Raises:
            ValueError: a sample has none.
        """
        empty = (None, "", ())
        lost = [s.name for s in self.samples if any(getattr(s, what) is none for none in empty)]
        if self.labelled and lost:
            raise ValueError(f"samples must have {what}, {lost[0]!r} has none")

    def source_of(self, item: int, start: StateT) -> int:
        return int(start.clip)

    def picture(self, clip: int, frame: int) -> np.ndarray:
        """(C, H, W) uint8, a frame of a clip; a bar chart of its features where it has no frames."""
        frames = self.samples[clip].frames
        if frames is not None:
            return np.asarray(frames[min(max(frame, 0), len(frames) - 1)])
        row = self.bank.features.array[int(self.bank.first.array[clip]) + frame][:64]
        bars = np.clip(row / max(float(np.abs(row).max()), 1e-9) * 24 + 24, 0, 48).astype(int)
        return np.where(np.arange(48)[::-1, None] < bars, 200, 20).astype(np.uint8)[None]
