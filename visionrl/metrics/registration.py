"""Metrics of registration: overlap of labels, and folding of displacement fields; array-API code."""

from __future__ import annotations

from visionrl.ops import Array, columns, counts, xp_of


def jacobian_determinants(field: Array, step: float) -> Array:
    """Jacobian determinants of x + field(x) in the cells of a lattice, (B, cells); 0 or less where it folds.

    Differences are those along the edges that leave a cell's first node.

    Args:
        field: (B, n, ..., n, d) displacements in pixels, (x, y) or (x, y, z); see ``ops.fields``.
        step: pixels from node to node.
    """
    xp, axes = xp_of(field), field.shape[-1]
    shrunk = (slice(None), *[slice(0, -1)] * axes)
    ways = []
    for k in range(axes):  # along x, y, z
        ahead = tuple(slice(1, None) if a == axes - k else cut for a, cut in enumerate(shrunk))
        slope = (field[(*ahead, slice(None))] - field[(*shrunk, slice(None))]) / step
        ways.append([part + (1.0 if j == k else 0.0) for j, part in enumerate(columns(slope))])
    if axes == 2:
        found = ways[0][0] * ways[1][1] - ways[0][1] * ways[1][0]
    else:
        a, b, c = ways
        found = (
            a[0] * (b[1] * c[2] - b[2] * c[1])
            - a[1] * (b[0] * c[2] - b[2] * c[0])
            + a[2] * (b[0] * c[1] - b[1] * c[0])
        )
    return xp.reshape(found, (field.shape[0], -1))


def folded_percent(field: Array, step: float) -> Array:
    """Percentage of the cells of a lattice that fold: (B,) float64."""
    xp, found = xp_of(field), jacobian_determinants(field, step)
    return 100 * xp.mean(xp.astype(found <= 0, field.dtype), axis=-1)


def mean_dice(first: Array, second: Array, labels: int) -> Array:
    """Mean overlap 2 |A & B| / (|A| + |B|) of labels 1 to ``labels``: (B, N), (B, N) uint8 -> (B,) float64.

    Labels that are in neither count for nothing; 1 where there are none at all. Source: Dice (1945).
    """
    xp = xp_of(first)
    both = xp.where(first == second, first, xp.zeros_like(first))
    found = [xp.astype(counts(some, labels + 1), xp.float64) for some in (first, second, both)]
    total = count = xp.zeros(first.shape[0], dtype=xp.float64, device=first.device)
    for a, b, shared in list(zip(*map(columns, found), strict=True))[1:]:
        size = a + b
        there = xp.astype(size > 0, xp.float64)
        total = total + 2 * shared / xp.where(size > 0, size, 1.0)
        count = count + there
    return xp.where(count > 0, total / xp.where(count > 0, count, 1.0), 1.0)
