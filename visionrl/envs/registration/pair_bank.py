"""The pairs of one split, held once for all episodes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from visionrl import ops
from visionrl.datasets import PairSample
from visionrl.datasets.bank import allocate, colored, shared
from visionrl.envs.registration.transforms import carry, fit
from visionrl.ops import Array, Resident, const, xp_of

GRID = 5  # points along each side of a pair that has a map but no points
HELD = (
    "fixed",
    "moving",
    "fixed_points",
    "moving_points",
    "transform",
    "start",
    "spacing_mm",
)  # what a bank is made of


class PairBank:
    """Images of one pixel size a pair, smoothed once for every scale, with points and the true maps.

    A window of scale s shows every s-th pixel of the image that was averaged over s x s pixels. Places are (x, y) in
    pixels as held, from the middle of their image.

    Args:
        samples: the pairs.
        size: side of the windows, pixels.
        scales: whole pixels of the image per pixel of a window, one a level.
        kind: of the true maps: "rigid", "similarity" or "affine".
        longest: pairs with a longer side are shrunk to it, both images alike; None never.
        channels: 1 holds all grey, 3 all in RGB; None is RGB if an image is.

    Attributes:
        factors: (M,) float64, pixels of the original moving image per pixel held.
        truth: (M, 2, 3) float64, map from the fixed to the moving image: the given one, or the best for the points.
        starts: (M, 2, 3) float64, from which the pairs themselves would start.
        fixed, moving: M images (H, W, C) uint8, as held.

    Raises:
        ValueError: a pair has too few points for the kind.
    """

    def __init__(
        self,
        samples: Sequence[PairSample],
        size: int,
        scales: Sequence[int],
        kind: str,
        longest: int | None = None,
        channels: int | None = None,
    ) -> None:
        self.size, self.scales = size, tuple(scales)
        self.channels = channels or max(max(s.fixed.shape[0], s.moving.shape[0]) for s in samples)
        units = np.array([pixel_size(sample, longest) for sample in samples])  # of both images
        self.fixed = [held(s.fixed, self.channels, unit[0]) for s, unit in zip(samples, units, strict=True)]
        self.moving = [held(s.moving, self.channels, unit[1]) for s, unit in zip(samples, units, strict=True)]
        self.factors = Resident(units[:, 1])
        self.middles = Resident(np.array([middle(image) for image in self.moving]))
        self.sizes = Resident(np.array([image.shape[1::-1] for image in self.moving], float))
        self._place(samples, units, kind)
        self._store = Resident(self._smoothed(self.moving))
        self._seen = Resident(self._fixed_windows())

    def _place(self, samples: Sequence[PairSample], units: np.ndarray, kind: str) -> None:
        """Points, weights, true maps and starts, as held and from the middles."""
        ends = [ends_of(sample) for sample in samples]
        most = max(len(first) for first, _ in ends)
        points, weights = np.zeros((2, len(samples), most, 2)), np.zeros((len(samples), most))
        truth, starts = [], []
        for n, (sample, pair, unit) in enumerate(zip(samples, ends, units, strict=True)):
            homes = middle(self.fixed[n]), middle(self.moving[n])
            for which in (0, 1):
                points[which, n, : len(pair[which])] = (pair[which] + 0.5) / unit[which] - 0.5 - homes[which]
            weights[n, : len(pair[0])] = 1 / len(pair[0])
            source, goal = points[:, n, : len(pair[0])]
            maps = [
                None if m is None else as_held(sample, m, unit, homes)
                for m in (sample.transform, sample.start)
            ]
            try:
                truth.append(fit(kind, source, goal) if maps[0] is None else fit(kind, *maps[0]))
            except ValueError as error:
                raise ValueError(f"pair {sample.name!r}: {error}") from error
            starts.append(np.eye(2, 3) if maps[1] is None else fit(kind, *maps[1]))
        self.fixed_points, self.moving_points, self.weights = map(Resident, (*points, weights))
        self.truth, self.starts = np.array(truth), np.array(starts)

    def _smoothed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(M * scales, H, W, C) uint8, all images at all scales, padded with 0 at the right and below."""
        high, wide = (max(image.shape[axis] for image in images) for axis in (0, 1))
        shape = (len(images) * len(self.scales), high, wide, self.channels)
        store = allocate(int(np.prod(shape))).reshape(shape)
        for n, image in enumerate(images):
            for level, scale in enumerate(self.scales):
                some = cv2.blur(image, (scale, scale)) if scale > 1 else image
                store[n * len(self.scales) + level, : image.shape[0], : image.shape[1]] = some.reshape(
                    image.shape
                )
        return store

    def _fixed_windows(self) -> np.ndarray:
        """(M, scales, C, w, w) uint8, the fixed images about their middles."""
        store = self._smoothed(self.fixed)
        middles, poses = (
            np.array([middle(image) for image in self.fixed]),
            np.tile(np.eye(2, 3), (len(self.fixed), 1, 1)),
        )
        index = np.arange(len(self.fixed))
        return self._windows(store, index, poses, middles)

    def fixed_windows(self, pair: Array) -> Array:
        """(B, scales, C, w, w) uint8."""
        return xp_of(pair).take(self._seen.on(pair), pair, axis=0)

    def moving_windows(self, pair: Array, pose: Array, levels: Sequence[int] | None = None) -> Array:
        """The moving images as maps (B, 2, 3) bring them onto the fixed ones: (B, scales, C, w, w) uint8."""
        middles = xp_of(pair).take(self.middles.on(pair), pair, axis=0)
        store = self._store.on(pair) if ops.is_torch(pair) else self._store.array
        return self._windows(store, pair, pose, middles, levels)

    def _windows(
        self, store: Array, pair: Array, pose: Array, middles: Array, levels: Sequence[int] | None = None
    ) -> Array:
        """Windows of some levels, default all, of images whose middles are given."""
        xp, rows = xp_of(pose), pose.shape[0]
        levels = tuple(range(len(self.scales)) if levels is None else levels)
        count, home = len(levels), self.size / 2 - 0.5
        scale = const(tuple(float(self.scales[k]) for k in levels), pose)
        linear = pose[:, None, :, :2] * scale[None, :, None, None]
        corner = (pose[:, :, 2] + middles)[:, None, :] - home * xp.sum(linear, axis=-1)
        matrix = xp.reshape(xp.concat([linear, corner[..., None]], axis=-1), (rows * count, 2, 3))
        index = xp.reshape(pair[:, None] * len(self.scales) + const(levels, pair)[None, :], (-1,))
        seen = ops.warp(store, index, matrix, self.size)
        return xp.reshape(seen, (rows, count, *seen.shape[1:]))

    def inside(self, pair: Array, pose: Array, level: int) -> Array:
        """Which pixels of a level's window show the moving image: (B, w * w) bool, row by row."""
        line = tuple((k - self.size / 2 + 0.5) * self.scales[level] for k in range(self.size))
        xp, places = xp_of(pose), const(tuple((x, y) for y in line for x in line), pose)
        half = xp.take(self.sizes.on(pair), pair, axis=0) / 2
        at = xp.abs(carry(pose, xp.broadcast_to(places[None, :, :], (pose.shape[0], *places.shape))))
        return ops.every(at <= half[:, None, :])


def pixel_size(sample: PairSample, longest: int | None) -> tuple[float, float]:
    """Pixels of the original fixed and moving image per pixel held: after it, both have one size in millimetres."""
    ratio = 1.0 if sample.spacing_mm is None else float(sample.spacing_mm[0] / sample.spacing_mm[1])
    sides = [*sample.fixed.shape[1:], *(side / ratio for side in sample.moving.shape[1:])]
    shrunk = max(max(sides) / longest, 1.0) if longest else 1.0
    return shrunk, shrunk * ratio


def held(image: np.ndarray, channels: int, unit: float) -> np.ndarray:
    """(H, W, C) uint8 of a (C, H, W) image, ``unit`` times smaller."""
    planes = colored(image, channels)
    if unit != 1:
        sides = tuple(max(round(side / unit), 1) for side in image.shape[:0:-1])
        way = cv2.INTER_AREA if unit > 1 else cv2.INTER_LINEAR
        planes = np.stack([cv2.resize(plane, sides, interpolation=way) for plane in planes])
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def middle(image: np.ndarray) -> np.ndarray:
    """(2,) float64, (x, y) of the middle of an (H, W, C) image."""
    return (np.array(image.shape[1::-1]) - 1) / 2


def inner_grid(image: np.ndarray) -> np.ndarray:
    """(25, 2) float64 places (x, y) spread over a (C, H, W) image."""
    lines = [np.linspace(0.1, 0.9, GRID) * (side - 1) for side in image.shape[:0:-1]]
    return np.stack(np.meshgrid(*lines), axis=-1).reshape(-1, 2)


def as_held(
    sample: PairSample, matrix: np.ndarray, unit: np.ndarray, homes: tuple[np.ndarray, np.ndarray]
) -> list[np.ndarray]:
    """Places spread over the fixed image and where a map takes them, as held and from the middles: (25, 2) each."""
    grid = inner_grid(sample.fixed)
    ends = grid, grid @ matrix[:, :2].T + matrix[:, 2]
    return [(end + 0.5) / size - 0.5 - home for end, size, home in zip(ends, unit, homes, strict=True)]


def ends_of(sample: PairSample) -> tuple[np.ndarray, np.ndarray]:
    """Points of both images, (N, 2) each: the pair's own, or a grid that its map carries."""
    if sample.fixed_points is not None:
        return np.asarray(sample.fixed_points, float), np.asarray(sample.moving_points, float)
    grid = inner_grid(sample.fixed)
    return grid, grid @ sample.transform[:, :2].T + sample.transform[:, 2]


def pair_bank(
    samples: Sequence[PairSample],
    size: int,
    scales: tuple[int, ...],
    kind: str,
    longest: int | None = None,
    channels: int | None = None,
) -> PairBank:
    """The bank of some pairs; environments over the same arrays share it."""
    pixels = [getattr(sample, name) for sample in samples for name in HELD]
    return shared(PairBank, pixels, samples, size, scales, kind, longest, channels)
