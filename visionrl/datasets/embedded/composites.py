"""Embedded images for segmentation: real cut-outs on real photographs, with the exact mask of each.

Every pixel comes from a photograph inside the installed scikit-image, which lies in one split with all that is cut
out of it (``cutouts``); what is made up is where the objects lie, their scale, rotation, mirroring and light.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from visionrl.datasets.embedded.compose import blur, is_grey, layer, paste, poses, tint
from visionrl.datasets.embedded.cutouts import Cutout, backgrounds, cutouts
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.splits import SPLITS

COUNTS = {"train": 240, "val": 24, "test": 48}
PATCH = "patch"
"""Name of blobs of texture; all else are objects that have a name of their own."""

_SEED = 20181
_SIDES = (96, 129)
_SHARE = (0.06, 0.45)  # of the image, that an object fills
_LEAST = 0.03  # of the image, that is to be seen of it


class Composites(GeneratedDataset[ImageSample]):
    """The images of one split, (3, 96..128, 96..128) of differing sizes; one in three has a second object.

    ``mask`` holds 1 where the opacity of the first object is over one half, 2 likewise of the second, which may be
    partly behind the first; ``names`` says what they are: a named object, such as "cat" or "rocket", or "patch", a
    blob of texture. ``boxes`` are those of the visible parts, ``labels`` their names. An image is a pure function of
    the split and its index.

    Args:
        split: "train", "val" or "test".
        count: the number of images; None takes ``COUNTS``.

    Raises:
        ValueError: another split, or a count below 1.
        FileNotFoundError: scikit-image, or a photograph in it, is not installed.
    """

    def __init__(self, split: str = "train", count: int | None = None) -> None:
        super().__init__(split, count, COUNTS)
        cutouts(split)  # a missing photograph fails here

    def _make(self, number: int) -> ImageSample:
        return compose(self.split, number)


@lru_cache
def kinds(split: str) -> dict[str, tuple[Cutout, ...]]:
    """The cut-outs of a split by what they are, numbers left out."""
    found: dict[str, list[Cutout]] = {}
    for cutout in cutouts(split):
        name = PATCH if cutout.name.startswith("patch ") else re.sub(r" \d+$", "", cutout.name)
        found.setdefault(name, []).append(cutout)
    return {name: tuple(some) for name, some in found.items()}


def compose(split: str, index: int) -> ImageSample:
    """Image ``index`` of a split."""
    rng = np.random.default_rng((_SEED, SPLITS.index(split), index))
    width, height = (int(side) for side in rng.integers(*_SIDES, 2))
    while True:
        names = [_kind(rng, split) for _ in range(2 if index % 3 == 2 else 1)]
        chosen = [kinds(split)[name][rng.integers(len(kinds(split)[name]))] for name in names]
        canvas = _background(rng, split, {cutout.photograph for cutout in chosen}, width, height)
        mask = np.zeros((height, width), np.uint8)
        for label in reversed(range(1, len(chosen) + 1)):  # the first lies in front
            mask[_draw(rng, canvas, chosen[label - 1]) > 127] = label
        areas = [(mask == label).mean() for label in range(1, len(chosen) + 1)]
        if min(areas) >= _LEAST:
            break
    boxes = [cv2.boundingRect((mask == label).astype(np.uint8)) for label in range(1, len(chosen) + 1)]
    return ImageSample(
        np.ascontiguousarray(canvas.transpose(2, 0, 1)),
        np.array([(x, y, x + w, y + h) for x, y, w, h in boxes], float),
        names,
        mask=mask,
        names=dict(enumerate(names, 1)),
        name=f"{split} {index}",
    )


def _kind(rng: np.random.Generator, split: str) -> str:
    """The kind of an object: half of them have a name, each name as often."""
    named = [name for name in kinds(split) if name != PATCH]
    return PATCH if rng.random() < 0.5 else named[rng.integers(len(named))]


def _background(rng: np.random.Generator, split: str, taken: set[str], width: int, height: int) -> np.ndarray:
    """(height, width, 3) part of a photograph that none of the objects comes from, where there is one."""
    every = backgrounds(split)
    choice = [one for one in every if one.photograph not in taken] or list(every)
    image = choice[rng.integers(len(choice))].image.transpose(1, 2, 0)
    scale = rng.uniform(0.3, 1) * min(image.shape[1] / width, image.shape[0] / height)
    wide, high = int(width * scale), int(height * scale)
    x, y = (rng.integers(0, room + 1) for room in (image.shape[1] - wide, image.shape[0] - high))
    part = cv2.resize(image[y : y + high, x : x + wide], (width, height), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        part = part[:, ::-1]
    return cv2.LUT(np.ascontiguousarray(part), tint(rng, is_grey(part.transpose(2, 0, 1))))


def _draw(rng: np.random.Generator, canvas: np.ndarray, cutout: Cutout) -> np.ndarray:
    """Draws an object somewhere and gives its (H, W) uint8 opacity."""
    if rng.random() < 0.5:
        mirrored = np.ascontiguousarray(cutout.alpha[:, ::-1])
        cutout = replace(cutout, image=cutout.image[..., ::-1], alpha=mirrored)
    size = np.array(canvas.shape[1::-1], float)
    wanted = rng.uniform(*_SHARE) * size.prod()
    scale = np.sqrt(wanted / (cutout.alpha > 127).sum())
    scale = min(scale, 0.9 * min(size / cutout.alpha.shape[::-1]))
    drawn = layer(cutout, scale, tint(rng, is_grey(cutout.image)))
    angle = np.radians(rng.uniform(-30, 30))
    place = rng.uniform(0.3, 0.7, 2) * size
    matrix = poses(drawn, place[None], np.ones(1), np.array([angle]))[0]
    kernel = blur(np.zeros(2), rng.uniform(0, 0.6))
    paste(canvas, drawn, matrix, kernel)
    opacity = np.zeros_like(canvas)
    paste(opacity, replace(drawn, rgba=np.repeat(drawn.rgba[..., 3:], 4, axis=2)), matrix, kernel)
    return opacity[..., 0]
