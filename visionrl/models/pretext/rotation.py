"""Rotation: by which of four quarter turns an image was turned (Gidaris, Singh & Komodakis, 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from visionrl.models._model import Split
from visionrl.models._registry import register_model
from visionrl.models.pretext._base import Figures, Pretext, classification_loss, to_unit
from visionrl.models.pretext._pictures import Cell, sheet


@register_model("rotation")
class Rotation(Pretext):
    """The network tells which quarter turn an image has made: 4 classes, all four turns of each image in a batch.

    "Unsupervised representation learning by predicting image rotations" (Gidaris, Singh & Komodakis, 2018). Where
    light always comes from above, shading alone solves it; where nothing has an upright side, nothing does: look at its
    accuracy.

    Args:
        options: see ``Pretext``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.head = nn.Linear(self.backbone.num_features, 4)

    def objective(self, batch: Split, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """Cross-entropy of the four turns of each image, and the accuracy; nothing is drawn."""
        images = turns(to_unit(batch["images"]))
        return classification_loss(self.head(self.backbone(images)), turn_labels(images))

    @torch.no_grad()
    def picture(self, images: Tensor, generator: torch.Generator) -> np.ndarray:
        """Each image in its four turns, with the turn that is predicted."""
        turned = turns(to_unit(images))
        found = self.head(self.backbone(turned)).argmax(1).view(4, -1).T.tolist()
        rows = []
        for views, said in zip(turned.unflatten(0, (4, -1)).transpose(0, 1), found, strict=True):
            words = [f"{90 * k}: says {90 * one}" for k, one in enumerate(said)]
            rows.append([Cell(views[k], words[k], k == one) for k, one in enumerate(said)])
        return sheet(rows, self.colour)


def turns(images: Tensor) -> Tensor:
    """(4 B, C, S, S): all images, then all turned by 90 degrees to the left, by 180, by 270."""
    return torch.cat([images.rot90(k, (2, 3)) for k in range(4)])


def turn_labels(turned: Tensor) -> Tensor:
    """(4 B,) int64 for what ``turns`` gives."""
    return torch.arange(4, device=turned.device).repeat_interleave(len(turned) // 4)
