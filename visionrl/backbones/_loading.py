"""Parameters of a stranger's file into a network that a stranger's config describes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from visionrl.backbones._weights import read_tensors

SLACK = 1_000_000  # parameters
COPIES = 4  # of a network with its targets, where the file has one


def read_state(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file, read without pickle.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, or holds something else.
    """
    state = read_tensors(path)
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise ValueError(f"{path} must hold tensors by name, got {type(state).__name__}")
    return state


@contextmanager
def no_larger_than(state: Mapping[str, Tensor], path: Path) -> Iterator[None]:
    """Refuse to build networks, in this block and thread, that are much larger than the tensors of a file.

    A network's numbers are in ``config.json``, where anybody can write 10^9. A parameter is counted when its module
    gets it, before its memory is touched.

    Raises:
        ValueError: a network is larger.
    """
    most = COPIES * sum(value.numel() for value in state.values()) + SLACK
    count, thread = [0], threading.get_ident()

    def counted(module: nn.Module, name: str, parameter: Any) -> None:
        if parameter is not None and threading.get_ident() == thread:
            count[0] += parameter.numel()
            if count[0] > most:
                raise ValueError(
                    f"config.json must describe the network of {path}, it describes a larger one"
                )

    hook = register_module_parameter_registration_hook(counted)
    try:
        yield
    finally:
        hook.remove()


def load_state(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Give a network its parameters.

    Raises:
        ValueError: the file's are others; names the file and the first that differs.
    """
    wanted = network.state_dict()
    for name in [*wanted, *state]:
        here = tuple(wanted[name].shape) if name in wanted else "none"
        there = tuple(state[name].shape) if name in state else "none"
        if here != there:
            rule = f"{path} must hold the parameters that config.json describes"
            raise ValueError(f"{rule}: {name} of shape {here}, got {there}")
    network.load_state_dict(dict(state))
