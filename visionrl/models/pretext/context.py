"""Context: on which side of a patch another one lay (Doersch, Gupta & Efros, 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from visionrl.layers.tiles import normalized
from visionrl.models._model import Split
from visionrl.models._registry import register_model
from visionrl.models.pretext._base import (
    Figures,
    Pretext,
    classification_loss,
    crop_at,
    random_floats,
    random_ints,
    to_unit,
)
from visionrl.models.pretext._pictures import Cell, sheet

PLACES = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
NAMES = ("above left", "above", "above right", "left", "right", "below left", "below", "below right")
NOISE = 0.02  # standard deviation of what takes the place of dropped colours


@register_model("context")
class Context(Pretext):
    """The network tells at which of eight places around one patch a second one lay.

    "Unsupervised visual representation learning by context prediction" (Doersch, Gupta & Efros, 2015): patches of a
    quarter of the side, half a patch apart, shifted a little; of colours one of three is kept, for the lens's errors
    in the others would give the place away.

    Args:
        options: see ``Pretext``.
    """

    places: Tensor

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.patch = self.side // 4
        self.head = nn.Sequential(
            nn.Linear(2 * self.backbone.num_features, 256), nn.ReLU(), nn.Linear(256, len(PLACES))
        )
        self.register_buffer("places", torch.tensor(PLACES), persistent=False)

    def pairs(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Patches (B, 2, C, p, p) in [0, 1], the middle one first, and the places' numbers (B,)."""
        count, patch, shift = len(images), self.patch, self.patch // 8
        labels = random_ints(generator, images, (count,), len(PLACES))
        way = self.places[labels]
        reach = way * (patch + patch // 2)
        free = self.side - patch - reach.abs() - 2 * shift
        first = (
            shift + (-reach).clamp_min(0) + (random_floats(generator, images, (count, 2)) * (free + 1)).long()
        )
        second = first + reach + random_ints(generator, images, (count, 2), 2 * shift + 1) - shift
        found = [crop_at(to_unit(images), y_x[:, 0], y_x[:, 1], patch) for y_x in (first, second)]
        return torch.stack(found, 1), labels

    def plain(self, patches: Tensor, generator: torch.Generator) -> Tensor:
        """Patches (B, 2, C, p, p) normalized, with one colour of three and noise in place of the others."""
        flat = normalized(patches.flatten(0, 1))
        if self.colour:
            kept = random_ints(generator, flat, (len(patches), 1, 3, 1, 1), 3)[:, :, :1]
            keep = torch.arange(3, device=flat.device).view(1, 1, 3, 1, 1) == kept
            keep = keep.expand(-1, 2, -1, -1, -1).flatten(0, 1)
            noise = 0.5 + NOISE * torch.randn(flat.shape, generator=generator).to(flat)
            flat = torch.where(keep, flat, noise)
        return flat

    def answer(self, patches: Tensor, generator: torch.Generator) -> Tensor:
        """Logits (B, 8) of patches (B, 2, C, p, p)."""
        vectors = self.backbone(self.plain(patches, generator))
        return self.head(vectors.unflatten(0, (-1, 2)).flatten(1))

    def objective(self, batch: Split, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """Cross-entropy of the place of each image's second patch, and the accuracy."""
        patches, labels = self.pairs(batch["images"], generator)
        return classification_loss(self.answer(patches, generator), labels)

    @torch.no_grad()
    def picture(self, images: Tensor, generator: torch.Generator) -> np.ndarray:
        """Each image, its two patches as they lay, and as they lay by the prediction."""
        patches, labels = self.pairs(images, generator)
        said = self.answer(patches, generator).argmax(1)
        rows = []
        for image, pair, true, guessed in zip(images, patches, labels.tolist(), said.tolist(), strict=True):
            cells = [Cell(laid(pair, place), NAMES[place]) for place in (true, guessed)]
            rows.append([Cell(image, "image"), cells[0], cells[1]._replace(right=true == guessed)])
        return sheet(rows, self.colour)


def laid(pair: Tensor, place: int) -> Tensor:
    """(C, 4 p, 4 p) white, with patches (2, C, p, p) on it: one in the middle, the other at its place."""
    size = pair.shape[-1]
    canvas = pair.new_ones(pair.shape[1], 4 * size, 4 * size)
    for patch, (y, x) in zip(pair, ((0, 0), PLACES[place]), strict=True):
        top, left = (round((1.5 + 1.25 * step) * size) for step in (y, x))
        canvas[:, top : top + size, left : left + size] = patch
    return canvas
