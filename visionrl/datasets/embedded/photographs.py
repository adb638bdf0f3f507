"""Photographs of the installed scikit-image, for tasks that restore or enlarge pictures.

A photograph belongs to one split, the same as in ``cutouts``.
"""

from __future__ import annotations

import numpy as np

from visionrl.datasets.embedded.cutouts import backgrounds
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.samples import ImageSample

LONGEST = 320  # pixels


class Photographs(GeneratedDataset[ImageSample]):
    """The photographs of one split with texture in them, (3, H, W) uint8, the longer side at most 320 pixels.

    They are shrunk by averaging, which takes away what compression and the lens left in them.

    Args:
        split: "train", "val" or "test", with 7, 3 and 5 photographs.

    Raises:
        ValueError: another split.
        FileNotFoundError: scikit-image is not installed.
    """

    def __init__(self, split: str = "train") -> None:
        super().__init__(split, None, {name: len(backgrounds(name)) for name in ("train", "val", "test")})

    def _make(self, number: int) -> ImageSample:
        found = backgrounds(self.split)[number]
        return ImageSample(shrunk(found.image), name=found.photograph.partition(".")[0])


def shrunk(image: np.ndarray) -> np.ndarray:
    """(C, H, W) uint8 whose longer side is at most ``LONGEST``."""
    import cv2

    factor = max(image.shape[1:]) / LONGEST
    if factor <= 1:
        return image
    width, height = (round(side / factor) for side in (image.shape[2], image.shape[1]))
    small = cv2.resize(
        np.ascontiguousarray(image.transpose(1, 2, 0)), (width, height), interpolation=cv2.INTER_AREA
    )
    return np.ascontiguousarray(small.reshape(height, width, -1).transpose(2, 0, 1))
