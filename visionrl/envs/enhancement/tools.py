"""The tools of restoration: fixed filters, each against one kind and strength of damage.

Images are (B, C, H, W) float32 in grey levels, [0, 255]; a tool's result is clipped to them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from visionrl.ops import Array, xp_of
from visionrl.ops.filters import (
    bilateral,
    convolve,
    dct_threshold,
    dct_thresholds,
    filter_each,
    median,
)
from visionrl.ops.kernels import gaussian, unsharp, wiener

DAMPING = 0.02  # of the Wiener filters, power of noise over that of the image


def _deblur(images: Array, sigma: float) -> Array:
    """Undo a Gaussian blur of a standard deviation in pixels."""
    return convolve(images, wiener(sigma, DAMPING, 25))


THRESHOLDS = {10: 30.0, 20: 60.0, 35: 105.0, 55: 165.0}  # standard deviation of the noise -> grey levels
TOOLS: dict[str, Callable[[Array], Array]] = {
    **{f"denoise {noise}": partial(dct_threshold, threshold=least) for noise, least in THRESHOLDS.items()},
    "deblur 0.8": partial(_deblur, sigma=0.8),
    "deblur 1.3": partial(_deblur, sigma=1.3),
    "deblur 2": partial(_deblur, sigma=2.0),
    "deblur 3": partial(_deblur, sigma=3.0),
    "bilateral": partial(bilateral, size=5, sigma_color=76.5, sigma_space=5.0),
    "median": partial(median, size=3),
    "smooth": partial(convolve, kernel=gaussian(1.0)),
    "sharpen": partial(convolve, kernel=unsharp(1.0, 0.7)),
}
NAMES = tuple(TOOLS)


def apply_tools(images: Array, number: Array) -> Array:
    """Each image after the tool of its number, (B,) int64; any other number leaves it as it is."""
    xp = xp_of(images)
    return xp.clip(filter_each(images, number, tuple(TOOLS.values())), 0.0, 255.0)


def try_tools(images: Array) -> Array:
    """The images after each tool, (tools, B, C, H, W); the denoisers share their transform."""
    xp, others = xp_of(images), list(TOOLS.values())[len(THRESHOLDS) :]
    tried = [*dct_thresholds(images, tuple(THRESHOLDS.values())), *(tool(images) for tool in others)]
    return xp.clip(xp.stack(tried), 0.0, 255.0)
