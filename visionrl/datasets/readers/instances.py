"""Objects of an image that are given one by one, as one label map: helper of the readers of masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from visionrl.datasets.samples import ImageSample
from visionrl.ops.polygons import polygon_mask


class Part(NamedTuple):
    """Pixels of an object: ``inside`` (h, w) bool, with its upper left corner in the image."""

    left: int
    top: int
    inside: np.ndarray


def with_instances(
    sample: ImageSample, names: Sequence[str], parts: Iterable[tuple[int, Part | None]]
) -> ImageSample:
    """The sample with a mask that numbers its objects; a later part covers an earlier one.

    Args:
        sample: an image.
        names: of the objects, from 1 on.
        parts: number of the object and its pixels, one after another, so that one alone is held at a time.
    """
    mask = np.zeros(sample.image.shape[1:], np.uint8 if len(names) < 256 else np.int32)
    for number, part in parts:
        if part is not None:
            height, width = part.inside.shape
            mask[part.top : part.top + height, part.left : part.left + width][part.inside] = number
    return replace(sample, mask=mask, names=dict(enumerate(names, 1)))


def filled(points: np.ndarray, height: int, width: int) -> Part:
    """Pixels of an image whose centres are in an (n, 2) polygon, by the even-odd rule."""
    low = np.clip(np.floor(points.min(0)), 0, [width, height]).astype(int)
    high = np.clip(np.ceil(points.max(0)), low, [width, height]).astype(int)
    wide, high_side = (high - low).tolist()
    if not (wide and high_side):
        return Part(0, 0, np.zeros((0, 0), bool))
    return Part(int(low[0]), int(low[1]), polygon_mask(points - low, high_side, wide))


def union(parts: Sequence[Part]) -> Part:
    """All pixels of some parts."""
    if len(parts) == 1:
        return parts[0]
    left, top = min(part.left for part in parts), min(part.top for part in parts)
    right = max(part.left + part.inside.shape[1] for part in parts)
    bottom = max(part.top + part.inside.shape[0] for part in parts)
    inside = np.zeros((bottom - top, right - left), bool)
    for part in parts:
        height, width = part.inside.shape
        y, x = part.top - top, part.left - left
        inside[y : y + height, x : x + width] |= part.inside
    return Part(left, top, inside)
