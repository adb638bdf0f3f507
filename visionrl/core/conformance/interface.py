"""Rules of Gymnasium's interface: spec, docstring, ``check_env``."""

from __future__ import annotations

import json
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from visionrl.core.conformance.rules import require
from visionrl.core.registry import entry_of


def check_spec(task_id: str, **kwargs: Any) -> None:
    """The registered spec survives JSON and pickle and builds the environment again; unknown keywords do not pass."""
    env: Any = gym.make(task_id, **kwargs)
    spec = env.unwrapped.spec
    for copy in (EnvSpec.from_json(spec.to_json()), pickle.loads(pickle.dumps(spec))):
        again: Any = copy.make()
        require(again.unwrapped.spec.id == task_id, f"the spec of {task_id} must rebuild it")
        again.close()
    json.loads(spec.to_json())
    try:
        gym.make(task_id, no_such_argument=1, **kwargs)
    except TypeError:
        return
    raise AssertionError("an unknown keyword must raise TypeError, it was taken")


def check_docstring(task_id: str, **kwargs: Any) -> None:
    """The class describes itself, and has the table Observation, Action, Reward, Ends."""
    text = entry_of(task_id).task.__doc__ or ""
    for row in ("Observation", "Action", "Reward", "Ends"):
        require(f"| {row} " in text, f"the docstring of {task_id} must have a table row {row!r}")


def check_gymnasium(task_id: str, **kwargs: Any) -> None:
    """Gymnasium's ``check_env`` passes with no warning, and a picture is (H, W, 3) uint8."""
    env = gym.make(task_id, render_mode="rgb_array", **kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    env.reset(seed=0)
    picture: Any = env.render()
    env.close()
    require(
        picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3,
        f"a picture must be (H, W, 3) uint8, got {picture.shape} {picture.dtype}",
    )
