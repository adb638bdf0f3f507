"""Embedded classes for few-shot learning: each is one photographed object, and its images are views of it.

The views are made as the surrogate classes of Dosovitskiy et al. (2014, "Discriminative unsupervised feature learning
with convolutional neural networks"): the same pixels turned, scaled, mirrored, lit otherwise, out of focus, on another
background. The objects are those of ``scenes``: bricks, coins, faces, galaxies, printed words and seven kinds of
garments. No object, and no background, is in two splits, so the classes of a split are new to who learned on another.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from visionrl.datasets.embedded.compose import layer, paste, poses
from visionrl.datasets.embedded.cutouts import Cutout
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.embedded.objects import places_of, subject_of
from visionrl.datasets.embedded.scenes import stock
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.splits import SPLITS, check_split

SIDE = 28  # pixels of a view
VIEWS = 20
"""Images of each class."""

LONGEST = 21.0
"""Longest side of an object at scale 1, pixels."""

TURN, SCALE = 40.0, (0.7, 1.3)  # most degrees, either way; least and most scale
_SEED = 20262


class Instances(GeneratedDataset[ImageSample]):
    """The views of one split, (1, 28, 28) grey, ``VIEWS`` of one object after another.

    ``labels`` holds the class, "NOUN/NAME" such as "coin/3" and "word/first": what precedes the slash is the kind of
    thing, which several classes share. A view is a pure function of split, class and number.

    Args:
        split: "train", "val" or "test"; 598, 150 and 249 classes.
        views: images of each class.

    Raises:
        ValueError: another split, or ``views`` below 1.
        FileNotFoundError: scikit-image, or an image in it, is not installed.
    """

    def __init__(self, split: str = "train", views: int = VIEWS) -> None:
        if views < 1:
            raise ValueError(f"views must be >= 1, got {views}")
        self.views, self.names = views, tuple(objects_of(check_split(split)))
        super().__init__(split, len(self.names) * views, {})

    def _make(self, number: int) -> ImageSample:
        which, turn = divmod(number, self.views)
        name = self.names[which]
        image = view(self.split, which, turn)[None]
        return ImageSample(image, labels=(name,), name=f"{name} view {turn}", subject=name)


@lru_cache
def objects_of(split: str) -> dict[str, Cutout]:
    """The object of each class of a split by the class' name; of a word printed twice, the first."""
    found: dict[str, Cutout] = {}
    for noun, cutouts in stock(split).items():
        first = {subject_of(cutout): cutout for cutout in reversed(cutouts)}
        found |= {f"{noun}/{subject.split()[-1]}": cutout for subject, cutout in reversed(first.items())}
    return found


def view(split: str, which: int, number: int) -> np.ndarray:
    """(28, 28) uint8, view ``number`` of class ``which`` of a split."""
    rng = np.random.default_rng((_SEED, SPLITS.index(split), which, number))
    cutout = tuple(objects_of(split).values())[which]
    canvas = cv2.merge([_background(rng, split)] * 3)
    if rng.random() < 0.5 and cutout.photograph != "page.png":  # words are not mirrored
        alpha = np.ascontiguousarray(cutout.alpha[:, ::-1])
        cutout = replace(cutout, image=cutout.image[..., ::-1], alpha=alpha)
    size = LONGEST * rng.uniform(*SCALE) / (max(cutout.alpha.shape) - 2)
    drawn = layer(cutout, size, _tone(rng))
    place, angle = (SIDE - 1) / 2 + rng.uniform(-2.5, 2.5, 2), np.radians(rng.uniform(-TURN, TURN))
    paste(canvas, drawn, poses(drawn, place[None], np.ones(1), np.array([angle]))[0])
    image = canvas[..., 0]
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8))
    grain = rng.normal(0, rng.uniform(1, 5), image.shape)
    return np.clip(np.rint(image + grain), 0, 255).astype(np.uint8)


def _background(rng: np.random.Generator, split: str) -> np.ndarray:
    """(28, 28) uint8 part of a photograph of a split, turned by quarters, mirrored, with less contrast."""
    image = _places(split)[rng.integers(len(_places(split)))]
    side = int(rng.integers(SIDE, min(image.shape) + 1))
    y, x = (int(rng.integers(room - side + 1)) for room in image.shape)
    part = np.rot90(image[y : y + side, x : x + side], int(rng.integers(4)))[:: rng.choice((1, -1))]
    small = cv2.resize(np.ascontiguousarray(part), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.convertScaleAbs(small, alpha=rng.uniform(0.4, 0.8), beta=rng.uniform(0, 60))


@lru_cache
def _places(split: str) -> tuple[np.ndarray, ...]:
    """The backgrounds of a split, grey, the shorter side brought down to 120 pixels."""
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in places_of(split)]
    scales = [min(120 / min(image.shape), 1) for image in grey]
    return tuple(
        cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for image, scale in zip(grey, scales, strict=True)
    )


def _tone(rng: np.random.Generator) -> np.ndarray:
    """(256, 1, 3) uint8 table of grey levels: how dark, how bright, and the curve between them."""
    low, high = rng.uniform(10, 70), rng.uniform(160, 250)
    levels = low + (high - low) * np.linspace(0, 1, 256) ** rng.uniform(0.7, 1.4)
    return np.repeat(np.rint(levels).astype(np.uint8)[:, None, None], 3, axis=2)
