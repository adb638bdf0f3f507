"""Agents: algorithms of Stable-Baselines3 with vision backbones; trained, evaluated, saved, resumed.

Names are loaded when first used, so ``import visionrl.agents`` loads neither torch nor Stable-Baselines3.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "SB3VecEnv": "sb3.vec_env",
    "make_vec_env": "sb3.vec_env",
    "VisionExtractor": "networks.extractor",
    "NumbersExtractor": "networks.numbers",
    "CachedFeatures": "networks.frozen_features",
    "TrainConfig": "training.config",
    "train": "training.train",
    "load_model": "training.saving",
    "load_agent": "prediction.agent",
    "Agent": "prediction.agent",
    "evaluate": "evaluation.compare",
    "compare": "evaluation.compare",
    "agent_policy": "evaluation.policies",
    "record": "evaluation.record",
    "guided": "imitation.guided",
    "clone": "imitation.cloning",
    "DoubleDQN": "imitation.demonstrations",
    "DQfD": "imitation.demonstrations",
    "Curriculum": "training.curriculum",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(_HOMES)
