"""The classes and places that a search for objects starts from, one episode at a time, in plain NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from visionrl import ops
from visionrl.datasets import ImageSample

# (x0, y0, x1, y1) of the boxes that a search begins from, in sides of the image: all of it, then its corners
WHOLE_AND_CORNERS = (
    *((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.75, 0.75), (0.25, 0.0, 1.0, 0.75)),
    *((0.0, 0.25, 0.75, 1.0), (0.25, 0.25, 1.0, 1.0)),
)
MIN_VISIBLE = 0.5  # share of an object's area that a part of an image must show for it to be sought there
MAY_BE_EMPTY = 0.3  # share of the parts that need not show an object
FOUND_BEFORE = 0.3  # share of the objects that were reported before the start
REPORT_ERROR = 0.15  # of a box's sides, by which those reports miss
START_ERROR = 0.3  # of an object's sides, by which the easiest starts miss it


def mirrored(sample: ImageSample) -> ImageSample:
    """The sample with left and right exchanged."""
    width, boxes = sample.image.shape[2], sample.boxes
    boxes = None if boxes is None else np.abs(np.array([width, 0, width, 0]) - boxes[:, [2, 1, 0, 3]])
    image = np.ascontiguousarray(sample.image[:, :, ::-1])
    return replace(sample, image=image, boxes=boxes, points={}, mask=None)


def unlabelled(sample: ImageSample) -> ImageSample:
    """The sample without its labels."""
    return replace(sample, boxes=None, labels=(), points={}, mask=None)


def sought_classes(
    labels: Sequence[Sequence[str]], category: str | Sequence[str] | None, labelled: bool = True
) -> tuple[str, ...]:
    """The classes that are sought, in order; a warning names those that no image of a labelled split has.

    Raises:
        ValueError: there is none, or no requested class is in the data, or one is requested twice.
    """
    known = sorted({name for some in labels for name in some})
    names = known if category is None else [category] if isinstance(category, str) else list(category)
    if not names:
        rule = "have boxes with labels to look for" if labelled else "name a category where it has no labels"
        raise ValueError(f"data must {rule}, got samples without any")
    if len(set(names)) < len(names):
        raise ValueError(f"category must name each class once, got {', '.join(names)}")
    if not labelled:
        return tuple(names)
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


def random_crop(rng: np.random.Generator, size: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """A random part of an image, each side half of it or more; it mostly shows an object, if there is one.

    Args:
        rng: source of chance.
        size: (width, height), pixels.
        objects: (N, 4) boxes of those sought.

    Returns:
        (4,) edges, pixels.
    """
    for _ in range(1 if rng.random() < MAY_BE_EMPTY else 20):
        extent = rng.uniform(0.5, 1, 2) * size
        corner = rng.uniform(0, 1, 2) * (size - extent)
        region = np.concatenate([corner, corner + extent])
        if (visible_share(objects, region) >= MIN_VISIBLE).any():
            break
    return region


def visible_share(boxes: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Share of each box's area that lies within a region: (N, 4), (4,) -> (N,); NaN for a box of NaN."""
    return ops.area(ops.clip_boxes(boxes, region)) / ops.area(boxes)


def mark_some_found(
    rng: np.random.Generator, boxes: np.ndarray, sought: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Up to ``most`` objects, as if they were reported already.

    Returns:
        which are left, (N,) bool, and the boxes reported, (K, 4), not exact.
    """
    known = np.flatnonzero(sought & (rng.random(len(sought)) < FOUND_BEFORE))[:most]
    left = sought.copy()
    left[known] = False
    error = REPORT_ERROR * rng.uniform(-1, 1, (len(known), 4))
    return left, boxes[known] + error * ops.size4(boxes[known])


def curriculum_start(
    rng: np.random.Generator, region: np.ndarray, objects: np.ndarray, difficulty: float
) -> np.ndarray:
    """All that is searched, or a box that lies the nearer to one of the objects the lower the difficulty: (4,)."""
    if difficulty >= 1 or not len(objects):
        return region.copy()
    truth = rng.choice(objects)
    near = ops.clip_boxes(truth + START_ERROR * rng.uniform(-1, 1, 4) * ops.size4(truth), region)
    return near + difficulty * (region - near)
