"""The base of tasks about clips: an episode goes through one clip, of which the state holds the number and a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from visionrl.banks.clips import clip_bank
from visionrl.core import Task, arguments
from visionrl.datasets import ClipSample
from visionrl.envs.fitted import FittedTask
from visionrl.envs.video.timeline import timeline
from visionrl.ops import Array, DeviceTable


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

    def load_clips(self, *labels: str, side: int | None = None) -> None:
        """Load the clips and hold their features.

        Args:
            labels: fields of ``ClipSample``, of which each clip must have one where labels are needed.
            side: of small pictures that are held, too, pixels; None holds none.

        Raises:
            ValueError: a clip has none of the labels.
        """
        self.samples = self.load()
        for sample in self.samples if self.labelled else ():
            if not any(has_label(sample, name) for name in labels):
                none = "none" if len(labels) == 1 else "neither"
                raise ValueError(f"samples must have {' or '.join(labels)}, {sample.name!r} has {none}")
        self.bank = clip_bank(self.samples, side)
        self.items = len(self.samples)

    def source_of(self, item: int, start: StateT) -> int:
        return int(start.clip)

    def picture(self, clip: int, frame: int) -> np.ndarray:
        """(C, H, W) uint8, a frame of a clip; a bar chart of its features where it has no frames."""
        frames = self.samples[clip].frames
        if frames is not None:
            return np.asarray(frames[min(max(frame, 0), len(frames) - 1)])
        row = self.bank.features_of(clip)[frame][:64]
        bars = np.clip(row / max(float(np.abs(row).max()), 1e-9) * 24 + 24, 0, 48).astype(int)
        return np.where(np.arange(48)[::-1, None] < bars, 200, 20).astype(np.uint8)[None]

    def draw_timeline(
        self,
        clip: int,
        frame: int,
        kept: Iterable[int],
        curves: Mapping[str, np.ndarray],
        marks: np.ndarray,
        now: float,
        words: str,
    ) -> np.ndarray:
        """(H, 480, 3) uint8, the picture of ``timeline`` for a clip, whose frames are given by number."""
        pictures = [self.picture(clip, int(one)) for one in kept]
        return timeline(self.picture(clip, frame), pictures, curves, marks, now, words)


@arguments
class ClassifiedClips(ClipTask[StateT], FittedTask[StateT]):
    """A task with a classifier that is fitted to training clips; a leaf calls ``part_clips`` once it is there."""

    def part_clips(self, training: Sequence[ClipSample], fold: np.ndarray, folds: int) -> None:
        """Say, in ``fold``, which part of the training clips each clip is in; ``folds`` if in none.

        Raises:
            ValueError: the clips' features are not those of the training clips.
        """
        if (wide := clip_bank(training).width) != self.bank.width:
            raise ValueError(
                f"features of clips must be as many as the training clips', {wide}, got {self.bank.width}"
            )
        own = [sample.name for sample in training] if self.fitted_to_own_data() else []
        known = dict(zip(own, fold.tolist(), strict=False))
        self.fold = DeviceTable(np.array([known.get(sample.name, folds) for sample in self.samples]))


def has_label(sample: ClipSample, field: str) -> bool:
    """Tell if a field of a clip says something; no segments at all are something, a class without a name is not."""
    value = getattr(sample, field)
    return bool(value) if isinstance(value, str) else value is not None
