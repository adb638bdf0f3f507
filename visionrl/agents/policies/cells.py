"""A policy whose actions are places of a map: convolutions score all cells, what is learnt at one serves at others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 16  # channels of the finest map; each coarser one has twice as many
OTHER = 64  # features of the whole, for the actions that are no places and for the critic


class CellPolicy(MultiInputActorCriticPolicy):
    """PPO's and A2C's policy for a Discrete space whose first actions are cells: kinds x rows x columns, row by row.

    A small U-net sees all images of the observation, each brought to the rows and columns of the map, with all numbers
    as further channels. A convolution of 1x1 scores the cells of each kind; actions behind the cells, such as "close",
    and the value of the state come from means over the map.

    Args:
        observation_space: of the environment.
        action_space: of the environment.
        lr_schedule: from the share of the run that is left to the learning rate.
        cells: kinds, rows and columns.
        features_extractor_kwargs: those of ``VisionExtractor`` are not heeded, but for ``width``.
        kwargs: of Stable-Baselines3's ``MultiInputActorCriticPolicy``; ``net_arch`` must be left out.

    Raises:
        ValueError: the actions are fewer than the cells, or no numbers.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Discrete,
        lr_schedule: Any,
        *,
        cells: Sequence[int],
        features_extractor_class: Any = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        kinds, rows, columns = cells
        count = kinds * rows * columns
        if not isinstance(action_space, spaces.Discrete) or action_space.n < count:
            rule = f"Discrete with {kinds} x {rows} x {columns} = {count} or more"
            raise ValueError(f"cells must be those of the actions, {rule}, got {action_space}")
        self.cells = (kinds, rows, columns)
        kwargs["features_extractor_kwargs"] = {"rows": rows, "columns": columns}
        kwargs |= {"features_extractor_class": MapExtractor, "net_arch": []}
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _build(self, lr_schedule: Any) -> None:
        """The networks: those of Stable-Baselines3, but for the last layers, which read a map."""
        super()._build(lr_schedule)
        kinds, rows, columns = self.cells
        rest = int(self.action_space.n) - kinds * rows * columns  # type: ignore[attr-defined]
        self.action_net = CellScores(self.cells, rest)
        self.value_net: nn.Module = WholeMap(rows, columns, 1)  # type: ignore[assignment]
        rate = lr_schedule(1)
        self.optimizer = self.optimizer_class(self.parameters(), lr=rate, **self.optimizer_kwargs)  # type: ignore[call-arg]


class MapExtractor(BaseFeaturesExtractor):
    """A U-net from an observation to a map of features, flattened.

    Args:
        observation_space: a Dict with one image or more.
        rows: of the map.
        columns: of the map.

    Raises:
        ValueError: the observation holds no image.
    """

    def __init__(self, observation_space: spaces.Dict, rows: int, columns: int) -> None:
        super().__init__(observation_space, WIDTH * rows * columns)
        self.size = (rows, columns)
        shapes: dict[str, Any] = {key: box.shape for key, box in observation_space.items()}
        self.images = [key for key, box in observation_space.items() if is_image_space(box)]
        if not self.images:
            raise ValueError(f"observation_space must hold a (C, H, W) uint8 image, got {observation_space}")
        self.numbers = [key for key in observation_space if key not in self.images]
        self.stems = nn.ModuleDict({key: self.stem(*shapes[key]) for key in self.images})
        told = sum(int(torch.tensor(shapes[key]).prod()) for key in self.numbers)
        self.numbers_in = nn.Linear(told, 4 * WIDTH) if told else None
        self.fine = conv(WIDTH, WIDTH)
        self.middle = nn.Sequential(conv(WIDTH, 2 * WIDTH), conv(2 * WIDTH, 2 * WIDTH))
        self.coarse = nn.Sequential(conv(2 * WIDTH, 4 * WIDTH), conv(4 * WIDTH, 4 * WIDTH))
        self.up, self.further_up = nn.Conv2d(4 * WIDTH, 2 * WIDTH, 1), nn.Conv2d(2 * WIDTH, WIDTH, 1)
        self.back, self.last = conv(2 * WIDTH, 2 * WIDTH), conv(WIDTH, WIDTH)

    def stem(self, channels: int, height: int, width: int) -> nn.Module:
        """Layers that bring images of a size near that of the map."""
        stride = max(height // self.size[0], 1)
        edge = stride + 2  # neighbours overlap by a pixel on each side
        return nn.Conv2d(channels, WIDTH, edge, stride, (edge - stride) // 2)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(B, WIDTH * rows * columns) from images in [0, 1] (B, C, H, W) and numbers (B, ...)."""
        maps = [self.stems[key](observations[key] - 0.5) for key in self.images]
        maps = [one if one.shape[2:] == self.size else F.adaptive_avg_pool2d(one, self.size) for one in maps]
        fine = self.fine(torch.stack(maps).sum(0).relu())
        middle = self.middle(F.max_pool2d(fine, 2, ceil_mode=True))
        coarse = self.coarse(F.max_pool2d(middle, 2, ceil_mode=True))
        whole = coarse.mean((2, 3))
        if self.numbers_in is not None:
            told = torch.cat([observations[key].flatten(1) for key in self.numbers], 1)
            whole = whole + self.numbers_in(told)
        coarse = coarse + whole[:, :, None, None]
        middle = self.back(middle + like(self.up(coarse), middle))
        return self.last(fine + like(self.further_up(middle), fine)).flatten(1)


class CellScores(nn.Module):
    """Scores of actions from a flattened map: a convolution of 1x1 for the cells, means for those behind them."""

    def __init__(self, cells: tuple[int, int, int], rest: int) -> None:
        super().__init__()
        self.size = cells[1:]
        self.score = nn.Conv2d(WIDTH, cells[0], 1)
        self.rest = WholeMap(*self.size, rest) if rest else None

    def forward(self, features: Tensor) -> Tensor:
        """(B, n) from (B, WIDTH * rows * columns)."""
        scores = self.score(features.unflatten(1, (WIDTH, *self.size))).flatten(1)
        return scores if self.rest is None else torch.cat([scores, self.rest(features)], 1)


class WholeMap(nn.Module):
    """Outputs from the mean and the maximum of a flattened map."""

    def __init__(self, rows: int, columns: int, outputs: int) -> None:
        super().__init__()
        self.size = (rows, columns)
        self.layers = nn.Sequential(nn.Linear(2 * WIDTH, OTHER), nn.ReLU(), nn.Linear(OTHER, outputs))

    def forward(self, features: Tensor) -> Tensor:
        """(B, outputs) from (B, WIDTH * rows * columns)."""
        flat = features.unflatten(1, (WIDTH, -1))
        return self.layers(torch.cat([flat.mean(2), flat.amax(2)], 1))


def conv(channels: int, out: int) -> nn.Sequential:
    """A convolution of 3x3 with ReLU."""
    return nn.Sequential(nn.Conv2d(channels, out, 3, 1, 1), nn.ReLU())


def like(coarse: Tensor, fine: Tensor) -> Tensor:
    """A map enlarged to the size of another."""
    return F.interpolate(coarse, fine.shape[2:], mode="nearest")
