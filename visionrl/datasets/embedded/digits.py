"""Real handwritten digits, alone or in clutter: the test set of the optical digits of the UCI repository.

1,797 digits by 13 people (Alpaydin & Kaynak, 1998), 8 x 8 pixels of 17 greys, as scikit-learn carries them. White
on black, enlarged smoothly to 20 x 20 pixels in the middle of 28 x 28, which is how MNIST frames its digits.

The splits are by image and stratified, 1,258 for training, 180 for validation, 359 for testing. The copy does not
say who wrote what, so all writers are in all splits: a score says nothing about a new person's hand.

In clutter, after the "cluttered translated" setting of Mnih et al. (2014): a digit somewhere on a canvas, and
fragments of other digits of the same split around and upon it. Every canvas is fixed by its split and number.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.splits import SPLITS, check_split

NAMES = tuple("0123456789")
SIDE, INK = 28, 20  # pixels of an image, and of the digit in its middle
COPIES = {"train": 4, "val": 2, "test": 1}  # canvases of each digit
_ARCHIVE = Path(__file__).parent / "data" / "digits.npz"


@cache
def read_archive() -> dict[str, np.ndarray]:
    """The arrays ``images`` (N, 8, 8) uint8 from 0 to 16, ``labels`` (N,) and ``splits`` (N,) uint8; read-only."""
    with np.load(_ARCHIVE, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


@cache
def _members(split: str) -> np.ndarray:
    """The numbers of the split's digits in the archive."""
    return np.flatnonzero(read_archive()["splits"] == SPLITS.index(check_split(split)))


def enlarge(small: np.ndarray, side: int = INK) -> np.ndarray:
    """(8, 8) from 0 to 16 as (side, side) uint8 from 0 to 255, by cubic interpolation."""
    wide = cv2.resize(small.astype(np.float32) * (255 / 16), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.rint(wide), 0, 255).astype(np.uint8)


@cache
def _digit(number: int) -> np.ndarray:
    """A digit of the archive, enlarged; read-only."""
    digit = enlarge(read_archive()["images"][number])
    digit.flags.writeable = False
    return digit


class Digits(GeneratedDataset[ImageSample]):
    """The digits of one split, (1, 28, 28) each; ``labels`` holds the digit's name, and there is no box.

    Args:
        split: "train", "val" or "test".

    Raises:
        ValueError: another split.
    """

    def __init__(self, split: str = "train") -> None:
        self.members = _members(split)
        super().__init__(split, len(self.members), {})

    def _make(self, number: int) -> ImageSample:
        digit, margin = int(self.members[number]), (SIDE - INK) // 2
        archive, image = read_archive(), np.zeros((1, SIDE, SIDE), np.uint8)
        image[0, margin:-margin, margin:-margin] = _digit(digit)
        return ImageSample(image, labels=(NAMES[archive["labels"][digit]],), name=f"digit-{digit:04d}")


class ClutteredDigits(GeneratedDataset[ImageSample]):
    """Digits in clutter, (1, canvas, canvas) each, with the digit's box and its name.

    A training digit is on four canvases, a digit for validation on two, a test digit on one.

    Args:
        split: "train", "val" or "test".
        canvas: side of the image, pixels.
        clutter: how many fragments, each 8 x 8 pixels out of another digit; the brighter pixel wins.

    Raises:
        ValueError: another split, or a canvas on which no digit fits.
    """

    FRAGMENT = 8

    def __init__(self, split: str = "train", canvas: int = 60, clutter: int = 4) -> None:
        if canvas < INK:
            raise ValueError(f"canvas must be >= {INK}, got {canvas}")
        if clutter < 0:
            raise ValueError(f"clutter must be >= 0, got {clutter}")
        self.members = _members(split)
        super().__init__(split, len(self.members) * COPIES[split], {})
        self.canvas, self.clutter = canvas, clutter

    def _make(self, number: int) -> ImageSample:
        rng = np.random.default_rng((SPLITS.index(self.split), number))
        archive, digit = read_archive(), int(self.members[number // COPIES[self.split]])
        image = np.zeros((1, self.canvas, self.canvas), np.uint8)
        x, y = rng.integers(0, self.canvas - INK + 1, 2).tolist()
        _lay(image, _digit(digit), x, y)
        for other in rng.choice(self.members, self.clutter):
            _lay(image, self._fragment(rng, int(other)), *rng.integers(0, self.canvas - self.FRAGMENT + 1, 2))
        return ImageSample(
            image,
            boxes=np.array([[x, y, x + INK, y + INK]], float),
            labels=(NAMES[archive["labels"][digit]],),
            name=f"digit-{digit:04d}-{number % COPIES[self.split]}",
            subject=f"digit-{digit:04d}",
        )

    def _fragment(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """A random piece of a digit."""
        x, y = rng.integers(0, INK - self.FRAGMENT + 1, 2)
        return _digit(number)[y : y + self.FRAGMENT, x : x + self.FRAGMENT]


def _lay(image: np.ndarray, piece: np.ndarray, x: int, y: int) -> None:
    """Lay a square piece on a (1, H, W) image, in place; the brighter pixel wins."""
    under = image[0, y : y + len(piece), x : x + len(piece)]
    np.maximum(under, piece, out=under)
