"""Corners that two images have in common, and how many of them a map takes where they belong."""

from __future__ import annotations

import cv2
import numpy as np

from visionrl.banks.image_pairs import PairBank, middle
from visionrl.banks.patches import colored
from visionrl.ops import Array, DeviceTable, norm, xp_of
from visionrl.ops.transforms import carry

FEATURES = 1000  # corners of an image at most
NEAR = 3.0  # pixels as held within which a corner is where it belongs


class Inliers:
    """The corners of some pairs that match, found once.

    Source: Fischler & Bolles (1981) for inliers; ORB of Rublee et al. (2011).

    Args:
        bank: the pairs.
    """

    def __init__(self, bank: PairBank) -> None:
        pairs = list(zip(bank.fixed, bank.moving, strict=True))
        ends = [matched(grey(first), grey(second)) for first, second in pairs]
        most = max(max(len(source) for source, _ in ends), 1)
        points, weights = np.zeros((2, len(pairs), most, 2)), np.zeros((len(pairs), most))
        for n, (both, images) in enumerate(zip(ends, pairs, strict=True)):
            for which in (0, 1):
                points[which, n, : len(both[0])] = both[which] - middle(images[which])
            weights[n, : len(both[0])] = 1 / max(len(both[0]), 1)
        self.fixed, self.moving, self.weights = map(DeviceTable, (*points, weights))

    def share(self, pair: Array, matrix: Array) -> Array:
        """The share of the matches that maps (B, 2, 3) from fixed to moving images agree with, (B,) float64."""
        xp = xp_of(matrix)
        source, goal, weight = (table.rows(pair) for table in (self.fixed, self.moving, self.weights))
        near = norm(carry(matrix, source) - goal) <= NEAR
        return xp.sum(weight * xp.astype(near, weight.dtype), axis=-1)


def matched(fixed: np.ndarray, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 2) of both images (H, W) uint8 at which ORB's corners are mutual nearest neighbours."""
    detector = cv2.ORB.create(FEATURES)
    (first, words), (second, others) = (detector.detectAndCompute(image, None) for image in (fixed, moving))
    if words is None or others is None:
        return np.zeros((0, 2)), np.zeros((0, 2))
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(words, others)
    source = np.array([first[match.queryIdx].pt for match in matches]).reshape(-1, 2)
    return source, np.array([second[match.trainIdx].pt for match in matches]).reshape(-1, 2)


def grey(image: np.ndarray) -> np.ndarray:
    """(H, W) uint8 of an (H, W, C) image."""
    return np.ascontiguousarray(colored(image.transpose(2, 0, 1), 1)[0])
