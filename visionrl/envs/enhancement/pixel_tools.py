"""The tools of pixels (Furuta et al., 2019): each pixel takes its value from one of nine filtered images.

Images are (B, C, H, W) float32 in grey levels; the paper's constants are of images in [0, 1], hence the factor 255.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from visionrl.ops import Array
from visionrl.ops.filters import bilateral, convolve, filter_pixels, median
from visionrl.ops.kernels import box, gaussian


def _shift(images: Array, levels: float) -> Array:
    return images + levels


PIXEL_TOOLS: dict[str, Callable[[Array], Array]] = {
    "-1": partial(_shift, levels=-1.0),
    "keep": partial(_shift, levels=0.0),
    "+1": partial(_shift, levels=1.0),
    "gaussian 0.5": partial(convolve, kernel=gaussian(0.5, 5)),
    "bilateral 0.1": partial(bilateral, size=5, sigma_color=25.5, sigma_space=5.0),
    "median 5": partial(median, size=5),
    "gaussian 1.5": partial(convolve, kernel=gaussian(1.5, 5)),
    "bilateral 1.0": partial(bilateral, size=5, sigma_color=255.0, sigma_space=5.0),
    "box 5": partial(convolve, kernel=box(5)),
}
PIXEL_NAMES = tuple(PIXEL_TOOLS)
# the best sequence of all pixels at a noise of 25 grey levels, found on training patches; nothing follows it
PLAN = (3, 4, 4)


def apply_pixel_tools(images: Array, number: Array) -> Array:
    """Each pixel after the tool of its number, (B, H, W) int64."""
    return filter_pixels(images, number, tuple(PIXEL_TOOLS.values()))
