"""Trained agents that come with the library: ``load_agent(NAME)``, ``visionrl evaluate NAME``.

* ``landmarks3d-chest``: finds eight structures in chest CT (``visionrl/LandmarkLocalization3D-v0``); DQN after cloning,
  see docs/results/landmarks3d.md.

Each is a folder like that of a run, with its networks in half precision and without those that only training needs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from visionrl.agents.training.run_files import write_json
from visionrl.rendering import replacing

HOME = Path(__file__).parent
TARGET = "_target."


def folder_of(run: str | Path) -> Path:
    """The folder of a run, or of an agent that comes with the library where there is no run of this name."""
    own, known = Path(run), HOME / Path(run).name
    return known if str(run) == known.name and not (own / "config.json").is_file() and known.is_dir() else own


def ship(run: str | Path, name: str, home: Path = HOME) -> Path:
    """Write a finished run as an agent to come with the library; returns its folder. The command stays the run's."""
    about = json.loads((Path(run) / "config.json").read_text())
    state = torch.load(Path(run) / "policy.pt", map_location="cpu", weights_only=True)
    folder = home / name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {**about, "config": {**about["config"], "name": name, "out": "runs"}})
    kept = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    with replacing(folder / "policy.pt") as part:
        torch.save({key: value for key, value in kept.items() if TARGET not in key}, part)
    return folder


def completed(state: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The tensors of a policy with those of its target networks, which begin as what they follow."""
    missing = {key: key.replace(TARGET, ".") for key in wanted if key not in state and TARGET in key}
    return {**state, **{key: state[twin] for key, twin in missing.items() if twin in state}}
