"""Filters of images: convolution, median, bilateral, thresholded DCT; and kernels to convolve with.

Each filter stands here on OpenCV and NumPy, in ``ops.filters_torch`` on torch for accelerators, and in
``ops.reference_filters`` slowly and plainly, which defines what the other two must give.

Convention
    Images are (B, C, H, W) float32, of any range; the channels are filtered alike, except by ``bilateral``, which
    looks at all channels together. Outside, an image goes on by reflection about its outermost pixels (OpenCV's
    default), for ``median`` by repeating them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from visionrl.ops import xp as _xp
from visionrl.ops.xp import Array, is_torch, to_numpy

Kernel = tuple[tuple[float, ...], ...]  # square, of odd side, rows first
DCT_SIDE = 8
DCT_STRIDE = 2  # pixels from window to window; each pixel lies in 16 windows


def convolve(images: Array, kernel: Kernel) -> Array:
    """Images convolved with one symmetric kernel, (B, C, H, W) float32.

    Args:
        images: (B, C, H, W) float32.
        kernel: rows of numbers, square, of odd side at most 2 * min(H, W) - 1, the same under a half turn.
    """
    taps = np.array(kernel, np.float32)
    return _filtered(
        images,
        lambda image: cv2.filter2D(image, cv2.CV_32F, taps, borderType=cv2.BORDER_REFLECT_101),
        lambda torch_filters: torch_filters.convolve(images, kernel),
    )


def median(images: Array, size: int) -> Array:
    """The median of the square around each pixel, of side 3 or 5: (B, C, H, W) float32."""
    return _filtered(
        images,
        lambda image: np.dstack([cv2.medianBlur(part, size) for part in cv2.split(image)]),
        lambda torch_filters: torch_filters.median(images, size),
    )


def bilateral(images: Array, size: int, sigma_color: float, sigma_space: float) -> Array:
    """Means of the pixels around each, weighted by distance and by similarity of colour (Tomasi & Manduchi, 1998).

    Args:
        images: (B, C, H, W) float32, C = 1 or 3.
        size: diameter of the disc that is averaged, pixels, odd.
        sigma_color: standard deviation of the weights over the sum of the channels' absolute differences.
        sigma_space: likewise over the distance in pixels.

    Returns:
        (B, C, H, W) float32. OpenCV reads the weights from a table: its values differ from the definition by up to
        0.1 % of an image's range.
    """
    return _filtered(
        images,
        lambda image: cv2.bilateralFilter(image, size, sigma_color, sigma_space),
        lambda torch_filters: torch_filters.bilateral(images, size, sigma_color, sigma_space),
    )


def dct_threshold(images: Array, threshold: float) -> Array:
    """Images whose weak DCT coefficients are set to 0, in 8 x 8 windows two pixels apart, which are averaged.

    A denoiser for noise of standard deviation ``threshold / 3`` (Yu & Sapiro, 2011), and a deblocker for JPEG.

    Args:
        images: (B, C, H, W) float32, H and W at least 8.
        threshold: the least absolute value of a coefficient that stays; the mean of a window always stays.
    """
    return _filtered(
        images,
        lambda image: _dct_threshold(image, threshold),
        lambda torch_filters: torch_filters.dct_threshold(images, threshold),
    )


def filter_each(images: Array, number: Array, filters: Sequence[Callable[[Array], Array]]) -> Array:
    """Each image through the filter of its number; any other number leaves it as it is.

    Args:
        images: (B, C, H, W) float32.
        number: (B,) int64.
        filters: functions of images, each as those of this module.
    """
    if is_torch(images) and images.device.type != "cpu":
        out = images
        for k, one in enumerate(filters):
            out = _xp.xp_of(images).where((number == k)[:, None, None, None], one(images), out)
        return out
    pixels, chosen = to_numpy(images).copy(), to_numpy(number)
    for k, one in enumerate(filters):
        if len(rows := np.flatnonzero(chosen == k)):
            pixels[rows] = one(pixels[rows])
    return _xp.like(pixels, images)


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
def dct_matrix() -> np.ndarray:
    """(64, 64) float32: the orthonormal DCT of a window of 8 x 8, row by row; the first row is the mean's."""
    k, n = np.arange(DCT_SIDE)[:, None], np.arange(DCT_SIDE)
    line = np.sqrt(2 / DCT_SIDE) * np.cos(np.pi * (2 * n + 1) * k / (2 * DCT_SIDE))
    line[0] /= np.sqrt(2)
    return np.kron(line, line).astype(np.float32)


def _filtered(
    images: Array, one: Callable[[np.ndarray], np.ndarray], on_torch: Callable[[Any], Array]
) -> Array:
    """Images through ``one``, (H, W, C) -> (H, W, C), one by one; on accelerators torch's own kernels."""
    if is_torch(images) and images.device.type != "cpu":
        from visionrl.ops import filters_torch

        return on_torch(filters_torch)
    pixels = to_numpy(images)
    out = np.empty(pixels.shape, np.float32)
    for row, image in enumerate(pixels):
        found = one(np.ascontiguousarray(image.transpose(1, 2, 0)))
        out[row] = found.reshape(*image.shape[1:], -1).transpose(2, 0, 1)
    return _xp.like(out, images)


def _dct_threshold(image: np.ndarray, threshold: float) -> np.ndarray:
    """See ``dct_threshold``; one image, (H, W, C)."""
    side, stride, basis = DCT_SIDE, DCT_STRIDE, dct_matrix()
    padded = np.pad(image.transpose(2, 0, 1), [(0, 0), (side - 1, side - 1), (side - 1, side - 1)], "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (1, 2))
    windows = windows[:, ::stride, ::stride]
    found = windows.reshape(-1, side * side) @ basis.T
    strong = np.abs(found) >= threshold
    strong[:, 0] = True
    found *= strong
    kept, out = (found @ basis).reshape(windows.shape), np.zeros_like(padded)
    rows, columns = windows.shape[1:3]
    for i in range(side):
        for j in range(side):
            out[:, i : i + stride * rows : stride, j : j + stride * columns : stride] += kept[..., i, j]
    inner = out[:, side - 1 : 1 - side, side - 1 : 1 - side]
    return inner.transpose(1, 2, 0) / np.float32((side // stride) ** 2)


def _frozen(taps: np.ndarray) -> Kernel:
    """A kernel that can be a key of a cache."""
    return tuple(tuple(float(tap) for tap in row) for row in taps)
