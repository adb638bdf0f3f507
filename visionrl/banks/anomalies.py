"""Images of parts, good or with a defect, in cells, and how unusual each cell is; held once for all episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from visionrl.banks.anomaly_features import BLOCK, DETECTORS, block_features
from visionrl.banks.patches import colored, filled_block, shared
from visionrl.banks.squares import squeezed
from visionrl.datasets.samples import ImageSample
from visionrl.datasets.synthetic_defects import with_defect
from visionrl.ops import DeviceTable, Recalled

GOOD = ("good", "normal", "ok")
"""Classes of images that have no defect."""

FOLDS = 3  # parts of the training images; each is scored by a detector that has not learnt from it
LOWEST, HIGHEST = -8.0, 24.0
"""Limits of scores, in deviations of good cells."""

_SEED = 20272


def kind_of(sample: ImageSample) -> str:
    """The kind of an image: "good", or that of its defect; "defect" where a mask alone says so.

    Raises:
        ValueError: label and mask contradict each other, or there are neither.
    """
    marked = sample.mask is not None and bool(np.any(sample.mask))
    if not sample.labels:
        if sample.mask is None:
            raise ValueError(f"samples must have a class or a mask, {sample.name!r} has neither")
        return "defect" if marked else "good"
    kind = sample.labels[0]
    if kind.lower() in GOOD:
        if marked:
            raise ValueError(f"mask of {sample.name!r} must be empty, as its class is {kind!r}")
        return "good"
    if sample.mask is not None and not marked:
        raise ValueError(f"mask of {sample.name!r} must show its defect, {kind!r}, got an empty one")
    return kind


def with_synthetic(samples: Sequence[ImageSample], mode: str) -> tuple[ImageSample, ...]:
    """The samples, and after them copies of the good ones with a defect drawn into each.

    Args:
        samples: of one split.
        mode: "always", "never", or "auto", where none of them has a defect.
    """
    kinds = [kind_of(sample) for sample in samples]
    if mode == "never" or (mode == "auto" and set(kinds) != {"good"}):
        return samples if isinstance(samples, tuple) else tuple(samples)
    drawn = []
    for number, (sample, kind) in enumerate(zip(samples, kinds, strict=True)):
        if kind == "good":
            image, mask, what = with_defect(np.random.default_rng((_SEED, number)), sample.image)
            given: dict[str, Any] = {"image": image, "mask": mask, "labels": (what,), "boxes": None}
            drawn.append(replace(sample, name=f"{sample.name} with {what}", **given))
    return (*samples, *drawn)


def overview_of(square: np.ndarray, overview: int) -> np.ndarray:
    """(C, S, S) uint8 -> (C, overview, overview), as seen from afar."""
    return squeezed(square, overview)


def defect_share(sample: ImageSample, side: int) -> np.ndarray:
    """(b, b) float32, the part of each block that is defective; -1 where the place of a defect is unknown."""
    blocks = side // BLOCK
    if sample.mask is None:
        return np.full((blocks, blocks), 0 if kind_of(sample) == "good" else -1, np.float32)
    whole = cv2.resize((sample.mask > 0).astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(whole, (blocks, blocks), interpolation=cv2.INTER_AREA)


class Detector(Recalled):
    """A detector of unusual blocks in images, and one in what is seen of them from afar, of some training images.

    Args:
        samples: the training images.
        kind: one of ``DETECTORS``.
        synthetic: see ``with_synthetic``.
        grid: cells along each side of an image.
        cell: side of a cell, pixels.
        overview: side of the overview, pixels.

    Attributes:
        fold: name of a training image -> its fold.

    Raises:
        ValueError: no training image is good.
    """

    def __init__(
        self, samples: Sequence[ImageSample], kind: str, synthetic: str, grid: int, cell: int, overview: int
    ) -> None:
        self.grid, self.side, self.overview = grid, grid * cell, overview
        taught = with_synthetic(samples, synthetic)
        kinds = [kind_of(sample) for sample in taught]
        if "good" not in kinds:
            raise ValueError(
                f"training images must have a good one ({', '.join(GOOD)}), got {kinds[0]!r} alone"
            )
        order = {sample.name: k for k, sample in enumerate(samples)}
        base = [order.get(sample.name, k) for k, sample in enumerate(taught)]
        good = [k for k, one in enumerate(kinds) if one == "good"]
        for k, number in enumerate(range(len(samples), len(taught))):
            base[number] = base[good[k]]  # a copy is in the fold of what it is a copy of
        folds = min(FOLDS, len(samples))
        numbers = np.array(base) % folds
        self.fold = {sample.name: int(k) for sample, k in zip(taught, numbers, strict=True)}
        share = np.stack([defect_share(sample, self.side) for sample in taught])
        squares = [squeezed(sample.image, self.side) for sample in taught]
        self.models, self.scales, make = [], [], DETECTORS[kind]
        for far in (False, True):
            features = np.stack([self.described(square, far) for square in squares])
            several = range(folds) if folds > 1 and len(set(base)) > 1 else ()
            models = [make(features[numbers != k], share[numbers != k]) for k in several]
            models.append(make(features, share))
            self.models.append(models)
            own = [k if several and (numbers != k).any() else -1 for k in numbers]
            raw = [models[k](one) for k, one in zip(own, features, strict=True)]
            cells = np.stack([cell_blocks(one, grid) for one in raw])[np.array(kinds) == "good"].max(axis=2)
            self.scales.append((float(cells.mean()), float(cells.std()) + 1e-9))

    def described(self, square: np.ndarray, far: bool) -> np.ndarray:
        """(b, b, D) features of a square image, or of what is seen of it from afar."""
        if far:
            small = overview_of(square, self.overview)
            square = np.stack(
                [cv2.resize(one, (self.side,) * 2, interpolation=cv2.INTER_LINEAR) for one in small]
            )
        return block_features(square)

    def scores(self, square: np.ndarray, name: str | None, far: bool) -> np.ndarray:
        """(G * G, k) float32, of the blocks of each cell, in deviations from the mean of good cells' largest.

        Args:
            square: (C, S, S) uint8.
            name: of a training image, scored by a model that has not learnt from it; None: of another.
            far: of what is seen from afar.
        """
        model = self.models[far][-1 if name is None else self.fold[name]]
        mean, spread = self.scales[far]
        found = (model(self.described(square, far)) - mean) / spread
        return np.clip(cell_blocks(found, self.grid), LOWEST, HIGHEST).astype(np.float32)


def cell_blocks(blocks: np.ndarray, grid: int) -> np.ndarray:
    """(b, b) of an image's blocks -> (G * G, k), those of each cell, row by row."""
    k = len(blocks) // grid
    return blocks.reshape(grid, k, grid, k).transpose(0, 2, 1, 3).reshape(grid * grid, k * k)


class AnomalyBank(Recalled):
    """The images of one split; G cells along each side, k blocks in a cell.

    Args:
        samples: of the split.
        train: the images that the detector learns from.
        own: whether the split's images may be among those.
        synthetic: whether defects are drawn into images of the split, and into those of ``train``.
        labelled: False where the samples' labels are unknown.
        settings: of ``Detector``: kind, grid, cell, overview.

    Attributes:
        channels: 1 where all images are grey, else 3.
        samples: those of the split, and those with drawn defects.
        kinds: of each, "good" or that of its defect; all are "good" without labels.
        overviews: (M, C, O, O) uint8.
        cells: (M * G * G, C, cell, cell) uint8.
        blocks: (M, G * G, k) float32, scores of the blocks.
        nearby: (M, G * G) float32, the largest of each cell.
        hints: (M, G * G) float32, the same of what is seen from afar.
        share: (M, G * G, k) float32, the part of each block that is defective; -1: unknown.
        defect: (M,) bool.
    """

    def __init__(
        self,
        samples: Sequence[ImageSample],
        train: Sequence[ImageSample],
        own: bool,
        synthetic: tuple[str, str],
        labelled: bool,
        settings: tuple[str, int, int, int],
    ) -> None:
        kind, grid, cell, overview = settings
        channels = self.channels = max(sample.image.shape[0] for sample in (*train, *samples))
        self.samples = with_synthetic(samples, synthetic[0]) if labelled else tuple(samples)
        self.kinds = tuple(kind_of(one) if labelled else "good" for one in self.samples)
        count, side, k = len(self.samples), grid * cell, (cell // BLOCK) ** 2
        pixels = (count, channels, side, side)
        shapes = ((count, grid * grid, k), (count, grid * grid))
        sizes = [math.prod(pixels), *(4 * math.prod(shape) for shape in shapes)]
        starts = [0, sizes[0] + -sizes[0] % 4]
        starts.append(starts[1] + sizes[1])

        def fill(block: np.ndarray) -> None:
            detector = detector_of(train, kind, synthetic[1], grid, cell, overview)
            squares = block[: sizes[0]].reshape(pixels)
            found = [
                block[at : at + size].view(np.float32) for at, size in zip(starts[1:], sizes[1:], strict=True)
            ]
            near, far = (one.reshape(shape) for one, shape in zip(found, shapes, strict=True))
            for number, sample in enumerate(self.samples):
                square = squares[number] = squeezed(colored(sample.image, channels), side)
                name = sample.name if own and sample.name in detector.fold else None
                near[number] = detector.scores(square, name, False)
                far[number] = detector.scores(square, name, True).max(axis=1)

        block = filled_block((starts[-1] + sizes[-1],), fill)
        squares = block[: sizes[0]].reshape(pixels)
        near, far = (
            block[at : at + size].view(np.float32).reshape(shape)
            for at, size, shape in zip(starts[1:], sizes[1:], shapes, strict=True)
        )
        self.blocks, self.hints = DeviceTable(near), DeviceTable(far)
        self.nearby = DeviceTable(near.max(axis=2))
        self.overviews = DeviceTable(np.stack([overview_of(one, overview) for one in squares]))
        parts = squares.reshape(count, channels, grid, cell, grid, cell).transpose(0, 2, 4, 1, 3, 5)
        self.cells = DeviceTable(
            np.ascontiguousarray(parts.reshape(count * grid * grid, channels, cell, cell))
        )
        shares = [
            defect_share(one, side) if labelled else np.zeros((side // BLOCK,) * 2) for one in self.samples
        ]
        self.share = np.stack([cell_blocks(one, grid) for one in shares]).astype(np.float32)
        self.defect = np.array([one != "good" for one in self.kinds])


def detector_of(train: Sequence[ImageSample], *settings: Any) -> Detector:
    """The detector of some training images; banks of the same ones share it."""
    return shared(Detector, [sample.image for sample in train], train, *settings)


def anomaly_bank(samples: Sequence[ImageSample], *settings: Any) -> AnomalyBank:
    """The bank of some images; environments over the same ones share it."""
    return shared(AnomalyBank, [sample.image for sample in samples], samples, *settings)


def defective_cells(bank: AnomalyBank) -> tuple[np.ndarray, np.ndarray]:
    """(M, G * G) bool, cells with a part of the defect; and (M,) int64, the cell that has most of it, -1: unknown."""
    held = np.maximum(bank.share, 0).sum(axis=2)
    return held > 0, np.where(held.any(axis=1), held.argmax(axis=1), -1)
