"""Filters of images: convolution, median, bilateral, thresholded DCT.

Each filter stands here on OpenCV and NumPy, in ``ops.filters_torch`` on torch for accelerators, and in
``ops.reference_filters`` slowly and plainly, which defines what the other two must give.

Convention
    Images are (B, C, H, W) float32, of any range; the channels are filtered alike, except by ``bilateral``, which
    looks at all channels together. Outside, an image goes on by reflection about its outermost pixels (OpenCV's
    default), for ``median`` by repeating them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from visionrl.ops import xp as _xp
from visionrl.ops.kernels import DCT_SIDE, DCT_STRIDE, Kernel, dct_line
from visionrl.ops.xp import Array, is_torch, to_numpy


def convolve(images: Array, kernel: Kernel) -> Array:
    """Images convolved with one symmetric kernel, (B, C, H, W) float32.

    Args:
        images: (B, C, H, W) float32.
        kernel: rows of numbers, square, of odd side at most 2 * min(H, W) - 1, the same under a half turn.

    Raises:
        ValueError: the kernel's side is even, or too long for the images.
    """
    check_side("kernel", len(kernel), 2 * min(images.shape[-2:]) - 1)
    taps = np.array(kernel, np.float32)
    return _filtered(
        images,
        lambda image: cv2.filter2D(image, cv2.CV_32F, taps, borderType=cv2.BORDER_REFLECT_101),
        lambda torch_filters: torch_filters.convolve(images, kernel),
    )


def median(images: Array, size: int) -> Array:
    """The median of the square around each pixel, of side 3 or 5: (B, C, H, W) float32.

    Raises:
        ValueError: another side.
    """
    check_side("size", size, 5)
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

    Raises:
        ValueError: the images are smaller.
    """
    return dct_thresholds(images, (threshold,))[0]


def dct_thresholds(images: Array, thresholds: Sequence[float]) -> tuple[Array, ...]:
    """See ``dct_threshold``: the images after each of several thresholds, which share the transform."""
    if min(images.shape[-2:]) < DCT_SIDE:
        raise ValueError(f"images must be at least {DCT_SIDE} pixels wide and high, got {images.shape[-2:]}")
    if is_torch(images) and images.device.type != "cpu":
        from visionrl.ops import filters_torch

        return filters_torch.dct_thresholds(images, thresholds)
    pixels = to_numpy(images)
    out = np.empty((len(thresholds), *pixels.shape), np.float32)
    for row, image in enumerate(pixels):
        out[:, row] = _dct_thresholds(image, thresholds)
    return tuple(_xp.like(found, images) for found in out)


def check_side(name: str, side: int, most: int) -> None:
    """Refuse the side of a filter that is even, or too long.

    Raises:
        ValueError: names the argument, the rule and the value.
    """
    if side % 2 == 0 or side > most:
        raise ValueError(f"{name} must have an odd side of at most {most} pixels, got {side}")


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


def filter_pixels(images: Array, number: Array, filters: Sequence[Callable[[Array], Array]]) -> Array:
    """Each pixel from its image through the filter of its number; any other number leaves it as it is.

    On the CPU a filter works on those images alone some of whose pixels want it.

    Args:
        images: (B, C, H, W) float32.
        number: (B, H, W) int64.
        filters: functions of images, each as those of this module.
    """
    if is_torch(images) and images.device.type != "cpu":
        out = images
        for k, one in enumerate(filters):
            out = _xp.xp_of(images).where((number == k)[:, None, ...], one(images), out)
        return out
    pixels, chosen = to_numpy(images), to_numpy(number)
    found = pixels.copy()
    for k, one in enumerate(filters):
        here = (chosen == k)[:, None]
        if len(rows := np.flatnonzero(here.any(axis=(1, 2, 3)))):
            found[rows] = np.where(here[rows], one(pixels[rows]), found[rows])
    return _xp.like(found, images)


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


def _dct_thresholds(image: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """See ``dct_thresholds``; one image, (C, H, W) -> (n, C, H, W).

    Windows are cut from the four images of every second row and column, and the places in a window come first, so
    that all that is added lies in one piece.
    """
    side, line = DCT_SIDE, dct_line()
    height, width = image.shape[1:]
    edge = [(side - 1, side - 1 + length % 2) for length in (height, width)]
    padded = np.pad(image, [(0, 0), *edge], "reflect")
    shape = (len(image), padded.shape[1] // 2, 2, padded.shape[2] // 2, 2)
    phases = np.ascontiguousarray(padded.reshape(shape).transpose(2, 4, 0, 1, 3))
    rows, columns = ((length + side - 2) // 2 + 1 for length in (height, width))
    windows = np.empty((side, side, len(image), rows, columns), np.float32)
    for i, j in np.ndindex(side, side):
        windows[i, j] = phases[i % 2, j % 2, :, i // 2 : i // 2 + rows, j // 2 : j // 2 + columns]
    found = np.matmul(line, (line @ windows.reshape(side, -1)).reshape(side, side, -1))
    size = np.abs(found)
    size[0, 0] = np.inf  # the mean of a window stays
    out = np.empty((len(thresholds), *image.shape), np.float32)
    for result, threshold in zip(out, thresholds, strict=True):
        kept = np.matmul(line.T, found * (size >= threshold)).reshape(windows.shape)
        wide = np.zeros((side, 2, *windows.shape[2:4], phases.shape[4]), np.float32)
        for j in range(side):
            wide[:, j % 2, ..., j // 2 : j // 2 + columns] += kept[:, j]
        tall = (line.T @ wide.reshape(side, -1)).reshape(wide.shape)
        total = np.zeros_like(phases)
        for i in range(side):
            total[i % 2, ..., i // 2 : i // 2 + rows, :] += tall[i]
        whole = total.transpose(2, 3, 0, 4, 1).reshape(padded.shape)
        result[:] = whole[:, side - 1 : side - 1 + height, side - 1 : side - 1 + width]
    return out / np.float32((side // DCT_STRIDE) ** 2)
