"""Objects of an image that are given one by one, as one label map: helper of the readers of masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from visionrl.datasets.samples import ImageSample
from visionrl.ops.polygons import polygon_mask


def with_instances(sample: ImageSample, objects: Sequence[tuple[str, np.ndarray]]) -> ImageSample:
    """The sample with a mask that numbers its objects from 1, in order; a later one covers an earlier one.

    Args:
        sample: an image.
        objects: (name, (H, W) bool) each.
    """
    mask = np.zeros(sample.image.shape[1:], np.uint8 if len(objects) < 256 else np.int32)
    for number, (_, inside) in enumerate(objects, 1):
        mask[inside] = number
    return replace(sample, mask=mask, names={k: name for k, (name, _) in enumerate(objects, 1)})


def filled(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) bool, pixels whose centres are in an (n, 2) polygon, by the even-odd rule."""
    found = np.zeros((height, width), bool)
    low = np.clip(np.floor(points.min(0)), 0, [width, height]).astype(int)
    high = np.clip(np.ceil(points.max(0)), low, [width, height]).astype(int)
    wide, high_side = (high - low).tolist()
    if wide and high_side:
        found[low[1] : high[1], low[0] : high[0]] = polygon_mask(points - low, high_side, wide)
    return found
