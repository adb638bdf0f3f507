"""Networks that timm (an optional extra) and torchvision build.

Those of the families by their own names, and any as ``timm:NAME`` and ``torchvision:NAME``.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.backbones._backbone import IMAGENET_MEAN, IMAGENET_STD, Parts, named

# shortest sides that a network is tried with, in pixels; smaller images are enlarged
SIDES = (32, 64, 128, 224)
ANY_SIZE = {"dynamic_img_size": True, "dynamic_img_pad": True}  # of timm: positions are interpolated
TIMM_MAPS = ("features", "intermediates", "vector")  # in the order in which they are tried
WITH_AUXILIARY = ("googlenet", "inception_v3")


def timm_model(name: str) -> tuple[Any, str]:
    """The network `name` of timm with fresh weights, and the address of its default weights.

    Raises:
        ImportError: timm is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError(f'{name} is built by timm: pip install "visionrl[timm]"') from error
    net: Any = timm.create_model(name, pretrained=False)
    return net, timm_url(net.default_cfg["hf_hub_id"])


def timm_url(repository: str) -> str:
    """The address of weights in a repository of Hugging Face's hub."""
    return f"https://huggingface.co/{repository}/resolve/main/model.safetensors"


def torchvision_model(name: str, **options: Any) -> tuple[Any, str]:
    """The network `name` of torchvision with fresh weights, and the address of its IMAGENET1K_V1 weights."""
    from torchvision.models import get_model, get_model_weights

    return get_model(name, weights=None, **options), get_model_weights(name)["IMAGENET1K_V1"].url


def is_library_name(name: str) -> bool:
    """Tell whether a name is of the form ``timm:NAME`` or ``torchvision:NAME``."""
    return name.startswith(("timm:", "torchvision:"))


def check_library_name(name: str, field: str = "name") -> None:
    """Refuse a name that the library does not know, or a library that is not installed.

    Args:
        name: such as "timm:vit_tiny_patch16_224".
        field: what it is called in the error.

    Raises:
        ValueError: names the library and the name that may be meant.
    """
    library, _, own = name.partition(":")
    if library == "timm":
        try:
            import timm
        except ImportError:
            raise ValueError(f'{field} needs timm: pip install "visionrl[timm]", got {name!r}') from None
        known, plain = timm.list_models(), own.partition(".")[0]
    else:
        from torchvision import models

        known, plain = models.list_models(module=models), own
    if plain not in known:
        hint = "".join(f"; did you mean {library}:{near}?" for near in get_close_matches(plain, known, 1))
        raise ValueError(f"{field} must be a classification network of {library}, got {name!r}{hint}")


def library_parts(name: str, side: int, options: dict[str, Any]) -> Parts:
    """A network of a library, without its classifier, as one stage "trunk" with fresh weights.

    It is tried with an image that is no square: one that is too small for it will be enlarged. Position embeddings are
    interpolated to the image where the library can (timm's ViT and its kin, torchvision's ViT); other networks of a
    fixed size see the image resized to theirs.

    Args:
        name: such as "torchvision:convnext_tiny".
        side: shorter side of the images, in pixels.
        options: of the library's builder.

    Raises:
        ValueError: there is no such network, or it takes no such images.
    """
    check_library_name(name)
    library, _, own = name.partition(":")
    net, trunks, more = (_timm if library == "timm" else _torchvision)(own, options)
    why: Exception = ValueError()
    for trunk, shortest in trunks:
        for least in shortest:
            height = max(side, least)
            try:
                with torch.no_grad():
                    shape = trunk.eval()(torch.zeros(1, 3, height, height + height // 3)).shape
            except (RuntimeError, ValueError, AssertionError, IndexError) as error:
                why = error
                continue
            net.train()
            trunk.train()
            return Parts(
                named(trunk=trunk),
                shape[1],
                whole=net,
                min_size=least,
                small_stem=False,
                volumes=False,
                **more,
            )
    reason = (str(why).splitlines() or [type(why).__name__])[0]
    raise ValueError(f"name must be a network for images of {side} px, {name!r} takes none: {reason}")


Trunks = list[tuple[nn.Module, Sequence[int]]]


def _timm(name: str, options: dict[str, Any]) -> tuple[nn.Module, Trunks, dict[str, Any]]:
    """A network, the trunks to be tried with the least sides of each, and further parts."""
    import timm

    more = {"num_classes": 0, **options}
    try:
        net: Any = timm.create_model(name, pretrained=False, **more, **ANY_SIZE)
        sides: Sequence[int] = (1, *SIDES)
    except TypeError:  # it has no such arguments
        net = timm.create_model(name, pretrained=False, **more)
        sides = SIDES
    about = net.default_cfg
    size = tuple(about.get("input_size", (3, 224, 224)))[1:]
    ways: list[tuple[tuple[int, ...] | None, Sequence[int]]] = [(None, sides), (size, (1,))]
    trunks: Trunks = [(TimmTrunk(net, how, to), tried) for how in TIMM_MAPS for to, tried in ways]
    home = about.get("hf_hub_id")
    url = timm_url(home) if home else None
    return net, trunks, {"url": url, "mean": tuple(about["mean"]), "std": tuple(about["std"])}


def _torchvision(name: str, options: dict[str, Any]) -> tuple[nn.Module, Trunks, dict[str, Any]]:
    """As ``_timm``."""
    from torchvision.models import get_model, get_model_weights

    without = {"aux_logits": False, "init_weights": False} if name in WITH_AUXILIARY else {}
    net: Any = get_model(name, weights=None, **without, **options)
    trunk = _trunk(net)
    sides = (1, *SIDES) if isinstance(trunk, VitTrunk) else SIDES
    entries = list(get_model_weights(name))
    more = {"url": entries[0].url if entries else None, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    return net, [(trunk, sides), (Resized(trunk, (224, 224)), (1,))], more


def _trunk(net: Any) -> nn.Module:
    """A network of torchvision up to its last map, or, where that has no common name, up to its vector."""
    from torchvision.models import SwinTransformer, VisionTransformer

    if isinstance(net, VisionTransformer):
        return VitTrunk(net)
    if isinstance(net, SwinTransformer):
        return nn.Sequential(net.features, net.norm, net.permute)
    if hasattr(net, "features"):
        return net.features
    if hasattr(net, "trunk_output"):
        return nn.Sequential(net.stem, net.trunk_output)
    if hasattr(net, "layers"):  # MNASNet
        return net.layers
    if hasattr(net, "layer4") or hasattr(net, "stage4"):  # ResNets, ShuffleNets
        return nn.Sequential(*[child for key, child in net.named_children() if key not in ("avgpool", "fc")])
    head = next(key for key in ("fc", "classifier", "head", "heads") if hasattr(net, key))
    setattr(net, head, nn.Identity())
    return net


class Resized(nn.Module):
    """A network that sees every image at one size.

    Args:
        net: the network.
        size: (H, W).
    """

    def __init__(self, net: nn.Module, size: tuple[int, ...]) -> None:
        super().__init__()
        self.net, self.size = net, size

    def forward(self, x: Tensor) -> Tensor:
        """The network's output for images (B, C, H, W), resized."""
        return self.net(F.interpolate(x, self.size, mode="bilinear"))


class TimmTrunk(nn.Module):
    """A network of timm, from images to its last map, or to its vector where it has no such map.

    Args:
        net: built with ``num_classes=0``.
        how: "features", the map of a convolutional network; "intermediates", tokens as a map; "vector".
        size: (H, W) to which images are resized, or None.
    """

    def __init__(self, net: nn.Module, how: str, size: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.net, self.how, self.size = net, how, size

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) or (B, n), from images (B, 3, H, W).

        Raises:
            ValueError: the network has no such map.
        """
        net: Any = self.net
        if self.size is not None:
            x = F.interpolate(x, self.size, mode="bilinear")
        if self.how == "vector":
            return net(x)
        if self.how == "features":
            found = net.forward_features(x)
        elif hasattr(net, "forward_intermediates"):
            last = {"indices": 1, "norm": True, "output_fmt": "NCHW", "intermediates_only": True}
            found = net.forward_intermediates(x, **last)[-1]
        else:
            raise ValueError("it gives no intermediate maps")
        if found.ndim != 4 or (self.how == "features" and found.shape[1] != net.num_features):
            raise ValueError(f"its map must be (B, {net.num_features}, h, w), got {tuple(found.shape)}")
        return found


class VitTrunk(nn.Module):
    """A vision transformer of torchvision for images of any size, padded to whole patches; positions are interpolated.

    Args:
        net: a ``torchvision.models.VisionTransformer``.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """The map (B, C, h, w) of the patches, from images (B, 3, H, W)."""
        net: Any = self.net
        height, width = (-(-side // net.patch_size) for side in x.shape[2:])
        x = F.pad(x, (0, width * net.patch_size - x.shape[3], 0, height * net.patch_size - x.shape[2]))
        tokens = net.conv_proj(x).flatten(2).mT
        learnt = net.encoder.pos_embedding
        side = round((learnt.shape[1] - 1) ** 0.5)
        grid = F.interpolate(learnt[:, 1:].mT.unflatten(2, (side, side)), (height, width), mode="bicubic")
        positions = torch.cat([learnt[:, :1], grid.flatten(2).mT], 1)
        tokens = torch.cat([net.class_token.expand(len(x), -1, -1), tokens], 1) + positions
        found = net.encoder.ln(net.encoder.layers(net.encoder.dropout(tokens)))
        return found[:, 1:].mT.unflatten(2, (height, width))
