"""Where a search begins, and what augmented training makes of it; one episode at a time."""

from __future__ import annotations

import numpy as np

from visionrl import ops
from visionrl.envs.detection.boxes import bounded, sides
from visionrl.envs.detection.state import Rules, State

# (x0, y0, x1, y1) of the boxes that a search begins from, in sides of the image: all of it, then its corners
ALL = (
    *((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.75, 0.75), (0.25, 0.0, 1.0, 0.75)),
    *((0.0, 0.25, 0.75, 1.0), (0.25, 0.25, 1.0, 1.0)),
)
SEEN = 0.5  # share of an object's area that a part of an image must show for it to be sought there
EMPTY = 0.3  # share of the parts that need not show an object
KNOWN = 0.3  # share of the objects that were reported before the start
MISS = 0.15  # of a box's sides, by which those reports miss
NEAR = 0.3  # of an object's sides, by which the easiest starts miss it


def begins(rules: Rules) -> tuple[tuple[float, float, float, float], ...]:
    """The boxes from which searches begin in turn, in sides of the image."""
    return ALL if rules.corners else ALL[:1]


def part(rng: np.random.Generator, size: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """A random part of an image, each side half of it or more; it mostly shows an object, if there is one.

    Args:
        rng: source of chance.
        size: (width, height), pixels.
        objects: (N, 4) boxes of those sought.

    Returns:
        (4,) edges, pixels.
    """
    for _ in range(1 if rng.random() < EMPTY else 20):
        extent = rng.uniform(0.5, 1, 2) * size
        corner = rng.uniform(0, 1, 2) * (size - extent)
        view = np.concatenate([corner, corner + extent])
        if (shown(objects, view) >= SEEN).any():
            break
    return view


def shown(boxes: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Share of each box's area that lies within a part of the image: (N, 4), (4,) -> (N,); NaN for a box of NaN."""
    return ops.area(bounded(boxes, view)) / ops.area(boxes)


def reported(
    rng: np.random.Generator, boxes: np.ndarray, sought: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Some objects as if they were reported already: which are left, (N,) bool, and the reports, (K, 4), not exact."""
    known = np.flatnonzero(sought & (rng.random(len(sought)) < KNOWN))[:most]
    left = sought.copy()
    left[known] = False
    return left, boxes[known] + MISS * rng.uniform(-1, 1, (len(known), 4)) * sides(boxes[known])


def nearer(rng: np.random.Generator, view: np.ndarray, objects: np.ndarray, difficulty: float) -> np.ndarray:
    """All that is searched, or a box that lies the nearer to one of the objects the lower the difficulty: (4,)."""
    if difficulty >= 1 or not len(objects):
        return view.copy()
    truth = rng.choice(objects)
    near = bounded(truth + NEAR * rng.uniform(-1, 1, 4) * sides(truth), view)
    return near + difficulty * (view - near)


def first_state(
    rules: Rules,
    *,
    image: int,
    category: int,
    view: np.ndarray,
    box: np.ndarray,
    sought: np.ndarray,
    marks: np.ndarray,
    kept: int,
) -> State:
    """What a search remembers when it begins: fields of ``State`` without the axis B.

    Args:
        rules: the constants.
        image: number of the image.
        category: number of the class.
        view: (4,) the part of the image that is searched.
        box: (4,) where the search begins.
        sought: (N,) bool, the objects of the class.
        marks: (K, 4) boxes that count as reported already; NaN where there is none.
        kept: how many attended boxes are kept for evaluation.
    """
    most = len(marks)
    return State(
        image=np.int64(image),
        category=np.int64(category),
        view=view,
        box=box,
        sought=sought,
        present=np.float64(sought.sum()),
        found=np.float64(0),
        reports=np.int64((~np.isnan(marks[:, 0])).sum()),
        marks=marks,
        scores=np.full(most, np.nan),
        spent=np.full(most, np.nan),
        since=np.int64(0),
        since_report=np.int64(0),
        start=np.int64(1 % len(begins(rules))),
        actions=np.zeros((rules.history, 5)) if rules.continuous else np.full(rules.history, -1),
        confidence=np.float64(0),
        attended=np.full((kept, 5), np.nan),
        steps=np.int64(0),
    )
