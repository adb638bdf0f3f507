"""Agents that act together: one network, messages, and what each may depend on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, PPO

from visionrl.agents import TrainConfig, clone, load_model, make_vec_env, train
from visionrl.agents.imitation.targets import TEMPERATURE, batch_size, expert_actions
from visionrl.agents.networks.team import KINDS, TeamExtractor, TeamPolicy
from visionrl.agents.training.models import build_model
from visionrl.agents.training.train import start_from_teacher

ID = "visionrl/MultiLandmarkLocalization3D-v0"
SMALL: dict[str, Any] = {"window": 5, "scales": (4,), "step_sizes": (4,)}


def space(team: int) -> spaces.Dict:
    return spaces.Dict(
        {
            "window": spaces.Box(0, 255, (team * 2, 6, 6, 6), np.uint8),
            "position": spaces.Box(-1, 1, (team, 3), np.float32),
            "stopped": spaces.Box(0, 1, (team,), np.float32),
        }
    )


def seen(team: int, rows: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "window": torch.rand(rows, team * 2, 6, 6, 6) * 255,
        "position": torch.rand(rows, team, 3),
        "stopped": torch.zeros(rows, team),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_an_agent_hears_the_others_only_where_they_communicate(kind: Any) -> None:
    torch.manual_seed(0)
    net = TeamExtractor(space(3), 3, kind, features_dim=16)
    assert all(told.change.weight.any() for told in net.rounds)
    one = seen(3)
    other = {key: value.clone() for key, value in one.items()}
    other["window"][:, 2:4] = 0  # what the second agent sees
    a, b = (net(x).unflatten(1, (3, 16)) for x in (one, other))
    assert a.shape == (3, 3, 16) and not torch.equal(a[:, 1], b[:, 1])
    assert torch.equal(a[:, [0, 2]], b[:, [0, 2]]) == (kind == "none")


@pytest.mark.parametrize("kind", KINDS)
def test_agents_that_see_the_same_differ_by_their_number(kind: Any) -> None:
    net = TeamExtractor(space(2), 2, kind, features_dim=16)
    one = seen(2)
    one["window"][:, 2:], one["position"][:, 1] = one["window"][:, :2], one["position"][:, 0]
    vectors = net(one).unflatten(1, (2, 16))
    assert not torch.equal(vectors[:, 0], vectors[:, 1])


@pytest.mark.parametrize("algo", [PPO, A2C])
def test_the_network_hardly_grows_with_the_team(algo: Any) -> None:
    sizes = []
    for team in (2, 4):
        env = make_vec_env(ID, 2, team=team, **SMALL)
        model = algo(TeamPolicy, env, policy_kwargs={"communication": "attention"}, device="cpu")
        sizes.append(sum(p.numel() for p in model.policy.parameters()))
        logits = model.policy.get_distribution(model.policy.obs_to_tensor(env.reset())[0]).distribution
        assert len(logits) == team and logits[0].logits.shape == (2, 6)
    assert sizes[1] - sizes[0] <= 2 * 6 + 2 * 256, "biases, and columns for two more numbers"


@pytest.mark.slow
def test_a_team_learns_from_the_experts() -> None:
    torch.manual_seed(0)
    env = make_vec_env(ID, 8, seed=0, target=["heart", "trachea"], window=8, scales=(4,), step_sizes=(4,))
    args: dict[str, Any] = {"learning_rate": 2e-3, "n_steps": 8, "batch_size": 32, "n_epochs": 1, "seed": 0}
    model = PPO(TeamPolicy, env, policy_kwargs={"communication": "mean"}, device="cpu", **args)

    def agreement() -> float:
        hits, obs = [], env.reset()
        for _ in range(15):
            wanted = expert_actions(env)
            hits.append(model.predict(obs, deterministic=True)[0] == wanted)
            obs = env.step(wanted)[0]
        return float(np.mean(hits))

    before = agreement()
    clone(model, 1600)
    assert agreement() > before + 0.2
    model.learn(64)


def test_a_team_begins_as_the_single_agent_that_taught_it() -> None:
    args: dict[str, Any] = {"communication": "mean", "fusion": "film"}
    names = ["trachea", "heart"]
    env = make_vec_env(ID, 4, seed=0, target=names)
    model: Any = build_model(TrainConfig(env=ID, algo="ppo", recipe="none", device="cpu", **args), env)
    start_from_teacher(model, "landmarks3d-chest")
    single, config = load_model("landmarks3d-chest", "cpu")
    obs = env.reset()
    logits = model.policy.get_distribution(model.policy.obs_to_tensor(obs)[0]).distribution
    for k, name in enumerate(names):
        alone = {key: obs[key][:, k] for key in ("position", "stage", "history")}
        goal = np.array(config.env_kwargs["target"]) == name
        alone |= {
            "window": obs["window"][:, 3 * k : 3 * k + 3],
            "goal": np.tile(goal, (4, 1)).astype(np.float32),
        }
        values = single.policy.q_net(single.policy.obs_to_tensor(alone)[0])
        wanted = torch.log_softmax(values / TEMPERATURE, dim=1)
        torch.testing.assert_close(logits[k].logits, wanted, atol=1e-3, rtol=1e-3)


def test_what_a_team_cannot_begin_as_is_refused() -> None:
    env = make_vec_env(ID, 1, target=["liver", "rib_left_3"])
    config = TrainConfig(env=ID, algo="ppo", communication="mean", device="cpu")
    with pytest.raises(ValueError, match=r"teacher must look for all that the team does.*rib_left_3"):
        start_from_teacher(build_model(config, env), "landmarks3d-chest")
    env = make_vec_env(ID, 1, target=["liver", "heart"])
    with pytest.raises(ValueError, match="fusion='film'"):
        start_from_teacher(build_model(config, env), "landmarks3d-chest")
    alone = build_model(replace(config, communication=None), env)
    with pytest.raises(ValueError, match="teacher must be None without communication"):
        start_from_teacher(alone, "landmarks3d-chest")


def test_a_batch_holds_as_many_decisions_for_a_team() -> None:
    for space, size in (
        (spaces.Discrete(6), 128),
        (spaces.MultiDiscrete([6] * 4), 32),
        (spaces.MultiDiscrete([6] * 99), 16),
    ):
        assert batch_size(SimpleNamespace(action_space=space, policy=None)) == size


@pytest.mark.slow
def test_a_run_of_a_team_is_loaded_again(tmp_path: Any) -> None:
    args = ("window=5", "scales=[4]", "step_sizes=[4]", "team=2", "max_episode_steps=10")
    sizes: dict[str, Any] = {"num_envs": 2, "eval_episodes": 2, "test_episodes": 2, "eval_every": 64}
    config = TrainConfig(
        env=ID,
        algo="ppo",
        timesteps=64,
        env_args=args,
        communication="attention",
        out=str(tmp_path),
        **sizes,
    )
    model, again = load_model(train(config))
    assert isinstance(model.policy, TeamPolicy) and again.env_kwargs["target"]
    env = gym.make(ID, **again.env_kwargs)
    action = model.predict(env.reset(seed=0)[0], deterministic=True)[0]
    assert env.action_space.contains(np.asarray(action))


@pytest.mark.parametrize(
    ("observations", "actions", "words"),
    [
        (space(2), spaces.Discrete(6), "MultiDiscrete of equal parts"),
        (space(2), spaces.MultiDiscrete([6, 5]), "MultiDiscrete of equal parts"),
        (space(3), spaces.MultiDiscrete([6, 6]), "first axes of 2 equal parts"),
    ],
)
def test_spaces_that_are_not_a_teams_are_refused(observations: Any, actions: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TeamPolicy(observations, actions, lambda left: 1e-3)
