"""Exemplar: which of many images a view was made of (Dosovitskiy et al., 2014)."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.models._model import Split
from visionrl.models._registry import register_model
from visionrl.models.pretext._base import Figures, Pretext, classification_loss, to_unit
from visionrl.models.pretext._contrast import retrieval
from visionrl.models.pretext._pictures import Cell, sheet
from visionrl.models.pretext._views import crops, recolored

MOST = 2000  # classes


@register_model("exemplar")
class Exemplar(Pretext):
    """The network tells which training image a cropped, turned, recolored view shows: each is a class.

    "Discriminative unsupervised feature learning with exemplar convolutional neural networks" (Dosovitskiy et al.,
    2014); of more than 2,000 images the first 2,000. Images that are not classes, such as those of validation, are
    scored by retrieval: the share of views whose nearest neighbour is another view of their image.

    Args:
        classes: training images.
        options: see ``Pretext``.
    """

    score_name = "retrieval"

    def __init__(self, classes: Annotated[int, Interval(ge=2, le=MOST)] = MOST, **options: Any) -> None:
        super().__init__(**options)
        self.head = nn.Linear(self.backbone.num_features, classes)

    @classmethod
    def learnt_options(cls, images: Tensor) -> dict[str, Any]:
        """As many classes as there are images.

        Raises:
            ValueError: there is one image.
        """
        if len(images) < 2:
            raise ValueError(f"exemplar must have 2 images or more to tell apart, got {len(images)}")
        return {"classes": min(len(images), MOST)}

    def split(self, images: Tensor) -> Split:
        """The first images, as many as there are classes, each with its class as "row"."""
        kept = images[: self.head.out_features]
        return {"images": kept, "row": torch.arange(len(kept))}

    def view(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A view of each image (B, C, S, S)."""
        return recolored(crops(to_unit(images), generator, turn=20), generator, self.colour)

    def objective(self, batch: Split, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """Cross-entropy of the class of a view of each image; in evaluation the distance of two views is the loss."""
        vectors = self.backbone(self.view(batch["images"], generator))
        if self.training:
            return classification_loss(self.head(vectors), batch["row"])
        others = self.backbone(self.view(batch["images"], generator))
        found = retrieval(vectors, others)
        return 1 - F.cosine_similarity(vectors, others).mean(), {"retrieval": found.float().mean().item()}

    @torch.no_grad()
    def picture(self, images: Tensor, generator: torch.Generator) -> np.ndarray:
        """Each image, three views of it, and whether each is nearer to the image than to the others."""
        plain = self.backbone(to_unit(images))
        rows = [[Cell(image, "image")] for image in images]
        for _ in range(3):
            views = self.view(images, generator)
            right = retrieval(self.backbone(views), plain)
            for row, x, ok in zip(rows, views, right.tolist(), strict=True):
                row.append(Cell(x, "found" if ok else "taken for another", ok))
        return sheet(rows, self.colour)
