"""Runs of strangers: their files can neither run code, nor take the memory, nor replace what a model is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from visionrl.agents.training import saving
from visionrl.agents.training.config import TrainConfig, resolve
from visionrl.agents.training.run_files import read_config, write_config
from visionrl.agents.training.saving import empty_model, load_model
from visionrl.cli import main as cli
from visionrl.supervised.classifier import ClassifierConfig, build_reader, load_classifier

SEEN = spaces.Dict(
    {"window": spaces.Box(0, 255, (3, 16, 16), np.uint8), "goal": spaces.Box(-1.0, 1.0, (4,), np.float32)}
)
ACTIONS: dict[str, spaces.Space] = {
    "dqn": spaces.Discrete(4),
    "qrdqn": spaces.Discrete(4),
    "ppo": spaces.MultiDiscrete([3, 4]),
    "a2c": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "sac": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "td3": spaces.Box(-1.0, 1.0, (2,), np.float32),
}
DEEP = "[" * 50_000


def write_run(run: Path, algo: str = "dqn") -> Path:
    """The folder of a run, untrained."""
    args = ("net_arch=[8]",) if algo != "ppo" else ("n_steps=64",)
    config = resolve(TrainConfig(algo=algo, recipe="none", features_dim=8, algo_args=args, device="cpu"))  # type: ignore[arg-type]
    write_config(run, config, SEEN, ACTIONS[algo])
    found = {}
    keep = pytest.MonkeyPatch()
    keep.setattr(saving, "load_state", lambda network, state, path: found.update(network.state_dict()))
    empty_model(config, SEEN, ACTIONS[algo], {}, run / "policy.pt")
    keep.undo()
    torch.save(found, run / "policy.pt")
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of DQN."""
    return write_run(tmp_path)


def change(run: Path, place: str, value: Any) -> None:
    """Set one value in ``config.json``, at a path of keys with dots between them."""
    about = json.loads((run / "config.json").read_text())
    inner = about
    *keys, last = place.split(".")
    for key in keys:
        inner = inner[key]
    inner[last] = value
    (run / "config.json").write_text(json.dumps(about))


def largest_memory() -> int:
    """Most memory that this process had so far, MiB; 0 where the system does not say."""
    if not sys.platform.startswith("linux"):
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@pytest.mark.parametrize("algo", ACTIONS)
def test_a_sound_run_is_loaded(tmp_path: Path, algo: str) -> None:
    model, config = load_model(write_run(tmp_path, algo), "cpu")
    seen = {key: np.zeros((1, *(box.shape or ())), box.dtype) for key, box in SEEN.items()}
    action, _ = model.predict(seen)
    assert ACTIONS[algo].contains(action[0]) and config.algo == algo
    saved = torch.load(tmp_path / "policy.pt", weights_only=True)
    assert all(torch.equal(saved[key], value) for key, value in model.policy.state_dict().items())


HOSTILE = [
    ("config.features_dim", 10**9, "features_dim must be a whole number in"),
    ("config.features_dim", 65_536, "must describe the network of"),
    ("config.features_dim", -1, "features_dim must be"),
    ("config.features_dim", "many", "features_dim must be"),
    ("config.num_envs", 10**9, "num_envs must be"),
    ("config.threads", 10**9, "threads must be"),
    ("config.algo", "shell", "algo must be one of"),
    ("config.algo", None, "algo and backbone must be given"),
    ("config.algo", "sac", "algo must be one of dqn, ddqn"),
    ("config.algo", "qrdqn", "must hold the parameters|must describe the network"),
    ("config.backbone", "os.system", "backbone must be one of"),
    ("config.backbone", None, "algo and backbone must be given"),
    ("config.backbone", "vgg19", "must describe the network of"),
    ("config.env", "antigravity:Fly-v0", "env must be one of"),
    ("config.env_args", ["split=test"], "env_args must not have split"),
    ("config.env_args", ["__class__=5"], "unexpected keyword argument '__class__'"),
    ("config.env_args", "window=5", "env_args must be values"),
    ("config.env_args", [f"window={DEEP}"], "window must be a value of a few levels"),
    ("config.device", "cuda; rm", "device must be"),
    ("config.seed", -1, "seed must be"),
    ("config.preset", "nope", "preset must be one of"),
    ("config.surprise", 5, "must have only the fields of TrainConfig"),
    ("config", [1, 2], "config must be an object"),
    ("config", None, "config must be an object"),
    ("config.algo_args", ["net_arch=[1000000000]"], "net_arch must be"),
    ("config.algo_args", ["net_arch=[65536,65536,65536]"], "net_arch must have at most"),
    ("config.algo_args", ["net_arch=[60000]"], "must describe the network of"),
    ("config.algo_args", ["predict=5"], "algo_args must be arguments of DQN"),
    ("config.algo_args", ["learn=5"], "algo_args must be arguments of DQN"),
    ("config.algo_args", ["__class__=5"], "algo_args must be arguments of DQN"),
    ("config.algo_args", ["policy_class=5"], "algo_args must be arguments of DQN"),
    ("config.algo_args", ["policy_kwargs=5"], "algo_args must not have policy_kwargs"),
    ("config.algo_args", ["replay_buffer_class=os.system"], "algo_args must not have replay_buffer_class"),
    ("config.algo_args", ["buffer_size=1000000000000"], "buffer_size must be"),
    ("config.algo_args", ["learning_rate=linear 1e999"], "learning_rate must be"),
    ("observation_space.spaces.window.shape", [10**6, 10**6], "shape must have at most"),
    ("observation_space.spaces.window.shape", [10**12], "shape must be"),
    ("observation_space.spaces.window.shape", [1] * 100, "shape must have at most"),
    ("observation_space.spaces.window.shape", [-3, 16, 16], "shape must be"),
    ("observation_space.spaces.window.shape", [5, 16, 16], "must hold the parameters that config.json"),
    ("observation_space.spaces.window.shape", "big", "shape must be"),
    ("observation_space.spaces.window.dtype", "object", "dtype must be one of"),
    ("observation_space.spaces.window.dtype", "U1000000", "dtype must be one of"),
    ("observation_space.spaces.window.low", {"a": 1}, "low and high must be numbers"),
    ("observation_space.spaces.window.high", [1, 2, 3], "low and high must be numbers"),
    ("observation_space.spaces.window.high", 10**30, "low and high must be numbers"),
    ("observation_space.spaces.goal.shape", [8_000_000], "must describe the network of"),
    ("observation_space.spaces.goal", {"kind": "dict", "spaces": {}}, "a dict in a dict"),
    ("observation_space.spaces.goal", {"kind": "pickle"}, "a space must be of kind"),
    ("observation_space.spaces.goal", None, "a space must be of kind"),
    ("observation_space.spaces", [], "a space must be of kind"),
    ("observation_space", {"kind": "discrete", "n": 4}, "observation_space must be a dict"),
    ("observation_space", 5, "a space must be of kind"),
    ("action_space.n", 10**12, "n must be a whole number in"),
    ("action_space.n", 8_000_000, "must describe the network of"),
    ("action_space.n", 5, "must hold the parameters that config.json describes"),
    ("action_space.n", "4", "n must be a whole number in"),
    ("action_space", {"kind": "multidiscrete", "nvec": [2] * 10}, "algo must be one of ppo, a2c"),
]


@pytest.mark.parametrize(("place", "value", "words"), HOSTILE)
def test_a_hostile_config_is_one_line_and_takes_no_memory(
    run: Path, place: str, value: Any, words: str, capsys: Any
) -> None:
    change(run, place, value)
    before = largest_memory()
    with pytest.raises(ValueError, match=words) as refused:
        load_model(run, "cpu")
    assert "config.json" in str(refused.value) or "policy.pt" in str(refused.value)
    assert largest_memory() - before < 400
    with pytest.raises(SystemExit) as stop:
        cli.main(["evaluate", str(run), "--device", "cpu"])
    shown = capsys.readouterr().err
    assert stop.value.code == 2 and shown.count("\n") == 1


@pytest.mark.parametrize(
    "content", [b"", b"{", DEEP.encode(), b"5", b"null", b'{"config": "\xff"}', b"\x00" * 99]
)
def test_a_config_that_is_no_json_object_is_named(run: Path, content: bytes) -> None:
    (run / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json must"):
        read_config(run)


@pytest.mark.parametrize(
    "content", [[1, 2], {"weights": 5}, {5: torch.zeros(1)}, {}, {"q_net": torch.zeros(3)}]
)
def test_tensors_of_something_else_are_refused(run: Path, content: Any) -> None:
    torch.save(content, run / "policy.pt")
    with pytest.raises(ValueError, match=r"policy\.pt must hold"):
        load_model(run, "cpu")


def test_damaged_tensors_are_refused(run: Path) -> None:
    content = bytearray((run / "policy.pt").read_bytes())
    weights = torch.load(run / "policy.pt", weights_only=True)
    place = content.index(max(weights.values(), key=torch.numel).numpy().tobytes()[:64])
    content[place] ^= 1
    (run / "policy.pt").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"policy\.pt must be a file of tensors .* the checksum of .* is wrong"
    ):
        load_model(run, "cpu")


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("side", 10**9, "side must be"),
        ("in_channels", 10**9, "in_channels must be"),
        ("in_channels", 1000, "must hold the parameters"),
        ("classes", ["a"] * 500_000, "must describe the network of"),
        ("classes", 5, "classes must be"),
        ("config.backbone", "vgg19", "must describe the network of"),
        ("config.batch_size", "x", "batch_size must be"),
        ("config.surprise", 5, "must hold the config of a classifier"),
        ("config", 5, "must hold the config of a classifier"),
    ],
)
def test_a_hostile_config_of_a_classifier_is_refused(
    tmp_path: Path, place: str, value: Any, words: str
) -> None:
    about = {"in_channels": 1, "side": 16, "classes": ["a", "b"]}
    reader = build_reader(ClassifierConfig(backbone="small"), about)
    torch.save(reader.state_dict(), tmp_path / "classifier.pt")
    (tmp_path / "config.json").write_text(json.dumps({"config": {"backbone": "small"}, **about}))
    assert load_classifier(tmp_path)[1] == ("a", "b")
    change(tmp_path, place, value)
    before = largest_memory()
    with pytest.raises(ValueError, match=words):
        load_classifier(tmp_path)
    assert largest_memory() - before < 400
