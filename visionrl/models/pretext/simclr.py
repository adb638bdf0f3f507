"""SimCLR: two views of an image are alike, views of different images are not (Chen et al., 2020)."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor
from torch.nn import functional as F

from visionrl.models._model import Split
from visionrl.models._registry import register_model
from visionrl.models.pretext._base import Figures, Pretext, to_unit
from visionrl.models.pretext._contrast import nt_xent, projector, retrieval
from visionrl.models.pretext._pictures import Cell, sheet
from visionrl.models.pretext._views import view

Temperature = Annotated[float, Interval(gt=0, le=10)]


@register_model("simclr")
class SimCLR(Pretext):
    """The network finds the other view of each image among the views of a whole batch, by NT-Xent.

    "A simple framework for contrastive learning of visual representations" (Chen et al., 2020). The paper's
    temperature is 0.5 for batches of thousands; 0.1 suits small sets.

    Args:
        temperature: of the similarities.
        options: see ``Pretext``.
    """

    def __init__(self, temperature: Temperature = 0.1, **options: Any) -> None:
        super().__init__(**options)
        self.temperature = temperature
        self.project = projector(self.backbone.num_features)

    def objective(self, batch: Split, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """NT-Xent, and the share of views that find the other view of their image in the batch.

        Raises:
            ValueError: the batch has one image.
        """
        images = to_unit(batch["images"])
        views = [view(images, generator, self.colour) for _ in range(2)]
        first, second = self.project(self.backbone(torch.cat(views))).chunk(2)
        right = retrieval(first.detach(), second.detach()).float().mean().item()
        return nt_xent(first, second, self.temperature), {"accuracy": right}

    @torch.no_grad()
    def picture(self, images: Tensor, generator: torch.Generator) -> np.ndarray:
        """Pairs of views, and of the second views the one that is nearest to the first."""
        views = [view(to_unit(images), generator, self.colour) for _ in range(2)]
        return pairs(self.colour, *views, *(self.project(self.backbone(x)) for x in views))


def pairs(
    colour: bool, first: Tensor, second: Tensor, first_vectors: Tensor, second_vectors: Tensor
) -> np.ndarray:
    """(H, W, 3) uint8: two views of each image, with their cosine, and the view found for the first by its vector."""
    near = F.normalize(first_vectors) @ F.normalize(second_vectors).T
    rows = []
    for i, found in enumerate(near.argmax(1).tolist()):
        row = [Cell(first[i], "first view"), Cell(second[i], f"second: {float(near[i, i]):.2f}")]
        rows.append([*row, Cell(second[found], f"found: {float(near[i, found]):.2f}", found == i)])
    return sheet(rows, colour)
