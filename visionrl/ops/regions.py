"""Means over the regions of label maps."""

from __future__ import annotations

import numpy as np

from visionrl.ops.xp import Array, is_torch, like, one_hot, to_numpy, xp_of


def region_means(values: Array, labels: Array, count: int) -> Array:
    """Means of maps over regions: (B, M, P) numbers and (B, P) int64 in [0, K) -> (B, M, K) float64; 0 where none is.

    Args:
        values: M maps of P pixels.
        labels: the region of each pixel.
        count: K.
    """
    if is_torch(values) and values.device.type != "cpu":
        return region_means_by_scatter(values, labels, count)
    rows, maps, _ = values.shape
    numbers, amounts = to_numpy(labels), to_numpy(values)
    index = (numbers + count * np.arange(rows)[:, None]).ravel()
    size = np.maximum(np.bincount(index, minlength=rows * count), 1)
    sums = [np.bincount(index, amounts[:, k].ravel(), rows * count) / size for k in range(maps)]
    return like(np.stack(sums, axis=1).reshape(rows, count, maps).transpose(0, 2, 1).copy(), values)


def region_means_by_scatter(values: Array, labels: Array, count: int) -> Array:
    """``region_means`` of torch tensors, for accelerators."""
    xp, (rows, maps, _) = xp_of(values), values.shape
    values = xp.astype(values, xp.float64)
    index = xp.broadcast_to(labels[:, None, :], values.shape)
    total = xp.zeros((rows, maps, count), dtype=xp.float64, device=values.device)
    size = xp.zeros((rows, 1, count), dtype=xp.float64, device=values.device)
    total = total.scatter_add(2, index, values)
    size = size.scatter_add(2, labels[:, None, :], xp.ones_like(values[:, :1, :]))
    return total / xp.where(size > 0, size, xp.ones_like(size))


def region_means_by_product(values: Array, labels: Array, count: int) -> Array:
    """``region_means`` by the array API alone, by a product with one-hot labels."""
    xp = xp_of(values)
    member = xp.astype(one_hot(labels, count), xp.float64)
    size = xp.sum(member, axis=1)[:, None, :]
    return xp.astype(values, xp.float64) @ member / xp.where(size > 0, size, xp.ones_like(size))
