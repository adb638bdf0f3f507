"""Statistics of an image's spectrum that tell how blurred, noisy and compressed it is, whatever it shows.

Noise shows in the smoothest places, blur in the richest ones: hence quantiles over the image, of each frequency band.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from visionrl.ops.kernels import DCT_SIDE, dct_line
from visionrl.ops.xp import Array, like, xp_of

STRIDE = 3  # of blocks, pixels
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.95)  # over blocks
BANDS = DCT_SIDE + 1  # of frequencies, the mean grey level apart
FLOOR = 0.1  # of energies and of steps; it keeps logarithms finite


def spectrum_size(channels: int) -> int:
    """Length of ``spectrum_statistics`` of images with 1 or 3 channels."""
    return (1 if channels == 1 else 2) * len(QUANTILES) * BANDS + 6


def spectrum_statistics(images: Array) -> Array:
    """Statistics of the spectra of images, (B, C, H, W) -> (B, n) float32, from -2.2 to 8, nearly all below 4.

    Args:
        images: grey levels 0 to 255, C of 1 or 3, both sides at least 16 pixels.

    The logarithm of the energy of the block's discrete cosine transform (8 x 8 pixels, every third place) in nine bands
    of frequency: its 10, 25, 50, 75 and 95 % quantiles over blocks, of the mean of the channels, and of red less green
    where there are colours. Then, for rows and columns, how much larger the steps at multiples of 8 pixels are than
    others, which is JPEG's trace, and how large steps are; and the mean and standard deviation of the grey levels.
    """
    xp = xp_of(images)
    images = xp.astype(images, xp.float32)
    grey = xp.mean(images, axis=1)
    planes = [grey] if images.shape[1] == 1 else [grey, images[:, 0, ...] - images[:, 1, ...]]
    parts = [band_quantiles(plane) for plane in planes]
    parts += [step_sizes(grey, axis) for axis in (1, 2)]
    parts.append(xp.stack([xp.mean(grey, axis=(1, 2)) / 128 - 1, xp.std(grey, axis=(1, 2)) / 64 - 1], axis=1))
    return xp.concat(parts, axis=1)


def band_quantiles(plane: Array) -> Array:
    """Quantiles over blocks of the logarithm of each band's energy, (B, H, W) -> (B, 45) float32."""
    xp = xp_of(plane)
    line = like(dct_line().T.copy(), plane)  # columns are the cosines
    rows = xp.matmul(blocks(plane), line)  # (B, H, m, 8)
    both = xp.matmul(blocks(xp.permute_dims(rows, (0, 2, 3, 1))), line)  # (B, m, 8, n, 8)
    energy = xp.reshape(xp.permute_dims(both * both, (0, 1, 3, 2, 4)), (plane.shape[0], -1, DCT_SIDE**2))
    bands = xp.log(xp.matmul(energy, like(band_weights(), plane)) + FLOOR)
    ordered = xp.sort(bands, axis=1)
    places = np.rint(np.array(QUANTILES) * (ordered.shape[1] - 1)).astype(np.int64)
    found = xp.take(ordered, like(places, plane), axis=1)
    return (xp.reshape(found, (plane.shape[0], -1)) - 4) / 3


def blocks(x: Array) -> Array:
    """Runs of 8 along the last axis, at every third place: (..., W) -> (..., n, 8)."""
    count = (x.shape[-1] - DCT_SIDE) // STRIDE + 1
    ends = STRIDE * (count - 1) + 1
    return xp_of(x).stack([x[..., k : k + ends : STRIDE] for k in range(DCT_SIDE)], axis=-1)


@lru_cache(maxsize=1)
def band_weights() -> np.ndarray:
    """(64, 9) float32 whose columns average the coefficients of a band: those as far from the mean's, rounded."""
    down, right = np.mgrid[:DCT_SIDE, :DCT_SIDE]
    radius = np.minimum(np.rint(np.hypot(down, right)), BANDS).reshape(-1, 1)
    inside = (radius == np.arange(1, BANDS + 1)).astype(np.float32)
    return inside / inside.sum(axis=0)


def step_sizes(grey: Array, axis: int) -> Array:
    """Steps along an axis of (B, H, W): by how much those of one phase of 8 pixels stand out, and their size."""
    xp = xp_of(grey)
    lines = grey if axis == 1 else xp.permute_dims(grey, (0, 2, 1))
    sizes = xp.mean(xp.abs(lines[:, 1:, :] - lines[:, :-1, :]), axis=2)  # (B, H - 1)
    whole = sizes.shape[1] // DCT_SIDE * DCT_SIDE
    phases = xp.mean(xp.reshape(sizes[:, :whole], (sizes.shape[0], -1, DCT_SIDE)), axis=1)
    ordered = xp.sort(xp.log(phases + FLOOR), axis=1)
    middle = (ordered[:, 3] + ordered[:, 4]) / 2
    return xp.stack([ordered[:, -1] - middle, middle / 2], axis=1)
