"""Rule of processes: another hash seed and another number of threads change nothing."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.core.conformance.rules import alike
from visionrl.core.registry import entry_of
from visionrl.core.vector_env import TaskVectorEnv

ROWS, STEPS = 6, 5
OTHER = {
    "PYTHONHASHSEED": "12345",
    "OMP_NUM_THREADS": "2",
    "OPENBLAS_NUM_THREADS": "2",
    "MKL_NUM_THREADS": "2",
}


def check_new_process(*task_ids: str, **kwargs: Any) -> None:
    """Check that a new process with another hash seed and more threads repeats the episodes; one for all ids."""
    try:
        asked = json.dumps([_modules(task_ids), task_ids, kwargs])
    except TypeError:
        return  # arguments that are no JSON cannot be handed over
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.npz"
        code = f"from visionrl.core.conformance.processes import main; main({asked!r}, {str(file)!r})"
        path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        subprocess.run([sys.executable, "-c", code], env={**os.environ, **OTHER, **path}, check=True)
        with np.load(file, allow_pickle=False) as there:
            found = dict(there)
    for task_id in task_ids:
        for name, value in record(task_id, kwargs).items():
            alike(found[name], value, f"{name} in another process")


def record(task_id: str, kwargs: dict[str, Any]) -> dict[str, np.ndarray]:
    """All that an agent is told in a few steps of chance, by a name that begins with the id."""
    env = TaskVectorEnv(ROWS, task_id, max_episode_steps=STEPS - 1, **kwargs)
    env.action_space.seed(0)
    obs, info = env.reset(seed=0)
    told: list[dict[str, Any]] = [{**obs, **_metrics(env, info)}]
    for _ in range(STEPS):
        obs, reward, terminated, _, info = env.step(env.action_space.sample())
        told.append({**obs, "reward": reward, "terminated": terminated, **_metrics(env, info)})
    return {
        f"{task_id} {key} {t}": ops.to_numpy(value)
        for t, values in enumerate(told)
        for key, value in values.items()
    }


def main(asked: str, file: str) -> None:
    """Record some tasks into a file; what the other process runs."""
    modules, task_ids, kwargs = json.loads(asked)
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    found: dict[str, Any] = {}
    for task_id in task_ids:
        found |= record(task_id, kwargs)
    np.savez(file, **found)


def _metrics(env: TaskVectorEnv, info: dict[str, Any]) -> dict[str, Any]:
    return {key: info[key] for key in env.task.metrics(env.state)}


def _modules(task_ids: tuple[str, ...]) -> list[str]:
    """The modules that register some tasks."""
    return sorted({"visionrl", *(entry_of(task_id).task.__module__ for task_id in task_ids)})
