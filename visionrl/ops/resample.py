"""Windows cut out of stored pixels, three ways: patch (a copy), resize (any box), warp (any affine map).

Each kernel stands here three times: OpenCV/NumPy, torch, and in ``ops.reference`` slowly and plainly, which
defines what the other two must give to within one grey level.

Convention
    Pixels are uint8. Pixel centres lie at whole numbers for ``patch`` and ``warp``; a box has edges, pixel ``j``
    spans ``j`` to ``j + 1``. Outside an image everything is 0. Interpolation is bilinear, half-pixel centres
    (``align_corners=False``); within a box the outermost pixels are repeated, as OpenCV does. Values are rounded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import cv2
import numpy as np

from visionrl.ops import xp as _xp
from visionrl.ops.pyramid import Pyramid
from visionrl.ops.xp import Array, is_torch, to_numpy

THREADED_FROM = 32  # rows; below, starting threads costs more than it saves


def windows(store: Array, size: int) -> Array:
    """A view of every window of a padded store, for ``patch``; no pixel is copied.

    In NumPy a row of a window is one element of ``size`` bytes, so that a gather copies rows, not single pixels
    (half the time).

    Args:
        store: (M, C, H, W) or (M, C, D, H, W) uint8, of NumPy or torch.
        size: side of the window in pixels.
    """
    if isinstance(store, np.ndarray):
        spans = [length - size + 1 for length in store.shape[2:]]
        shape = (*store.shape[:2], *spans, *[size] * (len(spans) - 1))
        return np.ndarray(shape, f"V{size}", store, strides=store.strides + store.strides[2:-1])
    for axis in range(2, store.ndim):
        store = store.unfold(axis, size, 1)
    return store


def patch(view: Array, index: Array, *start: Array) -> Array:
    """Windows copied out of a store in one gather.

    Args:
        view: what ``windows`` gave for the store.
        index: (...) int64, image of each window.
        start: (...) int64 for each axis (y, x) or (z, y, x): where the window begins, in stored pixels.

    Returns:
        (..., C, size, size) uint8, and likewise in 3D.
    """
    if isinstance(index, np.ndarray):
        rows = view[(index, slice(None), *start)]
        return rows.view(np.uint8).reshape(*rows.shape, rows.itemsize)
    if is_torch(index):
        return view[(index, slice(None), *start)]
    return _xp.like(patch(view, to_numpy(index), *map(to_numpy, start)), index)


def resize(pyramid: Pyramid, index: Array, box: Array, size: int) -> Array:
    """Boxes scaled to squares, out of the finest level of a pyramid that is no coarser than the window.

    The box is rounded to the pixel grid of its level, which is a part of the definition.

    Args:
        pyramid: the images and their halvings.
        index: (B,) int64, image of each box.
        box: (B, 4) float64, (x0, y0, x1, y1) edges in pixels of the finest level; may leave the image.
        size: side of the window in pixels.

    Returns:
        (B, C, size, size) uint8.
    """
    level, edges = pyramid.locate(box, size)
    if is_torch(index) and index.device.type != "cpu":
        from visionrl.ops import resample_torch

        return resample_torch.resize(pyramid, index, level, edges, size)
    seen = _resize_rows(pyramid, to_numpy(index), to_numpy(level), to_numpy(edges), size)
    return _xp.like(seen, index)


def warp(images: Array, index: Array, matrix: Array, size: int) -> Array:
    """Images seen through affine maps.

    Args:
        images: (M, H, W, C) uint8, where ``index`` lives (any NumPy array will do on the CPU).
        index: (B,) int64, image of each map.
        matrix: (B, 2, 3) float64; takes (x, y, 1) of the window to (x, y) of the image, pixel centres at whole numbers.
        size: side of the window in pixels.

    Returns:
        (B, C, size, size) uint8.
    """
    if is_torch(index) and index.device.type != "cpu":
        from visionrl.ops import resample_torch

        return resample_torch.warp(images, index, matrix, size)
    stored, rows, maps = to_numpy(images), to_numpy(index), to_numpy(matrix)
    out = np.empty((len(rows), stored.shape[3], size, size), np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def some(part: range) -> None:
        scratch = np.empty((size, size, stored.shape[3]), np.uint8)
        for b in part:
            seen = cv2.warpAffine(stored[rows[b]], maps[b], (size, size), dst=scratch, flags=flags)
            cv2.split(seen, list(out[b]))

    _spread(some, len(rows))
    return _xp.like(out, index)


def _resize_rows(pyramid: Pyramid, index: Any, level: Any, edges: Any, size: int) -> np.ndarray:
    out = np.empty((len(index), pyramid.channels, size, size), np.uint8)
    levels = pyramid.levels
    jobs = list(zip(index.tolist(), level.tolist(), edges.tolist(), out, strict=True))

    def some(rows: range) -> None:
        scratch = np.empty((size, size, pyramid.channels), np.uint8)
        for b in rows:
            item, depth, box, channels = jobs[b]
            seen = cv2.resize(_cut(levels[depth][item], *box), (size, size), dst=scratch)
            cv2.split(seen, list(channels))

    _spread(some, len(jobs))
    return out


def _cut(image: np.ndarray, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """A box of an (H, W, C) image; what lies outside is 0."""
    height, width = image.shape[:2]
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        return image[y0:y1, x0:x1]
    cut = np.zeros((y1 - y0, x1 - x0, image.shape[2]), np.uint8)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if left < right and top < bottom:
        cut[top - y0 : bottom - y0, left - x0 : right - x0] = image[top:bottom, left:right]
    return cut


def _spread(work: Callable[[range], None], rows: int) -> None:
    """``work`` on all rows, shared among threads where there are many rows and cores (OpenCV lets go of the GIL)."""
    threads = _threads()
    if rows < THREADED_FROM or threads == 1:
        work(range(rows))
    else:
        list(_pool().map(work, [range(first, rows, threads) for first in range(threads)]))


@cache
def _threads() -> int:
    """Cores that this process may use; the variable VISIONRL_THREADS overrides it."""
    if asked := os.environ.get("VISIONRL_THREADS"):
        return max(int(asked), 1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads(), thread_name_prefix="visionrl")
