"""Enlargement of single planes: bicubic resizing, back-projection, sharpening, small convolutional networks.

Planes are (H, W) float32 in [0, 1]; scales are whole numbers. All of it is NumPy, OpenCV and Pillow.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

ROUNDS = 8  # of back-projection
AMOUNT, SIGMA = 0.4, 1.0  # of sharpening
Layer = tuple[np.ndarray, np.ndarray]
"""Weights (k, k, C, D) and biases (D,), float32."""


def bicubic(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """A plane resized by a cubic kernel (a = -0.5), widened where it shrinks, as ``imresize`` of MATLAB does it."""
    from PIL import Image  # takes a while to import

    resized = Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    return np.asarray(resized)


def back_project(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """An enlarged plane changed until it shrinks to the small one (Irani & Peleg, 1991).

    Args:
        low: (h, w), the small plane.
        high: (H, W), the enlarged one.
    """
    for _ in range(ROUNDS):
        high = high + bicubic(low - bicubic(high, *low.shape), *high.shape)
    return np.clip(high, 0, 1)


def sharpen(high: np.ndarray) -> np.ndarray:
    """A plane after unsharp masking."""
    smooth = cv2.GaussianBlur(high, (0, 0), SIGMA, borderType=cv2.BORDER_REPLICATE)
    return np.clip(high + AMOUNT * (high - smooth), 0, 1)


def convolve_valid(maps: np.ndarray, layers: list[Layer]) -> np.ndarray:
    """Convolutions without padding, with a ReLU between two: (H, W, C) -> (H - 2 R, W - 2 R, D), R of ``reach``."""
    for number, (weights, biases) in enumerate(layers):
        size = len(weights)
        high, wide = maps.shape[0] - size + 1, maps.shape[1] - size + 1
        out = np.broadcast_to(biases, (high, wide, len(biases))).copy()
        for y in range(size):
            for x in range(size):
                out += np.ascontiguousarray(maps[y : y + high, x : x + wide]) @ weights[y, x]
        maps = np.maximum(out, 0) if number + 1 < len(layers) else out
    return maps


def read_layers(path: Path) -> list[Layer]:
    """The layers of a network in a file of arrays ``weights0``, ``biases0``, ``weights1``, ..."""
    with np.load(path) as arrays:
        return [
            tuple(arrays[f"{name}{number}"].astype(np.float32) for name in ("weights", "biases"))
            for number in range(len(arrays.files) // 2)
        ]


def reach(layers: list[Layer]) -> int:
    """Pixels beyond a pixel that a network sees, R."""
    return sum(len(weights) // 2 for weights, _ in layers)


def correct(plane: np.ndarray, layers: list[Layer], rows: slice, columns: slice) -> np.ndarray:
    """Correction that a network adds to a part of a plane, (h, w, D); beyond the plane its border is repeated.

    Args:
        plane: (H, W).
        layers: of a network of one input channel.
        rows: of the part.
        columns: of the part.
    """
    far, (high, wide) = reach(layers), plane.shape
    y, x = (
        np.clip(np.arange(part.start - far, part.stop + far), 0, length - 1)
        for part, length in ((rows, high), (columns, wide))
    )
    return convolve_valid(plane[np.ix_(y, x)][..., None], layers)


def shuffle(maps: np.ndarray, scale: int) -> np.ndarray:
    """Maps (h, w, s * s) as a plane (h s, w s): each pixel becomes a square of s by s (Shi et al., 2016)."""
    high, wide, _ = maps.shape
    return maps.reshape(high, wide, scale, scale).transpose(0, 2, 1, 3).reshape(high * scale, wide * scale)


def luma(image: np.ndarray) -> np.ndarray:
    """The luma of an image (C, H, W) uint8 as the field measures it, (H, W) float32 in [0, 1].

    Of RGB it is Y of BT.601 in [16, 235] / 255, as ``rgb2ycbcr`` of MATLAB gives it; a grey image is its own.
    """
    levels = image.astype(np.float32)
    if len(image) == 1:
        return levels[0] / 255
    weights = np.array([65.481, 128.553, 24.966], np.float32) / 255
    return (np.tensordot(weights, levels, axes=1) + 16) / 255
