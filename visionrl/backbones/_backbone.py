"""The one contract of all backbones: `num_features`, `forward`, `forward_features`, freezing, normalisation.

Convention: images are (B, C, H, W), volumes (B, C, D, H, W). uint8 means 0-255 and is divided by 255 inside;
floating point is taken as ALREADY in [0, 1] (Stable-Baselines3 divides uint8 images by 255 before the
extractor).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_POOLS: dict[int, Callable[..., Tensor]] = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


def named(**layers: nn.Module) -> nn.Sequential:
    """A sequence of layers under the given names."""
    return nn.Sequential(OrderedDict(layers))


@dataclass
class Parts:
    """A network taken apart at its published seams; what a family's file returns.

    Attributes:
        stages: the trunk, one named entry per row of the paper's table (see `named`).
        channels: channels of the map.
        head: from the map to the published 1000 logits; None where there is no published classifier.
        auxiliary: auxiliary classifiers by the name of the stage whose output they read.
        pool: side of the grid that the map is average-pooled to before it is flattened.
        neck: layer after the flattened grid, with its output size in `neck_features`.
        whole: the network that owns the parameters under their published names, for loading weights.
        url: where the published weights are.
        min_size: shortest image side that the trunk takes with the published stem; smaller images are
            enlarged.
        min_size_small: the same with the small stem.
        small_stem: False where the published trunk starts without a stride and needs no small stem.
        stem_pool: False where the first max-pooling is one of two branches and has to stay in the small stem.
        shared: True where one set of weights serves any number of channels, so that no filter is adapted to it.
        volumes: False where the network's code leaves 2D operations that have no 3D twin.
        mean: published normalisation of the three colours in [0, 1].
        std: published normalisation of the three colours in [0, 1].
    """

    stages: nn.Sequential
    channels: int
    head: nn.Sequential | None = None
    auxiliary: Mapping[str, nn.Module] = field(default_factory=dict)
    pool: int = 1
    neck: nn.Module | None = None
    neck_features: int = 0
    whole: nn.Module | None = None
    url: str | None = None
    min_size: int = 32
    min_size_small: int = 32
    small_stem: bool = True
    stem_pool: bool = True
    shared: bool = False
    volumes: bool = True
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


class Backbone(nn.Module):
    """An encoder of images (or volumes) into feature vectors, with its spatial map on request.

    Args:
        parts: what it is made of.
        in_channels: channels of the input.
        pool: side of the grid that the map is pooled to; None is that of the parts.
        dims: 2 for images, 3 for volumes.
        pretrained: whether weights were loaded into the parts.
        frozen: fixes weights and BatchNorm statistics.

    Attributes:
        num_features: length of the vectors that `forward` returns.
        num_channels: channels of the map that `forward_features` returns.
        in_channels: channels of the input.
        dims: 2 for images, 3 for volumes.
        pretrained: True if weights were loaded; `apply` then leaves the trunk alone.
        stages: `nn.Sequential` with one named entry per stage of the published table.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        parts: Parts,
        in_channels: int = 3,
        pool: int | None = None,
        dims: int = 2,
        pretrained: bool = False,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        if pool is not None and (pool < 1 or parts.neck is not None):
            raise ValueError(f"pool must be >= 1, and None where a linear layer follows the grid, got {pool}")
        self.stages = parts.stages
        self.neck = parts.neck if parts.neck is not None else nn.Identity()
        self.in_channels, self.dims, self.pretrained = in_channels, dims, pretrained
        self.pool = parts.pool if pool is None else pool
        self.num_channels, self.min_size = parts.channels, parts.min_size
        self.num_features = parts.neck_features or parts.channels * self.pool**dims
        self.register_buffer("mean", _per_channel(parts.mean, in_channels, dims), persistent=False)
        self.register_buffer("std", _per_channel(parts.std, in_channels, dims), persistent=False)
        self._fixed: list[nn.Module] = []
        if frozen:
            self.freeze()

    def normalize(self, x: Tensor) -> Tensor:
        """Images as the trunk wants them: checked, floating point, mean and std taken off, large enough."""
        if x.ndim != self.dims + 2 or x.shape[1] != self.in_channels:
            axes = "(B, C, H, W)" if self.dims == 2 else "(B, C, D, H, W)"
            raise ValueError(f"images must be {axes} with C = {self.in_channels}, got {tuple(x.shape)}")
        if x.dtype == torch.uint8:
            x = x.to(self.mean.dtype) / 255
        elif not x.is_floating_point():
            raise ValueError(f"images must be uint8 (0-255) or floating point in [0, 1], got {x.dtype}")
        return (self._enlarge(x.to(self.mean.dtype)) - self.mean) / self.std

    def forward_features(self, x: Tensor) -> Tensor:
        """The spatial map (B, num_channels, h, w), or (B, num_channels, d, h, w) of a volume."""
        x = self.stages(self.normalize(x))
        return x if x.ndim > 2 else x.reshape(*x.shape, *(1,) * self.dims)

    def forward_stages(self, x: Tensor, names: Collection[str]) -> dict[str, Tensor]:
        """The maps after some stages, by name in their order; no stage after the last of them is run."""
        x, found = self.normalize(x), dict[str, Tensor]()
        for name, stage in self.stages.named_children():
            if found.keys() >= set(names):
                break
            x = stage(x)
            if name in names:
                found[name] = x
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Vectors (B, num_features): the map, pooled to the grid, flattened, through the neck."""
        return self.pool_features(self.forward_features(x))

    def pool_features(self, features: Tensor) -> Tensor:
        """Vectors (B, num_features) from a map (B, num_channels, h, w): for cached or attended maps."""
        grid = (self.pool,) * self.dims
        if self.pool == 1:
            pooled = features.flatten(2).mean(2)
        elif features.shape[2:] == grid:
            pooled = features.flatten(1)
        else:
            pooled = _POOLS[self.dims](features, grid).flatten(1)
        return self.neck(pooled)

    def freeze(self) -> Backbone:
        """Fixes every weight and BatchNorm statistic for good (also through `train()`); returns self."""
        self.requires_grad_(False)
        self._fixed = [self.stages, self.neck]
        return self.train(self.training)

    def unfreeze_last(self, n: int) -> Backbone:
        """Freezes all, then lets the weights of the last `n` stages (and the neck) learn; returns self.

        BatchNorm keeps its statistics in the unfrozen stages too (its scale and shift learn): the data of an
        agent drift with its policy, and so would the statistics.
        """
        if not 0 <= n <= len(self.stages):
            raise ValueError(f"n must be in 0..{len(self.stages)}, got {n}")
        self.freeze()
        for stage in [*self.stages][len(self.stages) - n :]:
            stage.requires_grad_(True)
        self.neck.requires_grad_(n > 0)
        return self

    def train(self, mode: bool = True) -> Backbone:
        """As `nn.Module.train`, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self._fixed:
            module.eval()
        return self

    def apply(self, fn: Callable[[nn.Module], None]) -> Any:
        """As `nn.Module.apply`, but without effect on loaded weights.

        SB3's on-policy algorithms call it with an orthogonal initialisation, which would overwrite them.
        """
        return self if self.pretrained else super().apply(fn)

    def _enlarge(self, x: Tensor) -> Tensor:
        """Images with their shape kept, volumes by each short axis alone (theirs are seldom cubes)."""
        short = min(x.shape[2:])
        if short >= self.min_size:
            return x
        if self.dims == 3:
            return F.interpolate(x, [max(self.min_size, side) for side in x.shape[2:]], mode="trilinear")
        size = [max(self.min_size, round(side * self.min_size / short)) for side in x.shape[2:]]
        return F.interpolate(x, size, mode="bilinear")


class Classifier(nn.Module):
    """A backbone with its published head: images in, logits out.

    Attributes:
        backbone: the trunk, under the contract.
        head: from the spatial map to the logits; where none was published, from the feature vector.
        auxiliary: auxiliary classifiers by stage name (GoogLeNet, Inception-v3), for `forward_all` and
            `loss`.
    """

    def __init__(self, backbone: Backbone, parts: Parts, num_classes: int) -> None:
        super().__init__()
        self.backbone, self._on_vectors = backbone, parts.head is None
        self.head = nn.Linear(backbone.num_features, num_classes) if parts.head is None else parts.head
        self.auxiliary = nn.ModuleDict(dict(parts.auxiliary))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, classes)."""
        return self.classify(self.backbone.forward_features(x))

    def classify(self, features: Tensor) -> Tensor:
        """Logits (B, classes) from the spatial map."""
        return self.head(self.backbone.pool_features(features) if self._on_vectors else features)

    def forward_all(self, x: Tensor) -> list[Tensor]:
        """Logits of the head and then of each auxiliary classifier, each (B, classes)."""
        x, extra = self.backbone.normalize(x), []
        for name, stage in self.backbone.stages.named_children():
            x = stage(x)
            if name in self.auxiliary:
                extra.append(self.auxiliary[name](x))
        return [self.classify(x), *extra]

    def loss(self, x: Tensor, labels: Tensor, label_smoothing: float = 0.0, auxiliary: float = 0.3) -> Tensor:
        """Mean cross-entropy, plus `auxiliary` times that of each auxiliary head (Szegedy et al., 2015: 0.3).

        Args:
            x: images (B, C, H, W).
            labels: class indices (B,) or, for mixup, probabilities (B, classes).
            label_smoothing: share of the probability given to all classes alike.
            auxiliary: weight of each auxiliary classifier.
        """
        main, *extra = self.forward_all(x)
        losses = [
            F.cross_entropy(logits, labels, label_smoothing=label_smoothing) for logits in (main, *extra)
        ]
        return losses[0] + auxiliary * sum(losses[1:], torch.zeros_like(losses[0]))


def _per_channel(values: tuple[float, ...], in_channels: int, dims: int) -> Tensor:
    """(1, C, 1, 1[, 1]): the colours' values tiled for 3, 6, 9... channels, else their mean everywhere."""
    grey = sum(values) / len(values)
    full = list(values) * (in_channels // 3) if in_channels % 3 == 0 else [grey] * in_channels
    return torch.tensor(full).view(1, in_channels, *(1,) * dims)
