"""Kernels to convolve images with, and the basis of the DCT; what all forms of the filters share."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

Kernel = tuple[tuple[float, ...], ...]  # square, of odd side, rows first
DCT_SIDE = 8
DCT_STRIDE = 2  # pixels from window to window; each pixel lies in 16 windows


@lru_cache(maxsize=64)
def gaussian(sigma: float, size: int = 0) -> Kernel:
    """A Gaussian kernel that sums to 1.

    Args:
        sigma: standard deviation, pixels.
        size: side; 0 is 2 * ceil(3 sigma) + 1.
    """
    size = size or 2 * int(np.ceil(3 * sigma)) + 1
    row = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
    return _frozen(np.outer(row, row) / row.sum() ** 2)


def box(size: int) -> Kernel:
    """The kernel of the mean over a square of a side in pixels, odd."""
    return _frozen(np.full((size, size), 1 / size**2))


def unsharp(sigma: float, amount: float) -> Kernel:
    """The kernel that adds ``amount`` times what a Gaussian of this standard deviation takes away."""
    taps = -amount * np.array(gaussian(sigma))
    taps[len(taps) // 2, len(taps) // 2] += 1 + amount
    return _frozen(taps)


@lru_cache(maxsize=64)
def wiener(sigma: float, noise: float, size: int = 31) -> Kernel:
    """The kernel of a Wiener filter that undoes a Gaussian blur; it sums to 1.

    Args:
        sigma: standard deviation of the blur, pixels.
        noise: power of the noise over that of the image, the same at all frequencies; more damps more.
        size: side of the kernel, odd.
    """
    line = np.fft.fftfreq(4 * size)
    blur = np.exp(-2 * (np.pi * sigma) ** 2 * (line[:, None] ** 2 + line**2))
    taps = np.fft.fftshift(np.fft.ifft2(blur / (blur**2 + noise)).real)
    middle, half = len(taps) // 2, size // 2
    taps = taps[middle - half : middle + half + 1, middle - half : middle + half + 1]
    taps = taps * np.outer(np.hanning(size + 2)[1:-1], np.hanning(size + 2)[1:-1]) ** 0.25
    return _frozen(taps / taps.sum())


@lru_cache(maxsize=1)
def dct_line() -> np.ndarray:
    """(8, 8) float32: the orthonormal DCT of 8 numbers."""
    k, n = np.arange(DCT_SIDE)[:, None], np.arange(DCT_SIDE)
    line = np.sqrt(2 / DCT_SIDE) * np.cos(np.pi * (2 * n + 1) * k / (2 * DCT_SIDE))
    line[0] /= np.sqrt(2)
    return line.astype(np.float32)


@lru_cache(maxsize=1)
def dct_matrix() -> np.ndarray:
    """(64, 64) float32: the orthonormal DCT of a window of 8 x 8, row by row; the first row is the mean's."""
    return np.kron(dct_line(), dct_line())


def _frozen(taps: np.ndarray) -> Kernel:
    """A kernel that can be a key of a cache."""
    return tuple(tuple(float(tap) for tap in row) for row in taps)
