"""Tiles of an image through one shared encoder: the context-free network of a jigsaw puzzle."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SPREAD = 0.25  # of a normalized tile's pixels, about 1/2: nearly all stay in [0, 1]
FLAT = 1e-3  # least standard deviation that a tile is divided by


class TileExtractor(nn.Module):
    """One encoder over each of grid x grid tiles of an image, the vectors joined in reading order.

    The encoder sees one tile at a time, so what it says of a tile cannot depend on its neighbours (the context-free
    network of "Unsupervised learning of visual representations by solving jigsaw puzzles", Noroozi & Favaro, 2016).

    Args:
        encoder: from tiles (B, C, t, t) in [0, 1] to vectors (B, F), such as a backbone; it has ``num_features`` F.
        grid: tiles a side.
        normalize: give every tile one mean and one spread, so that brightness does not tell where it was.

    Attributes:
        encoder: as given; its weights are shared by all tiles.
        num_features: grid * grid * F.

    Raises:
        ValueError: ``grid`` is below 1.
    """

    def __init__(self, encoder: nn.Module, grid: int = 3, normalize: bool = True) -> None:
        super().__init__()
        if grid < 1:
            raise ValueError(f"grid must be >= 1, got {grid}")
        self.encoder, self.grid, self.normalize = encoder, grid, normalize
        self.num_features = grid * grid * int(encoder.num_features)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """(B, grid * grid * F) of images (B, C, H, W), uint8 or in [0, 1], whose tiles touch."""
        return self.encode(cut_tiles(images, self.grid)).flatten(1)

    def encode(self, tiles: Tensor) -> Tensor:
        """(B, T, F) of tiles (B, T, C, t, t), uint8 or in [0, 1]."""
        flat = tiles.flatten(0, 1)
        flat = flat.float() / 255 if flat.dtype == torch.uint8 else flat
        if self.normalize:
            flat = normalized(flat)
        return self.encoder(flat).unflatten(0, tiles.shape[:2])


def cut_tiles(images: Tensor, grid: int) -> Tensor:
    """(B, grid * grid, C, h, w), the tiles of images (B, C, H, W) in reading order; what is left over is cut off.

    Raises:
        ValueError: an image is smaller than the grid.
    """
    height, width = (side // grid for side in images.shape[2:])
    if min(height, width) < 1:
        raise ValueError(f"images must be at least {grid} x {grid} pixels, got {tuple(images.shape[2:])}")
    images = images[..., : grid * height, : grid * width]
    parts = images.unflatten(3, (grid, width)).unflatten(2, (grid, height))  # B, C, rows, h, columns, w
    return parts.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def normalized(tiles: Tensor) -> Tensor:
    """Tiles (N, C, h, w) with mean 1/2 and one standard deviation each."""
    mean = tiles.mean((1, 2, 3), keepdim=True)
    deviation = tiles.std((1, 2, 3), keepdim=True, correction=0).clamp_min(FLAT)
    return 0.5 + SPREAD * (tiles - mean) / deviation
