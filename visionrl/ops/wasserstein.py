"""Sliced Wasserstein distance of colours: how differently those of two pictures are distributed."""

from __future__ import annotations

import numpy as np

from visionrl.ops.xp import Array, const, xp_of

SLICES = 8  # directions


def directions(channels: int) -> tuple[tuple[float, ...], ...]:
    """Unit vectors (SLICES, C) in which colours are compared, drawn once for all; (1, 1) of grey pictures."""
    if channels == 1:
        return ((1.0,),)
    drawn = np.random.default_rng(0).normal(size=(SLICES, channels))
    return tuple(map(tuple, (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).tolist()))


def sliced_quantiles(pixels: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` evenly spaced quantiles of colours (N, C) in each direction, (SLICES, count) float32."""
    values = pixels @ np.array(directions(pixels.shape[1]), np.float32).T
    return np.quantile(values, (np.arange(count) + 0.5) / count, axis=0).T.astype(np.float32)


def sliced_wasserstein(pictures: Array, quantiles: Array) -> Array:
    """Mean squared difference of the quantiles of colours, over the directions, (B,) float64.

    "Sliced and Radon Wasserstein barycenters of measures", Bonneel et al., 2015: the squared 2-Wasserstein distance on
    a line is that of the sorted values.

    Args:
        pictures: (B, C, H, W) float32.
        quantiles: (SLICES, H * W), of ``sliced_quantiles``.
    """
    xp, (count, channels) = xp_of(pictures), pictures.shape[:2]
    table = const(directions(channels), pictures)
    values = xp.matmul(table[None, :, :], xp.reshape(pictures, (count, channels, -1)))
    gap = xp.sort(values, axis=2) - quantiles[None, :, :]
    return xp.astype(xp.mean(gap * gap, axis=(1, 2)), xp.float64)
