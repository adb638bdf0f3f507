"""Points in space from where several cameras see them: a linear solution, re-weighted by what does not fit.

Convention
    A camera is a (3, 4) matrix that takes (x, y, z, 1) to (column, row, 1) times the depth, in pixels; depth is
    positive in front of it. Places are in the frame of the scene (``in_scene``): lengths are shares of its radius, from
    its middle, so all rows of the linear system are of one scale, and the third axis is up.
"""

from __future__ import annotations

import numpy as np

from visionrl.ops.xp import Array, xp_of

ROUNDS = 4  # of re-weighting
NEAREST = 1e-3  # least depth, radii of the scene
BODY = 0.25  # standard deviation of a body's points from their middle along each axis, radii of the scene
AGREED, UNSURE = (
    0.8,
    1e-3,
)  # a point counts for the body's middle by its weights beyond the first, or the second
FARTHEST = 3.0  # where a point may be, radii of the scene from its middle


def in_scene(cameras: np.ndarray, middle: np.ndarray, radius: float, frame: np.ndarray) -> np.ndarray:
    """Cameras (V, 3, 4) for places in the frame of a scene, see ``scene_of``; depth is in radii, too."""
    lengths = np.linalg.norm(cameras[:, 2, :3], axis=1)[:, None, None]
    shift = (cameras @ [*middle, 1.0])[:, :, None] / radius
    return np.concatenate([cameras[:, :, :3] @ frame.T, shift], axis=2) / lengths


def scene_of(cameras: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The middle (3,), the radius and the upright frame (3, 3) of what cameras (V, 3, 4) look at.

    The middle is the place nearest to all their axes; where these are parallel, it lies before the cameras, twice as
    far as they are from each other. The radius is half their median distance from it. The frame's rows are its axes in
    the world: the third is what is up in the pictures on average (the world's third axis where that cancels out), the
    first the world's first axis made level, or its second one where the first is upright.
    """
    linear = cameras[:, :, :3]
    centres = -np.linalg.solve(linear, cameras[:, :, 3:])[:, :, 0]
    axes = linear[:, 2] / np.linalg.norm(linear[:, 2], axis=1, keepdims=True)
    spread = max(float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max()), 1e-9)
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    guess = centres.mean(axis=0) + 4 * spread * axes.mean(axis=0)
    pull = 1e-3 * np.eye(3)
    middle = np.linalg.solve(
        across.mean(axis=0) + pull, (across @ centres[:, :, None]).mean(axis=0)[:, 0] + pull @ guess
    )
    radius = float(np.median(np.linalg.norm(centres - middle, axis=1))) / 2
    down = (across @ linear[:, 1, :, None])[..., 0]
    return middle, radius, upright_frame(-(down / np.linalg.norm(down, axis=1, keepdims=True)).mean(axis=0))


def upright_frame(up: np.ndarray) -> np.ndarray:
    """(3, 3), rows are axes of length 1, of which the third is the direction (3,) that is up, see ``scene_of``."""
    up = np.round(up, 9)  # so that the frame of a world that is upright is the world's own
    up = up / np.linalg.norm(up) if up.any() else np.array([0.0, 0.0, 1.0])
    level = np.eye(3)[int(abs(up[0]) > 0.9)]
    level = level - (level @ up) * up
    level /= np.linalg.norm(level)
    return np.array([level, np.cross(up, level), up])


def project(cameras: Array, points: Array) -> tuple[Array, Array]:
    """Project points (B, J, 3) into cameras (B, V, 3, 4): places (B, V, J, 2), pixels, and depths (B, V, J)."""
    xp = xp_of(points)
    one = xp.ones_like(points[..., :1])
    seen = xp.matmul(xp.concat([points, one], axis=-1)[:, None, :, :], xp.matrix_transpose(cameras))
    depth = seen[..., 2]
    safe = xp.where(depth > NEAREST, depth, xp.full_like(depth, NEAREST))
    return seen[..., :2] / safe[..., None], depth


def triangulate(
    cameras: Array, places: Array, weights: Array, scale: Array, rounds: int = ROUNDS
) -> tuple[Array, Array]:
    """Find points of one body from where cameras see them, with little heed to what does not fit.

    The direct linear transform: the eigenvector of the least eigenvalue of the sum over cameras of 4 x 4 blocks. It is
    repeated with each camera's block divided by 1 + (r / scale)^2, r being the distance in pixels from the place to
    where the camera would see the point (a Cauchy weight). A faint pull decides what cameras leave open, such as the
    depth where only one sees the point: to the scene's middle first, with a standard deviation of a radius, then to the
    middle of the points that more cameras agree on, with one of a quarter.

    Args:
        cameras: (B, V, 3, 4), as ``in_scene`` makes them.
        places: (B, V, J, 2) float64, pixels; finite, also where the weight is 0.
        weights: (B, V, J) float64, >= 0, of each place; 0: it is not used.
        scale: (B,) float64, pixels.
        rounds: of re-weighting.

    Returns:
        (B, J, 3) the points, at most 3 radii from the middle along each axis, and (B, V, J) the weights at the end.

    Source: Hartley & Zisserman (2004), "Multiple view geometry in computer vision", chapter 12.2; Holland & Welsch
    (1977) for the weights.
    """
    xp = xp_of(places)
    pixels = scale[:, None, None, None]
    third = cameras[:, :, 2, :][:, :, None, :]
    rows = [
        (places[..., k : k + 1] * third - cameras[:, :, k, :][:, :, None, :]) / pixels for k in (0, 1)
    ]  # (B, V, J, 4)
    blocks = rows[0][..., :, None] * rows[0][..., None, :] + rows[1][..., :, None] * rows[1][..., None, :]
    now, middle, strength = weights, xp.zeros_like(cameras[:, 0, 0, :3]), 1.0
    points = _least(xp.sum(now[..., None, None] * blocks, axis=1) + _pull(middle, strength))
    for _ in range(rounds):
        seen, depth = project(cameras, points)
        gap = xp.sum(((seen - places) / pixels) ** 2, axis=-1)
        gap = xp.where(depth > NEAREST, gap, xp.full_like(gap, 1e6))
        now = weights / (1 + gap)
        agreed = xp.sum(now, axis=1) - AGREED
        agreed = xp.where(agreed > UNSURE, agreed, xp.full_like(agreed, UNSURE))[..., None]
        middle = xp.sum(agreed * points, axis=1) / xp.sum(agreed, axis=1)
        points = _least(xp.sum(now[..., None, None] * blocks, axis=1) + _pull(middle, 1 / BODY))
    return points, now


def _pull(middle: Array, strength: float) -> Array:
    """(B, 1, 4, 4), the block of a pull to places (B, 3)."""
    xp = xp_of(middle)
    eye = xp.eye(3, dtype=middle.dtype, device=middle.device)[None, :, :] + xp.zeros_like(middle)[:, :, None]
    rows = strength * xp.concat([eye, -middle[:, :, None]], axis=2)
    return xp.matmul(xp.matrix_transpose(rows), rows)[:, None, :, :]


def _least(matrix: Array) -> Array:
    """Points (..., 3) from the eigenvectors of the least eigenvalues of (..., 4, 4)."""
    xp = xp_of(matrix)
    vectors = xp.linalg.eigh(matrix)[1]
    last = vectors[..., 3, 0]
    sign = xp.where(last < 0, -xp.ones_like(last), xp.ones_like(last))
    safe = sign * xp.where(xp.abs(last) > 1e-9, xp.abs(last), xp.full_like(last, 1e-9))
    return xp.clip(vectors[..., :3, 0] / safe[..., None], -FARTHEST, FARTHEST)


def information(cameras: Array, points: Array, scale: Array) -> Array:
    """Compute what each camera would tell of points (B, J, 3): inverse covariances (B, V, J, 3, 3) of one place.

    A place known to ``scale`` (B,) pixels along each axis says J^T J, where J is the derivative of the place, in units
    of the scale, by the point, in radii of the scene.
    """
    xp = xp_of(points)
    seen, depth = project(cameras, points)
    safe = xp.where(depth > NEAREST, depth, xp.full_like(depth, NEAREST))
    third = cameras[:, :, 2, :3][:, :, None, :]
    total = None
    for k in (0, 1):
        slope = (cameras[:, :, k, :3][:, :, None, :] - seen[..., k : k + 1] * third) / safe[..., None]
        slope = slope / scale[:, None, None, None]
        block = slope[..., :, None] * slope[..., None, :]
        total = block if total is None else total + block
    return total


def spread_of(matrix: Array) -> Array:
    """Standard deviation of points of some information (..., 3, 3): (...), the root of the covariance's trace.

    With the same faint knowledge of where points may be as ``triangulate`` has of a body.
    """
    a, b, c = (matrix[..., k, k] + 1 / BODY**2 for k in range(3))
    d, e, f = matrix[..., 0, 1], matrix[..., 0, 2], matrix[..., 1, 2]
    minors = (b * c - f * f) + (a * c - e * e) + (a * b - d * d)
    determinant = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
    return xp_of(matrix).sqrt(minors / determinant)
