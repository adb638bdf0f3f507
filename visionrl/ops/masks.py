"""Masks as arrays of bool: overlap, boundaries, depth; (B, H, W) unless stated."""

from __future__ import annotations

import cv2
import numpy as np

from visionrl.ops.xp import Array, is_torch, like, to_numpy, xp_of


def area(mask: Array) -> Array:
    """Pixels of a mask, (B, H, W) bool -> (B,) int64."""
    xp = xp_of(mask)
    return xp.sum(xp.astype(mask, xp.uint8), axis=(-2, -1), dtype=xp.int64)


def iou(first: Array, second: Array) -> Array:
    """Intersection over union of masks, (B, H, W) bool each, (B,) float64; 1 where both are empty, 0 where one is."""
    xp, both, either = xp_of(first), area(first & second), area(first | second)
    share = xp.astype(both, xp.float64) / xp.astype(xp.where(either == 0, either + 1, either), xp.float64)
    return xp.where(either == 0, xp.ones_like(share), share)


def boundary(mask: Array) -> Array:
    """Pixels of a mask with one of the four neighbours outside it, or outside the picture: (B, H, W) bool."""
    xp = xp_of(mask)
    inside = ~dilate(~mask)
    row, column = xp.zeros_like(mask[:, :1, :]), xp.zeros_like(mask[:, :, :1])
    inside = xp.concat([row, inside[:, 1:-1, :], row], axis=1) if mask.shape[1] > 1 else xp.zeros_like(mask)
    inside = (
        xp.concat([column, inside[:, :, 1:-1], column], axis=2) if mask.shape[2] > 1 else xp.zeros_like(mask)
    )
    return mask & ~inside


def dilate(mask: Array) -> Array:
    """The mask and the four neighbours of its pixels, (B, H, W) bool."""
    xp = xp_of(mask)
    row, column = xp.zeros_like(mask[:, :1, :]), xp.zeros_like(mask[:, :, :1])
    up, down = xp.concat([mask[:, 1:, :], row], axis=1), xp.concat([row, mask[:, :-1, :]], axis=1)
    left, right = xp.concat([mask[:, :, 1:], column], axis=2), xp.concat([column, mask[:, :, :-1]], axis=2)
    return mask | up | down | left | right


def depth(mask: Array) -> Array:
    """City-block distance of the pixels of a mask from those outside it, or outside the picture: (B, H, W) int64.

    Pixels outside have 0, those at the boundary 1.
    """
    if is_torch(mask) and mask.device.type != "cpu":
        return depth_by_erosion(mask)
    planes = np.pad(to_numpy(mask).astype(np.uint8), ((0, 0), (1, 1), (1, 1)))
    found = [cv2.distanceTransform(plane, cv2.DIST_L1, 3)[1:-1, 1:-1] for plane in planes]
    return like(np.rint(np.stack(found)).astype(np.int64), mask)


def depth_by_erosion(mask: Array) -> Array:
    """``depth`` by the array API alone, one erosion a pixel."""
    xp, left = xp_of(mask), mask
    found = xp.astype(mask, xp.int64)
    for _ in range((min(mask.shape[-2:]) - 1) // 2):
        left = left & ~boundary(left)
        found = found + xp.astype(left, xp.int64)
    return found
