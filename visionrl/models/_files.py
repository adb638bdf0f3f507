"""Trained models as files: ``model.json`` describes the network, ``model.pt`` holds its tensors; no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from visionrl.backbones._loading import load_state, no_larger_than, read_state
from visionrl.backbones._weights import write_tensors
from visionrl.core.arguments import did_you_mean
from visionrl.models._model import Model
from visionrl.models._registry import model_class
from visionrl.rendering import replacing

DESCRIPTION, WEIGHTS, CARD = "model.json", "model.pt", "README.md"
SCALE = ":scale"  # behind the name of a tensor of 8 bits
HOME = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class ShippedModel:
    """A trained model that comes with the library.

    Attributes:
        name: for ``load_model`` and the command line.
        model: its name in the registry.
        summary: first paragraph of its card.
        size: bytes of its files.
    """

    name: str
    model: str
    summary: str
    size: int


def shipped_models(home: Path = HOME) -> list[ShippedModel]:
    """The trained models of a folder, by name."""
    found = []
    for folder in sorted(path.parent for path in home.glob(f"*/{DESCRIPTION}")):
        blocks = (folder / CARD).read_text(encoding="utf-8").split("\n\n")
        size = sum(path.stat().st_size for path in folder.iterdir())
        found.append(
            ShippedModel(folder.name, read_description(folder)[0], " ".join(blocks[1].split()), size)
        )
    return found


def save_model(model: Model, folder: str | Path, bits: Literal[8, 16, 32] = 32) -> None:
    """Write a model into a folder, for ``load_model``.

    Args:
        model: to be written.
        folder: is made if it is not there.
        bits: of a number; 8 keeps matrices and filters as whole numbers times a scale of each row (Jacob et al., 2018),
            and the rest in 16.

    Raises:
        ValueError: another number of bits.
        OSError: the folder cannot be written.
    """
    if bits not in (8, 16, 32):
        raise ValueError(f"bits must be 8, 16 or 32, got {bits}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    options = {**model.options, "pretrained": False} if "pretrained" in model.options else model.options
    with replacing(folder / DESCRIPTION) as part:
        part.write_text(json.dumps({"model": model.name, "options": options}, indent=1) + "\n")
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    if bits < 32:
        state = {name: part for key, value in state.items() for name, part in packed(key, value, bits)}
    with replacing(folder / WEIGHTS) as part:
        write_tensors(part, state)


def load_model(source: str | Path, device: str = "cpu") -> Model:
    """A trained model in evaluation mode, read without pickle.

    Args:
        source: folder of a run or of ``save_model``, or the name of one that comes with the library.
        device: where it shall be.

    Raises:
        FileNotFoundError: there is no such model.
        ValueError: a file is damaged, or describes another network than it holds.
    """
    folder = folder_of(source)
    name, options = read_description(folder)
    if (folder / "policy.pt").is_file():
        raise ValueError(f"model must be a trained model, {folder} is of an agent: visionrl predict")
    state = unpacked(read_state(folder / WEIGHTS))
    with no_larger_than(state, folder / WEIGHTS):
        try:
            model = model_class(name).of(options)
        except ValueError as error:
            raise ValueError(f"{folder / DESCRIPTION}: {error}") from None
    load_state(model, state, folder / WEIGHTS)
    return model.to(device).eval()


def packed(key: str, value: Tensor, bits: int) -> list[tuple[str, Tensor]]:
    """A tensor by name with 16 or 8 bits a number; those of 8 bits have their scales beside them."""
    if not value.is_floating_point():
        return [(key, value)]
    if bits == 16 or value.ndim < 2:
        return [(key, value.half())]
    scale = value.flatten(1).abs().amax(1).clamp_min(1e-6) / 127
    rows = value / scale.view(-1, *[1] * (value.ndim - 1))
    return [(key, rows.round().to(torch.int8)), (key + SCALE, scale)]


def unpacked(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, those of 16 and 8 bits with 32."""
    found = {}
    for key, value in state.items():
        if value.dtype == torch.int8 and key + SCALE in state:
            scale = state[key + SCALE]
            found[key] = value.float() * scale.view(-1, *[1] * (value.ndim - 1))
        elif not key.endswith(SCALE):
            found[key] = value.float() if value.dtype == torch.float16 else value
    return found


def folder_of(source: str | Path, name: str = "model") -> Path:
    """The folder of a trained model, or of one that comes with the library.

    Args:
        source: the folder, or the name of one that comes with the library.
        name: of the argument, for the message.

    Raises:
        FileNotFoundError: there is neither.
    """
    folder = Path(source)
    if (folder / DESCRIPTION).is_file():
        return folder
    names = [one.name for one in shipped_models()]
    if str(source) in names:
        return HOME / str(source)
    known = f" or one of {', '.join(names)}" if names else ""
    rule = f"{name} must be a folder with {DESCRIPTION}{known}, got {str(source)!r}"
    raise FileNotFoundError(rule + did_you_mean(str(source), names))


def read_description(folder: Path) -> tuple[str, dict]:
    """Name and options of a model.

    Raises:
        ValueError: the file is not one of ``save_model``.
    """
    path = folder / DESCRIPTION
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        name, options = found["model"], found["options"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f'{path} must be a JSON object with "model" and "options"') from None
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ValueError(f'{path} must hold a name as "model" and an object as "options"')
    return name, options
