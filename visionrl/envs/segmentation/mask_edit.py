"""Base of tasks that change the mask of one object, step by step, on the squares of a mask bank."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Any, Generic

import numpy as np

from visionrl.banks.masks import MaskBank
from visionrl.core import arguments, batch
from visionrl.core.results import Mask
from visionrl.datasets import ImageSample
from visionrl.envs.edit import Edit, StateT
from visionrl.ops import Array, DeviceTable, to_numpy
from visionrl.rendering import Canvas

LARGEST = 0.9  # of an object, share of the image
NEAR = 2 / 90.5  # of the diagonal, tolerance of boundary F: 2 pixels of 64 x 64


@arguments
class MaskEdit(Edit[StateT], Generic[StateT]):
    """A mask that operators change, and how it is told in the pixels of the file.

    Tasks say what the mask is (``mask``), where clicks are drawn (``marks``), and what is written (``caption``).

    Attributes:
        samples: of the split.
        bank: squares of the images, and the true masks.
        names: of the objects.
    """

    sample_type, embedded = ImageSample, "composites"
    box_prompt, click_prompt = True, True

    samples: Sequence[ImageSample] = field(init=False)
    bank: MaskBank = field(init=False)
    names: tuple[str, ...] = field(init=False)

    def use(self, bank: MaskBank) -> None:
        """Take a bank; an item of it is an episode's object."""
        self.bank, self.items, self.names = bank, len(bank.items), bank.names
        self.classes_of = DeviceTable(np.array(bank.items)[:, 1])

    def mask(self, state: StateT) -> Array:
        """(B, S, S) bool, the mask now."""
        raise NotImplementedError(f"{type(self).__name__} must define mask()")

    def marks(self, state: StateT) -> Iterable[tuple[int, int]]:
        """Marks of one episode: the numbers of the pixels of clicks or seeds, and 1 on the object or -1 beside it."""
        raise NotImplementedError(f"{type(self).__name__} must define marks()")

    def caption(self, state: StateT) -> str:
        """The text above one episode, behind the name of the object."""
        raise NotImplementedError(f"{type(self).__name__} must define caption()")

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels}

    def source_of(self, item: int, start: StateT) -> int:
        return self.bank.items[item][0]

    def class_of(self, state: StateT) -> Array:
        return self.classes_of.rows(state.image)

    # -- edge ------------------------------------------------------------------------------------------------------
    def scores(self, ends: StateT) -> np.ndarray:
        """(N, budget + 1) quality at the start and after each operator of N last states; NaN after the end."""
        return to_numpy(ends.quality)

    def file_truth(self, item: int) -> np.ndarray:
        """(H, W) bool, the true mask of an item in the pixels of its file."""
        return np.equal(np.asarray(self.samples[self.bank.items[item][0]].mask), self.bank.labels[item])

    def file_masks(self, ends: StateT) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The masks of N last states and the true ones, (H, W) bool each, in the pixels of the files."""
        items = to_numpy(ends.image).tolist()
        truths = [self.file_truth(item) for item in items]
        rows = zip(items, to_numpy(self.mask(ends)), truths, strict=True)
        return [self.bank.to_file(item, mask, truth.shape) for item, mask, truth in rows], truths

    def file_mask(self, state: StateT) -> tuple[np.ndarray, np.ndarray]:
        """The image (C, H, W) uint8 and the mask (H, W) bool of one episode."""
        item = int(state.image)
        image = self.samples[self.bank.items[item][0]].image
        mask = np.asarray(self.mask(batch.stack([state])))[0]
        return image, self.bank.to_file(item, mask, image.shape[1:])

    def name_of(self, state: StateT) -> str:
        """The object of one episode."""
        return self.names[self.bank.items[int(state.image)][1]]

    def result(self, state: StateT) -> Mask:
        return Mask.of(self.file_mask(state)[1], self.name_of(state))

    def draw(self, state: StateT) -> np.ndarray:
        item, (image, mask) = int(state.image), self.file_mask(state)
        canvas, factor = Canvas(image), self.bank.factor(item)
        canvas.outline(mask, "agent")
        if self.labelled:
            canvas.outline(self.file_truth(item), "truth", 1)
        for place, sign in self.marks(state):
            row, column = divmod(int(place), self.bank.side)
            canvas.dot(factor * (np.array([column, row]) + 0.5), "truth" if sign > 0 else "look")
        canvas.text(f"{self.name_of(state)}: {self.caption(state)}")
        return canvas.pixels
