"""The base of tasks about what is detected in videos: clips of them, with given or simulated detections."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
from annotated_types import Ge, Interval

from visionrl.banks.detections import Detector, VideoDetections, check_labels
from visionrl.banks.videos import frame_bank
from visionrl.core import Task, arguments
from visionrl.datasets import MotSample

StateT = TypeVar("StateT")


@arguments
class DetectedVideos(Task[StateT]):
    """A task whose episodes are clips of videos; a leaf calls ``load_videos`` in its ``setup``."""

    clip: Annotated[int, Ge(2)] | None = 20
    """Frames of an episode, from a random one on; None for whole videos from their first frame on."""
    miss_rate: Annotated[float, Interval(ge=0.0, le=1.0)] = 0.1
    """Share of the objects in sight that the simulated detector overlooks; data with detections need no simulation."""
    false_positives: Annotated[float, Ge(0.0)] = 0.5
    """False detections of the simulated detector in a frame, on average."""
    jitter: Annotated[float, Interval(ge=0.0, le=1.0)] = 0.04
    """Standard deviation of the edges that the simulated detector finds, in sides of the box."""
    channels: Literal[1, 3] | None = None
    """1 shows all frames grey, 3 in RGB; None is RGB if a video of the split is."""

    sample_type, embedded = MotSample, "cutout-crowds"
    evaluation: ClassVar[dict[str, Any]] = {"clip": None}

    def load_videos(self, window: int) -> tuple[MotSample, ...]:
        """Load the videos, hold their frames for windows of a side, pixels, and what is detected in them.

        Raises:
            ValueError: a sample lacks what is needed, see ``check_labels``.
        """
        samples = self.load()
        known = check_labels(samples, self.labelled)
        self.bank = frame_bank(samples, window, self.channels)
        detector = Detector(self.miss_rate, self.false_positives, self.jitter)
        sides = self.bank.sizes.array[self.bank.first]
        self.videos = [VideoDetections(*given, detector) for given in zip(known, sides, strict=True)]
        self.max_detections = max(video.max_detections for video in self.videos)
        self.items, longest = len(samples), int(self.bank.lengths.max())
        self.length = min((self.clip if self.labelled else None) or longest, longest)
        return samples

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def draw_clip(
        self, rng: np.random.Generator, item: int, most: int
    ) -> tuple[int, int, np.ndarray, np.ndarray]:
        """A clip of a video: its first frame, its length, and what is detected in at most T frames.

        Args:
            rng: chance.
            item: number of the video.
            most: M, most detections of a frame.

        Returns:
            First frame and length; detections (T, M, 5) and objects (T, M) as of ``VideoDetections.draw_clip``.
        """
        whole = int(self.bank.lengths[item])
        length = min(self.length, whole)
        start = int(rng.integers(whole - length + 1))
        return start, length, *self.videos[item].draw_clip(rng, start, length, (self.length, most))
