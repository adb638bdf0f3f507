"""A small U-Net as a backbone: a fine map that knows what coarser ones saw, for masks and actions that are places."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.backbones._backbone import Parts, named
from visionrl.backbones._registry import register_backbone

GROUPS = 4  # of GroupNorm


@register_backbone
def unet(in_channels: int = 3, width: int = 12) -> Parts:
    """A U-Net (Ronneberger, Fischer & Brox, 2015) at half the image's side, with GroupNorm.

    A 4x4 convolution with stride 2, then maps at a half, a quarter, an eighth and a sixteenth of the side; on the way
    back each is joined to what was seen at its scale. The map is pooled to 4x4. `visionrl.supervised` trains it to say
    masks, and what it learned there goes to an agent by `weights=`. 112,764 parameters with three channels.
    """
    return Parts(
        named(
            stem=nn.Sequential(nn.Conv2d(in_channels, width, 4, 2, 1), nn.ReLU()),
            net=_UNet((width, 2 * width, 3 * width, 3 * width)),
        ),
        channels=width,
        pool=4,
        min_size=32,
        small_stem=False,
        volumes=False,
    )


class _UNet(nn.Module):
    """Convolutions at ever coarser scales, and back, with what each scale saw joined to what comes back.

    Sides need not be even: a map that comes back is resized to the one it is joined to.

    Args:
        widths: channels at each scale, the finest first; each scale has half the side of the one before.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        befores = (widths[0], *widths[:-1])
        self.down = nn.ModuleList(_convolutions(a, b) for a, b in zip(befores, widths, strict=True))
        back = zip(widths[:0:-1], widths[-2::-1], strict=True)
        self.up = nn.ModuleList(_convolutions(coarse + fine, fine) for coarse, fine in back)

    def forward(self, x: Tensor) -> Tensor:
        """(B, widths[0], h, w) from a map of that shape."""
        seen = list[Tensor]()
        for number, layer in enumerate(self.down):
            x = layer(F.max_pool2d(x, 2, ceil_mode=True) if number else x)
            seen.append(x)
        for layer, fine in zip(self.up, seen[-2::-1], strict=True):
            x = F.interpolate(x, size=fine.shape[-2:], mode="bilinear", align_corners=False)
            x = layer(torch.cat([x, fine], dim=1))
        return x


def _convolutions(before: int, after: int) -> nn.Sequential:
    """Two convolutions of 3 x 3 pixels, each with GroupNorm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [
            nn.Conv2d(channels, after, 3, padding=1, bias=False),
            nn.GroupNorm(GROUPS, after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)
