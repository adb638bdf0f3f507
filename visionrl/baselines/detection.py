"""Baselines of detection: template matching, and region proposals ranked by a linear model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np

from visionrl.core import baseline
from visionrl.envs.detection.state import State
from visionrl.metrics.detection import pairwise_iou, suppress
from visionrl.ops.pyramid import shrink

SIDE = 16  # pixels of a template
CELLS = 32  # pixels of a region that is described by its gradients
TEMPLATES = 8  # a class
SHAPES = 8  # widths and heights that are slid over an image, a class
STRIDE = 0.2  # of the slid window's sides; but along an axis there are never more than MOST windows of a size
MOST = 24
APART = 0.3  # overlap from which the weaker of two boxes is dropped, and up to which a region is a wrong one
SEGMENTS = (25, 75, 200)  # felzenszwalb's ``scale``: the larger, the larger the segments
LONGEST = 160  # pixels; larger images are segmented at this size
RIGHT = 0.7  # overlap from which a region is a right one
WRONG = 50  # wrong regions of an image to learn from
RIDGE = 1.0

Find = Callable[
    [np.ndarray, int], tuple[np.ndarray, np.ndarray]
]  # (image, class) -> boxes (N, 4), scores (N,)


def reporting(find: Find) -> Callable[[Any, State], State]:
    """A detector as a classical method: its best boxes are reported in turn, and the task judges them."""

    def run(task: Any, state: State) -> State:
        boxes, scores = find(task.bank.image(int(state.image[0])), int(state.category[0]))
        kept = suppress(boxes, scores, APART, task.max_reports)
        for box, score in zip(boxes[kept], scores[kept], strict=True):
            sure = np.array([score])
            action = task.controller.report_action(sure)
            state = task.step(replace(state, box=box[None], confidence=sure), action)
        return state

    return run


def objects(task: Any) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Every image of a task, (H, W, C), with the boxes and class numbers of what is sought."""
    found = []
    for number in range(len(task.bank.labels)):
        own = task.labels.array[number] >= 0
        found.append(
            (task.bank.image(number), task.bank.boxes.array[number, own], task.labels.array[number, own])
        )
    return found


def cut(image: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """A box of an image, scaled to a square: (side, side) uint8, grey."""
    x0, y0, x1, y1 = np.rint(box).astype(int)
    x0, y0 = min(max(x0, 0), image.shape[1] - 1), min(max(y0, 0), image.shape[0] - 1)
    part = cv2.resize(
        image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], (side, side), interpolation=cv2.INTER_AREA
    )
    return part if part.ndim == 2 else cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)


@baseline("Detection-v0", "sliding templates")
@baseline("HierarchicalDetection-v0", "sliding templates")
def sliding_templates(train: Any) -> Callable[[Any, State], State]:
    """Windows of the class's usual sizes, slid over the image, and their correlation with its usual appearances.

    Usual is what k-means finds among the training objects: eight widths and heights in sides of the image, and eight
    images. The score is the largest normalised cross-correlation (Lewis, 1995).
    """
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for number in range(len(train.names)):
        own = [(image, box) for image, boxes, labels in objects(train) for box in boxes[labels == number]]
        if own:
            sizes = np.array([(box[2:] - box[:2]) / image.shape[1::-1] for image, box in own])
            looks = np.array([normalized(cut(image, box, SIDE)) for image, box in own])
            found[number] = typical(sizes, SHAPES), typical(looks, TEMPLATES)
    return reporting(partial(slide, found))


def slide(
    usual: dict[int, tuple[np.ndarray, np.ndarray]], image: np.ndarray, category: int
) -> tuple[np.ndarray, np.ndarray]:
    """Every window of the class's usual sizes, and how well one of its usual appearances matches."""
    if category not in usual:
        return np.zeros((0, 4)), np.zeros(0)
    sizes, looks = usual[category]
    boxes = np.concatenate([windows(size) for size in sizes]) * np.tile(image.shape[1::-1], 2)
    seen = np.array([normalized(cut(image, box, SIDE)) for box in boxes])
    return boxes, (seen @ looks.T).max(axis=1).astype(float)


def windows(size: np.ndarray) -> np.ndarray:
    """Boxes of one (width, height) that cover the unit square, (N, 4)."""
    counts = np.minimum(np.ceil((1 - size) / (STRIDE * size)).astype(int) + 1, MOST)
    x, y = (np.linspace(0, 1 - side, count) for side, count in zip(size, counts, strict=True))
    corner = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    return np.concatenate([corner, corner + size], axis=1)


def typical(rows: np.ndarray, count: int) -> np.ndarray:
    """Up to ``count`` of the rows, each the nearest to a centre of k-means."""
    rows = rows.astype(np.float32)
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-4)
    _, _, centers = cv2.kmeans(
        rows, min(count, len(rows)), np.empty(0, np.int32), stop, 3, cv2.KMEANS_PP_CENTERS
    )
    return rows[sorted({int(np.square(rows - center).sum(1).argmin()) for center in centers})]


def normalized(picture: np.ndarray) -> np.ndarray:
    """An image as one row of length 1 and mean 0."""
    row = picture.ravel() - picture.mean()
    return row / (np.linalg.norm(row) + 1e-6)


@baseline("Detection-v0", "ranked regions")
@baseline("HierarchicalDetection-v0", "ranked regions")
def ranked_regions(train: Any) -> Callable[[Any, State], State]:
    """Boxes around segments and pairs of neighbouring segments, ranked by ridge regression on gradients and shape.

    Right examples are the objects and the regions that overlap one by 0.7, wrong ones the regions that overlap none
    by 0.3.

    Source: Felzenszwalb & Huttenlocher (2004) for the segments; their grouping follows the idea of Uijlings et al.
    (2013), selective search; the descriptor is that of Dalal & Triggs (2005).
    """
    features, answers = examples(train)
    gram = features.T @ features + RIDGE * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, features.T @ answers)
    kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def find(image: np.ndarray, category: int) -> tuple[np.ndarray, np.ndarray]:
        key = hash(image.tobytes())
        if key not in kept:
            boxes = regions(image)
            kept[key] = boxes, describe(image, boxes) @ weights
        boxes, scores = kept[key]
        return boxes, scores[:, category]

    return reporting(find)


def examples(train: Any) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors of right and wrong regions, (N, F), and 1 for the class of each, else -1, (N, classes)."""
    rng, features, answers = np.random.default_rng(0), [], []
    numbers = np.arange(len(train.names))
    for image, truths, labels in objects(train):
        boxes = np.concatenate([truths, regions(image)])
        overlaps = pairwise_iou(boxes, truths) if len(truths) else np.zeros((len(boxes), 1))
        right = np.flatnonzero(overlaps.max(axis=1) >= RIGHT)
        wrong = rng.permutation(np.flatnonzero(overlaps.max(axis=1) <= APART))[:WRONG]
        features.append(describe(image, boxes[np.concatenate([right, wrong])]))
        answers += [np.where(numbers == labels[overlaps[row].argmax()], 1.0, -1.0) for row in right]
        answers += [np.full(len(numbers), -1.0)] * len(wrong)
    return np.concatenate(features), np.array(answers)


def describe(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Describes each box by HOG features, 8 x 8 pixels a cell, and by its position and size: (N, 333)."""
    from skimage.feature import hog

    unit = boxes / np.tile(image.shape[1::-1], 2)
    size, center = unit[:, 2:] - unit[:, :2], (unit[:, 2:] + unit[:, :2]) / 2
    shape = np.concatenate([size, center, size**2, (center - 0.5) ** 2, np.ones((len(boxes), 1))], axis=1)
    return np.concatenate([[hog(cut(image, box, CELLS), 9, (8, 8), (2, 2)) for box in boxes], shape], axis=1)


def regions(image: np.ndarray) -> np.ndarray:
    """Boxes around segments, and around two that touch, at three scales: (N, 4), each once."""
    from scipy.ndimage import find_objects
    from skimage.segmentation import felzenszwalb

    small, factor = shrink(image.transpose(2, 0, 1), LONGEST)
    small = small.transpose(1, 2, 0)
    found = [np.array([[0, 0, *small.shape[1::-1]]])]
    for scale in SEGMENTS:
        segments = felzenszwalb(small, scale=scale, sigma=0.8, min_size=40, channel_axis=-1)
        boxes = np.array([[x.start, y.start, x.stop, y.stop] for y, x in find_objects(segments + 1)])
        beside = [segments[:, :-1], segments[:, 1:]], [segments[:-1], segments[1:]]
        across = np.concatenate([np.stack(pair, -1).reshape(-1, 2) for pair in beside])
        pairs = np.unique(np.sort(across[across[:, 0] != across[:, 1]], axis=1), axis=0)
        a, b = boxes[pairs[:, 0]], boxes[pairs[:, 1]]
        found += [boxes, np.concatenate([np.minimum(a[:, :2], b[:, :2]), np.maximum(a[:, 2:], b[:, 2:])], -1)]
    whole = np.unique(np.concatenate(found), axis=0) * factor
    return whole[(whole[:, 2:] - whole[:, :2]).min(1) >= SIDE / 2]
