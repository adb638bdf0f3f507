"""The registry of backbones, and the functions that build them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, Literal

import torch
from torch import Tensor, nn

from visionrl.backbones import _surgery
from visionrl.backbones._backbone import Backbone, Classifier, Parts, named
from visionrl.backbones._libraries import is_library_name, library_parts
from visionrl.backbones._weights import load_into, published, read_weights
from visionrl.backbones.volumes import to_volumes

Builder = Callable[..., "Parts | nn.Module"]
Stem = Literal["auto", "imagenet", "small"]
Norm = Literal["batch", "group"]
Weights = str | PathLike[str] | Mapping[str, Tensor] | None

SMALL_BELOW = 64
"""Side in pixels below which `stem="auto"` takes the small stem."""

_BUILDERS: dict[str, Builder] = {}


def register_backbone(build: Builder, name: str | None = None) -> Builder:
    """Makes a backbone known by name; a decorator, or one line for your own: `register_backbone(MyNet)`.

    Args:
        build: function or module class that returns an `nn.Module` (images in [0, 1] (B, C, H, W) to a map
            (B, C', h, w) or a vector (B, n)) or `Parts`. If it takes `in_channels` it is given it; if not,
            it is built for its own channels and its first convolution is adapted, weights kept.
        name: the name; by default that of the function or class.

    Returns:
        build: unchanged.

    Raises:
        ValueError: the name is taken.
    """
    key = name or build.__name__
    if key in _BUILDERS:
        raise ValueError(f"a backbone's name must be new, got {key!r}, which is registered already")
    _BUILDERS[key] = build
    return build


def list_backbones(word: str = "") -> list[str]:
    """Names of all registered backbones that contain `word`, sorted."""
    return sorted(name for name in _BUILDERS if word in name)


def make_backbone(
    name: str,
    in_channels: int = 3,
    pretrained: bool | str = False,
    weights: Weights = None,
    frozen: bool = False,
    stem: Stem = "auto",
    *,
    image_size: int | None = None,
    pool: int | None = None,
    norm: Norm = "batch",
    dims: Literal[2, 3] = 2,
    **options: Any,
) -> Backbone:
    """A backbone by name, under the one contract (see `Backbone`).

    BatchNorm in reinforcement learning: an agent's data drift and its batches are correlated, so statistics
    learnt on the run make the behaviour policy and the learner disagree. With pretrained weights use
    `frozen=True` (then `unfreeze_last(n)`): the statistics stay. From scratch prefer a backbone without
    BatchNorm (`small`, `nature`, `impala`, `vgg11`) or `norm="group"`.

    Args:
        name: one of `list_backbones()`, or "timm:NAME" or "torchvision:NAME" for any classification network of these
            libraries, such as "timm:vit_tiny_patch16_224"; see `library_parts`.
        in_channels: channels of the images (uint8, or float in [0, 1]), which are normalised inside: with the
            mean and std of the published weights (ImageNet's, or 0.5 and 0.5) if `in_channels` is a multiple
            of 3 (stacked colour frames); else every channel gets the grey rule, their mean over the colours
            (ImageNet: mean 0.449, std 0.226).
        pretrained: True for the published ImageNet weights, or the name of a torchvision entry
            ("IMAGENET1K_V2").
        weights: a local file (.pt, .pth, .safetensors) or a state dict, instead of `pretrained`.
        frozen: fixes weights and BatchNorm statistics.
        stem: "imagenet" is the published one; "small" halves the first stride and drops the first pooling,
            for images of 32-64 px; "auto" is "small" if `image_size` is given and below 64, else "imagenet".
            The parameters have the same shapes either way.
        image_size: shorter side of the images, for `stem="auto"` and for the trial of a module of your own.
        pool: side of the grid that the map is pooled to; 1 is global average pooling, more keeps positions.
        norm: "group" puts GroupNorm in the place of every BatchNorm.
        dims: 3 for the 3D twin, which takes volumes (B, C, D, H, W); 2D weights are inflated, see `volumes`.
        **options: passed on to the builder.

    Raises:
        ValueError: an unknown name, weights that do not fit, or a network without a 3D twin.
        FileNotFoundError: weights that are not there and cannot be downloaded.
    """
    parts, loaded = _build(name, in_channels, pretrained, weights, stem, image_size, norm, options)
    if dims not in (2, 3):
        raise ValueError(f"dims must be 2 or 3, got {dims!r}")
    if dims == 3:
        if not parts.volumes:
            raise ValueError(f"name must be a backbone with a 3D twin, got {name!r}")
        parts = to_volumes(parts)
    return Backbone(parts, in_channels, pool, dims, loaded, frozen)


def make_classifier(
    name: str,
    num_classes: int = 1000,
    in_channels: int = 3,
    pretrained: bool | str = False,
    weights: Weights = None,
    stem: Stem = "auto",
    *,
    image_size: int | None = None,
    norm: Norm = "batch",
    **options: Any,
) -> Classifier:
    """The backbone with its published head (or, where none was published, one linear layer), giving logits.

    Arguments as for `make_backbone`; with `num_classes` other than 1000 the last layers start anew.
    """
    parts, loaded = _build(name, in_channels, pretrained, weights, stem, image_size, norm, options)
    backbone = Backbone(parts, in_channels, pretrained=loaded)
    if num_classes != 1000:
        for head in filter(None, (parts.head, *parts.auxiliary.values())):
            _surgery.replace_last_linear(head, num_classes)
    return Classifier(backbone, parts, num_classes)


def as_backbone(
    module: nn.Module,
    in_channels: int = 3,
    image_size: int = 64,
    pool: int | None = None,
    pretrained: bool = False,
) -> Backbone:
    """A module of your own under the contract.

    Args:
        module: images (B, C, H, W) in [0, 1] to a map (B, C', h, w) or a vector (B, n).
        in_channels: C.
        image_size: side of the images of the one trial that finds C' or n.
        pool: side of the grid that a map is pooled to; None is 1.
        pretrained: True keeps SB3 from drawing its weights anew (see `Backbone.apply`).
    """
    if isinstance(module, Backbone):
        return module
    return Backbone(_probe(module, in_channels, image_size), in_channels, pool, pretrained=pretrained)


def _build(
    name: str,
    in_channels: int,
    pretrained: bool | str,
    weights: Weights,
    stem: Stem,
    image_size: int | None,
    norm: Norm,
    options: dict[str, Any],
) -> tuple[Parts, bool]:
    """The parts, changed as asked, and whether weights were loaded into them."""
    if norm not in ("batch", "group"):
        raise ValueError(f"norm must be 'batch' or 'group', got {norm!r}")
    if pretrained and (weights is not None or norm == "group"):
        raise ValueError(f"pretrained must stand alone, got weights={weights!r} and norm={norm!r} with it")
    parts = _call(name, in_channels, image_size, options)
    if _small_stem(stem, image_size) and parts.small_stem:
        _surgery.small_stem(parts)
    if norm == "group":
        _surgery.group_norm(parts.stages)
    state = published(name, parts, pretrained) if pretrained else read_weights(weights)
    if state is None and not parts.shared:
        _surgery.adapt_channels(parts.stages, in_channels, keep=False)
    elif state is not None:
        load_into(parts, state, 1 if parts.shared else in_channels)
    return parts, state is not None


def _call(name: str, in_channels: int, image_size: int | None, options: dict[str, Any]) -> Parts:
    """The parts that a registered builder gives."""
    if in_channels < 1:
        raise ValueError(f"in_channels must be >= 1, got {in_channels}")
    if is_library_name(name):
        return library_parts(name, image_size or 64, options)
    if name not in _BUILDERS:
        raise ValueError(f"name must be one of {', '.join(list_backbones())}, got {name!r}")
    build = _BUILDERS[name]
    takes_channels = "in_channels" in inspect.signature(build).parameters
    built = build(in_channels, **options) if takes_channels else build(**options)
    if isinstance(built, Parts):
        return built
    parts = _probe(built, in_channels, image_size or 64)
    _surgery.adapt_channels(parts.stages, in_channels, keep=True)
    return parts


def _small_stem(stem: Stem, image_size: int | None) -> bool:
    """Resolve whether the small stem is used."""
    if stem not in ("auto", "imagenet", "small"):
        raise ValueError(f"stem must be 'auto', 'imagenet' or 'small', got {stem!r}")
    return stem == "small" or (stem == "auto" and image_size is not None and image_size < SMALL_BELOW)


def _probe(module: nn.Module, in_channels: int, image_size: int) -> Parts:
    """The parts of a user's module: one stage, fed with [0, 1]; a dummy forward tells its output size."""
    first = _surgery.first_conv(module)
    channels = first.in_channels if first is not None else in_channels
    mode = module.training
    with torch.no_grad():
        out = module.eval()(torch.zeros(1, channels, image_size, image_size))
    module.train(mode)
    return Parts(
        named(trunk=module), out.shape[1], mean=(0.0,) * 3, std=(1.0,) * 3, small_stem=False, min_size=1
    )
