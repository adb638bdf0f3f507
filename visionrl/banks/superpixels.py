"""Superpixels of the squares of a mask bank: regions that keep to the edges in the image, as many in each."""

from __future__ import annotations

import cv2
import numpy as np

from visionrl.banks.masks import MaskBank
from visionrl.banks.patches import shared
from visionrl.ops import DeviceTable, Recalled

COMPACTNESS = 0.002  # of regions, against the gradient
BLUR = 0.7  # pixels, before the gradient


class Superpixels(Recalled):
    """The regions of all squares of a bank, by a compact watershed from a lattice of seeds (Neubert & Protzel, 2014).

    Args:
        bank: squares of N images.
        lattice: g, seeds along each side; there are K = g * g regions in each square, each in one part.

    Attributes:
        labels: (N, S * S) int64, the region of each pixel.
        neighbours: (N, K, K) float64, for each region its neighbours' equal shares, which add up to 1.
        about: (N, K, 3) float64, middle (x, y) of each region in [-1, 1], and its size, 1 in the mean.
    """

    def __init__(self, bank: MaskBank, lattice: int) -> None:
        self.side, self.count = bank.side, lattice**2
        labels = np.stack([regions_of(image, lattice) for image in bank.images.array])
        self.labels = DeviceTable(labels.reshape(len(labels), -1))
        self.neighbours = DeviceTable(np.stack([neighbours_of(one, self.count) for one in labels]))
        self.about = DeviceTable(np.stack([self._about(one) for one in labels]))

    def _about(self, labels: np.ndarray) -> np.ndarray:
        """See ``about``."""
        size = np.bincount(labels.ravel(), minlength=self.count)
        places = np.indices(labels.shape)[::-1].reshape(2, -1)
        middles = [np.bincount(labels.ravel(), one, self.count) / size for one in places]
        scaled = [2 * (middle + 0.5) / self.side - 1 for middle in middles]
        return np.stack([*scaled, size / size.mean()], axis=1)


def superpixels(bank: MaskBank, lattice: int) -> Superpixels:
    """The superpixels of a bank; environments over the same images share them."""
    return shared(Superpixels, [bank.images.array], bank, lattice)


def regions_of(image: np.ndarray, lattice: int) -> np.ndarray:
    """(S, S) int64 in [0, lattice * lattice), the regions of an image (C, S, S) uint8, numbered by their seeds."""
    from skimage.segmentation import watershed  # takes half a second to import

    grey = cv2.GaussianBlur(image.mean(axis=0) / 255, (0, 0), BLUR)
    gradient = np.hypot(*np.gradient(grey))
    line = ((np.arange(lattice) + 0.5) * len(grey) / lattice).astype(int)
    seeds = np.zeros(grey.shape, int)
    seeds[np.ix_(line, line)] = np.arange(1, lattice**2 + 1).reshape(lattice, lattice)
    return watershed(gradient, seeds, compactness=COMPACTNESS).astype(np.int64) - 1


def neighbours_of(labels: np.ndarray, count: int) -> np.ndarray:
    """(K, K) float64, rows of equal shares of the regions that touch one, 1 of itself where none does."""
    touch = np.zeros((count, count))
    for first, second in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        touch[first, second] = touch[second, first] = 1
    np.fill_diagonal(touch, 0)
    lonely = touch.sum(axis=1) == 0
    touch[lonely, lonely] = 1
    return touch / touch.sum(axis=1, keepdims=True)
