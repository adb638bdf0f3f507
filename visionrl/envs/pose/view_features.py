"""What can be told of a camera before it is looked through: how it would help, by the pose so far."""

from __future__ import annotations

from visionrl.ops import Array, xp_of
from visionrl.ops.triangulation import information, project, spread_of

FEATURES = 12
CONTEXT = 7
CROWD = 0.15  # of the body's size: points so near to another's ray may hide it
TYPICAL = 0.7  # score of a detection that is not made yet


def outlook(
    cameras: Array, sizes: Array, scale: Array, pose: Array, seen: Array, fit: Array, middle: Array
) -> dict[str, Array]:
    """What the pose says of each camera; B poses of J points, V cameras.

    Args:
        cameras: (B, V, 3, 4), as of ``ops.triangulation``.
        sizes: (B, V, 2), pixels.
        scale: (B,), pixels.
        pose: (B, J, 3).
        seen: (B, V) bool.
        fit: (B, V, J), weights of the detections at the end of the triangulation.
        middle: (B, V, 3), the cameras' centres.

    Returns:
        ``inside`` and ``clear`` (B, V, J) float64, 1 where the point should be in the picture, and not behind others;
        ``spread`` (B, J), standard deviation of the points now, radii; ``after`` (B, V, J), as a look would leave it.
    """
    xp = xp_of(pose)
    places, depth = project(cameras, pose)
    within = (places >= 0) & (places < sizes[:, :, None, :])
    inside = xp.astype(within[..., 0] & within[..., 1] & (depth > 0), pose.dtype)
    ways = pose[:, None, :, :] - middle[:, :, None, :]
    far = xp.sqrt(xp.sum(ways * ways, axis=-1))
    units = ways / far[..., None]
    along = xp.matmul(
        units, xp.matrix_transpose(ways)
    )  # (B, V, J, J): how far point k lies along the ray to j
    aside = xp.sum(ways * ways, axis=-1)[:, :, None, :] - along * along
    size = body_size(pose)[:, None, None, None] * CROWD
    before = (aside < size**2) & (along < far[..., None] - size)
    clear = xp.astype(~xp.any(before, axis=-1), pose.dtype)
    info = information(cameras, pose, scale)
    now = xp.sum(xp.where(seen[:, :, None], fit, xp.zeros_like(fit))[..., None, None] * info, axis=1)
    more = (TYPICAL * inside * (0.5 + 0.5 * clear))[..., None, None] * info
    return {
        "inside": inside,
        "clear": clear,
        "spread": spread_of(now),
        "after": spread_of(now[:, None, :, :, :] + more),
    }


def body_size(pose: Array) -> Array:
    """(B,), root mean square distance of points (B, J, 3) from their middle."""
    xp = xp_of(pose)
    gap = pose - xp.mean(pose, axis=1)[:, None, :]
    return xp.sqrt(xp.mean(xp.sum(gap * gap, axis=-1), axis=1)) + 1e-6


def describe_views(found: dict[str, Array], ways: Array, seen: Array, free: Array, done: Array) -> Array:
    """Features of the V cameras, and of the answer as the last row: (B, V + 1, FEATURES).

    Args:
        found: see ``outlook``.
        ways: (B, V, 3), directions from the body to the cameras.
        seen: (B, V) bool.
        free: (B, V) bool, whether the camera may be chosen.
        done: (B,) bool, whether the answer may be given.
    """
    xp = xp_of(ways)
    spread, after = found["spread"][:, None, :], found["after"]
    cosine = xp.matmul(ways, xp.matrix_transpose(ways))
    near = xp.max(xp.where(seen[:, None, :], cosine, -xp.ones_like(cosine)), axis=-1)
    line = xp.max(xp.where(seen[:, None, :], xp.abs(cosine), xp.zeros_like(cosine)), axis=-1)
    flag = xp.astype(free, ways.dtype)
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
        xp.mean(found["inside"], axis=-1),
        xp.mean(found["inside"] * found["clear"], axis=-1),
        xp.astype(seen, ways.dtype),
        ways[:, :, 2],
    ]
    views = xp.stack(rows, axis=-1)
    end = xp.zeros_like(views[:, :1, :])
    last = xp.astype(xp.arange(FEATURES, device=views.device) == 1, views.dtype)
    allowed = xp.astype(xp.arange(FEATURES, device=views.device) == 0, views.dtype)
    end = end + last + allowed * xp.astype(done, views.dtype)[:, None, None]
    return xp.clip(xp.concat([views, end], axis=1), -5.0, 5.0)


def describe_pose(spread: Array, scores: Array, fit: Array, seen: Array, share: Array) -> Array:
    """What is known so far, (B, CONTEXT): share of the budget, how uncertain the points are, how well they fit."""
    xp = xp_of(spread)
    used = xp.astype(seen, spread.dtype)[:, :, None]
    given = xp.sum(used * scores, axis=1)
    kept = xp.sum(used * fit, axis=1)
    level = xp.log(spread) / 2
    rows = [
        share,
        xp.mean(level, axis=1),
        xp.max(level, axis=1),
        xp.mean(kept, axis=1) / 4,
        xp.min(kept, axis=1) / 4,
        xp.sum(kept, axis=1) / (xp.sum(given, axis=1) + 1e-6),
        xp.mean(given, axis=1) / 4,
    ]
    return xp.clip(xp.stack(rows, axis=-1), -5.0, 5.0)
