"""Features of cameras before an agent looks through them: how each would help, by the pose so far."""

from __future__ import annotations

import math

from visionrl.ops import Array, one_hot, xp_of
from visionrl.ops.triangulation import information, project, spread_of

FEATURES = 12
CONTEXT = 7
AZIMUTHS, ELEVATIONS = 9, 5  # cells of the canvas of cameras
CROWD = 0.15  # of the body's size: points so near to another's ray may hide it
TYPICAL = 0.7  # score of a detection that is not made yet


def outlook(
    cameras: Array, sizes: Array, scale: Array, centres: Array, pose: Array, fit: Array
) -> dict[str, Array]:
    """Forecast what each camera would show and add, by a pose; B poses of J points, V cameras.

    Args:
        cameras: (B, V, 3, 4), as of ``ops.triangulation``.
        sizes: (B, V, 2), pixels.
        scale: (B,), the detector's usual error, pixels.
        centres: (B, V, 3), of the cameras.
        pose: (B, J, 3).
        fit: (B, V, J), weights of the detections at the end of the triangulation, 0 in cameras not seen.

    Returns:
        ``inside`` and ``clear`` (B, V, J) float64, 1 where the point should be in the picture, and not behind others;
        ``spread`` (B, J), standard deviation of the points now, radii; ``after`` (B, V, J), as a look would leave it.
    """
    xp = xp_of(pose)
    places, depth = project(cameras, pose)
    within = (places >= 0) & (places < sizes[:, :, None, :])
    inside = xp.astype(within[..., 0] & within[..., 1] & (depth > 0), pose.dtype)
    rays = pose[:, None, :, :] - centres[:, :, None, :]
    far = xp.sqrt(xp.sum(rays * rays, axis=-1))
    units = rays / far[..., None]
    along = xp.matmul(
        units, xp.matrix_transpose(rays)
    )  # (B, V, J, J): how far point k lies along the ray to j
    aside = xp.sum(rays * rays, axis=-1)[:, :, None, :] - along * along
    size = centred(pose)[1][:, None, None, None] * CROWD
    before = (aside < size**2) & (along < far[..., None] - size)
    clear = xp.astype(~xp.any(before, axis=-1), pose.dtype)
    info = information(cameras, pose, scale)
    now = xp.sum(fit[..., None, None] * info, axis=1)
    more = (TYPICAL * inside * (0.5 + 0.5 * clear))[..., None, None] * info
    return {
        "inside": inside,
        "clear": clear,
        "spread": spread_of(now),
        "after": spread_of(now[:, None, :, :, :] + more),
    }


def centred(pose: Array) -> tuple[Array, Array]:
    """Points (B, J, 3) from their middle, and their root mean square distance from it, (B,)."""
    xp = xp_of(pose)
    gap = pose - xp.mean(pose, axis=1)[:, None, :]
    return gap, xp.sqrt(xp.mean(xp.sum(gap * gap, axis=-1), axis=1)) + 1e-6


def canvas_of(directions: Array, seen: Array) -> Array:
    """Mark the cells of azimuth and elevation in which cameras were looked through: (B, 45) bool.

    Args:
        directions: (B, V, 3), from the body to the cameras, the third axis up.
        seen: (B, V) bool.
    """
    xp = xp_of(directions)
    turn = xp.atan2(directions[..., 1], directions[..., 0]) / (2 * math.pi) + 0.5
    rise = xp.asin(xp.clip(directions[..., 2], -1.0, 1.0)) / math.pi + 0.5
    column = xp.clip(xp.floor(turn * AZIMUTHS), 0.0, AZIMUTHS - 1.0)
    row = xp.clip(xp.floor(rise * ELEVATIONS), 0.0, ELEVATIONS - 1.0)
    cell = one_hot(xp.astype(row * AZIMUTHS + column, xp.int64), AZIMUTHS * ELEVATIONS)
    return xp.any((cell > 0) & seen[:, :, None], axis=1)


def describe_views(
    forecast: dict[str, Array], directions: Array, seen: Array, free: Array, done: Array
) -> Array:
    """Features of the V cameras, and of the end as the last row: (B, V + 1, FEATURES).

    Args:
        forecast: see ``outlook``.
        directions: (B, V, 3), from the body to the cameras, the third axis up.
        seen: (B, V) bool.
        free: (B, V) bool, whether the camera may be chosen.
        done: (B,) bool, whether the agent may end.
    """
    xp = xp_of(directions)
    spread, after = forecast["spread"][:, None, :], forecast["after"]
    cosine = xp.matmul(directions, xp.matrix_transpose(directions))
    near = xp.max(xp.where(seen[:, None, :], cosine, -xp.ones_like(cosine)), axis=-1)
    line = xp.max(xp.where(seen[:, None, :], xp.abs(cosine), xp.zeros_like(cosine)), axis=-1)
    flag = xp.astype(free, directions.dtype)
    relative = xp.log(after / spread)
    total = xp.sum(spread, axis=-1)
    rows = [
        flag,
        xp.zeros_like(flag),
        near,
        line,
        xp.mean(relative, axis=-1),
        xp.min(relative, axis=-1),
        xp.log(xp.sum(after, axis=-1) / total),
        xp.log(xp.max(after, axis=-1) / xp.max(spread, axis=-1)),
        xp.mean(forecast["inside"], axis=-1),
        xp.mean(forecast["inside"] * forecast["clear"], axis=-1),
        xp.astype(seen, directions.dtype),
        directions[:, :, 2],
    ]
    views = xp.stack(rows, axis=-1)
    is_end = xp.ones_like(views[:, :1, :1])
    allowed = xp.astype(done, views.dtype)[:, None, None]
    end = xp.concat([allowed, is_end, xp.zeros_like(views[:, :1, 2:])], axis=-1)
    return xp.clip(xp.concat([views, end], axis=1), -5.0, 5.0)


def describe_pose(spread: Array, scores: Array, fit: Array, seen: Array, share: Array) -> Array:
    """Features of the pose, (B, CONTEXT): share of the budget, how uncertain the points are, how well they fit."""
    xp = xp_of(spread)
    total = xp.sum(xp.astype(seen, spread.dtype)[:, :, None] * scores, axis=1)
    weight = xp.sum(fit, axis=1)
    level = xp.log(spread) / 2
    rows = [
        share,
        xp.mean(level, axis=1),
        xp.max(level, axis=1),
        xp.mean(weight, axis=1) / 4,
        xp.min(weight, axis=1) / 4,
        xp.sum(weight, axis=1) / (xp.sum(total, axis=1) + 1e-6),
        xp.mean(total, axis=1) / 4,
    ]
    return xp.clip(xp.stack(rows, axis=-1), -5.0, 5.0)
