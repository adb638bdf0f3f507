"""The scorer learns how right a report is, stays with its run, and ranks the agent's reports."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from visionrl.agents import TrainConfig, load_model, train
from visionrl.agents.evaluation.policies import ScoredPolicy, agent_policy
from visionrl.agents.imitation.scorer import fit_scorer
from visionrl.agents.training.models import build_model, extractor_kwargs, make_training_env
from visionrl.cli import main as cli
from visionrl.ops import to_numpy

REPLAY = ("learning_starts=32", "batch_size=8", "buffer_size=64", "train_freq=2")


def config(out: Path, **changes: object) -> TrainConfig:
    """A run on coins, of a few seconds."""
    sizes = {"timesteps": 0, "clone_steps": 256, "num_envs": 8, "eval_episodes": 2, "test_episodes": 2}
    env = {"env": "visionrl/Detection-v0", "data": "coins", "env_args": ("window=24", "max_episode_steps=20")}
    plain = {"device": "cpu", "recipe": "none", "out": str(out), "scorer_steps": 512, "algo_args": REPLAY}
    return TrainConfig(**(sizes | env | plain | changes))  # type: ignore[arg-type]


@pytest.mark.slow
def test_what_it_says_goes_with_the_overlap(tmp_path: Path) -> None:
    tiny = config(tmp_path, scorer_steps=1600, num_envs=16)
    env = make_training_env(tiny)
    model = build_model(tiny, env)
    losses: list[float] = []
    scorer = fit_scorer(
        model, tiny.scorer_steps, on_step=lambda done, loss: losses.append(loss), **extractor_kwargs(tiny)
    )
    assert not scorer.training and "history" not in scorer.space.spaces
    obs, said, true = env.reset(), [], []
    for _ in range(20):
        venv = env.unwrapped.venv
        said.append(scorer.rate(obs))
        true.append(to_numpy(venv.task.detection_quality(venv.state)))
        obs = env.step(to_numpy(venv.task.expert(venv.state)))[0]
    assert np.corrcoef(np.concatenate(said), np.concatenate(true))[0, 1] > 0.5
    again = fit_scorer(
        build_model(tiny, make_training_env(tiny)), tiny.scorer_steps, **extractor_kwargs(tiny)
    )
    assert all(map(torch.equal, again.state_dict().values(), scorer.state_dict().values()))


@pytest.mark.slow
def test_it_is_a_row_of_the_run_and_of_a_later_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = train(config(tmp_path))
    rows = {row["name"] for row in json.loads((run / "metrics.json").read_text())["test"]["rows"]}
    assert {"DQN", "DQN, scored", "random", "expert"} <= rows
    model, _ = load_model(run, device="cpu")
    policy = agent_policy(model)
    assert isinstance(policy, ScoredPolicy)
    stored = torch.load(run / "policy.pt", weights_only=True)
    assert torch.equal(stored["scorer.head.weight"], model.scorer.head.weight)
    cli.main(["evaluate", str(run), "--split", "val", "--episodes", "2"])
    assert "DQN, scored" in capsys.readouterr().out


@pytest.mark.slow
def test_stopped_while_it_learns_the_run_begins_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    tiny = config(tmp_path, scorer_steps=64)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sys.modules[train.__module__], "fit_scorer", interrupted)
        train(tiny)
    assert not (tiny.folder / "metrics.json").exists()
    run = train(replace(tiny, resume=True))
    rows = {row["name"] for row in json.loads((run / "metrics.json").read_text())["test"]["rows"]}
    assert "DQN, scored" in rows


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cache must be off with scorer_steps"):
        config(tmp_path, cache=True, frozen=True)
    with pytest.raises(ValueError, match=r"scorer_steps must be 0 for visionrl/LandmarkLoc.*report nothing"):
        train(config(tmp_path, env="visionrl/LandmarkLocalization-v0", data=None, env_args=()))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("algo", "args"), [("dqn", REPLAY), ("qrdqn", REPLAY), ("ppo", ("n_steps=8", "batch_size=8"))]
)
def test_reports_are_ranked_by_what_the_report_is_worth(tmp_path: Path, algo: str, args: tuple) -> None:
    tiny = config(tmp_path, algo=algo, scorer_steps=0, algo_args=args)
    env = make_training_env(tiny)
    model = build_model(tiny, env)
    venv, obs = env.unwrapped.venv, env.reset()
    policy = agent_policy(model)
    policy(obs, venv.task, venv.state)
    seen = model.policy.obs_to_tensor(obs)[0]
    with torch.no_grad():
        if algo == "dqn":
            worth = model.policy.q_net(seen)[:, venv.task.report]
        elif algo == "qrdqn":
            worth = model.policy.quantile_net(seen)[:, :, venv.task.report].mean(1)
        else:
            report = torch.full((venv.num_envs,), venv.task.report)
            worth = model.policy.get_distribution(seen).log_prob(report)
    np.testing.assert_allclose(policy.confidence, worth.numpy(), rtol=1e-5)
