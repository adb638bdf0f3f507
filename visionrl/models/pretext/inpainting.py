"""Inpainting: what the middle of an image shows (Pathak et al., 2016)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.models._model import Split
from visionrl.models._registry import register_model
from visionrl.models.pretext._base import Figures, Pretext, to_unit
from visionrl.models.pretext._pictures import Cell, sheet

BLANK = 0.5  # of the masked pixels
STEPS = 3  # transposed convolutions, each of which doubles the side


@register_model("inpainting")
class Inpainting(Pretext):
    """The network paints the middle quarter of an image from the rest of it, by the squared error.

    "Context encoders: feature learning by inpainting" (Pathak et al., 2016), without its adversarial loss, so what is
    painted is blurred. Three transposed convolutions make the picture of the backbone's map.

    Args:
        options: see ``Pretext``.
    """

    score_name = "psnr"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.hole = self.side // 2
        sizes = [self.backbone.num_channels, 64, 32, self.channels]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1), nn.ReLU()]
        self.paint = nn.Sequential(*layers[:-1])

    @property
    def middle(self) -> tuple[slice, slice]:
        """Rows and columns of the masked square."""
        start = (self.side - self.hole) // 2
        return slice(start, start + self.hole), slice(start, start + self.hole)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, S, S) in [0, 1] with the hole, and what is painted there (B, C, h, h)."""
        rows, columns = self.middle
        masked = images.clone()
        masked[:, :, rows, columns] = BLANK
        side = -(-self.hole // 2**STEPS)
        painted = self.paint(F.adaptive_avg_pool2d(self.backbone.forward_features(masked), side)) + BLANK
        return masked, painted[:, :, : self.hole, : self.hole]

    def objective(self, batch: Split, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """Mean squared error in the hole, and its peak signal-to-noise ratio in dB; nothing is drawn."""
        images = to_unit(batch["images"])
        rows, columns = self.middle
        loss = F.mse_loss(self(images)[1], images[:, :, rows, columns])
        return loss, {"psnr": -10 * float(loss.detach().clamp_min(1e-10).log10())}

    @torch.no_grad()
    def picture(self, images: Tensor, generator: torch.Generator) -> np.ndarray:
        """Each image, what is seen of it, and the hole painted."""
        images = to_unit(images)
        masked, painted = self(images)
        filled = images.clone()
        filled[:, :, *self.middle] = painted.clamp(0, 1)
        found = zip(images, masked, filled, strict=True)
        rows = [[Cell(a, "image"), Cell(b, "seen"), Cell(c, "painted")] for a, b, c in found]
        return sheet(rows, self.colour)
