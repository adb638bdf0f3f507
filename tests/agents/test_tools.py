"""Runs with training tools: they go on exactly after a stop, and their agents can be loaded."""

from __future__ import annotations

import csv
import json
import shlex
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro

from visionrl.agents import TrainConfig, load_model, make_vec_env, train
from visionrl.agents.imitation import cloning as cloning_module
from visionrl.agents.networks.frozen_features import OnImages
from visionrl.agents.training.callback import RunCallback
from visionrl.agents.training.config import resolve
from visionrl.cli.train import Train
from visionrl.core import entry_of

LANDMARK, GLIMPSE = "visionrl/LandmarkLocalization-v0", "visionrl/GlimpseClassification-v0"
REPLAY = ("learning_starts=32", "batch_size=8", "buffer_size=64", "train_freq=2")
ROLLOUT = ("n_steps=8", "batch_size=16")
BOX = ("control=continuous",)
RUNS: dict[str, dict[str, Any]] = {
    "dqn": {"guided": True, "clone_steps": 64, "demo_steps": 40, "algo_args": REPLAY},
    "ddqn": {"frozen": True, "cache": True, "clone_steps": 64, "algo_args": REPLAY},
    "qrdqn": {"guided": True, "attention": "multihead", "algo_args": REPLAY},
    "ppo": {"curriculum": 0.8, "clone_steps": 64, "stn": True, "attention": "hard", "algo_args": ROLLOUT},
    "sac": {"env": GLIMPSE, "env_args": BOX, "clone_steps": 64, "algo_args": REPLAY},
    "td3": {"env": GLIMPSE, "env_args": BOX, "algo_args": REPLAY},
}


def tiny(algo: str, out: Path, **changes: Any) -> TrainConfig:
    """A run of a second or two."""
    sizes = {"timesteps": 192, "num_envs": 4, "eval_every": 96, "eval_episodes": 2, "test_episodes": 2}
    env = {"env": LANDMARK, "env_args": ("window=24", "max_episode_steps=12", "target=heart")}
    plain = {"device": "cpu", "checkpoint_every": 64, "recipe": "none", "out": str(out)}
    return TrainConfig(algo=algo, **(sizes | env | plain | RUNS[algo] | changes))  # type: ignore[arg-type]


def weights(run: Path) -> list[torch.Tensor]:
    """All that the run's last checkpoint holds of networks, and the best policy."""
    tensors = torch.load(max((run / "checkpoint").iterdir()) / "tensors.pt", weights_only=True)
    found = [*tensors["policy"].values(), *tensors["variables"].values()]
    return [*found, *torch.load(run / "policy.pt", weights_only=True).values()]


@pytest.fixture
def easy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Landmarks with starts that are the nearer the easier they are."""
    task: Any = entry_of(LANDMARK).task
    ordinary = task.sample

    def sample(self: Any, rng: np.random.Generator, item: int) -> Any:
        start = ordinary(self, rng, item)
        near = np.clip(np.round(start.landmark), 0, start.high)
        position = np.round(near + self.difficulty * (start.position - near))
        return replace(start, position=position, trail=np.where(np.isnan(start.trail), start.trail, position))

    monkeypatch.setattr(task, "sample", sample)
    monkeypatch.setattr(task, "difficulty", 1.0, raising=False)


def stop_at(patch: pytest.MonkeyPatch, steps: int) -> None:
    """Ctrl-C in that step."""
    ordinary = RunCallback._on_step

    def step(self: RunCallback) -> bool:
        if self.model.num_timesteps == steps:
            signal.raise_signal(signal.SIGINT)
        return ordinary(self)

    patch.setattr(RunCallback, "_on_step", step)


@pytest.mark.slow
@pytest.mark.usefixtures("easy")
@pytest.mark.parametrize("algo", RUNS)
def test_a_stopped_run_goes_on_exactly_and_loads(
    algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tiny(algo, tmp_path / "whole"))
    cut = tiny(algo, tmp_path / "cut")
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        stop_at(patch, 100)
        train(cut)
    assert 100 <= int(max((cut.folder / "checkpoint").iterdir()).name) < 192
    run = train(replace(cut, resume=True))
    assert all(map(torch.equal, weights(run), weights(whole)))
    assert (run / "curve.csv").read_text() == (whole / "curve.csv").read_text()
    model, config = load_model(whole, device="cpu")
    env = make_vec_env(config.env, 3, seed=3, split="val", **config.env_kwargs)
    obs = env.reset()
    actions = model.predict(obs, deterministic=True)[0]
    assert len(env.step(actions)[1]) == 3
    one = model.predict({key: value[0] for key, value in obs.items()}, deterministic=True)[0]
    np.testing.assert_allclose(one, actions[0], atol=1e-5)


@pytest.mark.slow
def test_stopped_while_cloning_it_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    whole = train(tiny("ddqn", tmp_path / "whole"))
    cut, calls = tiny("ddqn", tmp_path / "cut"), []
    ordinary = cloning_module.batch_loss

    def batch_loss(*args: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return ordinary(*args)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(cloning_module, "batch_loss", batch_loss)
        train(cut)
    assert stopped.value.code == 130 and len(calls) == 3
    assert "stopped at step 0" in capsys.readouterr().out and not (cut.folder / "checkpoint").exists()
    assert all(map(torch.equal, weights(train(replace(cut, resume=True))), weights(whole)))


@pytest.mark.slow
def test_cloning_alone_then_both(tmp_path: Path) -> None:
    """``timesteps=0`` is the supervised row; more steps go on from there as if they had been asked for at once."""
    config = tiny("dqn", tmp_path, timesteps=0, eval_every=None, name="alone")
    alone = train(config)
    assert json.loads((alone / "metrics.json").read_text())["timesteps"] == 0
    assert json.loads((alone / "config.json").read_text())["config"]["timesteps"] == 0
    with (alone / "curve.csv").open() as file:
        assert [row["timesteps"] for row in csv.DictReader(file)] == ["0"]
    settled = json.loads((alone / "config.json").read_text())["config"]["eval_every"]
    both = train(tiny("dqn", tmp_path, timesteps=64, eval_every=settled, name="both"))
    first = torch.load(alone / "policy.pt", weights_only=True)
    again = train(replace(config, timesteps=64, resume=True))
    assert all(map(torch.equal, weights(again), weights(both)))
    assert set(first) == set(torch.load(both / "policy.pt", weights_only=True))


def test_a_cached_agent_is_the_one_that_was_trained(tmp_path: Path) -> None:
    """Evaluated on images it does as in its last evaluation, with the backbone that it had."""
    run = train(tiny("ddqn", tmp_path))
    model, config = load_model(run, device="cpu")
    assert isinstance(model, OnImages) and config.cache
    other, _ = load_model(run, device="cpu")
    obs = make_vec_env(config.env, 3, seed=3, split="val", **config.env_kwargs).reset()
    features = model.encoder(obs)["window"]
    np.testing.assert_array_equal(features, other.encoder(obs)["window"])
    values = model.policy.q_net(model.policy.obs_to_tensor(obs)[0])
    assert values.argmax(1).tolist() == model.predict(obs, deterministic=True)[0].tolist()
    described = json.loads((run / "config.json").read_text())["observation_space"]
    assert described["spaces"]["window"]["dtype"] == "uint8"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cache": True}, "cache must be off where the backbone learns; add --frozen"),
        ({"cache": True, "frozen": True, "stn": True}, "cache must be off with stn and attention"),
        ({"cache": True, "frozen": True, "attention": "soft"}, "cache must be off with stn and attention"),
        ({"algo": "a2c", "guided": True}, "guided must be off for a2c"),
        ({"algo": "qrdqn", "demo_steps": 10}, "demo_steps must be 0 for qrdqn, got 10"),
        ({"clone_steps": -1}, "clone_steps must be a whole number >= 0 or None, got -1"),
        ({"curriculum": 1.5}, r"curriculum must be a number in \[0.0, 1.0\], got 1.5"),
        ({"timesteps": 0}, "timesteps must be >= 1 without clone_steps, got 0"),
        ({"attention": "cross"}, "attention must be one of 'none', 'soft'"),
    ],
)
def test_tools_that_do_not_fit(wrong: dict[str, Any], message: str) -> None:
    """A recipe may still choose the algorithm and the cloning; then it is refused when they have."""
    with pytest.raises(ValueError, match=message):
        resolve(TrainConfig(env=LANDMARK, **wrong))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"algo": "sac"},
            "algo must be one of dqn, ddqn, qrdqn, ppo, a2c, trpo, maskableppo, recurrentppo "
            r"for actions in Discrete\(4\), got",
        ),
        (
            {"algo": "dqn", "env": GLIMPSE, "env_args": BOX},
            "algo must be one of ppo, a2c, sac, td3, trpo, tqc, recurrentppo for actions",
        ),
        ({"algo": "ppo", "curriculum": 0.5}, "curriculum must be 0 for LandmarkLocalization"),
    ],
)
def test_a_task_that_does_not_fit_leaves_no_folder(
    wrong: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        train(TrainConfig(**({"env": LANDMARK, "out": str(tmp_path), "device": "cpu"} | wrong)))
    assert not list(tmp_path.iterdir())


def test_the_commands_of_the_page_are_understood() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "training.md"
    lines = [
        shlex.split(line, comments=True)[2:]
        for line in page.read_text().splitlines()
        if line.startswith("visionrl train")
    ]
    configs = [tyro.cli(Train, args=line).config for line in lines]
    assert len(configs) > 8 and all(isinstance(config, TrainConfig) for config in configs)
    folders = [config.folder for config in configs if not config.resume]
    assert len(set(folders)) == len(folders)


def test_names_say_which_tools_were_used() -> None:
    config = TrainConfig(env=LANDMARK, guided=True, clone_steps=5, attention="soft", curriculum=0.5)
    assert config.folder.name == "LandmarkLocalization-v0-cpu-dqn-small-guided-clone-curriculum-soft-s0"
    assert resolve(config).algo_kwargs["exploration_final_eps"] == 0.05
