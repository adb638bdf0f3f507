"""Quality of a picture against the true one: PSNR and SSIM.

Convention
    Images are channel-first, uint8 or float32 in [0, 255]; both measures look at whole grey levels, as files hold
    them: floats are rounded and clipped first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from visionrl.ops import Array, xp_of

PSNR_LIMIT = 100.0  # decibels, of equal images


def as_levels(image: Array) -> Array:
    """Images of [0, 255] as whole grey levels, float32."""
    xp = xp_of(image)
    return xp.clip(xp.round(xp.astype(image, xp.float32)), 0.0, 255.0)


def psnr(image: Array, truth: Array) -> Array:
    """Peak signal-to-noise ratio, decibels; 100 where the images are equal.

    Args:
        image: (B, C, H, W), uint8 or float32 in [0, 255].
        truth: likewise.

    Returns:
        (B,) float64.
    """
    xp = xp_of(image)
    gap = xp.astype(as_levels(image) - as_levels(truth), xp.float64)
    error = xp.mean(gap * gap, axis=(1, 2, 3))
    return psnr_of(error, xp.ones_like(error))


def psnr_of(wrong: Array, pixels: Array) -> Array:
    """PSNR, decibels, of sums of squared errors in grey levels over numbers of pixels; 100 at most."""
    xp = xp_of(wrong)
    error = wrong / pixels
    floor = 255.0**2 / 10 ** (PSNR_LIMIT / 10)
    return 10 * xp.log10(255.0**2 / xp.maximum(error, xp.full_like(error, floor)))


def ssim(image: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity of one image, (C, H, W), to the true one, -1 to 1 (Wang et al., 2004).

    The Gaussian weights of the paper: standard deviation 1.5, a window of 11 pixels, population covariances.

    Raises:
        ValueError: a side is shorter than 11 pixels.
    """
    from skimage.metrics import structural_similarity  # takes half a second to import

    if min(image.shape[1:]) < 11:
        raise ValueError(f"image must be at least 11 pixels wide and high for SSIM, got {image.shape[1:]}")
    return float(
        structural_similarity(
            as_levels(np.asarray(image)),
            as_levels(np.asarray(truth)),
            channel_axis=0,
            data_range=255.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


class ImageQuality:
    """Mean SSIM of the last pictures of episodes; a metric of a data set, for it is too slow for every step.

    Args:
        pair: takes N last states (NumPy) to the pictures and the true ones, (N, C, H, W) each.
    """

    def __init__(self, pair: Callable[[Any], tuple[np.ndarray, np.ndarray]]) -> None:
        self.pair = pair

    def record(self, ends: Any) -> dict[str, np.ndarray]:
        """SSIM of each last state, (N,)."""
        return {"ssim_each": np.array([ssim(*images) for images in zip(*self.pair(ends), strict=True)])}

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Their mean."""
        return {"ssim": float(np.mean(records["ssim_each"]))}


class PictureQuality:
    """``picture_psnr_db``, the mean PSNR of whole pictures of which episodes had parts; a metric of a data set.

    Args:
        sums: takes N last states (NumPy) to the numbers of their pictures, the sums of their squared errors in grey
            levels, and the pixels that count, (N,) each.
    """

    def __init__(self, sums: Callable[[Any], tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
        self.sums = sums

    def record(self, ends: Any) -> dict[str, np.ndarray]:
        """The three, (N,) each."""
        return dict(zip(("picture", "wrong", "pixels"), self.sums(ends), strict=True))

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The mean over pictures; a part that came twice counts twice."""
        _, number = np.unique(records["picture"], return_inverse=True)
        wrong, pixels = (np.bincount(number, records[key]) for key in ("wrong", "pixels"))
        return {"picture_psnr_db": float(psnr_of(wrong, pixels).mean())}
