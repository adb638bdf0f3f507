"""Picture of an inspection: the cells that were looked at, their anomaly scores, and the defect."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from visionrl.datasets import ImageSample
from visionrl.rendering import Canvas

STRENGTH, MOST = 0.5, 8.0  # of the colours over the image, and the score, in deviations, that is all red


def anomaly_picture(
    sample: ImageSample,
    looks: Sequence[np.ndarray],
    heat: np.ndarray,
    words: str,
    labelled: bool,
    found: bool,
) -> np.ndarray:
    """The image with a frame around each cell looked at, numbered, redder where the anomaly score is larger.

    Args:
        sample: the image.
        looks: (x0, y0, x1, y1) of the cells in order, pixels.
        heat: (h, w) scores over the whole image, NaN where no look was.
        words: a line above it.
        labelled: whether the outline of the true defect is drawn.
        found: whether the last cell is said to have a defect.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    canvas = Canvas(sample.image)
    size = canvas.pixels.shape[1::-1]
    red = np.clip(np.nan_to_num(heat) / MOST, 0, 1).astype(np.float32)
    part = STRENGTH * cv2.resize(red, size, interpolation=cv2.INTER_NEAREST)[..., None]
    canvas.pixels = np.rint(canvas.pixels * (1 - part) + np.array([255.0, 0, 0]) * part).astype(np.uint8)
    if labelled and sample.mask is not None and sample.mask.any():
        canvas.outline(sample.mask > 0, "truth")
    for number, box in enumerate(looks, 1):
        last = number == len(looks)
        canvas.box(box, "agent" if last and found else "look", 2 + last)
        canvas.text(str(number), [box[0] + 2 / canvas.zoom, box[1] + 18 / canvas.zoom])
    canvas.text(words)
    return canvas.pixels
