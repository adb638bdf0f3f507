"""The photographs of one split and the objects in them, held once for all episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl.banks.patches import colored, filled_pyramid, shared
from visionrl.datasets.samples import ImageSample
from visionrl.ops import DeviceTable, Recalled
from visionrl.ops.pyramid import shrink

UNNAMED = "object"


class ImageBank(Recalled):
    """Every image with its halvings, and its boxes, padded to the most that an image has.

    Args:
        samples: images of any size; smaller ones are padded with 0 at the right and below.
        window: side of the windows that will be cut, pixels; sets how many halvings are worth having.
        longest: images with a longer side are shrunk to it first; None never.
        channels: 1 holds all grey, 3 all in RGB; None is RGB if an image is.

    Attributes:
        sizes: (M, 2) float64, (width, height) of each image as it is held, lent to any array library.
        factors: (M,) float64, pixels of the original image per pixel held.
        boxes: (M, N, 4) float64, edges in pixels as held, NaN beyond an image's own; likewise lent.
        labels: M sequences of the boxes' class names; "object" where the sample has none.
    """

    def __init__(
        self, samples: Sequence[ImageSample], window: int, longest: int | None, channels: int | None = None
    ) -> None:
        images, factors = zip(*(shrink(sample.image, longest) for sample in samples), strict=True)
        shapes = np.array([image.shape for image in images])
        most, high, wide = (int(n) for n in shapes.max(0))
        self.channels, self.factors = channels or most, np.array(factors)
        depth = 1 + max(int(np.log2(min(high, wide) / window)), 0)
        shape = (len(images), high, wide, self.channels)
        self.pyramid = filled_pyramid(lambda item: colored(images[item], self.channels), shape, depth)
        own = [np.reshape([] if s.boxes is None else s.boxes, (-1, 4)) for s in samples]
        boxes = np.full((len(images), max(1, *map(len, own)), 4), np.nan)
        for item, (some, factor) in enumerate(zip(own, factors, strict=True)):
            boxes[item, : len(some)] = some / factor
        self.boxes = DeviceTable(boxes)
        self.labels = [
            tuple(s.labels) or (UNNAMED,) * len(some) for s, some in zip(samples, own, strict=True)
        ]
        self.sizes = DeviceTable(shapes[:, :0:-1].astype(float))

    def image(self, item: int) -> np.ndarray:
        """One image as (H, W, C) uint8, without the padding."""
        width, height = self.sizes.array[item].astype(int)
        return self.pyramid.levels[0][item, :height, :width]


def image_bank(
    samples: Sequence[ImageSample], window: int, longest: int | None = None, channels: int | None = None
) -> ImageBank:
    """The bank of some images; environments over the same arrays share it."""
    arrays = [array for sample in samples for array in (sample.image, sample.boxes)]
    return shared(ImageBank, arrays, samples, window, longest, channels)
