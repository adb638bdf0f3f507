"""Embedded videos of many objects: real cut-outs that cross, hide and leave one another, each with its identity.

They are made as those of ``videos`` are, from the same photographs, so no two splits share an object or a background.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from visionrl.datasets.embedded import videos
from visionrl.datasets.embedded.compose import extent, poses
from visionrl.datasets.embedded.cutouts import PHOTOGRAPHS, backgrounds, cutouts
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.embedded.videos import HEIGHT, WIDTH, Actor, Scene
from visionrl.datasets.samples import MotSample
from visionrl.datasets.splits import check_split

COUNTS = {"train": 55, "val": 11, "test": 22}  # as many of every number of objects
LENGTHS = {"train": 20, "val": 40, "test": 40}
FEWEST, MOST = 2, 12
"""Objects of a video."""

INSIDE = 0.25
"""Least part of an object's box in the frame at which the object counts as being there."""

_SEED = 577


@dataclass(frozen=True)
class Crowd:
    """Everything that a video of many objects shows; T frames, N objects.

    Attributes:
        scene: what is drawn; its ``behind`` and ``target`` are the objects in the order in which they are drawn.
        boxes: (T, N, 4) float64, hidden parts included, clipped to the frame; NaN where less than a quarter of
            the box is in it.
        visibility: (T, N) float64, the part of each object's outline in the frame that nothing in front of it hides.
    """

    scene: Scene
    boxes: np.ndarray
    visibility: np.ndarray


class CutoutCrowds(GeneratedDataset[MotSample]):
    """Videos of 2 to 12 real objects that move over a real background.

    Frames are (3, 160, 208) uint8 RGB. Objects are 18 to 36 px large and move up to 0.35 sides a frame; they pass in
    front of each other, part of them leave the frame and come back, and in half of the videos one or two
    upright bars stand in front of all. Item ``i`` depends on the split, ``i`` and ``length`` alone and is drawn at
    each access.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``; no two share a photograph, of objects or backgrounds.
        count: number of videos; None: 55, 11 and 22 of the three splits.
        length: frames in a video; None: 20, 40 and 40.

    Raises:
        ValueError: no such split, or ``count`` or ``length`` under 1.
        FileNotFoundError: a photograph is missing from the installed scikit-image.
    """

    def __init__(self, split: str, count: int | None = None, length: int | None = None) -> None:
        super().__init__(split, count, COUNTS)
        self.length = LENGTHS[split] if length is None else operator.index(length)
        if self.length < 1:
            raise ValueError(f"length must be >= 1, got {length}")
        cutouts(split)  # a missing photograph fails here, not in the middle of training

    def _make(self, number: int) -> MotSample:
        made = crowd(self.split, number, self.length)
        there = ~np.isnan(made.boxes[..., 0])
        return MotSample(
            videos.render(made.scene),
            ids=[np.flatnonzero(row) for row in there],
            boxes=[boxes[row] for boxes, row in zip(made.boxes, there, strict=True)],
            visibility=[part[row] for part, row in zip(made.visibility, there, strict=True)],
            name=f"{self.split} {number}: {there.shape[1]} objects",
        )


def crowd(split: str, index: int, length: int) -> Crowd:
    """Draws the scene of video ``index`` of a split: a pure function of its arguments."""
    rng = np.random.default_rng((_SEED, list(PHOTOGRAPHS).index(check_split(split)) + 1, index))
    places = backgrounds(split)
    place = places[index % len(places)]
    others = [other for other in cutouts(split) if other.photograph != place.photograph]
    count = FEWEST + index % (MOST - FEWEST + 1)
    chosen = rng.choice(len(others), count, replace=count > len(others))
    objects = [
        videos.actor(rng, others[number], rng.uniform(18, 36), length, -0.7 if rng.random() < 0.4 else 0.45)
        for number in chosen
    ]
    bars = tuple(
        _standing(rng, split, length) for _ in range(int(rng.integers(0, 3)) if rng.random() < 0.75 else 0)
    )
    boxes = _inside(objects)
    backdrop, corner = videos.camera(rng, place, length)
    scene = Scene(
        backdrop=backdrop,
        source=place.photograph,
        corner=corner,
        behind=tuple(objects[:-1]),
        target=objects[-1],
        front=bars,
        light=videos.light(rng, length),
        defocus=videos.defocus(rng, length),
        shutter=float(rng.uniform(0.3, 0.6)) if rng.random() < 0.5 else 0.0,
        grain=videos.grain(rng),
        boxes=boxes[:, -1],
    )
    return Crowd(scene, boxes, seen(objects, bars, length))


def _inside(objects: Sequence[Actor]) -> np.ndarray:
    """(T, N, 4) boxes clipped to the frame; NaN where too little of one is in it."""
    boxes = np.stack([extent(one.drawn, one.matrices) for one in objects], axis=1)
    clipped = np.clip(boxes, 0, [WIDTH, HEIGHT] * 2)
    part = np.prod(clipped[..., 2:] - clipped[..., :2], axis=-1) / np.prod(
        boxes[..., 2:] - boxes[..., :2], axis=-1
    )
    clipped[part < INSIDE] = np.nan
    return clipped


def seen(objects: Sequence[Actor], front: Sequence[Actor], length: int) -> np.ndarray:
    """(T, N) part of each object's outline in the frame that is not behind a later one or one in front."""
    parts = np.zeros((length, len(objects)))
    for time in range(length):
        shown = np.full((HEIGHT, WIDTH), -1, np.int16)
        whole = np.ones(len(objects))
        for number, one in enumerate((*objects, *front)):
            matrix = one.matrices[time]
            outline = np.rint(one.drawn.hull @ matrix[:, :2].T + matrix[:, 2]).astype(np.int32)
            alone = np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.fillConvexPoly(alone, outline, 1)
            shown[alone > 0] = number
            if number < len(objects):
                whole[number] = max(int(alone.sum()), 1)
        counts = np.bincount(shown[shown >= 0], minlength=len(objects))[: len(objects)]
        parts[time] = counts / whole
    return parts


def _standing(rng: np.random.Generator, split: str, length: int) -> Actor:
    """An upright bar that stands still in front of all."""
    cutout = videos.bar(rng, split)
    drawn = videos.draw_at(rng, cutout, float(np.sqrt(cutout.alpha.size)))
    path = np.tile([rng.uniform(0.15, 0.85) * WIDTH, HEIGHT / 2], (length, 1))
    return Actor(cutout.name, cutout.photograph, drawn, poses(drawn, path, np.ones(length), np.zeros(length)))
