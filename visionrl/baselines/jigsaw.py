"""Jigsaw puzzles by the edges of tiles: the arrangement whose neighbours continue each other best."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import permutations

import numpy as np

from visionrl.core import baseline
from visionrl.envs.recognition.jigsaw import JigsawPuzzle, State
from visionrl.envs.recognition.puzzle_picture import cells_of

Run = Callable[[JigsawPuzzle, State], State]


@baseline("JigsawPuzzle-v0", "edges", learns=False)
def by_edges(train: None) -> Run:
    """The best of all arrangements by the sum of what edges differ from their neighbours' continuation."""

    def run(task: JigsawPuzzle, state: State) -> State:
        tiles = np.stack(cells_of(task.observe(state)["image"][0], task.grid)).astype(np.float32)
        found = best_arrangement(edge_costs(tiles), task.grid)
        lies = list(range(task.places))
        for place, wanted in enumerate(found.tolist()):
            other = lies.index(wanted)
            if other != place:
                lies[place], lies[other] = lies[other], lies[place]
                state = task.step(state, np.array([task.number[place, other]]))
        return task.step(state, np.array([len(task.pairs)]))

    return run


def edge_costs(tiles: np.ndarray) -> np.ndarray:
    """(2, n, n) float32, how badly tile j continues tile i to the right, and below.

    Each side of the border is continued linearly to the other (Pomeranz et al., 2011); differences count by their
    absolute value, which large ones do not rule.

    Args:
        tiles: (n, C, t, t).
    """
    across = np.stack([tiles, tiles.swapaxes(2, 3)])  # below is right of the transposed
    last, before = across[..., -1], across[..., -2]
    first, second = across[..., 0], across[..., 1]
    ahead, back = 2 * last - before, 2 * first - second
    right = np.abs(ahead[:, :, None] - first[:, None]) + np.abs(back[:, None] - last[:, :, None])
    return right.sum(axis=(3, 4))


def best_arrangement(costs: np.ndarray, grid: int) -> np.ndarray:
    """(n,) int64, the tile for each place, of all n! arrangements that of least cost.

    Args:
        costs: (2, n, n) of ``edge_costs``.
        grid: tiles along a side, 2 or 3.
    """
    every = arrangements(grid**2)
    places = np.arange(grid**2).reshape(grid, grid)
    total = np.zeros(len(every), np.float32)
    neighbours = (places[:, :-1], places[:, 1:]), (places[:-1], places[1:])
    for cost, (one, other) in zip(costs, neighbours, strict=True):
        for first, second in zip(one.ravel(), other.ravel(), strict=True):
            total += cost[every[:, first], every[:, second]]
    return every[total.argmin()].astype(np.int64)


@lru_cache
def arrangements(count: int) -> np.ndarray:
    """(count!, count) int64, all arrangements of some tiles."""
    return np.array(list(permutations(range(count))), np.int64)
