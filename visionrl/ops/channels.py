"""Channels of images, as OpenCV wants them."""

from __future__ import annotations

import numpy as np


def rgb_last(image: np.ndarray) -> np.ndarray:
    """An image (C, H, W) uint8, grey or RGB, as OpenCV wants it: (H, W, 3), in one block."""
    return np.ascontiguousarray(np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0))
