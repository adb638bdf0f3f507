"""Similarity of images without a true map: B pairs at once, array-API code.

Pictures are (B, N) uint8, N pixels each; ``inside`` (B, N) bool says which pixels count. Where none does, or a picture
is of one grey level, pictures are not alike: 0.
"""

from __future__ import annotations

from visionrl.ops import Array, one_hot, xp_of

BINS = 16  # grey levels that mutual information tells apart


def ncc(a: Array, b: Array, inside: Array) -> Array:
    """Normalised cross-correlation: (B,) float64 in [-1, 1]."""
    xp = xp_of(a)
    weight = xp.astype(inside, xp.float64)
    share = (
        weight
        / xp.maximum(xp.sum(weight, axis=-1), xp.asarray(1.0, dtype=xp.float64, device=a.device))[:, None]
    )
    a, b = (xp.astype(x, xp.float64) for x in (a, b))
    a, b = (x - xp.sum(x * share, axis=-1)[:, None] for x in (a, b))
    across = xp.sum(a * b * share, axis=-1)
    spread = xp.sum(a * a * share, axis=-1) * xp.sum(b * b * share, axis=-1)
    return xp.where(spread > 1e-9, across / xp.sqrt(xp.where(spread > 1e-9, spread, 1.0)), 0.0)


def mutual_information(a: Array, b: Array, inside: Array) -> Array:
    """Mutual information of two intensities, of 16 levels each, in nats: (B,) float64, at least 0.

    Source: Viola & Wells (1997).
    """
    xp = xp_of(a)
    weight = xp.astype(inside, xp.float32)
    first, second = (one_hot(xp.astype(x, xp.int64) * BINS // 256, BINS) for x in (a, b))
    joint = xp.matmul(xp.matrix_transpose(first * weight[..., None]), second)
    counts = xp.astype(joint, xp.float64)
    total = xp.sum(counts, axis=(1, 2))
    counts = counts / xp.where(total > 0, total, 1.0)[:, None, None]
    return (
        entropy(xp.sum(counts, axis=1))
        + entropy(xp.sum(counts, axis=2))
        - entropy(xp.reshape(counts, (counts.shape[0], -1)))
    )


def entropy(share: Array) -> Array:
    """Entropy of shares (B, n) that add up to 1, in nats: (B,); 0 where all are 0."""
    xp = xp_of(share)
    return -xp.sum(share * xp.log(xp.where(share > 0, share, 1.0)), axis=-1)
