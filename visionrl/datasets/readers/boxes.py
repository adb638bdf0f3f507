"""Helpers of the readers of boxes: boxes beyond the image's border, sizes that a file states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

FARTHEST = 1e9  # pixels: beyond, sums and products of coordinates are no longer exact
SLACK_PX = 2
SLACK_SHARE = 0.01

Box = tuple[float, float, float, float]


def are_coordinates(values: Any) -> bool:
    """Tell if a value from a JSON file is a list of numbers from -1e9 to 1e9, without text, booleans and NaN."""
    return isinstance(values, list) and all(
        type(one) in (int, float) and -FARTHEST <= one <= FARTHEST for one in values
    )


def short(value: Any) -> str:
    """The begin of a value from a JSON file, for a message; a number may have more digits than Python writes out."""
    try:
        return f"{value!r:.200}"
    except ValueError:
        return f"a {type(value).__name__} of too many digits"


def fit_box(box: Sequence[float], width: int, height: int, where: str) -> Box:
    """A box (x0, y0, x1, y1) within an image; what reaches a little beyond it is cut off.

    A little is 2 pixels, or 1 % of the image's side where that is more: rounding and the conventions of tools differ
    by that much.

    Raises:
        ValueError: the box has no area, before or after the cut, or reaches farther; ``where`` names file and line.
    """
    x0, y0, x1, y1 = box
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"{where}: a box must have a width and a height > 0, got {x1 - x0:g} x {y1 - y0:g}")
    slack_x, slack_y = (max(SLACK_PX, SLACK_SHARE * side) for side in (width, height))
    cut = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    beyond = x0 < -slack_x or y0 < -slack_y or x1 > width + slack_x or y1 > height + slack_y
    if beyond or not (cut[0] < cut[2] and cut[1] < cut[3]):
        raise ValueError(
            f"{where}: a box must lie inside the image of width {width} and height {height}, "
            f"got edges {x0:g}, {y0:g}, {x1:g}, {y1:g}"
        )
    return cut


def check_size(width: float, height: float, shape: tuple[int, ...], where: str) -> None:
    """Refuses a stated size that is not the image's of (C, H, W), a side that is 0 is unknown."""
    if (width or shape[2], height or shape[1]) != shape[:0:-1]:
        stated = " x ".join(
            f"{side:g}" if -FARTHEST < side < FARTHEST else "too much" for side in (width, height)
        )
        raise ValueError(
            f"{where}: the stated size must be the picture's, {shape[2]} x {shape[1]}, got {stated}; "
            "the boxes may belong to another picture"
        )
