"""A small U-Net as a backbone: a fine map that knows what coarser ones saw, for masks and actions that are places."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.backbones._backbone import Parts, named
from visionrl.backbones._registry import register_backbone
from visionrl.backbones.small import Hourglass

GROUPS = 4  # of GroupNorm
_FIXED: dict[str, Any] = {"pool": 4, "min_size": 32, "small_stem": False, "volumes": False}


WIDTH = 16  # of the small network of `mask_first`
DONE = 3  # channels of `mask_first` that say what has been done: the mask so far, seeds on the object, and beside it


@register_backbone
def unet(in_channels: int = 3, width: int = 12) -> Parts:
    """A U-Net (Ronneberger, Fischer & Brox, 2015) at half the image's side, with GroupNorm.

    A 4x4 convolution with stride 2, then maps at a half, a quarter, an eighth and a sixteenth of the side; on the way
    back each is joined to what was seen at its scale. The map is pooled to 4x4. `visionrl.supervised` trains it to say
    masks, and what it learned there goes to an agent by `weights=`. 112,764 parameters with three channels.
    """
    return Parts(named(net=_UNet(in_channels, width)), channels=width, **_FIXED)


@register_backbone
def mask_first(in_channels: int = 6, width: int = 12) -> Parts:
    """A U-Net that says a mask, and a small network that compares it with what has been done so far.

    The last three channels are what has been done, such as the mask of an agent's seeds and the seeds; the U-Net sees
    all others, which stay the same in an episode. It learns masks from `visionrl.supervised` alone, which writes the
    weights, and stays as it is when an agent learns. Its probabilities and what has been done go at half the image's
    side to an hourglass like that of `hourglass`, with a stride of 2.
    """
    done = min(DONE, in_channels - 1)
    glass = nn.Sequential(
        nn.Conv2d(1 + done, WIDTH, 4, 2, 1),
        nn.ReLU(),
        Hourglass(WIDTH, 2),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        nn.ReLU(),
    )
    return Parts(named(first=MaskFirst(in_channels, done, width), glass=glass), channels=WIDTH, **_FIXED)


class MaskFirst(nn.Module):
    """The probabilities of a U-Net's mask, without a gradient, and what has been done, at half the image's side.

    Args:
        in_channels: of the images.
        done: how many of them, the last ones, say what has been done; the U-Net sees zeros in their place.
        width: channels of the U-Net's finest map.
    """

    def __init__(self, in_channels: int, done: int, width: int) -> None:
        super().__init__()
        self.seen, self.net = in_channels - done, _UNet(in_channels, width)
        self.head = nn.Conv2d(width, 1, 1)

    def logits(self, x: Tensor) -> Tensor:
        """(B, 1, h, w), of normalized images (B, C, H, W)."""
        blank = torch.zeros_like(x[:, self.seen :])
        return self.head(self.net(torch.cat([x[:, : self.seen], blank], dim=1)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 + done, h, w), of normalized images (B, C, H, W)."""
        with torch.no_grad():
            likely = self.logits(x).sigmoid()
        done = F.adaptive_avg_pool2d(x[:, self.seen :], likely.shape[-2:])
        return torch.cat([likely, done], dim=1)


class _UNet(nn.Module):
    """Convolutions at ever coarser scales, and back, with what each scale saw joined to what comes back.

    Sides need not be even: a map that comes back is resized to the one it is joined to.

    Args:
        in_channels: of the images.
        width: channels of the finest map, at half the side of the images.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, width, 4, 2, 1), nn.ReLU())
        widths = (width, 2 * width, 3 * width, 3 * width)
        befores = (width, *widths[:-1])
        self.down = nn.ModuleList(_convolutions(a, b) for a, b in zip(befores, widths, strict=True))
        back = zip(widths[:0:-1], widths[-2::-1], strict=True)
        self.up = nn.ModuleList(_convolutions(coarse + fine, fine) for coarse, fine in back)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H / 2, W / 2) from (B, C, H, W)."""
        x, seen = self.stem(x), list[Tensor]()
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
