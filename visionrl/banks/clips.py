"""The clips of one split, held once for all episodes: a small picture and a row of features of every frame.

Nothing is downloaded: where samples bring no features of their own, a frame is described by 96 numbers, an 8 x 8
picture of it, grey, without its mean, of length 1, and a histogram of 32 colours, the root of each share. So features
of frames that look alike have a cosine near 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from visionrl.banks.patches import colored, shared
from visionrl.banks.squares import squeezed
from visionrl.datasets.samples import ClipSample
from visionrl.ops import Array, DeviceTable, Recalled, xp_of

GRID, COLOURS = 8, 32
FEATURES = GRID * GRID + COLOURS


class ClipBank(Recalled):
    """Thumbnails and features of all frames of some clips, one clip after the other.

    Args:
        samples: with frames or features.
        side: of the thumbnails, pixels; frames are squeezed to squares. None keeps none.

    Attributes:
        first: (V,) int64, number of each clip's first frame; lent to any array library, as all tables are.
        lengths: (V,) int64, frames of each clip.
        longest: most frames of a clip.
        channels: of the thumbnails, 3 if a clip is in RGB; 0 where a clip has no frames, and there are none.
        thumbnails: (F, C, side, side) uint8, or None.
        features: (F, D) float32, those that samples bring where all do.
        width: D.

    Raises:
        ValueError: samples have features of different lengths, or some have features alone and others frames alone.
    """

    def __init__(self, samples: Sequence[ClipSample], side: int | None = None) -> None:
        counts = np.array([len(sample) for sample in samples])
        self.side, self.longest = side, int(counts.max())
        self.lengths, self.first = DeviceTable(counts), DeviceTable(np.cumsum(counts) - counts)
        clips: list[Any] = [sample.frames for sample in samples]
        pictured = all(frames is not None for frames in clips)
        described = all(sample.features is not None for sample in samples)
        if not (pictured or described):
            lost = next(sample.name for sample in samples if sample.features is None)
            raise ValueError(
                f"samples must all have frames, or all features, {lost!r} lacks what others have"
            )
        widths = {np.shape(sample.features)[1] for sample in samples} if described else {FEATURES}
        if len(widths) > 1:
            raise ValueError(f"features must be equally many in all samples, got {sorted(widths)}")
        self.width = widths.pop()
        self.channels = max(np.asarray(frames[0]).shape[0] for frames in clips) if pictured else 0
        size = int(counts.sum())
        features = np.empty((size, self.width), np.float32)
        small = np.empty((size, self.channels, side, side), np.uint8) if pictured and side else None
        for sample, frames, start in zip(samples, clips, self.first.array.tolist(), strict=True):
            if described:
                features[start : start + len(sample)] = sample.features
            for number, frame in enumerate(frames if small is not None or not described else (), start):
                if small is not None:
                    small[number] = squeezed(colored(np.asarray(frame), self.channels), small.shape[-1])
                if not described:
                    features[number] = describe(np.asarray(frame))
        self.features = DeviceTable(features)
        self.thumbnails = None if small is None else DeviceTable(small)

    def number(self, clip: Array, time: Array) -> Array:
        """Numbers of frames in the tables; times before the first and after the last frame count as these.

        Args:
            clip: (B,) int64.
            time: (B,) or (B, K) int64, frames of the clip from 0.
        """
        xp, last, first = xp_of(time), self.lengths.rows(clip) - 1, self.first.rows(clip)
        if time.ndim == 2:
            last, first = last[:, None], first[:, None]
        return first + xp.maximum(xp.minimum(time, last), xp.zeros_like(time))

    def features_of(self, clip: int) -> np.ndarray:
        """(T, D) float32, features of all frames of one clip."""
        first = int(self.first.array[clip])
        return self.features.array[first : first + int(self.lengths.array[clip])]

    def rows(self, clip: Array, time: Array) -> Array:
        """Features at some times: (B, D), or (B, K, D) for (B, K)."""
        return _picked(self.features, self.number(clip, time))

    def pictures(self, clip: Array, time: Array) -> Array:
        """Thumbnails at some times: (B, C, side, side) uint8, or (B, K, C, side, side) for (B, K).

        Raises:
            ValueError: the samples have no frames.
        """
        if self.thumbnails is None:
            raise ValueError("samples must have frames to be shown, these have features alone")
        return _picked(self.thumbnails, self.number(clip, time))


def _picked(table: DeviceTable, numbers: Array) -> Array:
    """Rows of a table by numbers of any shape."""
    if numbers.ndim == 1:
        return table.rows(numbers)
    xp = xp_of(numbers)
    flat = table.rows(xp.reshape(numbers, (-1,)))
    return xp.reshape(flat, (*numbers.shape, *flat.shape[1:]))


def describe(frame: np.ndarray) -> np.ndarray:
    """(96,) float32 features of a frame (C, H, W) uint8; each half has length 1 / sqrt(2)."""
    high, wide = frame.shape[1:]
    scale = min(1.0, 64 / max(high, wide))
    size = max(1, round(wide * scale)), max(1, round(high * scale))
    small = np.ascontiguousarray(frame.transpose(1, 2, 0))
    small = cv2.resize(small, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    colour = small if small.shape[2] == 3 else np.repeat(small, 3, axis=2)
    grey = cv2.resize(
        colour.mean(axis=2, dtype=np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA
    ).ravel()
    grey -= grey.mean()
    grey /= max(float(np.linalg.norm(grey)), 1e-3)
    red, green, blue = (colour[..., k].astype(int) for k in range(3))
    code = (red // 64) * 8 + (green // 64) * 2 + blue // 128  # 4 x 4 x 2 colours
    share = np.bincount(code.ravel(), minlength=COLOURS) / code.size
    return (np.concatenate([grey, np.sqrt(share)]) / np.sqrt(2)).astype(np.float32)


def shared_by_clips(build: Callable[..., Any], samples: Sequence[ClipSample], *args: Any) -> Any:
    """A bank that ``build`` makes of clips, made once for the same frames or features, see ``shared``."""
    pixels = [sample.features if sample.frames is None else sample.frames for sample in samples]
    return shared(build, pixels, samples, *args)


def clip_bank(samples: Sequence[ClipSample], side: int | None = None) -> ClipBank:
    """The bank of some clips; environments over the same ones share it."""
    return shared_by_clips(ClipBank, samples, side)
