"""A small U-Net: from images to logits of as many pixels (Ronneberger, Fischer & Brox, 2015)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (12, 24, 48)  # some 65,000 parameters with four channels and one class


class UNet(nn.Module):
    """Convolutions at ever coarser scales, and back, with what each scale saw joined to what comes back.

    Sides need not be even: a map that comes back is resized to the one it is joined to.

    Args:
        in_channels: of the images.
        classes: channels of the logits.
        widths: channels at each scale, the finest first; each scale has half the side of the one before.
    """

    def __init__(self, in_channels: int, classes: int = 1, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise ValueError(f"widths must be one or more whole numbers >= 1, got {widths}")
        befores = (in_channels, *widths[:-1])
        self.down = nn.ModuleList(convolutions(a, b) for a, b in zip(befores, widths, strict=True))
        back = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(convolutions(coarse + fine, fine) for coarse, fine in back)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes, H, W) of images (B, C, H, W) in [0, 1]."""
        x, seen = images, list[Tensor]()
        for number, layer in enumerate(self.down):
            x = layer(F.max_pool2d(x, 2, ceil_mode=True) if number else x)
            seen.append(x)
        for layer, fine in zip(self.up, seen[-2::-1], strict=True):
            x = F.interpolate(x, size=fine.shape[-2:], mode="bilinear", align_corners=False)
            x = layer(torch.cat([x, fine], dim=1))
        return self.head(x)


def convolutions(before: int, after: int) -> nn.Sequential:
    """Two convolutions of 3 x 3 pixels, each with BatchNorm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)
