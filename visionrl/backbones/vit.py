"""Vision transformers: patches of an image as words that attend to one another."""

from __future__ import annotations

from torch import Tensor, nn

from visionrl.backbones._backbone import Parts, named
from visionrl.backbones._registry import register_backbone
from visionrl.layers.attention import sine_positions
from visionrl.layers.transformer import WordBlock

PATCH = 8  # pixels


class TransformerBlocks(nn.Module):
    """Transformer blocks over the places of a map, with sines and cosines of where they are.

    Args:
        width: of the vectors, a multiple of 4.
        depth: blocks.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(WordBlock(width, 4, 0.0, memory=False) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def encode(self, tokens: Tensor) -> Tensor:
        """(B, N, width) of tokens (B, N, width) that say where they are."""
        for block in self.blocks:
            tokens = block(tokens)[0]
        return self.norm(tokens)

    def forward(self, places: Tensor) -> Tensor:
        """(B, width, h, w) of the patches' vectors (B, width, h, w)."""
        tokens = places + sine_positions(*places.shape[1:]).to(places)
        return self.encode(tokens.flatten(2).mT).mT.reshape_as(places)


@register_backbone
def vit_tiny8(in_channels: int = 3, width: int = 128, depth: int = 4) -> Parts:
    """A small vision transformer (Dosovitskiy et al., 2021) for images of 16-128 px: patches of 8, no class token.

    Pre-norm blocks of 4 heads with a hidden layer of twice the width; positions are sines and cosines, so that one set
    of weights serves all sizes; the map is pooled to 2x2. 512 features; 554,880 parameters for a colour image.
    """
    return Parts(
        named(
            patches=nn.Conv2d(in_channels, width, PATCH, PATCH),
            blocks=TransformerBlocks(width, depth),
        ),
        channels=width,
        pool=2,
        min_size=16,
        small_stem=False,
        volumes=False,
    )
