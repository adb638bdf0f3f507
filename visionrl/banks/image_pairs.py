"""The pairs of images of one split, held once for all episodes."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import cv2
import numpy as np

from visionrl import ops
from visionrl.banks.label_maps import label_maps
from visionrl.banks.pair_geometry import PairGeometry, PixelToWorld
from visionrl.banks.patches import colored, filled_block, shared
from visionrl.datasets import PairSample
from visionrl.ops import Array, DeviceTable, Recalled, const, xp_of
from visionrl.ops.transforms import carry

WHOLE = 1e-6  # of a pixel held, by which an image may be longer than a whole number of them
LATTICE = 64  # places along each side at which labels are compared
# What a bank is made of.
_IMAGES, _MAPS = ("fixed", "moving", "fixed_mask", "moving_mask"), ("transform", "start", "spacing_mm")
HELD = (*_IMAGES, "fixed_points", "moving_points", *_MAPS)


class PairBank(Recalled):
    """Images of one pixel size a pair, smoothed once for every scale, with points and the true maps.

    A window of scale s shows every s-th pixel of the image that was averaged over s x s pixels. Places are (x, y) in
    pixels as held, from the middle of their image.

    Args:
        samples: the pairs.
        scales: whole pixels of the image per pixel of a window, one a level.
        kind: of the true maps: "rigid", "similarity" or "affine".
        longest: pairs with a longer side are shrunk to it, both images alike; None never.
        channels: 1 holds all grey, 3 all in RGB; None is RGB if an image is.

    Attributes:
        geometry: points and true maps; errors are in pixels of the original moving image.
        masks: label maps, or None where a pair has none.
        half_extent: (M,) float64, half the shorter side of the fixed images.
        fixed, moving: M images (H, W, C) uint8, as held.

    Raises:
        ValueError: a pair has too few points for the kind.
    """

    pictures = 1  # of a window, those by which likeness is measured

    def __init__(
        self,
        samples: Sequence[PairSample],
        scales: Sequence[int],
        kind: str,
        longest: int | None = None,
        channels: int | None = None,
    ) -> None:
        self.scales = tuple(scales)
        self.channels = channels or max(max(s.fixed.shape[0], s.moving.shape[0]) for s in samples)
        units = np.array([pixel_size(sample, longest) for sample in samples])  # of both images
        self.fixed = [held(s.fixed, self.channels, unit[0]) for s, unit in zip(samples, units, strict=True)]
        self.moving = [held(s.moving, self.channels, unit[1]) for s, unit in zip(samples, units, strict=True)]
        self.to_world = [
            (pixel_to_world(first, unit[0]), pixel_to_world(second, unit[1]))
            for first, second, unit in zip(self.fixed, self.moving, units, strict=True)
        ]
        self.geometry = PairGeometry(samples, self.to_world, kind, units[:, 1])
        self.masks = label_maps(samples, self.to_world, LATTICE)
        self.half_extent = np.array([min(image.shape[:2]) / 2 for image in self.fixed])
        self.sizes = tuple(
            DeviceTable(np.array([image.shape[1::-1] for image in images], float))
            for images in (self.fixed, self.moving)
        )
        self._stores = DeviceTable(self._smoothed(self.fixed)), DeviceTable(self._smoothed(self.moving))
        self._middles = tuple(
            DeviceTable(np.array([middle(image) for image in images])) for images in (self.fixed, self.moving)
        )

    def _smoothed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(M * scales, H, W, C) uint8, all images at all scales, padded with 0 at the right and below."""
        high, wide = (max(image.shape[axis] for image in images) for axis in (0, 1))
        shape = (len(images) * len(self.scales), high, wide, self.channels)

        def fill(store: np.ndarray) -> None:
            for n, image in enumerate(images):
                height, width = image.shape[:2]
                for level, scale in enumerate(self.scales):
                    some = cv2.blur(image, (scale, scale)) if scale > 1 else image
                    store[n * len(self.scales) + level, :height, :width] = some.reshape(image.shape)

        return filled_block(shape, fill)

    def windows(self, which: int, pair: Array, pose: Array, levels: Sequence[int], side: int) -> Array:
        """The fixed (0) or the moving (1) images as maps (B, 2, 3) bring them to the view.

        Args:
            which: 0 or 1.
            pair: (B,) index.
            pose: from places of the view to places of the images.
            levels: numbers of scales.
            side: of the windows, pixels.

        Returns:
            (B, levels, C, side, side) uint8.
        """
        xp, rows = xp_of(pose), pose.shape[0]
        store = self._stores[which].on(pair) if ops.is_torch(pair) else self._stores[which].array
        middles = xp.take(self._middles[which].on(pair), pair, axis=0)
        levels = tuple(levels)
        count, home = len(levels), side / 2 - 0.5
        scale = const(tuple(float(self.scales[k]) for k in levels), pose)
        linear = pose[:, None, :, :2] * scale[None, :, None, None]
        # a mean over an even number of pixels lies half a pixel before the one it is stored at
        late = const(tuple(0.0 if self.scales[k] % 2 else 0.5 for k in levels), pose)
        corner = (pose[:, :, 2] + middles)[:, None, :] - home * xp.sum(linear, axis=-1) + late[None, :, None]
        matrix = xp.reshape(xp.concat([linear, corner[..., None]], axis=-1), (rows * count, 2, 3))
        index = xp.reshape(pair[:, None] * len(self.scales) + const(levels, pair)[None, :], (-1,))
        seen = ops.warp(store, index, matrix, side)
        return xp.reshape(seen, (rows, count, *seen.shape[1:]))

    def pixel(self, level: int) -> float:
        """Side of a window's pixel at a level, in pixels as held."""
        return float(self.scales[level])

    def grid(self, level: int, side: int) -> np.ndarray:
        """(side * side, 2) places that the pixels of a level's window show, row by row."""
        line = (np.arange(side) - side / 2 + 0.5) * self.pixel(level)
        return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


def within(
    grid: DeviceTable, sizes: DeviceTable, pair: Array, pose: Array, margin: Array | float = 0.0
) -> Array:
    """Mask (B, P) of the places (P, d) that maps (B, d, d + 1) take into images whose sides are ``sizes`` (M, d).

    The margin, a number or (P, 1), is how far from the border places must lie.
    """
    xp, places = xp_of(pose), grid.on(pose)
    half = sizes.rows(pair) / 2
    at = xp.abs(carry(pose, xp.broadcast_to(places[None, :, :], (pose.shape[0], *places.shape))))
    return ops.every(at <= half[:, None, :] - margin)


def pixel_size(sample: PairSample, longest: int | None) -> tuple[float, float]:
    """Pixels of the original fixed and moving image per pixel held: after it, both have one size in millimetres."""
    ratio = 1.0 if sample.spacing_mm is None else float(sample.spacing_mm[0] / sample.spacing_mm[1])
    sides = [*sample.fixed.shape[1:], *(side / ratio for side in sample.moving.shape[1:])]
    shrunk = max(max(sides) / longest, 1.0) if longest else 1.0
    return shrunk, shrunk * ratio


def held(image: np.ndarray, channels: int, unit: float) -> np.ndarray:
    """(H, W, C) uint8 of a (C, H, W) image, ``unit`` times smaller.

    Its outermost pixels go on to where a whole pixel held ends, so that the scale is ``unit`` along both axes, but for
    half a pixel of the image over its whole length.
    """
    planes = colored(image, channels)
    if unit != 1:
        sides = [ceil(side / unit - WHOLE) for side in image.shape[:0:-1]]
        more = [max(round(n * unit) - side, 0) for n, side in zip(sides, image.shape[:0:-1], strict=True)]
        planes = np.pad(planes, ((0, 0), (0, more[1]), (0, more[0])), mode="edge")
        way = cv2.INTER_AREA if unit > 1 else cv2.INTER_LINEAR
        planes = np.stack([cv2.resize(plane, sides, interpolation=way) for plane in planes])
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


def pixel_map(pose: np.ndarray, fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Map (2, 3) from pixels of the fixed image (H, W, C) to those of the moving one, of one from middle to middle."""
    return np.column_stack([pose[:, :2], pose[:, 2] + middle(moving) - pose[:, :2] @ middle(fixed)])


def middle(image: np.ndarray) -> np.ndarray:
    """(2,) float64, (x, y) of the middle of an (H, W, C) image."""
    return (np.array(image.shape[1::-1]) - 1) / 2


def pixel_to_world(image: np.ndarray, unit: float) -> PixelToWorld:
    """Conversion of original pixels to places, for an image (H, W, C) as held, ``unit`` times smaller."""
    return PixelToWorld(np.full(2, 1 / unit), 0.5 / unit - 0.5 - middle(image))


def pair_bank(
    samples: Sequence[PairSample],
    scales: tuple[int, ...],
    kind: str,
    longest: int | None = None,
    channels: int | None = None,
) -> PairBank:
    """The bank of some pairs; environments over the same arrays share it."""
    pixels = [getattr(sample, name) for sample in samples for name in HELD]
    return shared(PairBank, pixels, samples, scales, kind, longest, channels)
