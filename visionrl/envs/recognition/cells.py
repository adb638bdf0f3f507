"""The base of tasks about the cells of images of parts, good or with a defect, to which a detector gives scores."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from annotated_types import Interval

from visionrl.banks.anomalies import AnomalyBank, anomaly_bank
from visionrl.banks.anomaly_features import BLOCK
from visionrl.core import arguments
from visionrl.datasets import ImageSample
from visionrl.envs.fitted import FittedTask
from visionrl.envs.select import Select, Selection
from visionrl.ops import DeviceTable

StateT = TypeVar("StateT", bound=Selection)


@arguments
class CellTask(Select[StateT], FittedTask[StateT]):
    """A task about G x G cells of images, each with an anomaly score; a leaf calls ``load_cells`` in its ``setup``."""

    grid: Annotated[int, Interval(ge=2, le=16)] = 8
    """Cells along each side of the image."""
    cell: Annotated[int, Interval(ge=8, le=64)] = 32
    """Side of a cell, pixels, a multiple of 8; images are squeezed to squares of ``grid`` such cells."""
    overview: Annotated[int, Interval(ge=24, le=128)] = 32
    """Side O of the image from afar, pixels, a multiple of ``grid``."""
    detector: Literal["trained", "padim", "patchcore"] = "trained"
    """What scores the cells: a regression, which needs training defects with masks, or the distance to good images alone."""
    weights: str | None = None
    """File of weights of MobileNetV2, whose first stages then describe the blocks in place of handcrafted features."""
    synthetic: Literal["auto", "always", "never"] = "auto"
    """Draw defects into copies of the good training and validation images: where a split has none, always, or never."""

    sample_type, embedded = ImageSample, "defects"

    @property
    def cells(self) -> int:
        """Number of cells of an image, N."""
        return self.grid**2

    def load_cells(self) -> None:
        """Load the images, fit the detector, score the cells.

        Raises:
            ValueError: sides do not divide, or an image is smaller than a cell.
        """
        if self.cell % BLOCK or self.overview % self.grid:
            rule = f"cell must be a multiple of {BLOCK}, overview one of grid ({self.grid})"
            raise ValueError(f"{rule}, got {self.cell} and {self.overview}")
        self.training, self.loaded = self.training_samples(), self.load()
        for sample in self.loaded:
            if min(sample.image.shape[1:]) < self.cell:
                size = " x ".join(map(str, sample.image.shape[:0:-1]))
                raise ValueError(f"images must have sides >= cell ({self.cell}), {sample.name!r} has {size}")
        self.describe: Any = None
        if self.weights is not None:
            from visionrl.backbones.dense import dense_features  # torch, which takes seconds

            self.describe = dense_features(self.weights)
        self.bank = self.bank_of(self.detector)
        self.samples, self.items = self.bank.samples, len(self.bank.samples)
        self.sample_names = tuple(sample.name for sample in self.samples)
        self.names = ("normal", "defect")
        self.defect = DeviceTable(self.bank.defect)

    def bank_of(self, detector: str) -> AnomalyBank:
        """The images of the split with the scores of a detector."""
        synthetic = self.synthetic if self.split in ("train", "val") else "never"
        about = self.training, self.fitted_to_own_data(), (synthetic, self.synthetic), self.labelled
        return anomaly_bank(
            self.loaded, *about, (detector, self.describe, self.grid, self.cell, self.overview)
        )

    def cell_box(self, image: int, cell: int) -> np.ndarray:
        """(4,) x0, y0, x1, y1 of a cell, pixels of the file."""
        row, column = divmod(cell, self.grid)
        height, width = self.samples[image].image.shape[1:]
        return np.array([column, row, column + 1, row + 1]) * np.array([width, height] * 2) / self.grid

    def heat(self, image: int, cells: np.ndarray) -> np.ndarray:
        """(G * k, G * k) float64, scores of the blocks of some cells, NaN of the others."""
        blocks, side = self.bank.blocks.array[image], self.cell // BLOCK
        seen = np.isin(np.arange(self.cells), cells)
        found = np.where(seen[:, None], blocks, np.nan).reshape(self.grid, self.grid, side, side)
        return found.transpose(0, 2, 1, 3).reshape((self.grid * side,) * 2)
