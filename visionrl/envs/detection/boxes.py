"""Boxes within other boxes, and the samples that a search takes them from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from visionrl import ops
from visionrl.datasets import ImageSample
from visionrl.ops import Array, xp_of


def sides(box: Array) -> Array:
    """Width, height, width and height: (..., 4) -> (..., 4)."""
    size = ops.size(box)
    return xp_of(box).concat([size, size], axis=-1)


def bounded(box: Array, view: Array) -> Array:
    """Boxes without what lies beyond others: (..., 4), (..., 4) -> (..., 4)."""
    xp = xp_of(box)
    low, high = view[..., :2], view[..., 2:]
    return xp.minimum(xp.maximum(box, xp.concat([low, low], axis=-1)), xp.concat([high, high], axis=-1))


def within(share: Array, view: Array) -> Array:
    """Boxes in sides of others, as boxes: (..., 4), (..., 4) -> (..., 4)."""
    xp = xp_of(view)
    low = view[..., :2]
    return xp.concat([low, low], axis=-1) + share * sides(view)


def mirrored(sample: ImageSample) -> ImageSample:
    """The sample with left and right exchanged."""
    width = sample.image.shape[2]
    boxes = (
        None
        if sample.boxes is None
        else np.abs(np.array([width, 0, width, 0]) - sample.boxes[:, [2, 1, 0, 3]])
    )
    return replace(
        sample, image=np.ascontiguousarray(sample.image[:, :, ::-1]), boxes=boxes, points={}, mask=None
    )


def near(box: Array, truth: Array) -> Array:
    """The overlap (IoU), and a little less than 0 where there is none, the lower the further: (...)."""
    xp = xp_of(box)
    gap = ops.norm(ops.center(box) - ops.center(truth))
    overlap = ops.iou(box, truth)
    return xp.where(overlap > 0, overlap, -1e-6 * gap)


def sought_names(labels: Sequence[Sequence[str]], category: str | Sequence[str] | None) -> tuple[str, ...]:
    """The classes that are sought, in order; a warning names those that no image of the split has.

    Raises:
        ValueError: there is none, or none that is asked for is in the data, or one is asked for twice.
    """
    known = sorted({name for some in labels for name in some})
    names = known if category is None else [category] if isinstance(category, str) else list(category)
    if not names:
        raise ValueError("data must have boxes with labels to look for, got samples without any")
    if len(set(names)) < len(names):
        raise ValueError(f"category must name each class once, got {', '.join(names)}")
    if not set(names) & set(known):
        raise ValueError(f"category must be among {', '.join(known) or 'none'}; got {', '.join(names)}")
    if missing := [name for name in names if name not in known]:
        warnings.warn(f"no image of the split has {', '.join(missing)}", stacklevel=2)
    return tuple(names)


def label_table(labels: Sequence[Sequence[str]], names: Sequence[str], most: int) -> np.ndarray:
    """(M, most) int64, the number of each box's class; -1 where there is no box, or of a class not sought."""
    number = {name: k for k, name in enumerate(names)}
    table = np.full((len(labels), most), -1)
    for row, some in zip(table, labels, strict=True):
        row[: len(some)] = [number.get(name, -1) for name in some]
    return table
