"""The pixels of one split, held once for all episodes; episodes hold an index into them."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from itertools import count
from typing import Any

import cv2
import numpy as np

from visionrl import ops
from visionrl.datasets.disk_cache import stored_block
from visionrl.datasets.load import Loaded, embedded_part
from visionrl.datasets.samples import ImageSample
from visionrl.ops import Array, DeviceTable, Pyramid, Recalled, xp_of
from visionrl.ops.pyramid import level_shapes, shrink

MEMORY_LIMIT = 1 << 30  # bytes of one block; a larger one lies in a temporary file and is paged in


class PatchBank(Recalled):
    """Images at a few fixed scales, side by side in one padded block: a window is a plain copy.

    The image at scale s is the mean of blocks of s x s pixels. A window's centre is rounded to the pixel grid of
    its scale, which is part of the definition; its centre pixel is number ``size // 2``. Outside the image is 0.

    Args:
        images: each (C, H, W) uint8, no side shorter than the largest scale.
        size: side of the windows, pixels.
        scales: whole pixels of the image per pixel of a window, one a level.
        longest: images with a longer side are shrunk to it first; None never.
        channels: 1 holds all grey, 3 all in RGB; None is RGB if an image is.

    Attributes:
        sizes: (M, 2) float64, (width, height) of each image as it is held, in pixels.
        factors: (M,) float64, pixels of the original image per pixel held.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        size: int,
        scales: Sequence[int],
        longest: int | None = None,
        channels: int | None = None,
    ) -> None:
        self.size, self.scales = size, tuple(scales)
        images, factors = zip(*(shrink(image, longest) for image in images), strict=True)
        self.factors = np.array(factors)
        self.sizes = np.array([image.shape[:0:-1] for image in images], float)
        self.channels = channels or max(image.shape[0] for image in images)
        if (shortest := self.sizes.min()) < max(scales):
            number = int(self.sizes.min(axis=1).argmin())
            raise ValueError(
                f"image {number} must have sides >= {max(scales)}, the largest scale, got {shortest:g}"
            )
        high, wide = (max(image.shape[axis] for image in images) for axis in (1, 2))
        widths = [-(-wide // s) + size + 1 for s in scales]
        self._lefts = tuple(int(x) for x in np.cumsum([0, *widths[:-1]]))  # first column of each scale
        shape = (len(images), self.channels, -(-high // min(scales)) + size + 1, sum(widths))
        store = filled_block(shape, partial(self._fill, images))
        self._store = DeviceTable(store, partial(ops.windows, size=size))

    def _fill(self, images: Sequence[np.ndarray], store: np.ndarray) -> None:
        """Write every image at every scale into the block."""
        for item, image in enumerate(images):
            for scale, first in zip(self.scales, self._lefts, strict=True):
                small = block_mean(colored(image, self.channels), scale)
                top, left = self.size // 2, first + self.size // 2
                store[item, :, top : top + small.shape[1], left : left + small.shape[2]] = small

    def crop(self, index: Array, position: Array, level: Array | None = None) -> Array:
        """Windows around points; the arguments' leading axes broadcast.

        Args:
            index: (...) int64, image.
            position: (..., 2) float64, (x, y) in pixels of the image, inside it.
            level: (...) int64, number of the scale; None for every scale, on one more axis.

        Returns:
            (..., C, size, size) uint8.
        """
        xp = xp_of(position)
        scale, left = ops.const(self.scales, position), ops.const(self._lefts, index)
        if level is None:
            index, position = index[..., None], position[..., None, :]
        else:
            scale, left = (
                xp.reshape(xp.take(x, xp.reshape(level, (-1,))), level.shape) for x in (scale, left)
            )
        cell = xp.astype(xp.round((position + 0.5) / scale[..., None] - 0.5), xp.int64)
        return ops.patch(self._windows(index), index, cell[..., 1], cell[..., 0] + left)

    def _windows(self, index: Array) -> Array:
        """Every window, where the kernel wants it: beside torch tensors, else in NumPy."""
        return self._store.on(index if ops.is_torch(index) else self._store.array)


def allocate(size: int) -> np.ndarray:
    """(size,) uint8 zeros: in memory up to ``MEMORY_LIMIT``, beyond it in a temporary file that goes with the array."""
    if size <= MEMORY_LIMIT:
        return np.zeros(size, np.uint8)
    return np.memmap(tempfile.TemporaryFile(), np.uint8, "w+", shape=(size,))


def filled_block(shape: Sequence[int], fill: Callable[[np.ndarray], None]) -> np.ndarray:
    """A block of pixels that ``fill`` writes, and nobody after it.

    It lies where ``allocate`` puts it. One of a bank of an embedded set is written once on a machine, and mapped by all
    its processes (``datasets.disk_cache``).

    Args:
        shape: of the block.
        fill: gets it, uint8 and all 0.

    Returns:
        uint8.
    """
    size = math.prod(shape)

    def make() -> np.ndarray:
        block = allocate(size)
        fill(block.reshape(shape))
        return block

    part = _PART.get()
    block = (
        make() if part is None else stored_block(part[0], f"{part[1]} {next(part[2])} {shape}", size, make)
    )
    return block.reshape(shape)


def filled_pyramid(
    image: Callable[[int], np.ndarray], shape: tuple[int, int, int, int], depth: int
) -> Pyramid:
    """A pyramid of images.

    Args:
        image: gives the one of a number, (C, h, w) uint8.
        shape: (M, H, W, C) of the finest level.
        depth: number of levels.
    """

    def fill(pixels: np.ndarray) -> None:
        pyramid = Pyramid(pixels, shape, depth)
        for number in range(shape[0]):
            pyramid.fill(number, image(number))

    size = sum(math.prod(level) for level in level_shapes(shape, depth))
    return Pyramid(filled_block((size,), fill), shape, depth)


def block_mean(image: np.ndarray, scale: int) -> np.ndarray:
    """(C, H, W) uint8 averaged over blocks of scale x scale; an incomplete last block is left out."""
    if scale == 1:
        return image
    height, width = image.shape[1] // scale, image.shape[2] // scale
    even = image[:, : height * scale, : width * scale]
    return np.stack([cv2.resize(c, (width, height), interpolation=cv2.INTER_AREA) for c in even])


def patch_bank(
    samples: Sequence[ImageSample],
    size: int,
    scales: tuple[int, ...],
    longest: int | None = None,
    channels: int | None = None,
) -> PatchBank:
    """The bank of some images; environments over the same arrays share it."""
    images = [sample.image for sample in samples]
    return shared(_patches, images, samples, size, scales, longest, channels)


def _patches(samples: Sequence[ImageSample], *args: Any) -> PatchBank:
    """The bank of the images of some samples."""
    return PatchBank([sample.image for sample in samples], *args)


_PART: ContextVar[tuple[str, str, Iterator[int]] | None] = ContextVar("part", default=None)
"""Of which part of which embedded set, and how, a bank is being made, and the numbers of its blocks."""
_BANKS: OrderedDict[Any, tuple[Any, Any]] = OrderedDict()  # the newest six, with the pixels that they are of


def shared(build: Callable[..., Any], pixels: list[Any], *args: Any) -> Any:
    """A bank that ``build`` makes of samples, made once for the same pixels.

    A bank of loaded samples, or of such a bank, and each table in it, is pickled as how to make it again.

    Args:
        build: a function or class at the top of a module.
        pixels: the arrays of the samples; banks of the same ones are the same.
        args: of ``build``: the samples or a bank, then what can be hashed.
    """
    remade = isinstance(args[0], Loaded) or (isinstance(args[0], Recalled) and args[0].recipe is not None)
    held = [args[0]] if remade else pixels
    key = (build, tuple(map(id, held)), args[1:])
    if key not in _BANKS:
        _BANKS[key] = (held, _made(build, args))  # holding the pixels keeps their ids their own
        if held is not pixels:
            _give_recipes(_BANKS[key][1], (build, args), ())
    _BANKS.move_to_end(key)
    while len(_BANKS) > 6:
        _BANKS.popitem(last=False)
    return _BANKS[key][1]


def _made(build: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """A bank; the blocks of one of an embedded set are told apart by all that it is made from."""
    part, how, named = embedded_part(args[0]), repr(args[1:]), None
    if part is not None and " at 0x" not in how:
        named = part[0], f"{build.__module__}.{build.__qualname__} {part[1]} {how}", count()
    token = _PART.set(named)
    try:
        return build(*args)
    finally:
        _PART.reset(token)


def _give_recipes(thing: Any, made: tuple[Any, ...], path: tuple[Any, ...]) -> None:
    """Give a part of a bank, and its own parts, the recipe "make the bank, follow the path"."""
    if isinstance(thing, Recalled):
        if thing.recipe is None:
            thing.recipe = _part, (*made, path)
            for name, value in list(vars(thing).items()):
                _give_recipes(value, made, (*path, name))
    elif isinstance(thing, tuple | list | dict):
        for place, value in thing.items() if isinstance(thing, dict) else enumerate(thing):
            _give_recipes(value, made, (*path, place))


def _part(build: Callable[..., Any], args: tuple[Any, ...], path: tuple[Any, ...]) -> Any:
    """The part of a bank at the end of a path of attributes, keys and numbers."""
    thing = shared(build, [], *args)
    for step in path:
        thing = vars(thing)[step] if isinstance(thing, Recalled) else thing[step]
    return thing


def colored(image: np.ndarray, channels: int) -> np.ndarray:
    """A (C, H, W) uint8 image grey or in RGB."""
    if image.shape[0] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=0)
    return cv2.cvtColor(np.ascontiguousarray(image.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)[None]


def targets(
    samples: Sequence[ImageSample], asked: str | Sequence[str] | None, labelled: bool = True
) -> tuple[tuple[str, ...], list[tuple[int, int]]]:
    """The structures to be found, and every (image, structure) in which one is there, by number.

    A structure that is asked for may be missing from a split; a warning says so. Samples that are not ``labelled`` are
    searched for all that are asked for.

    Raises:
        ValueError: no sample has points, or none has a structure that is asked for, or one is asked for twice.
    """
    known = sorted({name for sample in samples for name in sample.points})
    names = known if asked is None else [asked] if isinstance(asked, str) else list(asked)
    if not names or (asked is None and not labelled):
        rule = "have points to look for" if labelled else "name a target where it has no labels"
        raise ValueError(f"data must {rule}, got samples without any")
    if len(set(names)) < len(names):
        raise ValueError(f"target must name each structure once, got {', '.join(names)}")
    if not labelled:
        return tuple(names), [(i, k) for i in range(len(samples)) for k in range(len(names))]
    if missing := [name for name in names if name not in known]:
        if len(missing) == len(names):
            raise ValueError(f"target must be among {', '.join(known)}; got {', '.join(missing)}")
        warnings.warn(f"no sample of the split has {', '.join(missing)}", stacklevel=2)
    pairs = [
        (i, k) for i, sample in enumerate(samples) for k, name in enumerate(names) if name in sample.points
    ]
    return tuple(names), pairs
