"""The device that a network lives on."""

from __future__ import annotations

import re


def check_device_name(device: str) -> None:
    """Refuse a word that names no device.

    Raises:
        ValueError: names the word.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?|mps", device):
        raise ValueError(f"device must be auto, cpu, cuda, cuda:N or mps, got {device!r}")


def check_device(device: str) -> None:
    """Refuse a device that is not here, which Stable-Baselines3 would replace by the CPU.

    Raises:
        ValueError: names the devices that are here.
    """
    check_device_name(device)
    if device in ("auto", "cpu"):
        return
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here = ["auto", "cpu", *(["cuda"] if count else []), *(f"cuda:{number}" for number in range(count))]
    here += ["mps"] if torch.backends.mps.is_available() else []
    if device not in here:
        raise ValueError(f"device must be one that is here, {', '.join(here)}, got {device!r}")


def found_device(device: str) -> str:
    """The device of a name: "auto" is "cuda" where that is here, else "cpu", as in Stable-Baselines3.

    Raises:
        ValueError: it is not here.
    """
    from stable_baselines3.common.utils import get_device

    check_device(device)
    return str(get_device(device))
