"""Cached features are what the frozen backbone says of the images, in buffers and in evaluation."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from visionrl.agents import agent_policy, evaluate, make_vec_env
from visionrl.agents.evaluation.policies import AgentPolicy, cached_policy
from visionrl.agents.networks.frozen_features import CachedFeatures, FeatureEncoder, OnImages, encoded
from visionrl.agents.policies.sequence import SequenceExtractor
from visionrl.agents.sb3.recall import Recall
from visionrl.backbones import make_backbone
from visionrl.core import make_task

LANDMARK = "visionrl/LandmarkLocalization-v0"
ALGOS: dict[str, tuple[Any, dict[str, Any]]] = {
    "dqn": (DQN, {"learning_starts": 8, "batch_size": 8, "buffer_size": 200}),
    "ppo": (PPO, {"n_steps": 16, "batch_size": 16}),
}


def envs(rows: int = 3, **kwargs: Any) -> tuple[Any, CachedFeatures]:
    """The same episodes as images and as features; short, so that rows end."""
    torch.manual_seed(0)
    make = {"window": 24, "max_episode_steps": 5, "seed": 1, **kwargs}
    return make_vec_env(LANDMARK, rows, **make), CachedFeatures(make_vec_env(LANDMARK, rows, **make), "small")


def test_every_observation_is_encoded_the_last_ones_too() -> None:
    plain, cached = envs()
    net = cached.encoder.nets["window"]
    seen, given = plain.reset(), cached.reset()
    actions, ends = np.random.default_rng(0), 0
    for _ in range(12):
        assert given.keys() == seen.keys()
        wanted = net(torch.as_tensor(seen["window"])).detach().numpy()
        np.testing.assert_allclose(given["window"], wanted, atol=1e-5)
        np.testing.assert_array_equal(given["position"], seen["position"])
        assert all(cached.observation_space[key].contains(given[key][0]) for key in given)
        action = actions.integers(4, size=3)
        (seen, reward, done, infos), (given, reward2, done2, infos2) = plain.step(action), cached.step(action)
        np.testing.assert_array_equal(reward, reward2)
        np.testing.assert_array_equal(done, done2)
        for row in np.flatnonzero(done):
            last, last2 = infos[row]["terminal_observation"], infos2[row]["terminal_observation"]
            wanted = net(torch.as_tensor(last["window"])[None]).detach().numpy()[0]
            np.testing.assert_allclose(last2["window"], wanted, atol=1e-5)
            np.testing.assert_array_equal(last2["position"], last["position"])
            ends += 1
    assert ends >= 6


@pytest.mark.parametrize("algo", ALGOS)
def test_agents_learn_on_features_and_are_evaluated_on_images(algo: str) -> None:
    _, cached = envs()
    cls, kwargs = ALGOS[algo]
    calls: list[int] = []
    cached.encoder.nets["window"].register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    model = cls("MultiInputPolicy", cached, device="cpu", seed=0, **kwargs)
    steps = 96
    model.learn(steps)
    ended = sum(calls) - steps - cached.num_envs  # beside every step's rows and the first observations
    assert ended == steps // 5 // cached.num_envs * cached.num_envs
    assert model.observation_space["window"].shape == (1024,)
    own = {"split": "val", "episodes": 5, "env_kwargs": {"window": 24, "max_episode_steps": 5}}
    results = evaluate(LANDMARK, cached_policy(model, cached.encoder), **own)
    assert np.isfinite(results["distance_px"]).all()
    with pytest.raises(ValueError, match="observation 'window' must be of shape"):
        evaluate(LANDMARK, agent_policy(model), **own)
    with pytest.raises(ValueError, match=r"observation 'window' must be of shape \(3, 24, 24\)"):
        evaluate(LANDMARK, cached_policy(model, cached.encoder), split="val", episodes=1)


def test_windows_hold_features_and_a_step_is_encoded_once() -> None:
    torch.manual_seed(0)
    make: dict[str, Any] = {"window": 24, "max_episode_steps": 5, "seed": 1}
    windows = make_vec_env(LANDMARK, 3, recall=3, **make)
    cached = CachedFeatures(make_vec_env(LANDMARK, 3, **make), "small", recall=3)
    calls: list[int] = []
    cached.encoder.nets["window"].register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    seen: Any = windows.reset()
    given = cached.reset()
    actions, ends = np.random.default_rng(0), 0
    for _ in range(12):
        wanted = encoded(cached.encoder, seen)
        calls.pop()
        real = np.asarray(seen["recalled"]) > 0
        np.testing.assert_allclose(given["window"][real], wanted["window"][real], atol=1e-5)
        assert not given["window"][~real].any()
        assert all(cached.observation_space[key].contains(given[key][0]) for key in given)
        action = actions.integers(4, size=3)
        (seen, _, done, infos), (given, _, _, infos2) = windows.step(action), cached.step(action)
        for row in np.flatnonzero(done):
            last, last2 = infos[row]["terminal_observation"], infos2[row]["terminal_observation"]
            np.testing.assert_array_equal(last2["position"], last["position"])
            np.testing.assert_array_equal(last2["recalled"], last["recalled"])
            ends += 1
    assert ends >= 6 and sum(calls) == 13 * 3 + ends


def test_a_policy_of_windows_of_features_is_shown_each_image_once() -> None:
    _, single = envs(2)
    cached = CachedFeatures(
        make_vec_env(LANDMARK, 2, window=24, max_episode_steps=5), single.encoder, recall=3
    )
    see = {"features_extractor_class": SequenceExtractor, "features_extractor_kwargs": {"features_dim": 8}}
    model = PPO("MultiInputPolicy", cached, policy_kwargs=see, device="cpu", n_steps=8, batch_size=8)
    given = OnImages(model, cached.encoder)
    agent, task = AgentPolicy(given), make_task(LANDMARK, window=24)
    recall = Recall(3)
    calls: list[int] = []
    cached.encoder.nets["window"].register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    for step in range(4):
        now = {k: np.stack([b.sample() for _ in range(2)]) for k, b in task.observation_space.spaces.items()}
        window = recall.add(now) if step else recall.begin(now)
        found = agent(now, task, None)
        assert calls.pop() == 2
        np.testing.assert_array_equal(found, given.predict(window, deterministic=True)[0])
        assert calls.pop() == 6
    one = {key: value[0] for key, value in window.items()}
    assert given.predict(one, deterministic=True)[0] == found[0]


def test_the_buffer_keeps_features() -> None:
    _, cached = envs()
    model = DQN("MultiInputPolicy", cached, device="cpu", **ALGOS["dqn"][1])
    model.learn(30)
    buffer: Any = model.replay_buffer
    kept = [
        array
        for key in buffer.observations
        for array in (buffer.observations[key], buffer.next_observations[key])
    ]
    assert buffer.observations["window"].shape[2:] == (1024,)
    assert sum(array[0, 0].nbytes for array in kept) == cached.encoder.bytes_per_transition
    assert np.abs(buffer.observations["window"][:10]).max() > 0


def test_the_backbone_stays() -> None:
    _, cached = envs()
    before = {key: value.clone() for key, value in cached.encoder.state_dict().items()}
    model = PPO("MultiInputPolicy", cached, device="cpu", **ALGOS["ppo"][1])
    model.learn(48)
    assert all(torch.equal(value, before[key]) for key, value in cached.encoder.state_dict().items())
    assert not any(p.requires_grad for p in cached.encoder.parameters())


def test_batchnorm_is_that_of_evaluation() -> None:
    own = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4))
    own[1].running_mean.uniform_()
    space = spaces.Dict({"a": spaces.Box(0, 255, (3, 16, 16), np.uint8)})
    encoder = FeatureEncoder(space, own)
    images = space.sample()["a"][None]
    with torch.no_grad():
        wanted = own.eval()(torch.as_tensor(images) / 255).mean((2, 3))
    np.testing.assert_allclose(encoder({"a": images})["a"], wanted, atol=1e-5)
    assert own[1].running_mean is not encoder.nets["a"].stages[0][1].running_mean


def test_images_of_one_shape_share_a_backbone() -> None:
    box = spaces.Box(0, 255, (3, 32, 32), np.uint8)
    volume = spaces.Box(0, 255, (1, 12, 16, 20), np.uint8)
    space = spaces.Dict(
        {"a": box, "b": box, "grey": spaces.Box(0, 255, (1, 32, 32), np.uint8), "cube": volume}
    )
    torch.manual_seed(0)
    encoder = FeatureEncoder(space, "small")
    assert sorted(encoder.nets) == ["a", "cube", "grey"]
    seen = {key: space.sample()[key][None] for key in space}
    found = encoder(seen)
    swapped = encoder({**seen, "a": seen["b"], "b": seen["a"]})
    np.testing.assert_array_equal(found["a"], swapped["b"])
    assert not np.allclose(found["a"], found["b"])
    assert all(encoder.space[key].shape == found[key].shape[1:] for key in space)
    tensors = encoder({key: torch.as_tensor(value) for key, value in seen.items()})
    np.testing.assert_array_equal(tensors["cube"], found["cube"])


def test_an_encoder_is_shared_and_its_state_restores_it() -> None:
    _, cached = envs()
    other = CachedFeatures(make_vec_env(LANDMARK, 1, window=24, seed=1), cached.encoder)
    assert other.encoder is cached.encoder
    again = FeatureEncoder(cached.encoder.read, "small")
    obs = make_vec_env(LANDMARK, 1, window=24, seed=1).reset()
    assert not np.allclose(again(obs)["window"], other.reset()["window"])
    again.load_state_dict(cached.encoder.state_dict())
    np.testing.assert_allclose(again(obs)["window"], cached.encoder(obs)["window"])


def test_figures_of_the_docstring() -> None:
    assert make_backbone("resnet18").num_features == 512
    space = spaces.Dict({"window": spaces.Box(0, 255, (3, 32, 32), np.uint8)})
    assert FeatureEncoder(space, "resnet18").bytes_per_transition == 4096


def test_what_does_not_fit_is_refused() -> None:
    numbers = spaces.Dict({"x": spaces.Box(0, 1, (3,), np.float32)})
    with pytest.raises(ValueError, match=r"must hold a .* image"):
        FeatureEncoder(numbers)
    with pytest.raises(ValueError, match="Dict observation space"):
        CachedFeatures(DummyVecEnv([lambda: gym.make("CartPole-v1")]))
    _, cached = envs()
    with pytest.raises(ValueError, match="observation 'window' must be of shape"):
        CachedFeatures(make_vec_env(LANDMARK, 1, window=32), cached.encoder)
