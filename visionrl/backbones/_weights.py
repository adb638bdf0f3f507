"""Pretrained weights: published ones by name, local files, and how they are fitted into a network."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visionrl.backbones._backbone import Parts
from visionrl.backbones._surgery import adapt_channels, first_conv
from visionrl.rendering.files import writing


def read_weights(source: str | PathLike[str] | Mapping[str, Tensor] | None) -> dict[str, Tensor] | None:
    """The state dict of a .pt/.pth file (tensors only, never code) or a .safetensors file, or as given.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file holds no state dict.
    """
    if source is None or isinstance(source, Mapping):
        return dict(source) if source is not None else None
    path = Path(source).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"weights must be a file, got {path}")
    if path.suffix == ".safetensors":
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ModuleNotFoundError:
            raise ValueError(f"{path} needs a package to be read: pip install safetensors") from None
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} must be a file of safetensors: {error}") from None
    state = read_tensors(path)
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"weights must hold a dict of tensors, got {type(state).__name__} in {path}")
    return state


def read_tensors(path: str | PathLike[str], device: str = "cpu") -> Any:
    """Contents of a .pt file, tensors and plain values; nothing in it runs, and its checksums must be right.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, or holds something else; names the file.
    """
    try:
        if zipfile.is_zipfile(path):  # else a file of torch before 1.6, without checksums
            with zipfile.ZipFile(path) as parts:
                if damaged := parts.testzip():
                    raise ValueError(f"the checksum of {damaged} is wrong")
        return torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"there must be a file {path}, which is not there") from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of the unpickler, the zip reader, and what they call
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} must be a file of tensors that torch.save wrote whole: {why}") from None


def write_tensors(path: Path, state: Any) -> None:
    """Write tensors and plain values as a .pt file.

    Raises:
        OSError: the disk is full, read-only, ...; names the file.
    """
    with writing(path), path.open("wb") as file:
        torch.save(state, file)


def published(name: str, parts: Parts, which: bool | str) -> dict[str, Tensor] | None:
    """The published ImageNet weights, from torch's cache or downloaded into it.

    Args:
        name: the backbone.
        parts: what its builder gave; `url` is the address of the default weights.
        which: True for the default, or the name of a torchvision entry such as "IMAGENET1K_V2".

    Raises:
        ValueError: nothing was published under that name.
        FileNotFoundError: not in the cache, and no download; the message says where to put the file.
    """
    url = parts.url if which is True else _torchvision_url(name, str(which))
    if url is None:
        raise ValueError(
            f"pretrained must be False for {name}, which has no published weights; give weights=<file>"
        )
    file = url.rsplit("/", 1)[-1].replace("model.safetensors", f"{name.replace(':', '-')}.safetensors")
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not path.is_file():
        _download(url, path, name)
    return read_weights(path)


def _download(url: str, path: Path, name: str) -> None:
    """Fetches a file whole or not at all; torchvision's names end in the first digits of its SHA-256."""
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), digest and digest[1], progress=False)
    except OSError as error:
        raise FileNotFoundError(
            f"weights of {name} are not in the cache and cannot be downloaded ({error}). On a machine with a "
            f"network fetch {url} and copy it to {path}, or pass weights=<path of the file>."
        ) from error


def _torchvision_url(name: str, which: str) -> str:
    from torchvision.models import get_model_weights

    if name.startswith("timm:"):
        raise ValueError(
            f"pretrained must be True or False for {name}, whose name says the weights, got {which!r}"
        )
    entries = {entry.name: entry.url for entry in get_model_weights(name.removeprefix("torchvision:"))}
    if which not in entries:
        raise ValueError(f"pretrained must be True or one of {sorted(entries)}, got {which!r}")
    return entries[which]


def load_into(parts: Parts, state: Mapping[str, Tensor], in_channels: int) -> None:
    """Loads a state dict into the parts, in place, and adapts the first convolution to `in_channels`.

    Tensors are matched by name or, where names differ, by position (same shapes in the same order). The
    trunk must be complete; a head of another shape, or none, is left as it was drawn.

    Raises:
        ValueError: the tensors do not fit; names the first that does not.
    """
    state = _without_counters(state)
    conv = first_conv(parts.stages)
    filters = next((value for value in state.values() if value.ndim == 4), None)
    if conv is not None and filters is not None:
        size = (conv.out_channels, *conv.kernel_size)
        if filters.shape[1] == in_channels or (filters.shape[0], *filters.shape[2:]) == size:
            adapt_channels(parts.stages, filters.shape[1], keep=False)
    with torch.no_grad():
        for target, source in _match(parts, state):
            target.copy_(source)
    adapt_channels(parts.stages, in_channels, keep=True)


def _match(parts: Parts, state: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """(ours, theirs) for each tensor of the trunk, and of the heads where they fit."""
    trunk = _tensors(nn.ModuleList([parts.stages, *filter(None, [parts.neck])]))
    published = _tensors(parts.whole) if parts.whole is not None else trunk
    inside = {id(tensor) for tensor in trunk.values()}
    names = [name for name, tensor in published.items() if id(tensor) in inside]
    if 2 * sum(name in state for name in names) > len(trunk):
        ours, theirs, needed = list(published.items()), [state.get(name) for name in published], set(names)
    else:
        head = _tensors(parts.head) if parts.head is not None else {}
        ours, needed = [*trunk.items(), *head.items()], set(trunk)
        theirs = [*state.values(), *[None] * len(ours)][: len(ours)]
    both = []
    for (name, tensor), value in zip(ours, theirs, strict=True):
        if value is not None and value.shape == tensor.shape:
            both.append((tensor, value))
        elif name in needed:
            shape = "nothing" if value is None else tuple(value.shape)
            raise ValueError(f"weights must fit; {name} must be {tuple(tensor.shape)}, got {shape}")
    return both


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and statistics by name, the very tensors and no copies."""
    return _without_counters(module.state_dict(keep_vars=True))


def _without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors but for BatchNorm's counters of batches, integers that many files lack."""
    return {name: tensor for name, tensor in state.items() if tensor.ndim or tensor.is_floating_point()}
