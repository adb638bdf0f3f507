"""Images of parts, good or with a defect, in cells, with an anomaly score of each cell; held once for all episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

FOLDS = 3  # parts of the training images; each is scored by a detector that is fitted to the others
Describe = Callable[[np.ndarray, int], np.ndarray]
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
    copies = []
    for number, (sample, kind) in enumerate(zip(samples, kinds, strict=True)):
        if kind == "good":
            image, mask, what = with_defect(np.random.default_rng((_SEED, number)), sample.image)
            given: dict[str, Any] = {"image": image, "mask": mask, "labels": (what,), "boxes": None}
            copies.append(replace(sample, name=f"{sample.name} with {what}", **given))
    return (*samples, *copies)


def defect_share(sample: ImageSample, side: int) -> np.ndarray:
    """(b, b) float32, the part of each block that is defective; -1 where the place of a defect is unknown."""
    blocks = side // BLOCK
    if sample.mask is None:
        return np.full((blocks, blocks), 0 if kind_of(sample) == "good" else -1, np.float32)
    whole = cv2.resize((sample.mask > 0).astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return cv2.resize(whole, (blocks, blocks), interpolation=cv2.INTER_AREA)


class Detector(Recalled):
    """A detector of anomalous blocks, in images and in what is seen of them from afar, fitted to training images.

    Args:
        samples: the training images.
        kind: one of ``DETECTORS``.
        describe: features of blocks: (C, H, W) uint8, side of a block -> (H / side, W / side, D); None: handcrafted.
        synthetic: see ``with_synthetic``.
        grid: cells along each side of an image.
        cell: side of a cell, pixels.
        overview: side of the overview, pixels.

    Attributes:
        fold: name of a training image -> its fold.

    Raises:
        ValueError: no training image is good, or a fold leaves none to the others that shows good blocks, or defective
            ones where ``kind`` needs them.
    """

    def __init__(
        self,
        samples: Sequence[ImageSample],
        kind: str,
        describe: Describe | None,
        synthetic: str,
        grid: int,
        cell: int,
        overview: int,
    ) -> None:
        self.grid, self.side, self.overview, self.describe = grid, grid * cell, overview, describe
        training = with_synthetic(samples, synthetic)
        kinds = [kind_of(sample) for sample in training]
        if "good" not in kinds:
            raise ValueError(
                f"training images must have a good one ({', '.join(GOOD)}), got {kinds[0]!r} alone"
            )
        share = np.stack([defect_share(sample, self.side) for sample in training])
        if (shown := int((share[: len(samples)] == 0).any(axis=(1, 2)).sum())) < 2:
            raise ValueError(f"training images must be two or more that show good blocks, got {shown}")
        good = np.array([one == "good" for one in kinds])
        strata = np.where(good, 0, np.where(share.min(axis=(1, 2)) < 0, 2, 1))
        numbers = dealt_folds(strata[: len(samples)], min(FOLDS, len(samples)))
        copies = numbers[good[: len(samples)]][
            : len(training) - len(samples)
        ]  # in the folds of their originals
        numbers = np.concatenate([numbers, copies])
        self.fold = {sample.name: int(k) for sample, k in zip(training, numbers, strict=True)}
        squares = [squeezed(sample.image, self.side) for sample in training]
        self.models, self.scales, make = [], [], DETECTORS[kind]
        for far in (False, True):
            features = np.stack([self.described(square, far) for square in squares])
            models = [make(features[numbers != k], share[numbers != k]) for k in range(max(numbers) + 1)]
            raw = np.stack(
                [cell_blocks(models[k](one), grid) for k, one in zip(numbers, features, strict=True)]
            )
            self.models.append([*models, make(features, share)])
            cells = raw[good].max(axis=2)
            self.scales.append((float(cells.mean()), float(cells.std()) + 1e-9))

    def described(self, square: np.ndarray, far: bool) -> np.ndarray:
        """(b, b, D) features of a square image, or of what is seen of it from afar."""
        if far:
            small = squeezed(square, self.overview)
            square = np.stack(
                [cv2.resize(one, (self.side,) * 2, interpolation=cv2.INTER_LINEAR) for one in small]
            )
        return block_features(square) if self.describe is None else self.describe(square, BLOCK)

    def scores(self, square: np.ndarray, name: str | None, far: bool) -> np.ndarray:
        """(G * G, k) float32, of the blocks of each cell, in deviations from the mean of good cells' largest.

        Args:
            square: (C, S, S) uint8.
            name: of a training image, scored by a model that is not fitted to it; None: of another.
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


def dealt_folds(strata: np.ndarray, folds: int) -> np.ndarray:
    """(N,) int64, folds of images whose strata (N,) are each spread evenly over them: dealt in turn, as cards are."""
    counts, numbers = np.zeros((max(strata) + 1, folds), int), [-1]
    for stratum in strata:
        order = (numbers[-1] + 1 + np.arange(folds)) % folds
        numbers.append(int(order[counts[stratum][order].argmin()]))
        counts[stratum, numbers[-1]] += 1
    return np.array(numbers[1:])


class AnomalyBank(Recalled):
    """The images of one split; G cells along each side, k blocks in a cell.

    Args:
        samples: of the split.
        train: the images that the detector is fitted to.
        own: whether the split's images may be among those.
        synthetic: whether defects are drawn into images of the split, and into those of ``train``.
        labelled: False where the samples' labels are unknown.
        settings: of ``Detector``: kind, describe, grid, cell, overview.

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
        settings: tuple[str, Describe | None, int, int, int],
    ) -> None:
        kind, describe, grid, cell, overview = settings
        channels = self.channels = max(sample.image.shape[0] for sample in (*train, *samples))
        self.samples = with_synthetic(samples, synthetic[0]) if labelled else tuple(samples)
        self.kinds = tuple(kind_of(one) if labelled else "good" for one in self.samples)
        count, side, k = len(self.samples), grid * cell, (cell // BLOCK) ** 2
        row = np.dtype(  # one block of all, since small ones are not stored
            [
                ("pixels", np.uint8, (channels, side, side)),
                ("blocks", np.float32, (grid * grid, k)),
                ("hints", np.float32, grid * grid),
            ]
        )

        def fill(block: np.ndarray) -> None:
            detector = detector_of(train, kind, describe, synthetic[1], grid, cell, overview)
            for sample, one in zip(self.samples, block.view(row)[:, 0], strict=True):
                square = one["pixels"][:] = squeezed(colored(sample.image, channels), side)
                name = sample.name if own and sample.name in detector.fold else None
                one["blocks"][:] = detector.scores(square, name, False)
                one["hints"][:] = detector.scores(square, name, True).max(axis=1)

        rows = filled_block((count, row.itemsize), fill).view(row)[:, 0]
        blocks, hints = (np.ascontiguousarray(rows[name]) for name in ("blocks", "hints"))
        self.blocks, self.hints, self.nearby = map(DeviceTable, (blocks, hints, blocks.max(axis=2)))
        self.overviews = DeviceTable(np.stack([squeezed(one, overview) for one in rows["pixels"]]))
        self.cells = DeviceTable(cell_pixels(rows["pixels"], grid))
        shares = [
            defect_share(one, side) if labelled else np.zeros((side // BLOCK,) * 2) for one in self.samples
        ]
        self.share = np.stack([cell_blocks(one, grid) for one in shares]).astype(np.float32)
        self.defect = np.array([one != "good" for one in self.kinds])


def cell_pixels(squares: np.ndarray, grid: int) -> np.ndarray:
    """(M, C, S, S) -> (M * G * G, C, S / G, S / G), the cells of each square, row by row."""
    count, channels, side, _ = squares.shape
    parts = squares.reshape(count, channels, grid, side // grid, grid, side // grid)
    return np.ascontiguousarray(parts.transpose(0, 2, 4, 1, 3, 5)).reshape(-1, channels, *[side // grid] * 2)


def detector_of(train: Sequence[ImageSample], *settings: Any) -> Detector:
    """The detector of some training images; banks of the same ones share it."""
    return shared(Detector, [sample.image for sample in train], train, *settings)


def anomaly_bank(samples: Sequence[ImageSample], *settings: Any) -> AnomalyBank:
    """The bank of some images; environments over the same ones share it."""
    return shared(AnomalyBank, [sample.image for sample in samples], samples, *settings)


def defective_cells(bank: AnomalyBank) -> tuple[np.ndarray, np.ndarray]:
    """(M, G * G) bool, cells with a part of the defect; and (M,) int64, the cell that has most of it, -1: unknown."""
    area = np.maximum(bank.share, 0).sum(axis=2)
    return area > 0, np.where(area.any(axis=1), area.argmax(axis=1), -1)
