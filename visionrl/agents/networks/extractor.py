"""From an observation of images and numbers to one feature vector."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import Space, spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from visionrl.backbones import Backbone, Parts, as_backbone, make_backbone, named
from visionrl.core import check_choice
from visionrl.layers.attention import (
    Attended,
    HardAttention,
    SelfAttention,
    SoftAttention,
    sine_positions,
)
from visionrl.layers.stn import SpatialTransformer
from visionrl.layers.tiles import TileExtractor

Attention = Literal["none", "soft", "self", "multihead", "hard"]
HEADS = 4


class VisionExtractor(BaseFeaturesExtractor):
    """A features extractor of Stable-Baselines3: images through a backbone, the rest joined to it.

    Images, (C, H, W) uint8, of one size, such as a window and a template, are stacked and share a backbone, whose
    first layer can so compare them; an image of another size has its own. Volumes, (C, D, H, W) uint8, go through
    the backbone's 3D twin. All other entries are flattened; a linear layer with ReLU makes the feature vector of
    it all, or lets the numbers scale and shift what the images give ("film"), which serves goals better. Leave the
    policy's ``normalize_images`` on, the backbones want images in [0, 1].

    Pretrained weights outlive the orthogonal initialisation that PPO and A2C apply to extractors, and a
    frozen backbone outlives training: neither weights nor BatchNorm statistics move. What is put before and behind
    a frozen backbone learns.

    Args:
        observation_space: a Dict with one image or volume or more; all are channel-first.
        backbone: name of a backbone, or a module from (B, C, H, W) in [0, 1] to a map or vectors, for volumes from
            (B, C, D, H, W); a module is copied, with its weights, for each size of image and each network.
        features_dim: length of the feature vector.
        pretrained: published weights; True or the name of a torchvision entry.
        frozen: the backbones do not learn.
        weights: a file of weights instead.
        stn: a spatial transformer in front of each backbone, which warps a stack as one; images only.
        attention: what pools the backbones' maps instead of the backbone's own pooling, see ``MapAttention``.
        fusion: "concat", or "film" (Perez et al., 2018), how numbers join the images.
        tiles: more than 1 cuts each image into tiles x tiles parts, which go through one backbone one by one
            (``TileExtractor``); their vectors are joined. Images only.
        activated: False leaves the last ReLU out, for vectors that are to be compared.
        options: further arguments of ``visionrl.backbones.make_backbone``.

    Attributes:
        attention_maps: name of a stack's first image -> weights of the last forward, as ``MapAttention`` gives them.

    Raises:
        ValueError: the observation holds no image, or an option does not fit the images.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        backbone: str | nn.Module = "small",
        features_dim: int = 256,
        pretrained: bool | str = False,
        frozen: bool = False,
        weights: str | Mapping[str, Tensor] | None = None,
        stn: bool = False,
        attention: Attention = "none",
        fusion: Literal["concat", "film"] = "concat",
        tiles: int = 1,
        activated: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(observation_space, features_dim)
        check_choice("attention", attention, ("none", *_KINDS))
        check_choice("fusion", fusion, ("concat", "film"))
        shapes: dict[str, tuple[int, ...]] = {
            key: space.shape  # type: ignore[misc]
            for key, space in observation_space.items()
            if is_image_space(space) or is_volume_space(space)
        }
        if not shapes:
            raise ValueError(
                f"observation_space must hold a (C, H, W) uint8 image, got {observation_space}; "
                "for numbers alone there is NumbersExtractor"
            )
        options = {**options, "pretrained": pretrained, "weights": weights, "frozen": frozen}
        self.stacks = same_size(shapes)
        stacked = {key: [shapes[k] for k in keys] for key, keys in self.stacks.items()}
        self.backbones = nn.ModuleDict(
            {key: build_backbone(backbone, in_tiles(sizes, tiles), options) for key, sizes in stacked.items()}
        )
        if tiles > 1:
            check_tiled(stacked, stn, attention)
            cut = {key: TileExtractor(net, tiles) for key, net in self.backbones.items()}
            self.backbones = nn.ModuleDict(cut)
        self.volumes = {key for key in stacked if len(shapes[key]) == 4}
        self.transformers = _transformers(stacked) if stn else nn.ModuleDict()
        self.attentions = _attentions(attention, self.backbones, stacked)
        self.attention_maps: dict[str, Tensor] = {}
        self.others = [key for key in observation_space if key not in shapes]
        seen = sum(net.num_features for net in (self.attentions or self.backbones).values())  # type: ignore[misc]
        vector_dim = sum(get_flattened_obs_dim(observation_space[key]) for key in self.others)
        self.film = nn.Linear(vector_dim, 2 * features_dim) if fusion == "film" and vector_dim else None
        self.last = nn.ReLU() if activated else nn.Identity()
        self.head = nn.Linear(seen if self.film else seen + vector_dim, features_dim)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(B, features_dim) from images in [0, 1] (B, C, H, W), volumes in [0, 255] and numbers (B, ...)."""
        parts = [
            self.encode(first, torch.cat([observations[key] for key in keys], dim=1))
            for first, keys in self.stacks.items()
        ]
        numbers = [observations[key].flatten(1) for key in self.others]
        if self.film is None:
            return self.last(self.head(torch.cat([*parts, *numbers], dim=1)))
        scale, shift = self.film(torch.cat(numbers, dim=1)).chunk(2, dim=1)
        return self.last(self.head(torch.cat(parts, dim=1)) * (1 + scale) + shift)

    def encode(self, first: str, images: Tensor) -> Tensor:
        """(B, n) of a stack of images (B, C, H, W) or volumes (B, C, D, H, W), named by its first."""
        if first in self.volumes:
            images = images / 255  # Stable-Baselines3 divides only what it takes for an image
        if self.transformers:
            images = self.transformers[first](images)
        net: Any = self.backbones[first]
        if not self.attentions:
            return net(images)
        vectors, weights = self.attentions[first](net, net.forward_features(images))
        self.attention_maps[first] = weights.detach()
        return vectors


class MapAttention(nn.Module):
    """Attention over a backbone's map, and where it looks; a volume's rows of all slices count as one long axis.

    * "soft": the mean of the map under learned weights (B, h, w);
    * "hard": one place, drawn in training, the likeliest else; the gradient is that of the Gumbel softmax. PPO's
      and A2C's old and new probabilities then differ by the draw;
    * "multihead": a learned question, asked by 4 heads, with weights (B, 4, h, w);
    * "self": each place looks at each other, weights (B, heads, h*w, h*w), then the backbone's own pooling.

    For the first three the place where each map of weights has its mean, (x, y) in [-1, 1], is joined to the
    vector, which would else not say where its content lies.

    Args:
        kind: one of these.
        backbone: what the maps come from.
        shape: (C, H, W) or (C, D, H, W) of its images.

    Attributes:
        num_features: length of the vectors.
        size: (h, w) or (d, h, w) of the map.

    Raises:
        ValueError: the map has a single place, or channels that the attention cannot split.
    """

    places: Tensor

    def __init__(self, kind: Attention, backbone: Backbone, shape: tuple[int, ...]) -> None:
        super().__init__()
        size = _map_size(backbone, shape)
        if np.prod(size) < 2:
            raise ValueError(f"attention must have a map of more than one place to look at, got {size}")
        channels, self.size = backbone.num_channels, size
        self.kind, self.look = kind, _KINDS[kind](channels)
        heads = HEADS if kind == "multihead" else 1
        self.num_features = backbone.num_features if kind == "self" else channels + heads * len(size)
        self.register_buffer("places", _centres(size), persistent=False)

    def forward(self, backbone: Backbone, features: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (B, num_features) and weights, from a map (B, C, h, w) or (B, C, d, h, w)."""
        flat = features.flatten(2, -2) if features.ndim == 5 else features
        seen, weights, _ = self.look(flat)
        if self.kind == "self":
            return backbone.pool_features(seen.view_as(features)), weights
        where = (weights.reshape(seen.shape[0], -1, len(self.places)) @ self.places).flatten(1)
        heads = weights.shape[1:2] if self.kind == "multihead" else ()
        return torch.cat([seen, where], 1), weights.reshape(seen.shape[0], *heads, *features.shape[2:])

    def heat(self, weights: Tensor) -> Tensor:
        """(B, h, w) or (B, d, h, w), from the weights of a forward: how much each place is attended to, sums to 1."""
        if self.kind == "self":
            return weights.mean((1, 2)).view(-1, *self.size)
        return weights.mean(1) if self.kind == "multihead" else weights


class _Question(nn.Module):
    """A learned question that several heads ask the places of a map ("Set transformer", Lee et al., 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % HEADS:
            raise ValueError(f"attention must have {HEADS} heads that divide the channels, got {channels}")
        self.attention = nn.MultiheadAttention(channels, HEADS, batch_first=True)
        self.question = nn.Parameter(torch.randn(1, 1, channels))

    def forward(self, features: Tensor) -> Attended:
        """The answer (B, C) and the weights (B, heads, h, w)."""
        places = features.flatten(2).mT
        keys = places + sine_positions(*features.shape[1:]).to(places).flatten(1).T
        asked = self.question.expand(features.shape[0], -1, -1)
        seen, weights = self.attention(asked, keys, places, average_attn_weights=False)
        return Attended(seen[:, 0], weights.view(features.shape[0], -1, *features.shape[2:]))


_KINDS: dict[str, Any] = {
    "soft": SoftAttention,
    "self": SelfAttention,
    "multihead": _Question,
    "hard": lambda channels: HardAttention(channels, estimator="gumbel"),
}


def in_tiles(shapes: list[Any], tiles: int) -> list[Any]:
    """Shapes (C, H, W) of the parts of images that are cut into tiles x tiles.

    Raises:
        ValueError: ``tiles`` is below 1, or there are fewer pixels than tiles.
    """
    if tiles < 1 or (tiles > 1 and min(shapes[0][1:]) < tiles):
        raise ValueError(f"tiles must be in [1, {min(shapes[0][1:])}], got {tiles}")
    return [(shape[0], *(side // tiles for side in shape[1:])) for shape in shapes] if tiles > 1 else shapes


def check_tiled(stacked: Mapping[str, list[Any]], stn: bool, attention: str) -> None:
    """Refuse what does not go with tiles.

    Raises:
        ValueError: there are volumes, a spatial transformer, or attention.
    """
    if any(len(shapes[0]) != 3 for shapes in stacked.values()):
        raise ValueError("tiles must be 1 where the observation holds volumes")
    if stn or attention != "none":
        raise ValueError(f"tiles must be 1 with {'stn' if stn else 'attention'}, which sees the whole image")


def is_volume_space(space: Space) -> bool:
    """Tell if a space holds volumes, (C, D, H, W) uint8 from 0 to 255."""
    if not (isinstance(space, spaces.Box) and len(space.shape) == 4 and space.dtype == np.uint8):
        return False
    return bool((space.low == 0).all() and (space.high == 255).all())


def same_size(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, list[str]]:
    """The first image (C, ...) of each size -> all images of that size, their numbers of channels apart."""
    stacks: dict[str, list[str]] = {}
    for key, shape in shapes.items():
        first = next((k for k in stacks if shapes[k][1:] == shape[1:]), key)
        stacks.setdefault(first, []).append(key)
    return stacks


def _channels(shapes: list[Any]) -> int:
    return sum(shape[0] for shape in shapes)


def build_backbone(backbone: str | nn.Module, shapes: list[Any], options: dict[str, Any]) -> Backbone:
    """A backbone for a stack of images (C, H, W) or volumes (C, D, H, W), all of one size.

    Args:
        backbone: name, or a module, of which a copy is taken.
        shapes: of the images of the stack.
        options: of ``make_backbone``; "frozen" must be among them.
    """
    channels, side, flat = _channels(shapes), min(shapes[0][1:]), len(shapes[0]) == 3
    if isinstance(backbone, str):
        return make_backbone(backbone, channels, image_size=side, dims=2 if flat else 3, **options)
    own = deepcopy(backbone)
    net = as_backbone(own, channels, side) if flat else _own_volumes(own, channels, shapes[0][1:])
    net.pretrained = True  # the weights are the caller's
    return net.freeze() if options["frozen"] else net


def _own_volumes(module: nn.Module, channels: int, size: tuple[int, ...]) -> Backbone:
    """A user's module from (B, C, D, H, W) in [0, 1], as a backbone; a trial tells the size of its output."""
    if isinstance(module, Backbone):
        return module
    mode = module.training
    with torch.no_grad():
        out = module.eval()(torch.zeros(1, channels, *size))
    module.train(mode)
    plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    parts = Parts(named(trunk=module), out.shape[1], min_size=1, small_stem=False, **plain)  # type: ignore[arg-type]
    return Backbone(parts, channels, dims=3)


def _transformers(stacked: Mapping[str, list[Any]]) -> nn.ModuleDict:
    """A spatial transformer for each stack of images.

    Raises:
        ValueError: there is a volume, which a 2D warp does not fit.
    """
    for key, shapes in stacked.items():
        if len(shapes[0]) != 3:
            raise ValueError(f"stn must be False where the observation holds volumes, got {key!r}")
    return nn.ModuleDict({key: SpatialTransformer(_channels(shapes)) for key, shapes in stacked.items()})


def _attentions(kind: Attention, nets: nn.ModuleDict, stacked: Mapping[str, list[Any]]) -> nn.ModuleDict:
    """Attention modules over the feature map of each backbone; empty for "none"."""
    looks = nn.ModuleDict()
    for key, shapes in stacked.items() if kind != "none" else ():
        net: Any = nets[key]
        looks[key] = MapAttention(kind, net, (_channels(shapes), *shapes[0][1:]))
    return looks


def _map_size(backbone: Backbone, shape: tuple[int, ...]) -> tuple[int, ...]:
    """(h, w) or (d, h, w) of the map of images (C, H, W) or volumes (C, D, H, W)."""
    mode = backbone.training
    with torch.no_grad():
        features = backbone.eval().forward_features(torch.zeros(1, *shape))
    backbone.train(mode)
    return tuple(features.shape[2:])


def _centres(size: tuple[int, ...]) -> Tensor:
    """(places, axes) of a grid's cells, in [-1, 1], the last axis first: (x, y) or (x, y, z)."""
    axes = [(torch.arange(length) + 0.5) * 2 / length - 1 for length in size]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")[::-1]], 1)
