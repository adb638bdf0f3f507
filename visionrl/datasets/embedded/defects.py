"""Embedded images for the detection of anomalies: photographed textures, half of them with a defect drawn into them.

The textures are brick and gravel, for ``UnseenDefects`` grass, of the installed scikit-image. A photograph is cut into
regions, and each split has one of its own; an image is a part of it, turned, mirrored, of another scale and light.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from visionrl.datasets.embedded.cutouts import photograph
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.splits import SPLITS
from visionrl.datasets.synthetic_defects import KNOWN, with_defect

SIDE = 256  # pixels of an image
COUNTS = {"train": 360, "val": 120, "test": 200}
REGIONS = {"train": (0, 0, 296, 512), "val": (300, 0, 512, 212), "test": (300, 216, 512, 512)}
"""(x0, y0, x1, y1) in a photograph of 512 x 512 pixels."""

CROP = (
    150,
    209,
)  # least side of the part that an image shows, pixels of the photograph, and the end of the range
_SEED = 20271


class Defects(GeneratedDataset[ImageSample]):
    """The images of one split, (1, 256, 256); every second one has a defect.

    ``labels`` is the kind, "good" or that of the defect, ``mask`` is 1 on the defect, ``subject`` the texture with the
    split. An image is a pure function of the split and its index.

    Args:
        split: "train", "val" or "test".
        count: the number of images; None takes ``COUNTS``.

    Attributes:
        textures: names of the photographs.
        kinds: of the defects.

    Raises:
        ValueError: another split, or a count below 1.
        FileNotFoundError: scikit-image, or a photograph in it, is not installed.
    """

    textures: tuple[str, ...] = ("brick", "gravel")
    kinds: tuple[str, ...] = KNOWN

    def __init__(self, split: str = "train", count: int | None = None) -> None:
        super().__init__(split, count, COUNTS)
        for texture in self.textures:
            region(texture, split)  # a missing photograph fails here

    def _make(self, number: int) -> ImageSample:
        rng = np.random.default_rng((_SEED, len(self.textures), SPLITS.index(self.split), number))
        texture = self.textures[number // 2 % len(self.textures)]
        image, kind = clean(rng, region(texture, self.split)), "good"
        mask = np.zeros(image.shape[1:], np.uint8)
        if number % 2:
            image, mask, kind = with_defect(rng, image, self.kinds)
        return ImageSample(image, labels=(kind,), mask=mask, name=f"{self.split} {number} {texture}")


class UnseenDefects(Defects):
    """The same of grass, a texture that ``Defects`` has not; validation and test also have kinds that no training has.

    These are holes and smears; see ``Defects`` for the arguments.
    """

    textures = ("grass",)

    def __init__(self, split: str = "train", count: int | None = None) -> None:
        super().__init__(split, count)
        self.kinds = KNOWN if split == "train" else (*KNOWN, "hole", "smear")


@lru_cache
def region(texture: str, split: str) -> np.ndarray:
    """(H, W) uint8, the region of a photograph that a split has."""
    x0, y0, x1, y1 = REGIONS[split]
    return np.ascontiguousarray(photograph(f"{texture}.png")[0, y0:y1, x0:x1])


def clean(rng: np.random.Generator, texture: np.ndarray) -> np.ndarray:
    """(1, SIDE, SIDE) uint8, a part of a region without a defect, under uneven light and with a camera's noise."""
    side = int(rng.integers(*CROP))
    x, y = (int(rng.integers(0, size - side + 1)) for size in texture.shape[::-1])
    part = cv2.resize(texture[y : y + side, x : x + side], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    part = np.rot90(part, int(rng.integers(4)))
    part = (part[:, ::-1] if rng.random() < 0.5 else part).astype(float)
    gain, contrast = rng.uniform(0.9, 1.1), rng.uniform(0.85, 1.15)
    ramp = np.linspace(-1, 1, SIDE)
    light = gain + rng.uniform(-0.08, 0.08) * ramp[:, None] + rng.uniform(-0.08, 0.08) * ramp[None]
    middle = part.mean()
    lit = (middle + contrast * (part - middle)) * light + rng.normal(0, 1.5, part.shape)
    return np.clip(np.rint(lit), 0, 255).astype(np.uint8)[None]
