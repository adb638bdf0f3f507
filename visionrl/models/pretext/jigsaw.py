"""Jigsaw: in which of 64 orders the nine tiles of an image lie (Noroozi & Favaro, 2016)."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor, nn

from visionrl.layers.tiles import TileExtractor, cut_tiles
from visionrl.models._model import Split
from visionrl.models._registry import register_model
from visionrl.models.pretext._base import Figures, Pretext, classification_loss, crop_at, random_ints, to_unit
from visionrl.models.pretext._pictures import Cell, sheet

ORDERS = 64
POOL = 5000  # random orders that the distant ones are chosen from
WIDTH = 64  # of a tile's vector


@register_model("jigsaw")
class Jigsaw(Pretext):
    """The network tells which of 64 orders the tiles of an image lie in; one encoder sees each tile alone.

    "Unsupervised learning of visual representations by solving jigsaw puzzles" (Noroozi & Favaro, 2016): tiles of 3/4
    of a cell at a random place in it, so that edges do not meet; each with one mean and one spread; the orders lie
    far apart from one another (greatest mean Hamming distance, greedily).

    Args:
        grid: tiles a side.
        options: see ``Pretext``.
    """

    least = 24
    orders: Tensor

    def __init__(self, grid: Annotated[int, Interval(ge=2, le=4)] = 3, **options: Any) -> None:
        super().__init__(**options)
        self.tiles = TileExtractor(self.backbone, grid)
        orders = torch.from_numpy(distant_orders(grid * grid))
        self.register_buffer("orders", orders, persistent=False)
        self.look = nn.Sequential(nn.Linear(self.backbone.num_features, WIDTH), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(grid * grid * WIDTH, 256), nn.ReLU(), nn.Linear(256, len(orders)))

    def puzzle(self, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Tiles (B, T, C, t, t) in [0, 1] in random orders, and the orders' numbers (B,)."""
        cells = cut_tiles(to_unit(images), self.tiles.grid)
        count, size = len(images), max(cells.shape[-1] * 3 // 4, 1)
        top, left = random_ints(
            generator, images, (2, cells[:, :, 0, 0, 0].numel()), cells.shape[-1] - size + 1
        )
        tiles = crop_at(cells.flatten(0, 1), top, left, size).unflatten(0, cells.shape[:2])
        labels = random_ints(generator, images, (count,), len(self.orders))
        return tiles[torch.arange(count, device=images.device)[:, None], self.orders[labels]], labels

    def answer(self, tiles: Tensor) -> Tensor:
        """Logits (B, orders) of tiles (B, T, C, t, t)."""
        return self.head(self.look(self.tiles.encode(tiles)).flatten(1))

    def objective(self, batch: Split, generator: torch.Generator) -> tuple[Tensor, Figures]:
        """Cross-entropy of the order of each image's tiles, and the accuracy."""
        tiles, labels = self.puzzle(batch["images"], generator)
        return classification_loss(self.answer(tiles), labels)

    @torch.no_grad()
    def picture(self, images: Tensor, generator: torch.Generator) -> np.ndarray:
        """Each image, its puzzle, and the puzzle laid as predicted."""
        tiles, labels = self.puzzle(images, generator)
        said = self.answer(tiles).argmax(1)
        rows = []
        for image, shuffled, true, guessed in zip(images, tiles, labels, said, strict=True):
            laid = shuffled[self.orders[guessed].argsort()]
            words = f"order {int(guessed)} of {int(true)}"
            rows.append([Cell(image, "image"), Cell(joined(shuffled), "puzzle")])
            rows[-1].append(Cell(joined(laid), words, bool(true == guessed)))
        return sheet(rows, self.colour)


@lru_cache
def distant_orders(tiles: int, count: int = ORDERS, seed: int = 0) -> np.ndarray:
    """(count, tiles) int64, orders of the tiles, each chosen to differ most from those before it.

    There are fewer where so many different ones do not exist.
    """
    rng = np.random.default_rng(seed)
    pool = np.unique(np.stack([rng.permutation(tiles) for _ in range(POOL)]), axis=0)
    chosen, distance = [int(rng.integers(len(pool)))], np.zeros(len(pool), np.int64)
    while len(chosen) < min(count, len(pool)):
        distance += (pool != pool[chosen[-1]]).sum(1)
        distance[chosen] = -1
        chosen.append(int(distance.argmax()))
        distance[chosen] = -1
    return pool[chosen]


def joined(tiles: Tensor) -> Tensor:
    """(C, H, W) of tiles (T, C, t, t) in reading order."""
    grid = round(len(tiles) ** 0.5)
    rows = [torch.cat([*tiles[i * grid : (i + 1) * grid]], 2) for i in range(grid)]
    return torch.cat(rows, 1)
