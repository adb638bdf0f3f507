"""Checks of the arrays that a sample holds; an error begins with ``where``, the sample's index and name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def as_array(value: Any) -> np.ndarray:
    """Returns a NumPy view of an array of any library on the CPU."""
    return value if isinstance(value, np.ndarray) else np.asarray(value)


def check_image(value: Any, where: str) -> np.ndarray:
    """Checks a (C, H, W) uint8 image, C = 1 or 3."""
    if not hasattr(value, "__array__"):
        raise ValueError(f"{where}: an image must be an array, got {type(value).__name__}")
    image = as_array(value)
    if image.dtype != np.uint8:
        raise ValueError(f"{where}: images are uint8 0-255, got {image.dtype}")
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        hint = "; move the channels to the front" if image.ndim == 3 and image.shape[2] in (1, 3) else ""
        raise ValueError(f"{where}: images are (C, H, W) with C = 1 or 3, got shape {image.shape}{hint}")
    if image.size == 0:
        raise ValueError(f"{where}: an image must have one pixel or more, got shape {image.shape}")
    return image


def check_volume(value: Any, where: str) -> np.ndarray:
    """Checks a (1, D, H, W) uint8 volume."""
    if not hasattr(value, "__array__"):
        raise ValueError(f"{where}: a volume must be an array, got {type(value).__name__}")
    volume = as_array(value)
    if volume.dtype != np.uint8 or volume.ndim != 4 or volume.shape[0] != 1 or volume.size == 0:
        raise ValueError(
            f"{where}: volumes are (1, D, H, W) uint8 0-255, got {volume.dtype} of shape {volume.shape}"
        )
    return volume


def as_floats(value: Any, what: str) -> np.ndarray:
    """Converts numbers to a float64 array."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be numbers, got {value!r}") from error


def check_boxes(value: Any, where: str, row: str = "box", gaps: bool = False) -> np.ndarray:
    """Checks (N, 4) finite boxes of positive area, float64; with ``gaps``, rows of NaN are allowed."""
    boxes = as_floats(value, f"{where}: boxes")
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{where}: boxes must have shape (N, 4), got {boxes.shape}")
    bad = ~np.isfinite(boxes).all(axis=1) & ~(gaps & np.isnan(boxes).all(axis=1))
    if bad.any():
        raise ValueError(
            f"{where}, {row} {np.argmax(bad)}: a box must be finite, got {boxes[np.argmax(bad)].tolist()}"
        )
    bad = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    if bad.any():
        j = int(np.argmax(bad))
        raise ValueError(f"{where}, {row} {j}: a box must have x0 < x1 and y0 < y1, got {boxes[j].tolist()}")
    return boxes


def check_inside(boxes: np.ndarray, width: int, height: int, where: str) -> None:
    """Raises a ValueError for a box that reaches out of the image."""
    out = (boxes[:, :2] < 0).any(axis=1) | (boxes[:, 2:] > [width, height]).any(axis=1)
    if out.any():
        j = int(np.argmax(out))
        raise ValueError(
            f"{where}, box {j}: a box must lie inside the image of width {width} and height {height}, "
            f"got {boxes[j].tolist()}"
        )


def check_points(points: Any, sides: tuple[int, ...], where: str) -> dict[str, np.ndarray]:
    """Checks points, name -> (n,) float64, inside an image or volume of n sides (width, height, depth)."""
    axes = f"({', '.join('xyz'[: len(sides)])})"
    if not isinstance(points, Mapping):
        raise ValueError(f"{where}: points must be a mapping of name to {axes}, got {type(points).__name__}")
    checked = {}
    for name, value in points.items():
        point = as_floats(value, f"{where}: point {name!r}")
        if point.shape != (len(sides),):
            raise ValueError(f"{where}: point {name!r} must be {axes}, got shape {point.shape}")
        if not np.isfinite(point).all():
            raise ValueError(f"{where}: point {name!r} must be finite, got {point.tolist()}")
        if (point < -0.5).any() or (point > np.subtract(sides, 0.5)).any():
            what = "image of width {} and height {}" if len(sides) == 2 else "volume of {} x {} x {} voxels"
            raise ValueError(
                f"{where}: point {name!r} must lie inside the {what.format(*sides)}, got {point.tolist()}"
            )
        checked[name] = point
    return checked


def check_mask(value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Checks a label map: integers >= 0 of the image's or the volume's shape."""
    mask = as_array(value)
    if mask.shape != shape or not np.issubdtype(mask.dtype, np.integer):
        raise ValueError(
            f"{where}: mask must be integers of shape {shape}, got {mask.dtype} of shape {mask.shape}"
        )
    if mask.min() < 0:
        raise ValueError(f"{where}: mask must be >= 0, got {mask.min()}")
    return mask


def check_names(value: Any, where: str) -> dict[int, str]:
    """Checks the names of the labels of a mask: whole numbers > 0, each with a name."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: names must be a mapping of label to name, got {type(value).__name__}")
    for label, name in value.items():
        if isinstance(label, bool) or not isinstance(label, int | np.integer) or label < 1:
            raise ValueError(f"{where}: names must be of labels that are whole numbers > 0, got {label!r}")
        if not isinstance(name, str) or not name:
            raise ValueError(f"{where}: the name of label {label} must be a word, got {name!r}")
    return {int(label): name for label, name in value.items()}
