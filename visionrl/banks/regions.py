"""Regions of the images of a split: what describes their pixels, and the sums that a linear segmenter learns from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from visionrl.datasets.samples import ImageSample
from visionrl.metrics.segmentation import mean_iou_of
from visionrl.ops import Array, DeviceTable, Recalled, xp_of
from visionrl.ops.pyramid import shrink
from visionrl.ops.ridge import class_scores

LATTICE = 4  # pixels along each side of a region that stand for it
UNLABELLED = -1  # class of a pixel whose label nobody knows
SCALES = (1.0, 4.0, 16.0)  # standard deviations of the Gaussians, pixels
LEVELS, WIDTH = 6, 0.12  # of intensity, and how near one must be to count


class RegionBank(Recalled):
    """The regions of all images, numbered image by image, row by row.

    An image is cut into as many rows and columns of regions as fit, which so are ``side`` pixels wide or more. N
    regions in all.

    Args:
        samples: images of any sizes; those without a mask are regions without labels.
        table: the class of each label of the masks, in [0, K); -1 for pixels that nobody has labelled.
        count: number of classes, K.
        side: least side of a region, pixels as held.
        longest: images with a longer side are shrunk to it first; None never.
        coloured: whether colours are described too.

    Attributes:
        boxes: (N, 4) float64, (x0, y0, x1, y1) edges in pixels of the original image.
        image: (N,) int64, number of each region's image.
        known: (N,) bool, whether some of it is labelled.
        gram: (N, F, F) float64, the sum of the products of its pixels' features, two by two; where some are labelled,
            of these alone.
        moment: (N, F, K) float64, the sum of its pixels' features by class.
        count: (N, K) float64, its labelled pixels by class.
        pixels: (N, F, P) float64, the features of P pixels spread evenly over it.
        centre: (N, F + 1) float64, the mean of these, and its squared length.
        about: (N, 6) float64, mean intensity, contrast and gradient, how common such regions are, and the place of its
            middle in the image, (x, y) in [-1, 1].

    Raises:
        ValueError: an image is smaller than a region.
    """

    def __init__(
        self,
        samples: Sequence[ImageSample],
        table: tuple[int, ...],
        count: int,
        side: int,
        longest: int | None,
        coloured: bool,
    ) -> None:
        rows: list[tuple[np.ndarray, ...]] = []
        for number, sample in enumerate(samples):
            features, held = describe(sample, table, longest, coloured)
            high, wide = features.shape[:2]
            if min(high, wide) < side:
                raise ValueError(
                    f"region must be <= the shorter side of image {sample.name!r}, {min(high, wide)} pixels, got {side}"
                )
            factor = np.array(sample.image.shape[:0:-1]) / (wide, high)
            for box in cells(wide, high, side):
                rows.append((*region(features, held, box, count), np.tile(factor, 2) * box, np.array(number)))
        gram, moment, tally, pixels, about, boxes, image = (
            np.stack(column) for column in zip(*rows, strict=True)
        )
        self.boxes, self.image = boxes.astype(float), DeviceTable(image)
        self.known = DeviceTable(tally.sum(axis=1) > 0)
        self.gram, self.moment, self.count = DeviceTable(gram), DeviceTable(moment), DeviceTable(tally)
        self.pixels = DeviceTable(np.ascontiguousarray(pixels.transpose(0, 2, 1)))
        centre = pixels.mean(axis=1)
        about[:, 3] = density(centre)
        self.about = DeviceTable(about)
        self.centre = DeviceTable(np.column_stack([centre, (centre**2).sum(axis=1)]))

    def __len__(self) -> int:
        """The number of regions."""
        return len(self.boxes)


def describe(
    sample: ImageSample, table: tuple[int, ...], longest: int | None, coloured: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The features of an image's pixels, (H, W, F), and their classes, (H, W), as held; -1 where unknown."""
    image, _ = shrink(sample.image, longest)
    high, wide = image.shape[1:]
    features = pixel_features(image, coloured)
    if sample.mask is None:
        return features, np.full((high, wide), UNLABELLED)
    classes = np.asarray(table, np.int32)[np.minimum(sample.mask, len(table) - 1)]
    return features, cv2.resize(classes, (wide, high), interpolation=cv2.INTER_NEAREST)


def pixel_features(image: np.ndarray, coloured: bool) -> np.ndarray:
    """(H, W, F) float64 in about [-1, 1], of an image (C, H, W) uint8; F is 18, and 20 in colour.

    A constant; how near the intensity is to each of six levels; the mean intensity about the pixel at two scales, their
    squares and product; the lengths of the gradient and of the local deviation; the place in the image (x, y) in
    [-1, 1], its squared distance from the middle, the square of y; and in colour the deviation of red and blue from
    the mean. As they are not linear in the intensity, a linear segmenter can tell a range of intensities.
    """
    colours = image.astype(np.float64) / 255
    grey = colours.mean(axis=0)
    high, wide = grey.shape
    x, y = np.meshgrid(np.linspace(-1, 1, wide), np.linspace(-1, 1, high))
    fine, near, far = (cv2.GaussianBlur(grey, (0, 0), s, borderType=cv2.BORDER_REPLICATE) for s in SCALES)
    levels = [np.exp(-(((fine - k / (LEVELS - 1)) / WIDTH) ** 2)) for k in range(LEVELS)]
    context = [near, far, near**2, far**2, near * far]
    texture = [4 * np.hypot(*np.gradient(fine)), 4 * local_deviation(grey, 5)]
    tint = [colours[0] - grey, colours[-1] - grey] if coloured else []
    return np.stack(
        [np.ones_like(grey), *levels, *context, *texture, x, y, x**2 + y**2, y**2, *tint], axis=-1
    )


def local_deviation(grey: np.ndarray, size: int) -> np.ndarray:
    """The standard deviation of the intensity in a square about each pixel."""
    mean, square = (cv2.blur(some, (size, size), borderType=cv2.BORDER_REFLECT) for some in (grey, grey**2))
    return np.sqrt(np.maximum(square - mean**2, 0))


def cells(wide: int, high: int, side: int) -> np.ndarray:
    """(N, 4) int64, edges (x0, y0, x1, y1) of an image's regions, row by row."""
    x, y = (np.linspace(0, length, length // side + 1).round().astype(int) for length in (wide, high))
    return np.array([[a, b, c, d] for b, d in pairwise(y) for a, c in pairwise(x)])


def region(features: np.ndarray, labels: np.ndarray, box: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    """Sums, counts, pixels and summary of one region; see ``RegionBank``."""
    x0, y0, x1, y1 = box
    inside, own = features[y0:y1, x0:x1], labels[y0:y1, x0:x1].ravel()
    flat = inside.reshape(-1, features.shape[2])
    member = (own[:, None] == np.arange(count)).astype(float)
    rows, columns = ((np.arange(LATTICE) * size + size // 2) // LATTICE for size in inside.shape[:2])
    some = inside[rows][:, columns].reshape(-1, features.shape[2])
    high, wide = features.shape[:2]
    middle = np.array([(x0 + x1) / wide - 1, (y0 + y1) / high - 1])
    about = np.array([flat[:, 1].mean(), flat[:, 1].std(), flat[:, 12].mean(), 0.0, *middle])
    learnt = flat[own >= 0] if (own >= 0).any() else flat
    return learnt.T @ learnt, flat.T @ member, member.sum(axis=0), some, about


class PixelSample(Recalled):
    """Pixels of labelled images, drawn once, on which segmenters are scored.

    Args:
        samples: images with masks.
        table: see ``RegionBank``.
        count: number of classes, K.
        longest: see ``RegionBank``.
        coloured: see ``RegionBank``.
        most: pixels that are drawn, where there are as many.

    Attributes:
        features: (F, P) float64.
        actual: (P, K) float32, one-hot classes.
    """

    def __init__(
        self,
        samples: Sequence[ImageSample],
        table: tuple[int, ...],
        count: int,
        longest: int | None,
        coloured: bool,
        most: int,
    ) -> None:
        features, classes = zip(
            *(describe(sample, table, longest, coloured) for sample in samples), strict=True
        )
        labels = np.concatenate([one.ravel() for one in classes])
        known = np.flatnonzero(labels >= 0)
        drawn = np.random.default_rng(0).permutation(known)[:most]
        every = np.concatenate([one.reshape(-1, one.shape[2]) for one in features])
        self.features = DeviceTable(np.ascontiguousarray(every[drawn].T))
        self.actual = DeviceTable(np.eye(count, dtype=np.float32)[labels[drawn]])

    def mean_iou(self, weights: Array) -> Array:
        """(B,) float64, the mean IoU of linear segmenters, (B, F, K); equal scores are of the first class."""
        xp, classes = xp_of(weights), weights.shape[2]
        scores = class_scores(self.features.on(weights), weights)
        best = scores[:, 0, :]
        for number in range(1, classes):
            best = xp.maximum(best, scores[:, number, :])
        free, won = xp.ones_like(best, dtype=xp.bool), []
        for number in range(classes):
            hit = free & (scores[:, number, :] >= best)
            free = free & ~hit
            won.append(xp.astype(hit, xp.float32))
        confusion = xp.astype(
            xp.stack(won, axis=1) @ self.actual.on(weights), xp.float64
        )  # (B, predicted, actual)
        return mean_iou_of(confusion)


def density(means: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1], how common regions with such mean features are in the pool, the commonest 1."""
    near = np.array([np.exp(-((one - means) ** 2).sum(axis=-1) / 0.5).mean() for one in means])
    return near / near.max()
