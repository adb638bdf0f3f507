"""Motions by least squares, whatever the contrast between two images; array-API code."""

from __future__ import annotations

import numpy as np

from visionrl.ops import Array, DeviceTable, const, xp_of

POWERS = 4  # of the moving grey, from 0 on: contrasts may differ by a cubic
KNOTS = 8  # of a piecewise linear function from the fixed intensity to the moving one, for contrasts that turn over
DAMPING = 1e-3  # share by which the diagonal of the normal equations is raised; a hundredth for the contrast
STIFFNESS = 1e-3  # of that function, a pixel: what keeps its knots level where no pixel has their grey
ENOUGH = 4  # pixels that must count for each number that is solved for
NUM_SCORES = 2  # numbers beside a motion: the shares of the variance that are explained without and with it
ROUNDS = 10  # most motions one after the other at a scale, where no agent chooses
STILL = 0.05  # a motion of less, pixels (millimetres) and degrees, ends them
_STEPS = np.diff(np.eye(KNOTS), axis=0)
STIFF = DeviceTable(STIFFNESS * _STEPS.T @ _STEPS)


def motions(descent: Array, fixed: Array, moving: Array, weight: Array, differ: Array | None) -> Array:
    """Motions by ``fit_polynomial_intensity``, (B, F, k + 2) float64.

    Images of two modalities, (B,) bool ``differ`` (None is none), have those of ``fit_spline_intensity`` where that
    explains more. The shares that are compared are of the fixed image's variance and of the moving one's. See
    ``fit_polynomial_intensity`` for the rest.
    """
    found = fit_polynomial_intensity(descent, fixed, moving, weight)
    if differ is None:
        return found
    other = fit_spline_intensity(descent, fixed, moving, weight)
    better = (other[..., -1] > found[..., -1]) & differ[:, None]
    return xp_of(found).where(better[..., None], other, found)


def fit_polynomial_intensity(descent: Array, fixed: Array, moving: Array, weight: Array) -> Array:
    """Motions after which a cubic of the moving grey is the fixed one, (B, F, k + 2) float64.

    Args:
        descent: (B, F, n, k) by how much the fixed grey changes with each number of a motion.
        fixed: (B, F, n) grey in [-0.5, 0.5].
        moving: (B, F, n), likewise.
        weight: (B, F, n), 1 where a pixel counts, else 0.

    The last two of each are the shares of the fixed image's variance that are explained, without and with the motion.
    Where too few pixels count, or the fixed image is of one grey, all is 0.
    """
    xp = xp_of(fixed)
    descent, fixed, moving, weight = (
        xp.astype(part, xp.float64) for part in (descent, fixed, moving, weight)
    )
    square = moving * moving
    powers = xp.stack([xp.ones_like(moving), moving, square, square * moving], axis=-1)
    return solve(descent, powers, fixed, weight)


def fit_spline_intensity(descent: Array, fixed: Array, moving: Array, weight: Array) -> Array:
    """Motions where the moving intensity is a piecewise linear function of the fixed one, (B, F, k + 2) float64.

    Shares are of the moving image's variance. Fixed intensities are clipped to [-0.5, 0.5]. The function is fitted
    first; its slopes and those of the fixed image say how the moving intensity changes with a motion.
    """
    xp = xp_of(fixed)
    descent, fixed, moving, weight = (
        xp.astype(part, xp.float64) for part in (descent, fixed, moving, weight)
    )
    at = xp.clip((fixed + 0.5) * (KNOTS - 1), 0.0, KNOTS - 1.0)
    gaps = xp.abs(at[..., None] - const(tuple(float(knot) for knot in range(KNOTS)), at))
    hats = 1 - xp.minimum(gaps, xp.ones_like(gaps))
    weighed = xp.matrix_transpose(hats * weight[..., None])
    eye = xp.eye(KNOTS, dtype=hats.dtype, device=hats.device)
    stiff = xp.sum(weight, axis=-1)[..., None, None] * STIFF.on(hats) + 1e-9 * eye
    line = xp.linalg.solve(xp.matmul(weighed, hats) + stiff, xp.matmul(weighed, moving[..., None]))[..., 0]
    piece = xp.astype(xp.clip(at, 0, KNOTS - 2), xp.int64)
    slope = xp.take_along_axis((line[..., 1:] - line[..., :-1]) * (KNOTS - 1), piece, axis=-1)
    return solve(-slope[..., None] * descent, hats, moving, weight, stiff)


def solve(ways: Array, terms: Array, aim: Array, weight: Array, stiff: Array | None = None) -> Array:
    """The motions and other coefficients of the least squares ``ways @ motion + terms @ others = aim``.

    Args:
        ways: (B, F, n, k) float64.
        terms: (B, F, n, m) float64.
        aim: (B, F, n) float64.
        weight: (B, F, n) float64.
        stiff: (B, F, m, m), what the other coefficients cost; default nothing.

    Returns:
        (B, F, k + 2) float64, motions and the shares explained without and with them.
    """
    xp, count, others = xp_of(aim), ways.shape[-1], terms.shape[-1]
    both = xp.concat([ways, terms, aim[..., None]], axis=-1)
    products = xp.matmul(xp.matrix_transpose(both * weight[..., None]), both)
    normal, goal, total = products[..., :-1, :-1], products[..., :-1, -1:], products[..., -1, -1]
    eye = xp.eye(count + others, dtype=normal.dtype, device=normal.device)
    pixels, mean = xp.sum(weight, axis=-1), xp.sum(weight * aim, axis=-1)
    damping = const((DAMPING,) * count + (DAMPING / 100,) * others, normal)
    normal = normal + eye * (damping * xp.sum(normal * eye, axis=-1) + 1e-9)[..., None, :]
    part = normal[..., count:, count:]
    if stiff is not None:
        part = part + stiff
        beside = xp.concat([normal[..., count:, :count], part], axis=-1)
        normal = xp.concat([normal[..., :count, :], beside], axis=-2)
    best, plain = xp.linalg.solve(normal, goal), xp.linalg.solve(part, goal[..., count:, :])
    spread = total - mean * mean / xp.maximum(pixels, xp.ones_like(pixels))
    blind = (pixels < ENOUGH * (count + others)) | (spread <= 1e-6 * pixels)
    safe, none = xp.where(blind, xp.ones_like(spread), spread), xp.zeros_like(spread)
    shares = []
    for answer, wanted in ((plain, goal[..., count:, :]), (best, goal)):
        left = total - xp.sum(answer * wanted, axis=(-2, -1))
        shares.append(xp.where(blind, none, xp.clip(1 - left / safe, 0.0, 1.0)))
    motion = xp.where(blind[..., None], none[..., None], best[..., :count, 0])
    return xp.concat([motion, xp.stack(shares, axis=-1)], axis=-1)
