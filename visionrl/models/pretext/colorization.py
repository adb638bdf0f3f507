"""Colorization: what colours a grey image had (Zhang, Isola & Efros, 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Interval, MinLen
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.models._images import CHUNK
from visionrl.models._model import Split
from visionrl.models._registry import register_model
from visionrl.models.pretext._base import Figures, Pretext, to_unit
from visionrl.models.pretext._lab import to_lab, to_rgb
from visionrl.models.pretext._pictures import Cell, sheet

BIN, BINS, EDGE = 10, 22, 110  # width of a bin, bins an axis, most of a and b
MIX = 0.5  # share of the uniform distribution in the weights of the classes
WARMTH = 0.38  # temperature of the annealed mean
PLAIN = 4.0  # least mean chroma of images that have colours


@register_model("colorization")
class Colorization(Pretext):
    """The network colours a grey image: bins of a and b of width 10 are the classes, and rare ones weigh more.

    "Colorful image colorization" (Zhang, Isola & Efros, 2016): only bins that occur in the training images; a place's
    class is the bin of its mean colour, where the paper spreads it over five bins. The backbone has three channels,
    which all see the lightness. A picture shows the annealed mean of the bins.

    Args:
        bins: numbers of the bins, 22 * row + column.
        counts: how often each occurs.
        options: see ``Pretext``.
    """

    centres: Tensor
    rarity: Tensor

    def __init__(
        self,
        bins: Annotated[Sequence[Annotated[int, Interval(ge=0, lt=BINS**2)]], MinLen(2)],
        counts: Annotated[Sequence[Annotated[int, Ge(1)]], MinLen(2)],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_colours(self.channels, self.colour)
        if len(bins) != len(counts):
            raise ValueError(f"counts must be as many as bins, {len(bins)}, got {len(counts)}")
        number = torch.tensor(list(bins))
        centres = torch.stack([number // BINS, number % BINS], 1) * BIN + BIN / 2 - EDGE
        share = torch.tensor(list(counts), dtype=torch.float64) / sum(counts)
        rarity = 1 / ((1 - MIX) * share + MIX / len(bins))
        self.register_buffer("centres", centres.float(), persistent=False)
        self.register_buffer("rarity", (rarity / (share * rarity).sum()).float(), persistent=False)
        self.head = nn.Conv2d(self.backbone.num_channels, len(bins), 1)

    @classmethod
    def learnt_options(cls, images: Tensor) -> dict[str, Any]:
        """The bins that occur in the images, and how often.

        Raises:
            ValueError: the images have no colours.
        """
        check_colours(images.shape[1])
        total, chroma = torch.zeros(BINS**2, dtype=torch.int64), 0.0
        for part in images.split(CHUNK):
            colours = F.avg_pool2d(to_lab(to_unit(part))[:, 1:], 4)
            chroma += float(colours.norm(dim=1).mean()) * len(part) / len(images)
            total += torch.bincount(bin_of(colours).flatten(), minlength=BINS**2)
        bins = total.nonzero()[:, 0].tolist()
        if chroma < PLAIN or len(bins) < 2:
            raise ValueError(f"images must have colours for colorization, got a mean chroma of {chroma:.1f}")
        return {"bins": bins, "counts": total[bins].tolist()}

    def forward(self, lightness: Tensor) -> Tensor:
        """Logits (B, bins, h, w) of lightness (B, 1, S, S) in [0, 1]."""
        return self.head(self.backbone.forward_features(lightness.expand(-1, 3, -1, -1)))

    def objective(self, batch: Split, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """Weighted cross-entropy of the colour of each place, and the share of places right; nothing is drawn."""
        lab = to_lab(to_unit(batch["images"]))
        logits = self(lab[:, :1] / 100)
        colours = F.adaptive_avg_pool2d(lab[:, 1:], logits.shape[2:]).permute(0, 2, 3, 1).flatten(0, 2)
        labels = torch.cdist(colours, self.centres).argmin(1)
        flat = logits.permute(0, 2, 3, 1).flatten(0, 2)
        right = (flat.argmax(1) == labels).float().mean().item()
        return F.cross_entropy(flat, labels, self.rarity), {"accuracy": right}

    @torch.no_grad()
    def colored(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1], the lightness of images (B, 3, S, S) in the colours that are predicted."""
        lab = to_lab(to_unit(images))
        share = (self(lab[:, :1] / 100) / WARMTH).softmax(1)
        colours = torch.einsum("bqhw,qc->bchw", share, self.centres)
        wide = F.interpolate(colours, images.shape[2:], mode="bilinear", align_corners=False)
        return to_rgb(torch.cat([lab[:, :1], wide], 1))

    def picture(self, images: Tensor, generator: torch.Generator) -> np.ndarray:
        """Each image, its lightness, and that coloured."""
        grey = to_lab(to_unit(images))[:, :1] / 100
        found = zip(images, grey, self.colored(images), strict=True)
        return sheet([[Cell(a, "image"), Cell(b, "seen"), Cell(c, "coloured")] for a, b, c in found])


def check_colours(channels: int, colour: bool = True) -> None:
    """Refuse images that are not red, green and blue.

    Raises:
        ValueError: there are not three channels, or they are no colours.
    """
    if channels != 3 or not colour:
        got = f"{channels}" if channels != 3 else "3 of something else (colour=false)"
        raise ValueError(f"colorization must have images of 3 channels, red, green and blue, got {got}")


def bin_of(colours: Tensor) -> Tensor:
    """(B, h, w) int64, the number of the bin of colours (B, 2, h, w) in a and b."""
    row, column = ((colours + EDGE) / BIN).long().clamp(0, BINS - 1).unbind(1)
    return row * BINS + column
