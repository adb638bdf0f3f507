"""Rough masks: what a quick hand or a poor segmenter makes of an object, as probabilities."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from visionrl.banks.masks import MaskBank
from visionrl.datasets import ImageSample
from visionrl.ops import DeviceTable

SOFTNESS = 2.0  # pixels of 64, over which a probability rises from 1/2 to 3/4
WAVES = 6  # knots of the outline's noise along a side
SHIFT, BIAS, NOISE = 0.3, 0.15, (0.15, 0.5)  # radii of the object


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """(S, S) float32, distance of pixels to the outline of a mask, > 0 inside; -S everywhere of an empty one."""
    if not mask.any():
        return np.full(mask.shape, -float(len(mask)), np.float32)
    inside, outside = (_exact_distance(some) for some in (mask, ~mask))
    return np.where(mask, np.minimum(inside, len(mask)) - 0.5, 0.5 - outside).astype(np.float32)


def signed_distances(bank: MaskBank) -> DeviceTable:
    """(N, S, S) float32, the signed distances of the masks of a bank."""
    return DeviceTable(np.stack([signed_distance(mask) for mask in bank.truth.array]))


def _exact_distance(mask: np.ndarray) -> np.ndarray:
    """Distance of the pixels of a mask to the nearest one outside; OpenCV's last digit is not always the same."""
    found = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.sqrt(np.rint(np.minimum(found, 4 * len(mask)).astype(np.float64) ** 2))


def soft(distance: np.ndarray) -> np.ndarray:
    """Probabilities (S, S) float64 of signed distances, 1/2 at the outline."""
    return 1 / (1 + np.exp(-np.clip(distance / (SOFTNESS * len(distance) / 64), -6, 6).astype(np.float64)))


def roughened(distance: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Probabilities of an object whose outline is shifted, too large or too small, and wavy, (S, S) float64.

    In radii of a disc as large as the object, for a strength of 1, the signed distance is moved by up to 0.3 along x
    and y, gets a bias of up to 0.15, and a smooth noise of a standard deviation of 0.15 to 0.5.

    Args:
        distance: (S, S), of ``signed_distance``.
        strength: factor of all three.
        rng: source of chance.
    """
    side, radius = len(distance), strength * np.sqrt((distance > 0).sum() / np.pi)
    shift = rng.uniform(-SHIFT, SHIFT, 2) * radius
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
    moved = cv2.warpAffine(distance, move, (side, side), borderMode=cv2.BORDER_REPLICATE)
    knots = rng.normal(0, rng.uniform(*NOISE) * radius, (WAVES, WAVES)).astype(np.float32)
    waves = cv2.resize(knots, (side, side), interpolation=cv2.INTER_CUBIC)
    return soft(moved + rng.uniform(-BIAS, BIAS) * radius + waves)


def with_rough_mask(sample: ImageSample) -> ImageSample:
    """The sample, where it has no mask with one: the ellipse in its first box, or in the middle of the image."""
    if sample.mask is not None and np.any(sample.mask):
        return sample
    high, wide = sample.image.shape[1:]
    box = np.array([wide / 4, high / 4, 3 * wide / 4, 3 * high / 4])
    if sample.boxes is not None and len(sample.boxes):
        box = np.asarray(sample.boxes[0], float)
    middle, half = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], 1) / 2
    rows, columns = np.indices((high, wide)) + 0.5
    inside = ((columns - middle[0]) / half[0]) ** 2 + ((rows - middle[1]) / half[1]) ** 2 <= 1
    return replace(sample, mask=inside.astype(np.uint8), names={1: "object"})
