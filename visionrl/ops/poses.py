"""Poses of a volume in a room, and motions along and about the room's axes; array-API code."""

from __future__ import annotations

from math import cos, radians

from visionrl import ops
from visionrl.ops import Array, transforms, xp_of

REACH_MM, REACH_DEG = 80.0, 45.0  # poses beyond are not taken


def shifted(pose: Array, numbers: Array) -> Array:
    """Poses (B, 3, 4) after shifts and turns (B, 6) along the axes of the room, the turn about the volume's middle."""
    xp, motion = xp_of(pose), transforms.to_matrix(numbers, "rigid", 3)
    linear = xp.matmul(motion[:, :, :3], pose[:, :, :3])
    return xp.concat([linear, pose[:, :, 3:] + motion[:, :, 3:]], axis=-1)


def missing(pose: Array, target: Array) -> Array:
    """The shifts and turns (B, 6) from poses to others: ``shifted(pose, missing) == target``."""
    xp = xp_of(pose)
    linear = xp.matmul(target[:, :, :3], xp.matrix_transpose(pose[:, :, :3]))
    return transforms.to_numbers(xp.concat([linear, target[:, :, 3:] - pose[:, :, 3:]], axis=-1), "rigid")


def within_reach(pose: Array) -> Array:
    """True where poses are within the limits of translation and rotation, (B,) bool."""
    trace = pose[:, 0, 0] + pose[:, 1, 1] + pose[:, 2, 2]
    near = ops.every(xp_of(pose).abs(pose[:, :, 3]) <= REACH_MM)
    return near & (trace >= 1 + 2 * cos(radians(REACH_DEG)))
