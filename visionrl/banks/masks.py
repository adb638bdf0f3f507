"""The images of one split resized to a square, and the mask of one object each, held once for all episodes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from visionrl.banks.patches import colored, shared
from visionrl.datasets.samples import ImageSample
from visionrl.ops import Array, DeviceTable, Recalled

UNNAMED = "object"


class Found(NamedTuple):
    """One object.

    Attributes:
        sample: number of its sample.
        name: number of its name.
        label: its label in the mask; 0 where unknown.
        mask: (H, W) bool; None where unknown.
    """

    sample: int
    name: int
    label: int
    mask: np.ndarray | None


class MaskBank(Recalled):
    """The images of a split on squares of side S, and the truth of one object in each.

    An item is a label of a mask: all its pixels, so two objects of one label are one item, and two labels of one name
    are two. A square is letterboxed: the image lies at the upper left, its longer side fills it, what is beyond is
    0 and not ``valid``. Pixel k of a square spans ``k * factor`` to ``(k + 1) * factor`` of the file, on each axis.

    Args:
        samples: images of any size, with masks where ``labelled``.
        side: S, pixels.
        asked: names of the objects, in the order of ``names``; None for all that the masks have.
        share: least and largest part of the image that an object fills; others are left out, with a warning.
        channels: 1 holds all grey, 3 all in RGB; None is RGB if an image is.
        labelled: False takes samples without masks: an item is an image.

    Attributes:
        names: names of the objects.
        items: M pairs, number of the sample and of the name in ``names``.
        labels: M labels in the masks; 0 where samples are not labelled.
        square: (M,) int64, index of each item's square; lent to any array library, as all tables are.
        images: (N, C, S, S) uint8, the squares.
        valid: (N, S, S) bool, where the file has pixels.
        truth: (M, S, S) bool; False everywhere where samples are not labelled.
        factors: (N, 2) float64, pixels of the file per pixel of the square, along x and y.

    Raises:
        ValueError: no sample has a mask, or none has a name that is asked for, or all objects are too small or large.
    """

    def __init__(
        self,
        samples: Sequence[ImageSample],
        side: int,
        asked: tuple[str, ...] | None = None,
        share: tuple[float, float] = (0.03, 0.9),
        channels: int | None = None,
        labelled: bool = True,
    ) -> None:
        self.side, self.channels = side, channels or max(sample.image.shape[0] for sample in samples)
        self.names = object_names(samples, asked, labelled)
        squares: dict[int, Square] = {}
        objects, truth, skipped = [], [], 0
        for found in self._objects(samples, labelled):
            cut = squares.get(found.sample) or Square(samples[found.sample].image, side)
            inside = np.zeros((side, side), bool) if found.mask is None else cut.mask(found.mask)
            if found.mask is not None and not (share[0] <= found.mask.mean() <= share[1] and inside.any()):
                skipped += 1
                continue
            squares[found.sample] = cut
            objects.append(found)
            truth.append(inside)
        _warn_skipped(skipped, len(objects), share)
        self.items = tuple((found.sample, found.name) for found in objects)
        self.labels, cuts = tuple(found.label for found in objects), squares.values()
        self.images = DeviceTable(np.stack([colored(cut.image, self.channels) for cut in cuts]))
        self.valid = DeviceTable(np.stack([cut.valid for cut in cuts]))
        self.factors = DeviceTable(np.array([cut.factor for cut in cuts], float))
        numbers = {sample: number for number, sample in enumerate(squares)}
        square = np.array([numbers[found.sample] for found in objects])
        self.truth, self.square = DeviceTable(np.stack(truth)), DeviceTable(square)

    def _objects(self, samples: Sequence[ImageSample], labelled: bool) -> Iterator[Found]:
        """Every object of the samples."""
        for i, sample in enumerate(samples):
            if not labelled:
                yield from (Found(i, k, 0, None) for k in range(len(self.names)))
                continue
            for label, name in labels_of(sample).items():
                if name in self.names:
                    yield Found(i, self.names.index(name), label, np.equal(np.asarray(sample.mask), label))

    def image(self, item: Array) -> Array:
        """Squares of items (B,) int64: (B, C, S, S) uint8."""
        return self.images.rows(self.square.rows(item))

    def known(self, item: Array) -> Array:
        """Pixels of the squares of items (B,) int64 that lie in the file: (B, S, S) bool."""
        return self.valid.rows(self.square.rows(item))

    def factor(self, item: int) -> np.ndarray:
        """(2,) float64, pixels of the file per pixel of an item's square, along x and y."""
        return self.factors.array[int(self.square.array[item])]

    def to_file(self, item: int, mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """A mask (S, S) of an item on the pixels of its file, (H, W) bool; the nearest pixel is taken."""
        rows, columns = (
            np.minimum(((np.arange(length) + 0.5) / factor).astype(int), self.side - 1)
            for length, factor in zip(shape, self.factor(item)[::-1], strict=True)
        )
        return mask[np.ix_(rows, columns)]


class Square:
    """An image, letterboxed to a square of ``side`` pixels; see ``MaskBank``.

    Args:
        image: (C, H, W) uint8.
        side: pixels.
    """

    def __init__(self, image: np.ndarray, side: int) -> None:
        height, width = image.shape[1:]
        self.side, scale = side, side / max(width, height)
        self.size = max(round(width * scale), 1), max(round(height * scale), 1)
        self.factor = width / self.size[0], height / self.size[1]
        self.image = np.stack([self._brought(channel) for channel in image])
        self.valid = self._brought(np.ones(image.shape[1:], np.float32)) > 0.5

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask (H, W) of the image: (side, side) bool, where more than half of a pixel is in it."""
        return (self._brought(mask.astype(np.float32)) > 0.5) & self.valid

    def _brought(self, plane: np.ndarray) -> np.ndarray:
        """One channel (H, W) on the square."""
        shrinks = self.factor[0] > 1 or self.factor[1] > 1
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = cv2.resize(np.ascontiguousarray(plane), self.size, interpolation=how)
        square = np.zeros((self.side, self.side), plane.dtype)
        square[: self.size[1], : self.size[0]] = small
        return square


def mask_bank(
    samples: Sequence[ImageSample],
    side: int,
    asked: Sequence[str] | None = None,
    share: tuple[float, float] = (0.03, 0.9),
    channels: int | None = None,
    labelled: bool = True,
) -> MaskBank:
    """The bank of some samples; environments over the same arrays share it."""
    arrays = [array for sample in samples for array in (sample.image, sample.mask)]
    names = None if asked is None else tuple(asked)
    return shared(MaskBank, arrays, samples, side, names, tuple(share), channels, labelled)


def labels_of(sample: ImageSample) -> dict[int, str]:
    """The labels > 0 that are in the mask of a sample, with their names; a label without one is its number."""
    if sample.mask is None:
        return {}
    labels = [int(label) for label in np.unique(sample.mask) if label > 0]
    return {label: sample.names.get(label, str(label)) for label in labels}


def object_names(
    samples: Sequence[ImageSample], asked: Sequence[str] | None, labelled: bool
) -> tuple[str, ...]:
    """Names of the objects to be segmented, those asked for in their order, else all by name.

    Raises:
        ValueError: no sample has a mask with an object, or none has one that is asked for, or one is asked twice.
    """
    if asked is not None and (not asked or len(set(asked)) < len(asked)):
        raise ValueError(f"classes must name each object once, got {', '.join(asked) or 'none'}")
    if not labelled:
        return tuple(asked or (UNNAMED,))
    known = sorted({name for sample in samples for name in labels_of(sample).values()})
    if not known:
        rule = "have masks with a label > 0"
        raise ValueError(f"data must {rule}, got {len(samples)} samples without any")
    if asked is None:
        return tuple(known)
    missing = [name for name in asked if name not in known]
    if len(missing) == len(asked):
        raise ValueError(f"classes must be among {', '.join(known)}; got {', '.join(missing)}")
    if missing:
        warnings.warn(f"no sample of the split has {', '.join(missing)}", stacklevel=2)
    return tuple(asked)


def mask_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Edges (x0, y0, x1, y1) of a mask (H, W) bool that is not empty, pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _warn_skipped(skipped: int, kept: int, share: tuple[float, float]) -> None:
    """Warn of objects that are left out.

    Raises:
        ValueError: none is left.
    """
    if not skipped and kept:
        return
    least, most = (f"{100 * part:g} %" for part in share)
    rule = f"fill {least} to {most} of the image, and a pixel of the square"
    if not kept:
        raise ValueError(f"objects must {rule}, got {skipped} of which none does")
    warnings.warn(f"{skipped} of {skipped + kept} objects are left out: they do not {rule}", stacklevel=2)
