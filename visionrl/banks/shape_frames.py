"""Images as a point model sees them: each cut about the box of its shape and brought to one size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from visionrl.banks.patches import PatchBank, shared
from visionrl.datasets import ImageSample

ROOM = 1.7  # sides of the box that a frame shows


def true_shape(sample: ImageSample, names: Sequence[str]) -> np.ndarray:
    """(J, 2) places of the points of some names, pixels."""
    return np.array([sample.points[name] for name in names], float)


def box_of(sample: ImageSample, names: Sequence[str], labelled: bool) -> np.ndarray | None:
    """(x0, y0, x1, y1) about the true points, or the box that a user gave; None where there is none."""
    if labelled:
        shape = true_shape(sample, names)
        return np.concatenate([shape.min(axis=0), shape.max(axis=0)])
    return None if sample.boxes is None or not len(sample.boxes) else np.asarray(sample.boxes[0], float) - 0.5


def frame_of(box: np.ndarray, side: int) -> np.ndarray:
    """(3,) x and y of a frame's first pixel in the image, and pixels of the image per pixel of the frame."""
    middle, longest = (box[:2] + box[2:]) / 2, max(float((box[2:] - box[:2]).max()), 2.0)
    scale = ROOM * longest / side
    return np.array([*(middle - (side - 1) / 2 * scale), scale])


def cut_frame(image: np.ndarray, frame: np.ndarray, side: int) -> np.ndarray:
    """(1, side, side) uint8, grey: what a frame shows of an image (C, H, W); outside it is 0."""
    grey = np.rint(image.mean(axis=0, dtype=np.float32)).astype(np.uint8)
    x, y, scale = frame.tolist()
    if scale > 1.5:  # no aliasing where the image is much finer
        factor = 1 / scale
        size = [max(round(length * factor), 1) for length in grey.shape[::-1]]
        small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        across, down = (new / old for new, old in zip(size, grey.shape[::-1], strict=True))
        matrix = np.array(
            [[scale * across, 0, (x + 0.5) * across - 0.5], [0, scale * down, (y + 0.5) * down - 0.5]]
        )
        grey = small
    else:
        matrix = np.array([[scale, 0, x], [0, scale, y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(grey, matrix, (side, side), flags=flags)[None]


def frame_bank(
    samples: Sequence[ImageSample],
    frames: np.ndarray,
    side: int,
    window: int,
    scales: tuple[int, ...],
) -> PatchBank:
    """The bank of what frames (N, 3) show of N images; environments over the same arrays share it."""
    rows = tuple(map(tuple, np.asarray(frames, float).tolist()))
    return shared(_framed, [sample.image for sample in samples], samples, rows, side, window, scales)


def _framed(
    samples: Sequence[ImageSample],
    frames: tuple[tuple[float, ...], ...],
    side: int,
    window: int,
    scales: tuple[int, ...],
) -> PatchBank:
    """The bank of what frames show of some samples."""
    images = [
        cut_frame(sample.image, np.array(frame), side) for sample, frame in zip(samples, frames, strict=True)
    ]
    return PatchBank(images, window, scales)
