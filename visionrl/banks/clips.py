"""The clips of one split, held once for all episodes: a small picture and a row of features of every frame.

Nothing is downloaded: where samples bring no features of their own, a frame is described by 96 numbers, an 8 x 8
picture of it, grey, without its mean, of length 1, and a histogram of 32 colours, the root of each share. So features
of frames that look alike have a cosine near 1.
"""

from __future__ import annotations

from collections.abc import Sequence

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
        channels: 1 holds all grey, 3 all in RGB; None is RGB if a clip is.
        own_features: use the features that samples bring; else frames are described here.

    Attributes:
        first: (V,) int64, number of each clip's first frame; lent to any array library, as all tables are.
        lengths: (V,) int64, frames of each clip.
        longest: most frames of a clip.
        channels: of the thumbnails; 0 where a clip has no frames, and there are none.
        thumbnails: (F, C, side, side) uint8, or None.
        features: (F, D) float32.
        sums: (F + V, D) float64, running sums of each clip's features, a row of zeros before each.

    Raises:
        ValueError: samples have features of different lengths, or some have features alone and others frames alone.
    """

    def __init__(
        self,
        samples: Sequence[ClipSample],
        side: int | None,
        channels: int | None = None,
        own_features: bool = True,
    ) -> None:
        counts = np.array([len(sample) for sample in samples])
        self.side, self.longest = side, int(counts.max())
        self.lengths, self.first = DeviceTable(counts), DeviceTable(np.cumsum(counts) - counts)
        pictured = all(sample.frames is not None for sample in samples)
        described = own_features and all(sample.features is not None for sample in samples)
        if not (pictured or described):
            lost = next(s.name for s in samples if (s.features is None if own_features else s.frames is None))
            raise ValueError(
                f"samples must all have frames, or all features, {lost!r} lacks what others have"
            )
        self.channels = 0
        if pictured:
            self.channels = channels or max(np.asarray(s.frames[0]).shape[0] for s in samples)  # type: ignore[index]
        widths = {np.shape(sample.features)[1] for sample in samples} if described else {FEATURES}
        if len(widths) > 1:
            raise ValueError(f"features must be equally many in all samples, got {sorted(widths)}")
        self.width = widths.pop()
        rows = np.empty((int(counts.sum()), self.width), np.float32)
        shape = (len(rows) if pictured and side else 0, self.channels, side or 1, side or 1)
        small = np.empty(shape, np.uint8)
        for sample, start in zip(samples, self.first.array.tolist(), strict=True):
            if described:
                rows[start : start + len(sample)] = sample.features
            for time, frame in enumerate(sample.frames if len(small) or not described else ()):  # type: ignore[arg-type]
                if side and pictured:
                    small[start + time] = squeezed(colored(np.asarray(frame), self.channels), side)
                if not described:
                    rows[start + time] = describe(np.asarray(frame))
        self.features = DeviceTable(rows)
        self.thumbnails = DeviceTable(small) if len(small) else None
        self.sums = DeviceTable(running_sums(rows, counts))

    def number(self, clip: Array, time: Array) -> Array:
        """Numbers of frames in the tables; times before the first and after the last frame count as these.

        Args:
            clip: (B,) int64.
            time: (B,) or (B, K) int64, frames of the clip from 0.
        """
        return self.within(clip, time) + self._along(self.first.rows(clip), time)

    def within(self, clip: Array, time: Array) -> Array:
        """Times, (B,) or (B, K), moved into the clip."""
        xp = xp_of(time)
        last = self._along(self.lengths.rows(clip), time) - 1
        return xp.maximum(xp.minimum(time, last), xp.zeros_like(time))

    def valid(self, clip: Array, time: Array) -> Array:
        """(B,) or (B, K) bool, True for times that the clip has."""
        return (time >= 0) & (time < self._along(self.lengths.rows(clip), time))

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

    def means(self, clip: Array, start: Array, end: Array) -> Array:
        """Mean features of frames start to end - 1, (B, K, D) float64; the frame at start where there are none.

        Args:
            clip: (B,) int64.
            start: (B, K) int64, within the clip.
            end: (B, K) int64, up to its length.
        """
        xp = xp_of(start)
        begin = self.within(clip, start)
        final = xp.maximum(xp.minimum(end, self._along(self.lengths.rows(clip), end)), begin + 1)
        base = self._along(self.first.rows(clip) + clip, start)
        total = _picked(self.sums, base + final) - _picked(self.sums, base + begin)
        return total / xp.astype(final - begin, total.dtype)[..., None]

    @staticmethod
    def _along(of_clip: Array, time: Array) -> Array:
        """A number of each clip, (B,), with as many axes as times have."""
        return of_clip if time.ndim == 1 else of_clip[:, None]


def _picked(table: DeviceTable, numbers: Array) -> Array:
    """Rows of a table by numbers of any shape."""
    if numbers.ndim == 1:
        return table.rows(numbers)
    xp = xp_of(numbers)
    flat = table.rows(xp.reshape(numbers, (-1,)))
    return xp.reshape(flat, (*numbers.shape, *flat.shape[1:]))


def running_sums(rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(F + V, D) float64: the sums of each clip's rows up to each of its frames, from 0 before the first."""
    found = np.zeros((len(rows) + len(counts), rows.shape[1]))
    start = 0
    for clip, count in enumerate(counts.tolist()):
        np.cumsum(rows[start : start + count], axis=0, out=found[start + clip + 1 : start + clip + count + 1])
        start += count
    return found


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


def clip_bank(
    samples: Sequence[ClipSample], side: int | None, channels: int | None = None, own_features: bool = True
) -> ClipBank:
    """The bank of some clips; environments over the same ones share it."""
    pixels = [sample.features if sample.frames is None else sample.frames for sample in samples]
    return shared(ClipBank, pixels, samples, side, channels, own_features)
