"""Ridge regression of classes on features, in closed form, for B regressions at once; array-API code."""

from __future__ import annotations

import math

from visionrl.ops.xp import Array, xp_of

SHARPNESS = 8.0  # of the softmax: a regression on 0 and 1 has scores of about 0 and 1


def solve_ridge(gram: Array, moment: Array) -> tuple[Array, Array]:
    """The weights (B, F, K) and the inverse (B, F, F) of the normal equations.

    Args:
        gram: (B, F, F) float64, sums of products of features, with the penalty on its diagonal.
        moment: (B, F, K) float64, sums of features by class.

    Source: Hoerl & Kennard (1970).
    """
    xp = xp_of(gram)
    inverse = xp.linalg.inv(gram)
    return inverse @ moment, inverse


def class_scores(features: Array, weights: Array) -> Array:
    """(B, K, P) float64, the scores of P pixels that all regressions see, features (F, P)."""
    xp = xp_of(weights)
    rows, columns, classes = weights.shape
    flat = xp.reshape(xp.permute_dims(weights, (0, 2, 1)), (rows * classes, columns))
    return xp.reshape(flat @ features, (rows, classes, -1))


def class_probabilities(scores: Array, axis: int = -1) -> Array:
    """Softmax of scores times 8, along an axis."""
    xp = xp_of(scores)
    shown = xp.exp(SHARPNESS * (scores - xp.max(scores, axis=axis, keepdims=True)))
    return shown / xp.sum(shown, axis=axis, keepdims=True)


def mean_leverage(products: Array, inverse: Array, size: Array) -> Array:
    """Mean of x' A^-1 x >= 0 over pixels x, how little a regression knows there: (B, N).

    Args:
        products: (B, N, F * F), the sum over the pixels of each set of x x'.
        inverse: (B, F, F), A^-1.
        size: (B, N), numbers of pixels.
    """
    flat = xp_of(inverse).reshape(inverse, (inverse.shape[0], -1, 1))
    return (products @ flat)[..., 0] / size


def entropy(shares: Array, axis: int = -1) -> Array:
    """Shannon's entropy of shares along an axis, in [0, 1]: 1 where all of them are equal."""
    xp = xp_of(shares)
    logs = xp.log(xp.maximum(shares, xp.full_like(shares, 1e-12)))
    return -xp.sum(shares * logs, axis=axis) / math.log(max(shares.shape[axis], 2))
