"""MAE: a transformer fills in the three quarters of the patches that it does not see (He et al., 2022)."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.backbones.vit import TransformerBlocks
from visionrl.layers.attention import sine_positions
from visionrl.models._model import Split
from visionrl.models._registry import register_model
from visionrl.models.pretext._base import Figures, Pretext, to_unit
from visionrl.models.pretext._pictures import Cell, sheet

WIDTH, DEPTH = 64, 2  # of the decoder
LEAST = 1e-6  # variance of a patch that is divided by


@register_model("mae")
class MAE(Pretext):
    """The network fills in the masked patches of an image from the few that it sees.

    "Masked autoencoders are scalable vision learners" (He et al., 2022): the encoder, a vision transformer, sees the
    rest only; a small decoder, left away afterwards, gets a token for each masked patch, and the
    target is the patch with its own mean and spread taken off. Its figure "explained" is the
    share of the masked pixels' variance within patches that is explained.

    Args:
        masked: share of the patches.
        options: see ``Pretext``; the backbone is a transformer, ``vit_tiny8`` unless another is named.
    """

    score_name = "explained"

    def __init__(
        self,
        masked: Annotated[float, Interval(gt=0, lt=1)] = 0.75,
        backbone: str = "vit_tiny8",
        **options: Any,
    ) -> None:
        super().__init__(backbone=backbone, **options)
        stages: Any = dict(self.backbone.stages.named_children())
        if not isinstance(stages.get("blocks"), TransformerBlocks):
            raise ValueError(f"backbone must be a transformer such as vit_tiny8 for mae, got {backbone!r}")
        self.patches, self.blocks = stages["patches"], stages["blocks"]
        self.patch = self.patches.kernel_size[0]
        self.grid = self.side // self.patch
        self.kept = max(1, round((1 - masked) * self.grid**2))
        width = self.backbone.num_channels
        self.narrow = nn.Linear(width, WIDTH)
        self.blank = nn.Parameter(torch.randn(WIDTH) * 0.02)
        self.decode = TransformerBlocks(WIDTH, DEPTH)
        self.paint = nn.Linear(WIDTH, self.channels * self.patch**2)

    def targets(self, images: Tensor) -> Tensor:
        """Pixels of the patches, (B, N, C * p * p), of images in [0, 1]."""
        side = self.grid * self.patch
        return F.unfold(images[:, :, :side, :side], self.patch, stride=self.patch).mT

    def forward(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Predictions of all patches, (B, N, C * p * p), and the mask, (B, N) bool."""
        side = self.grid * self.patch
        found = self.patches(self.backbone.normalize(images[:, :, :side, :side]))
        count, places = len(images), self.grid**2
        tokens = (found + sine_positions(*found.shape[1:]).to(found)).flatten(2).mT
        order = torch.rand(count, places, generator=generator).argsort(1).to(images.device)
        seen = order[:, : self.kept, None]
        encoded = self.narrow(self.blocks.encode(tokens.gather(1, seen.expand(-1, -1, tokens.shape[2]))))
        full = self.blank.to(encoded.dtype).expand(count, places, -1)
        full = full.scatter(1, seen.expand(-1, -1, WIDTH), encoded)
        full = full + sine_positions(WIDTH, self.grid, self.grid).to(full).flatten(1).T
        masked = torch.ones(count, places, dtype=torch.bool, device=images.device)
        masked.scatter_(1, seen[:, :, 0], False)
        return self.paint(self.decode.encode(full)), masked

    def objective(self, batch: Split, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """Mean squared error of the masked patches' normalized pixels, and the share of variance explained."""
        images = to_unit(batch["images"])
        predicted, masked = self(images, generator)
        pixels = self.targets(images)
        mean, var = pixels.mean(2, keepdim=True), pixels.var(2, keepdim=True, correction=0)
        wanted = ((pixels - mean) / (var + LEAST).sqrt())[masked]
        loss = F.mse_loss(predicted[masked], wanted)
        total = wanted.square().mean().clamp_min(LEAST)
        return loss, {"explained": 1 - float(loss.detach() / total)}

    @torch.no_grad()
    def picture(self, images: Tensor, generator: torch.Generator) -> np.ndarray:
        """Each image, the patches that are seen, and all, the masked ones predicted with their own mean and spread."""
        images = to_unit(images)
        predicted, masked = self(images, generator)
        pixels = self.targets(images)
        mean, var = pixels.mean(2, keepdim=True), pixels.var(2, keepdim=True, correction=0)
        filled = torch.where(masked[:, :, None], predicted * (var + LEAST).sqrt() + mean, pixels)
        seen = pixels.masked_fill(masked[:, :, None], 0.5)
        side = self.grid * self.patch
        whole = [F.fold(x.mT, (side, side), self.patch, stride=self.patch) for x in (pixels, seen, filled)]
        found = zip(*whole, strict=True)
        rows = [[Cell(a, "image"), Cell(b, "seen"), Cell(c, "predicted")] for a, b, c in found]
        return sheet(rows, self.colour)
