"""A picture of a pair as it lies now."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from visionrl.banks.c_arm import CArm
from visionrl.banks.image_pairs import PairBank, middle, pixel_map
from visionrl.ops.deform import lattice
from visionrl.ops.transforms import carry, invert
from visionrl.rendering import Canvas

SQUARES = 6  # along the shorter side of the chequered picture


def overlay(bank: PairBank, pair: int, pose: np.ndarray) -> np.ndarray:
    """(H, 2 W, 3) uint8 RGB: fixed and moving image in the squares of a chequerboard; beside it where points lie.

    Green crosses are points of the fixed image, orange ones where the map says that they are.
    """
    fixed, moving = bank.fixed[pair], bank.moving[pair]
    (height, width), home = fixed.shape[:2], middle(fixed)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(moving, pixel_map(pose, fixed, moving), (width, height), flags=flags)
    seen = seen.reshape(height, width, -1)
    fixed, seen = fixed.transpose(2, 0, 1), seen.transpose(2, 0, 1)
    canvas = Canvas(np.concatenate([chequered(fixed, seen), fixed], axis=2))
    places = bank.geometry
    number = int((places.weights.array[pair] > 0).sum())
    points, goals = (table.array[pair, :number] for table in (places.fixed_points, places.moving_points))
    found = carry(invert(pose[None]), goals[None])[0]
    for which, meaning in ((points, "truth"), (found, "agent")):
        for place in which + home + (width + 0.5, 0.5):
            canvas.cross(place, meaning)
    return canvas.pixels


def overlay3d(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB, a row a scale: cuts of both volumes in the squares of a chequerboard, and of the fixed one.

    Args:
        fixed: (scales, cuts, w, w) uint8.
        moving: likewise.
    """
    boards = zip(chequered(fixed, moving), fixed, strict=True)
    rows = [np.concatenate([*board, *beside], axis=1) for board, beside in boards]
    return Canvas(np.concatenate(rows)[None]).pixels


def overlay_bent(
    fixed: np.ndarray, moved: np.ndarray, point: np.ndarray, size: int, bent: Sequence[np.ndarray]
) -> np.ndarray:
    """(H, 2 W, 3) uint8 RGB: both images in the squares of a chequerboard; beside it nodes of the true field and the one now.

    Args:
        fixed: (side, side) or (side, side, side), of which the slice of the point is shown, like the next.
        moved: the moving image as it is bent now.
        point: (d,) pixels, the control point.
        size: of the window about it, pixels.
        bent: true field and the one now, (n, ..., n, d).
    """
    side, nodes = fixed.shape[0], bent[0].shape[0]
    if fixed.ndim == 3:
        level = int(np.rint(point[2]))
        fixed, moved = fixed[level], moved[level]
        bent = tuple(field[round(level / ((side - 1) / (nodes - 1)))] for field in bent)
    canvas = Canvas(np.concatenate([chequered(fixed, moved), fixed], axis=1)[None])
    middle, half = point[:2] + 0.5, size / 2
    canvas.box((*(middle - half), *(middle + half)), "look")
    for field, meaning in zip(bent, ("truth", "agent"), strict=True):
        for place in (lattice(nodes, 2) * (side - 1) + field[..., :2])[::3, ::3].reshape(-1, 2):
            if ((place >= 0) & (place <= side - 1)).all():
                canvas.cross((place[0] + side + 0.5, place[1] + 0.5), meaning)
    return canvas.pixels


def overlay_xray(
    bank: CArm, number: int, pictures: Sequence[np.ndarray], poses: Sequence[np.ndarray]
) -> np.ndarray:
    """(H, W, 3) uint8 RGB: X-rays and renders in the squares of a chequerboard; beside them where fiducials are seen.

    Args:
        bank: the volumes.
        number: of the volume.
        pictures: X-rays and renders, (views, size, size) uint8 each.
        poses: the true one and the one now, (3, 4) each.
    """
    xrays, side = pictures[0], bank.geometry.size
    canvas = Canvas(np.concatenate([*chequered(*pictures), *xrays], axis=1)[None])
    points = bank.points.array[number][bank.weights.array[number] > 0]
    for view in range(len(xrays)):
        left = (len(xrays) + view) * side + 0.5
        for matrix, meaning in zip(poses, ("truth", "agent"), strict=True):
            places = bank.geometry.project(view, carry(matrix[None], points[None])[0])
            for place in places[((places >= 0) & (places <= side - 1)).all(axis=1)]:
                canvas.cross(place + np.array([left, 0.5]), meaning)
    return canvas.pixels


def chequered(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pictures (..., H, W) in the squares of a chequerboard, six along the shorter side."""
    y, x = np.indices(first.shape[-2:]) // max(min(first.shape[-2:]) // SQUARES, 1)
    return np.where((x + y) % 2 == 0, first, second)
