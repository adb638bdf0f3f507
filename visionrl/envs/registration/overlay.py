"""A picture of a pair as it lies now."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from visionrl.banks.image_pairs import PairBank, middle
from visionrl.ops.deform import lattice
from visionrl.ops.transforms import carry, invert
from visionrl.rendering import Canvas

SQUARES = 6  # along the shorter side of the chequered picture


def overlay(bank: PairBank, pair: int, pose: np.ndarray) -> np.ndarray:
    """(H, 2 W, 3) uint8 RGB: fixed and moving image in the squares of a chequerboard; beside it where points lie.

    Green crosses are points of the fixed image, orange ones where the map says that they are.
    """
    fixed, moving = bank.fixed[pair], bank.moving[pair]
    height, width = fixed.shape[:2]
    home, there = middle(fixed), middle(moving)
    matrix = np.column_stack([pose[:, :2], pose[:, 2] + there - pose[:, :2] @ home])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(moving, matrix, (width, height), flags=flags).reshape(height, width, -1)
    side = max(min(height, width) // SQUARES, 1)
    y, x = np.mgrid[:height, :width] // side
    board = np.where(((x + y) % 2 == 0)[..., None], fixed, seen)
    canvas = Canvas(np.concatenate([board, fixed], axis=1).transpose(2, 0, 1))
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
    y, x = np.indices(fixed.shape[-2:]) // max(fixed.shape[-1] // SQUARES, 1)
    board = np.where((x + y) % 2 == 0, fixed, moving)
    rows = [np.concatenate([*above, *beside], axis=1) for above, beside in zip(board, fixed, strict=True)]
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
    y, x = np.indices(fixed.shape) // max(side // SQUARES, 1)
    canvas = Canvas(np.concatenate([np.where((x + y) % 2 == 0, fixed, moved), fixed], axis=1)[None])
    middle, half = point[:2] + 0.5, size / 2
    canvas.box((*(middle - half), *(middle + half)), "look")
    for field, meaning in zip(bent, ("truth", "agent"), strict=True):
        for place in (lattice(nodes, 2) * (side - 1) + field[..., :2])[::3, ::3].reshape(-1, 2):
            if ((place >= 0) & (place <= side - 1)).all():
                canvas.cross((place[0] + side + 0.5, place[1] + 0.5), meaning)
    return canvas.pixels
