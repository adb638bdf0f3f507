"""The discrete cosine transform of small windows, which filters on NumPy and on torch share."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

DCT_SIDE = 8
DCT_STRIDE = 2  # pixels from window to window; each pixel lies in 16 windows


@lru_cache(maxsize=1)
def dct_matrix() -> np.ndarray:
    """(64, 64) float32: the orthonormal DCT of a window of 8 x 8, row by row; the first row is the mean's."""
    k, n = np.arange(DCT_SIDE)[:, None], np.arange(DCT_SIDE)
    line = np.sqrt(2 / DCT_SIDE) * np.cos(np.pi * (2 * n + 1) * k / (2 * DCT_SIDE))
    line[0] /= np.sqrt(2)
    return np.kron(line, line).astype(np.float32)
