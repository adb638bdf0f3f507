"""The frames of one split's videos, held once for all episodes; episodes hold an index into them.

As many as fit into ``visionrl.datasets.frames.memory_limit()`` bytes are decoded once and stay in memory; of more, each
is decoded on access, and those accessed last are kept, as many as fit. The limit is that of one bank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.banks.patches import colored, filled_pyramid, shared
from visionrl.datasets.frames import Recent, memory_limit
from visionrl.datasets.samples import MotSample, VideoSample
from visionrl.ops import Array, DeviceTable, Pyramid, Recalled
from visionrl.ops.pyramid import level_shapes

Frames = Sequence[np.ndarray] | np.ndarray


class FrameBank(Recalled):
    """Every frame of every video with its halvings.

    Args:
        videos: the frames of each; they lie one after the other, smaller ones padded with 0 at the right and below.
        window: side of the windows that will be cut, pixels; sets how many halvings are worth having.
        channels: 1 holds all grey, 3 all in RGB; None is RGB if a video is.
        memory: bytes of frames to keep; None is ``memory_limit()``.

    Attributes:
        first: (V,) int64, number of each video's first frame; ``first[v] + t`` is its frame t.
        lengths: (V,) int64, frames of each video.
        sizes: (F, 2) float64, (width, height) of each frame, lent to any array library.
        pyramid: the pixels, for ``ops.resize``.
    """

    def __init__(
        self, videos: Sequence[Frames], window: int, channels: int | None = None, memory: int | None = None
    ) -> None:
        self.window, self.lengths = window, np.array([len(frames) for frames in videos])
        self.first = np.cumsum(self.lengths) - self.lengths
        shapes = np.array([np.asarray(frames[0]).shape for frames in videos])
        most, high, wide = (int(n) for n in shapes.max(0))
        self.channels = channels or most
        self.sizes = DeviceTable(np.repeat(shapes[:, :0:-1].astype(float), self.lengths, axis=0))
        depth = 1 + max(int(np.log2(min(high, wide) / window)), 0)
        shape = (int(self.lengths.sum()), high, wide, self.channels)
        limit = memory_limit() if memory is None else memory
        fits = sum(int(np.prod(level)) for level in level_shapes(shape, depth)) <= limit
        self.pyramid: Any = (whole if fits else LazyPyramid)(
            Decoder(videos, self.channels), shape, depth, limit
        )

    def windows(self, frame: Array, box: Array, context: float) -> Array:
        """Windows of frames (B,) around boxes (B, 4): squares ``context`` sides of the box wide, (B, C, w, w) uint8."""
        shown = ops.box_around(ops.center(box), context * ops.size(box))
        return ops.resize(self.pyramid, frame, shown, self.window)

    def image(self, frame: int) -> np.ndarray:
        """One frame as (H, W, C) uint8, without the padding."""
        width, height = self.sizes.array[frame].astype(int)
        return self.pyramid.levels[0][frame][:height, :width]


class VideoBank(FrameBank):
    """Frames of videos with the bounding box of one object in every frame.

    Attributes:
        boxes: (F, 4) float64 of all frames, lent to any array library; where the object is not seen, between the
            boxes before and after it, in proportion to the time, and after the last one that one. Without labels NaN
            in all frames but the first.
        seen: (F,) bool, likewise lent: the object is seen in that frame.
    """

    def __init__(
        self,
        videos: Sequence[VideoSample],
        window: int,
        channels: int | None = None,
        memory: int | None = None,
        labelled: bool = True,
    ) -> None:
        super().__init__([video.frames for video in videos], window, channels, memory)
        boxes = [np.asarray(video.boxes, float) for video in videos]
        if not labelled:
            boxes = [np.where(np.arange(len(rows))[:, None] == 0, rows, np.nan) for rows in boxes]
        self.boxes = DeviceTable(np.concatenate([bridged(rows) if labelled else rows for rows in boxes]))
        self.seen = DeviceTable(~np.isnan(np.concatenate(boxes)).any(axis=1))


class Decoder:
    """The frames of all videos by number, in the requested colours: (C, H, W) uint8."""

    def __init__(self, videos: Sequence[Frames], channels: int) -> None:
        self.videos, self.channels = videos, channels
        lengths = np.array([len(frames) for frames in videos])
        self.first, self.count = np.cumsum(lengths) - lengths, int(lengths.sum())

    def __getitem__(self, number: int) -> np.ndarray:
        video = int(np.searchsorted(self.first, number, side="right")) - 1
        frame = self.videos[video][number - int(self.first[video])]
        return colored(np.asarray(frame), self.channels)


class LazyPyramid:
    """A ``Pyramid`` whose images are made on access, and kept within a limit; for the CPU alone."""

    def __init__(self, frames: Decoder, shape: tuple[int, int, int, int], depth: int, limit: int) -> None:
        empty = Pyramid(np.empty(0, np.uint8), shape, depth)
        self.shapes, self.channels, self.locate = empty.shapes, empty.channels, empty.locate
        self.frames, self.recent = frames, Recent(self.make, limit)
        self.levels = tuple(_Level(self.recent, k) for k in range(depth))

    def make(self, number: int) -> tuple[np.ndarray, ...]:
        """One image and its halvings, (H_k, W_k, C) each."""
        image = self.frames[number]
        shape = (1, *image.shape[1:], image.shape[0])
        levels = level_shapes(shape, len(self.shapes))
        alone = Pyramid(np.zeros(sum(int(np.prod(s)) for s in levels), np.uint8), shape, len(levels))
        alone.fill(0, image)
        return tuple(level[0] for level in alone.levels)

    @property
    def pixels(self) -> Any:
        """Nothing that a device could hold."""
        raise ValueError(
            f"{self.frames.count} frames are more than {self.recent.limit / 2**20:g} MiB and stay on the CPU: "
            "raise VISIONRL_FRAME_MEMORY (MiB), or use the CPU"
        )


class _Level:
    """One level of all images: ``level[number]`` is (H_k, W_k, C)."""

    def __init__(self, recent: Recent, depth: int) -> None:
        self.recent, self.depth = recent, depth

    def __getitem__(self, number: Any) -> np.ndarray:
        return self.recent[int(number)][self.depth]


def whole(frames: Decoder, shape: tuple[int, int, int, int], depth: int, limit: int) -> Pyramid:
    """A pyramid with all images in it."""
    return filled_pyramid(lambda number: frames[number], shape, depth)


def bridged(boxes: np.ndarray) -> np.ndarray:
    """(T, 4) boxes without gaps: rows of NaN between two boxes go straight from one to the other."""
    time, known = np.arange(len(boxes)), ~np.isnan(boxes).any(axis=1)
    return np.stack([np.interp(time, time[known], column[known]) for column in boxes.T], axis=1)


def video_bank(
    samples: Sequence[VideoSample], window: int, channels: int | None = None, labelled: bool = True
) -> VideoBank:
    """The bank of some videos; environments over the same frames share it."""
    frames = [sample.frames for sample in samples]
    return shared(VideoBank, frames, samples, window, channels, memory_limit(), labelled)


def frame_bank(samples: Sequence[MotSample], window: int, channels: int | None = None) -> FrameBank:
    """Returns the bank of frames without boxes; one bank for the same videos."""
    frames = [sample.frames for sample in samples]
    return shared(_frames, frames, samples, window, channels, memory_limit())


def _frames(samples: Sequence[MotSample], *args: Any) -> FrameBank:
    """Make the bank of the frames of some samples."""
    return FrameBank([sample.frames for sample in samples], *args)
