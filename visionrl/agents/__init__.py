"""Agents: algorithms of Stable-Baselines3 with vision backbones; trained, evaluated, saved, resumed.

Names are loaded when first used, so ``import visionrl.agents`` loads neither torch nor Stable-Baselines3.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_HOMES = {
    "SB3VecEnv": "sb3_env",
    "make_vec_env": "sb3_env",
    "VisionExtractor": "extractor",
    "CachedFeatures": "cache",
    "TrainConfig": "config",
    "train": "train",
    "load_agent": "saved",
    "evaluate": "evaluate",
    "compare": "evaluate",
    "agent_policy": "baselines",
    "record": "record",
    "guided": "guided",
    "clone": "cloning",
    "DoubleDQN": "demonstrations",
    "DQfD": "demonstrations",
    "Curriculum": "curriculum",
    "train_classifier": "classifier",
}
__all__ = list(_HOMES)


class _Package(ModuleType):
    """This package: its functions keep their names when the modules of the same names are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(_HOMES)
