"""Reference filters: those of ``ops.filters`` written plainly with loops; tests hold the fast ones against them.

Each takes one image, (C, H, W), and gives (C, H, W) float64.
"""

from __future__ import annotations

import numpy as np

from visionrl.ops.kernels import DCT_SIDE, DCT_STRIDE, Kernel, dct_matrix


def convolve(image: np.ndarray, kernel: Kernel) -> np.ndarray:
    """See ``ops.filters.convolve``."""
    taps = np.array(kernel)
    out = np.zeros(image.shape)
    for place in np.ndindex(*image.shape):
        out[place] = (_around(image[place[0]], place[1:], len(taps), "reflect") * taps).sum()
    return out


def median(image: np.ndarray, size: int) -> np.ndarray:
    """See ``ops.filters.median``."""
    out = np.zeros(image.shape)
    for place in np.ndindex(*image.shape):
        out[place] = np.median(_around(image[place[0]], place[1:], size, "edge"))
    return out


def bilateral(image: np.ndarray, size: int, sigma_color: float, sigma_space: float) -> np.ndarray:
    """See ``ops.filters.bilateral``."""
    half = size // 2
    step = np.arange(size) - half
    away = step[:, None] ** 2 + step**2
    out = np.zeros(image.shape)
    for place in np.ndindex(*image.shape[1:]):
        around = np.stack([_around(part, place, size, "reflect") for part in image])
        gap = np.abs(around - around[:, half : half + 1, half : half + 1]).sum(0)
        weight = np.exp(-0.5 * (gap / sigma_color) ** 2 - 0.5 * away / sigma_space**2) * (away <= half**2)
        out[:, place[0], place[1]] = (around * weight).sum((1, 2)) / weight.sum()
    return out


def dct_threshold(image: np.ndarray, threshold: float) -> np.ndarray:
    """See ``ops.filters.dct_threshold``."""
    side, basis = DCT_SIDE, dct_matrix().astype(float)
    out = np.zeros(image.shape)
    for channel, part in enumerate(image):
        padded = np.pad(part.astype(float), side - 1, "reflect")
        total = np.zeros(padded.shape)
        for row, column in np.ndindex(*(length - side + 1 for length in padded.shape)):
            if row % DCT_STRIDE or column % DCT_STRIDE:
                continue
            found = basis @ padded[row : row + side, column : column + side].ravel()
            found[1:] *= np.abs(found[1:]) >= threshold
            total[row : row + side, column : column + side] += (basis.T @ found).reshape(side, side)
        out[channel] = total[side - 1 : 1 - side, side - 1 : 1 - side] / (side // DCT_STRIDE) ** 2
    return out


def _around(part: np.ndarray, place: tuple[int, ...], size: int, mode: str) -> np.ndarray:
    """The square around a pixel of an (H, W) array, which goes on outside as ``np.pad`` does it."""
    half = size // 2
    padded = np.pad(part.astype(float), half, mode)  # type: ignore[call-overload]
    return padded[place[0] : place[0] + size, place[1] : place[1] + size]
