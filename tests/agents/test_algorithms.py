"""The algorithms of sb3-contrib in the trainer: train, go on exactly, load, evaluate, predict; what is refused."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visionrl.agents import TrainConfig, load_model, train
from visionrl.agents.evaluation.policies import AgentPolicy
from visionrl.agents.imitation.cloning import clone
from visionrl.agents.networks.model_io import takes_masks
from visionrl.agents.prediction.agent import load_agent
from visionrl.agents.sb3.vec_env import make_vec_env
from visionrl.agents.training.callback import RunCallback
from visionrl.agents.training.config import resolve
from visionrl.agents.training.models import build_model
from visionrl.agents.training.run_files import write_config
from visionrl.agents.training.saving import save_agent
from visionrl.agents.training.train import resolve_env_args
from visionrl.core.capabilities import action_masks
from visionrl.datasets import ImageSample

LANDMARK, GLIMPSE = "visionrl/LandmarkLocalization-v0", "visionrl/GlimpseClassification-v0"
DETECTION = "visionrl/Detection-v0"
REPLAY = ("learning_starts=32", "batch_size=8", "buffer_size=64", "train_freq=2")
ROLLOUT = ("n_steps=8", "batch_size=16")
HEART = ("window=24", "max_episode_steps=12", "target=heart")
RUNS: dict[str, dict[str, Any]] = {
    "trpo": {"algo_args": (*ROLLOUT, "cg_max_steps=3"), "clone_steps": 32},
    "tqc": {"env": GLIMPSE, "env_args": ("control=continuous",), "algo_args": REPLAY, "clone_steps": 32},
    "maskableppo": {"algo_args": ROLLOUT, "clone_steps": 32},
    "recurrentppo": {"algo_args": (*ROLLOUT, "lstm_hidden_size=16")},
}


def tiny(algo: str, out: Path, **changes: Any) -> TrainConfig:
    """A run of a second or two."""
    sizes = {"timesteps": 128, "num_envs": 4, "eval_every": 64, "eval_episodes": 2, "test_episodes": 2}
    task = {"env": LANDMARK, "env_args": HEART, "features_dim": 32}
    plain = {"device": "cpu", "checkpoint_every": 32, "recipe": "none", "out": str(out)}
    return TrainConfig(algo=algo, **(sizes | task | plain | RUNS[algo] | changes))


def weights(run: Path) -> list[torch.Tensor]:
    """All that the run's last checkpoint holds of networks, and the best policy."""
    tensors = torch.load(max((run / "checkpoint").iterdir()) / "tensors.pt", weights_only=True)
    return [*tensors["policy"].values(), *torch.load(run / "policy.pt", weights_only=True).values()]


@pytest.mark.slow
@pytest.mark.parametrize("algo", RUNS)
def test_a_stopped_run_goes_on_exactly_and_its_agent_loads(
    algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tiny(algo, tmp_path, name="whole"))
    ordinary = RunCallback._on_step

    def press(self: RunCallback) -> bool:
        if self.model.num_timesteps == 68:
            signal.raise_signal(signal.SIGINT)
        return ordinary(self)

    monkeypatch.setattr(RunCallback, "_on_step", press)
    with pytest.raises(SystemExit):
        train(tiny(algo, tmp_path, name="cut"))
    monkeypatch.undo()
    cut = train(tiny(algo, tmp_path, name="cut", resume=True))
    for one, other in zip(weights(whole), weights(cut), strict=True):
        assert torch.equal(one, other)
    assert (whole / "metrics.json").is_file()
    model, config = load_model(whole, "cpu")
    saved = torch.load(whole / "policy.pt", weights_only=True)
    assert config.algo == algo
    assert all(torch.equal(value, saved[key]) for key, value in model.policy.state_dict().items())


def test_a_masked_agent_predicts_on_a_file_and_never_does_what_is_forbidden(tmp_path: Path) -> None:
    args = ("trigger_after=3", "window=36", "max_episode_steps=6")
    config = resolve(tiny("maskableppo", tmp_path, env=DETECTION, env_args=args, clone_steps=0))
    env = make_vec_env(DETECTION, 3, seed=0, **config.env_kwargs)
    task = env.get_attr("task")[0]
    config, _ = resolve_env_args(config, task)
    save_agent(build_model(config, env), tmp_path)
    write_config(tmp_path, config, env.observation_space, env.action_space)
    agent = load_agent(tmp_path, "cpu")
    assert takes_masks(agent.model)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 60), dtype=np.uint8)
    assert agent.predict_sample(ImageSample(pixels, name="noise")).steps > 0
    env.reset()
    state = env.get_attr("state")[0]
    policy = AgentPolicy(agent.model, deterministic=False)
    for _ in range(3):
        masks = action_masks(task, state)
        assert not masks.all()
        actions = policy(task.observe(state), task, state)
        assert masks[np.arange(3), actions].all()
        state = task.step(state, actions)


def test_cloning_a_masked_policy_never_acts_against_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_vec_env(DETECTION, 2, seed=0, window=36, trigger_after=3)
    config = tiny("maskableppo", Path("none"), env=DETECTION, env_args=(), clone_steps=0)
    model = build_model(config, env)
    asked, ordinary = [], model.policy.predict

    def predict(*args: Any, **kwargs: Any) -> Any:
        actions, memory = ordinary(*args, **kwargs)
        asked.append(kwargs["action_masks"][np.arange(2), actions].all())
        return actions, memory

    monkeypatch.setattr(model.policy, "predict", predict)
    clone(model, 16, chance=0.0)
    assert asked
    assert all(asked)


def test_a_relative_s_table_of_a_recipe_holds_where_there_is_none_of_its_own(tmp_path: Path) -> None:
    recipe = tmp_path / "own.toml"
    recipe.write_text(
        "clone_steps = 50\n[ppo]\nnum_envs = 3\nn_steps = 5\nclip_range = 0.3\nlearning_rate = 1e-3\n"
        "[ppo.cloned]\nlearning_rate = 1e-4\n[sac]\ntau = 0.5\n[tqc]\ntau = 0.25\n"
    )

    def args(algo: str) -> dict[str, Any]:
        return resolve(TrainConfig(algo=algo, recipe=str(recipe))).algo_kwargs

    assert args("maskableppo") == {"n_steps": 5, "clip_range": 0.3, "learning_rate": 1e-4}
    assert args("recurrentppo") == {"n_steps": 5, "clip_range": 0.3, "learning_rate": 1e-4}
    assert args("trpo") == {"n_steps": 5}
    assert args("tqc") == {"tau": 0.25}
    assert resolve(TrainConfig(algo="recurrentppo", recipe=str(recipe))).clone_steps == 50


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"algo": "recurrentppo", "scorer_steps": 64}, "scorer_steps must be 0 for recurrentppo"),
        ({"algo": "maskableppo", "communication": "mean"}, "communication must be left out for maskableppo"),
        ({"algo": "tqc", "guided": True}, "guided must be off for tqc"),
        ({"algo": "trpo", "rerender": True, "clone_steps": 0}, "rerender must be off for trpo"),
    ],
)
def test_what_does_not_fit_an_algorithm_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**wrong)


@pytest.mark.parametrize(
    ("algo", "args", "message"),
    [
        ("trpo", ("clip_range=0.2",), "algo_args must be arguments of TRPO"),
        ("recurrentppo", ("batch_size=1",), "batch_size must be >= 2 for recurrentppo"),
        ("recurrentppo", ("shared_lstm=true",), "shared_lstm must be false unless"),
        ("ppo", ("lstm_hidden_size=8",), "algo_args must be arguments of PPO"),
        ("tqc", (), "algo must be one of"),
    ],
)
def test_arguments_and_actions_of_other_algorithms_are_refused(
    algo: str, args: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        train(TrainConfig(algo=algo, recipe="none", algo_args=args, out=str(tmp_path)))
    assert not list(tmp_path.iterdir())
