"""Embedded photograph of 24 Greek coins for object detection, with boxes and masks by a watershed.

The coins lie in four rows. The upper two are for training, the third for validation, the fourth for the test:
no coin and no pixel is in two splits. An image is a random part of its split's rows, so the images of one split
show the same coins in other company. The photograph lies in the installed scikit-image; the outlines are those
of ``cutouts``.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from visionrl.datasets.embedded.cutouts import photograph
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.splits import SPLITS

COUNTS = {"train": 60, "val": 12, "test": 20}
STRIPS = {"train": (0, 151), "val": (151, 226), "test": (226, 303)}
"""First row of pixels of each split, and the row after its last."""

_SEED = 24
_OUTLINES = Path(__file__).parent / "data" / "cutouts.json"


class Coins(GeneratedDataset[ImageSample]):
    """The images of one split, (1, 70..151, 110..240) of differing sizes, each with one coin or more.

    ``boxes`` hold the coins, every one whole; all ``labels`` are "coin". ``mask`` numbers them from 1, in the order of
    the boxes; ``names`` of all are "coin". Images are mirrored at random, and brighter or darker. An image is a pure
    function of the split and its index.

    Args:
        split: "train", "val" or "test".

    Raises:
        ValueError: another split.
        FileNotFoundError: scikit-image is not installed.
    """

    def __init__(self, split: str = "train") -> None:
        super().__init__(split, None, COUNTS)
        coin_boxes()  # a missing file fails here
        photograph("coins.png")

    def _make(self, number: int) -> ImageSample:
        return _part(self.split, number)


@lru_cache
def coin_boxes() -> np.ndarray:
    """(24, 4) float64 boxes of the coins in the whole photograph."""
    return np.array([(*(outline.min(0) - 1), *(outline.max(0) + 2)) for outline in _outlines()], float)


def _outlines() -> list[np.ndarray]:
    """An outline a coin: (N, 2) centres of pixels one pixel inside the edge, (x, y)."""
    entries = [entry for entry in json.loads(_OUTLINES.read_text()) if entry["photograph"] == "coins.png"]
    return [np.array(entry["outline"]) for entry in entries]


@lru_cache
def coin_masks() -> np.ndarray:
    """(H, W) uint8, the coins of the whole photograph numbered from 1."""
    masks = np.zeros(_grey().shape[1:], np.uint8)
    for number, inner in enumerate(_outlines(), 1):
        filled = cv2.fillPoly(np.zeros_like(masks), [np.rint(inner).astype(np.int32)], 1)
        masks[cv2.dilate(filled, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))) > 0] = number
    return masks


@lru_cache
def _grey() -> np.ndarray:
    """(1, H, W) uint8 photograph."""
    return photograph("coins.png")[:1]


def _part(split: str, index: int) -> ImageSample:
    """Image ``index`` of a split: a random part that cuts no coin and shows one or more."""
    rng = np.random.default_rng((_SEED, SPLITS.index(split), index))
    top, bottom = STRIPS[split]
    boxes = coin_boxes()
    while True:
        width = int(rng.integers(110, 241))
        x0 = int(rng.integers(0, _grey().shape[2] - width + 1))
        y0, y1 = top + int(rng.integers(0, 5)), bottom - int(rng.integers(0, 5))
        part = np.array([x0, y0, x0 + width, y1], float)
        inside = (boxes[:, :2] >= part[:2]).all(1) & (boxes[:, 2:] <= part[2:]).all(1)
        apart = (boxes[:, :2] >= part[2:]).any(1) | (boxes[:, 2:] <= part[:2]).any(1)
        if inside.any() and (inside | apart).all():
            break
    image, found = _grey()[:, y0:y1, x0 : x0 + width], boxes[inside] - np.tile(part[:2], 2)
    order = np.zeros(len(boxes) + 1, np.uint8)
    order[1:][inside] = np.arange(1, inside.sum() + 1)
    mask = order[coin_masks()[y0:y1, x0 : x0 + width]]
    if rng.random() < 0.5:
        image, found = (
            image[..., ::-1],
            np.array([width, 0, width, 0]) + found[:, [2, 1, 0, 3]] * [-1, 1, -1, 1],
        )
        mask = np.ascontiguousarray(mask[:, ::-1])
    lit = np.clip(np.rint(image * rng.uniform(0.8, 1.2) + rng.uniform(-15, 15)), 0, 255).astype(np.uint8)
    names = dict.fromkeys(range(1, len(found) + 1), "coin")
    labels = ("coin",) * len(found)
    return ImageSample(lit, found, labels, mask=mask, names=names, name=f"{split} {index}")
