"""An exported agent acts as the agent itself does, without this library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visionrl.agents import TrainConfig
from visionrl.agents.networks.frozen_features import on_images
from visionrl.agents.prediction import export as module
from visionrl.agents.prediction.export import (
    Acting,
    agreement,
    best_actions,
    blank_states,
    export_onnx,
    observations_of,
)
from visionrl.agents.training.config import resolve
from visionrl.agents.training.models import build_model, make_training_env
from visionrl.agents.training.run_files import write_config
from visionrl.cli.main import main

SMALL = ("window=16", "scales=[1]", "step_sizes=[2]")
TINY: dict[str, Any] = {"env": "LandmarkLocalization-v0", "env_args": SMALL, "features_dim": 32}
CASES: dict[str, dict[str, Any]] = {
    "dqn": {"env": "LandmarkLocalization-v0", "algo": "dqn", "env_args": SMALL},
    "qrdqn": {"env": "LandmarkLocalization-v0", "algo": "qrdqn", "env_args": SMALL},
    "ppo": {"env": "LandmarkLocalization-v0", "algo": "ppo", "env_args": SMALL, "fusion": "film"},
    "attention": {
        "env": "LandmarkLocalization-v0",
        "algo": "ppo",
        "attention": "multihead",
        "env_args": ("window=32",),
    },
    "volumes": {
        "env": "LandmarkLocalization3D-v0",
        "algo": "dqn",
        "env_args": ("window=9", 'target=["heart"]'),
    },
    "ppo-box": {"env": "Registration2D-v0", "algo": "ppo", "env_args": ("control=continuous",)},
    "sac": {"env": "Registration2D-v0", "algo": "sac", "env_args": ("control=continuous",)},
    "td3": {"env": "Registration2D-v0", "algo": "td3", "env_args": ("control=continuous",)},
    "team": {"env": "MultiLandmarkLocalization3D-v0", "algo": "ppo", "env_args": ("window=9", "team=2")},
    "masks": {**TINY, "algo": "maskableppo"},
    "window-lstm": {**TINY, "algo": "dqn", "memory": "lstm", "recall": 3},
    "window-gru": {**TINY, "algo": "ppo", "memory": "gru", "recall": 3, "cache": True, "frozen": True},
    "window-rnn": {**TINY, "algo": "a2c", "memory": "rnn", "recall": 2},
    "window-attention": {**TINY, "algo": "qrdqn", "memory": "attention", "recall": 4, "attention": "soft"},
    "carried-lstm": {**TINY, "algo": "recurrentppo"},
    "carried-gru": {**TINY, "algo": "recurrentppo", "memory": "gru", "cache": True, "frozen": True},
    "carried-rnn": {
        "env": "Registration2D-v0",
        "algo": "recurrentppo",
        "memory": "rnn",
        "env_args": ("control=continuous",),
    },
    "cache": {
        "env": "LandmarkLocalization-v0",
        "algo": "dqn",
        "env_args": SMALL,
        "cache": True,
        "frozen": True,
    },
}


REMEMBERING = [name for name in CASES if name.startswith(("window", "carried"))]


def untrained(name: str) -> tuple[Any, Any, TrainConfig]:
    """A model, its environment and its config."""
    config = resolve(TrainConfig(num_envs=1, device="cpu", recipe="none", **CASES[name]))
    env = make_training_env(config)
    return on_images(build_model(config, env)), env, config


@pytest.mark.parametrize("name", CASES)
def test_the_traced_network_acts_as_the_model(name: str) -> None:
    model, *_ = untrained(name)
    seen, states = observations_of(model, 20, 1), blank_states(model, 20)
    given = [{key: torch.as_tensor(x) for key, x in part.items()} for part in (seen, states)]
    with torch.no_grad():
        first = Acting(model).eval()(*given)
    found = (first[0] if states else first).numpy()
    wanted, own = best_actions(model, seen)
    for after, state in zip(first[1:] if states else (), own or (), strict=False):
        np.testing.assert_allclose(after.numpy(), state, atol=1e-5)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert len(np.unique(found.reshape(20, -1), axis=0)) > 1 or found.dtype == np.int64


@pytest.mark.parametrize("name", ["dqn", "ppo", "ppo-box", pytest.param("sac", marks=pytest.mark.slow)])
def test_onnx_runtime_acts_as_the_model(name: str, tmp_path: Path) -> None:
    onnx, _, runtime = (pytest.importorskip(name) for name in ("onnx", "onnxscript", "onnxruntime"))
    model, *_ = untrained(name)
    path = export_onnx(model, tmp_path / "new" / "a.onnx", {"env": "x"})
    assert agreement(model, path, 100) == 1.0 and agreement(model, path, 1, seed=5) == 1.0
    proto = onnx.load(path)
    onnx.checker.check_model(proto)
    assert {one.key: one.value for one in proto.metadata_props}["env"] == "x"
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = {one.name: (one.type, one.shape[1:]) for one in session.get_inputs()}
    assert inputs["window"] == ("tensor(uint8)", list(model.observation_space["window"].shape))
    assert set(inputs) == set(model.observation_space.spaces)
    assert [one.name for one in session.get_outputs()] == ["action"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["qrdqn", "attention", "volumes", "td3", "team", "cache", "masks", *REMEMBERING]
)
def test_onnx_runtime_acts_as_other_models(name: str, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    model, *_ = untrained(name)
    assert agreement(model, export_onnx(model, tmp_path / "a.onnx"), 100) == 1.0


def test_a_forbidden_action_is_never_taken() -> None:
    model, *_ = untrained("masks")
    seen = observations_of(model, 50, 0)
    masks = seen["action_masks"]
    assert masks.dtype == bool and masks.any(1).all() and not masks.all(1).all()
    with torch.no_grad():
        found = Acting(model)({key: torch.as_tensor(x) for key, x in seen.items()}).numpy()
    assert masks[np.arange(50), found].all() and len(set(found.tolist())) > 1


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of an untrained agent."""
    model, env, config = untrained("dqn")
    folder = tmp_path / "run"
    folder.mkdir()
    write_config(folder, config, env.observation_space, env.action_space)
    torch.save(model.policy.state_dict(), folder / "policy.pt")
    return folder


def test_a_missing_package_is_one_line(run: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(run), "--onnx", str(tmp_path / "a.onnx")])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said == 'error: export needs onnx and onnxscript: pip install "visionrl[export]"\n'


def test_a_file_that_is_there_is_kept(run: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a.onnx").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        main(["export", str(run), "--onnx", str(tmp_path / "a.onnx")])
    assert ended.value.code == 2 and "--overwrite replaces a file" in capsys.readouterr().err
    assert (tmp_path / "a.onnx").read_text() == "mine"


def test_the_command_says_what_the_file_takes_and_gives(run: Path, tmp_path: Path, capsys: Any) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    main(["export", str(run), "--onnx", str(tmp_path / "a.onnx")])
    said = capsys.readouterr().out
    assert "window: (rows, 3, 16, 16) uint8" in said or "window: (rows, 1, 16, 16) uint8" in said
    assert "-> action: Discrete(4)" in said
    assert "ONNX Runtime acts as the agent does on 100 of 100 random observations" in said
