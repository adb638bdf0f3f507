"""How often each number is there: what the array API has no name for."""

from __future__ import annotations

import numpy as np

from visionrl.ops.xp import Array, is_torch, like, to_numpy, xp_of


def counts(numbers: Array, kinds: int) -> Array:
    """How often each row holds each number: (B, N) whole numbers in [0, kinds) -> (B, kinds) int64."""
    if is_torch(numbers) and numbers.device.type != "cpu":
        xp = xp_of(numbers)
        tally = xp.zeros((numbers.shape[0], kinds), dtype=xp.int64, device=numbers.device)
        index = xp.astype(numbers, xp.int64)
        return tally.scatter_add(1, index, xp.ones_like(index))
    found = [np.bincount(row, minlength=kinds) for row in to_numpy(numbers)]
    return like(np.stack(found), numbers)
