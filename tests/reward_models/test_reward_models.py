"""Learned rewards: what the model says of the window is what the agent earns."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN
from torch import nn

import visionrl  # noqa: F401
from visionrl.agents import VisionExtractor, make_vec_env
from visionrl.backbones import make_classifier
from visionrl.core import TaskVectorEnv
from visionrl.reward_models import ClassifierConfidence, LearnedReward, VecLearnedReward

SETUPS = {
    "visionrl/LandmarkLocalization-v0": {"window": 24},
    "visionrl/Tracking-v0": {"window": 24, "clip": 3},
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight": 2.5},
    {"mode": "add", "weight": 0.5},
    {"difference": True},
    {"mode": "add", "difference": True},
]


@pytest.fixture(scope="module", params=SETUPS)
def setup(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any], nn.Module]:
    """A task, and a classifier that was trained for a second to tell where its expert ends from elsewhere."""
    task_id, kwargs = request.param, SETUPS[request.param]
    windows, labels = examples(task_id, kwargs)
    torch.manual_seed(0)
    net = make_classifier("small", 2, windows.shape[1], image_size=24)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(windows), labels).backward()
        optimizer.step()
    return task_id, kwargs, net


def examples(task_id: str, kwargs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows (N, C, 24, 24) and whether the expert shows them last (1) or chance (0)."""
    found, labels = [], []
    for label in (0, 1):
        env = TaskVectorEnv(32, task_id, **kwargs)
        obs, _ = env.reset(seed=3)
        env.action_space.seed(3)
        for _ in range(20):
            action = env.task.expert(env.state) if label else env.action_space.sample()
            obs, *_ = env.step(action)
        found.append(torch.as_tensor(obs["window"]))
        labels += [label] * 32
    return torch.cat(found), torch.tensor(labels)


def softmax(net: nn.Module, window: np.ndarray) -> float:
    """The confidence in class 1 for one window, worked out apart."""
    with torch.no_grad():
        logits = net.eval()(torch.as_tensor(window)[None].float() / 255)[0].double().numpy()
    return float(np.exp(logits[1]) / np.exp(logits).sum())


def expected(options: dict[str, Any], reward: float, before: float, after: float) -> float:
    learned = options.get("weight", 1.0) * (after - before if options.get("difference") else after)
    return learned + (reward if options.get("mode") == "add" else 0.0)


def test_the_classifier_has_learnt(setup: Any) -> None:
    task_id, kwargs, net = setup
    windows, labels = examples(task_id, kwargs)
    score = ClassifierConfidence(net, 1)({"window": windows})
    assert score.shape == (64,) and score.dtype == np.float64
    assert score[labels == 1].mean() > score[labels == 0].mean() + 0.2


@pytest.mark.parametrize("options", OPTIONS)
def test_the_reward_is_the_confidence_in_the_window(setup: Any, options: dict[str, Any]) -> None:
    task_id, kwargs, net = setup
    plain = gym.make(task_id, **kwargs)
    env = LearnedReward(gym.make(task_id, **kwargs), ClassifierConfidence(net, 1), **options)
    seen, _ = env.reset(seed=4)
    plain.reset(seed=4)
    before, actions, seen_rewards = softmax(net, seen["window"]), np.random.default_rng(0), set()
    for _ in range(20):
        action = int(actions.integers(plain.action_space.n))
        _, task_reward, *_ = plain.step(action)
        seen, reward, terminated, _, info = env.step(action)
        after = softmax(net, seen["window"])
        assert reward == pytest.approx(expected(options, float(task_reward), before, after), abs=1e-6)
        assert isinstance(reward, float)
        assert info["score"] == pytest.approx(after, abs=1e-6) and info["task_reward"] == task_reward
        before = after
        seen_rewards.add(round(reward, 6))
        if terminated:
            break
    assert len(seen_rewards) > 1


@pytest.mark.parametrize("options", OPTIONS)
def test_rows_earn_what_single_environments_earn(setup: Any, options: dict[str, Any]) -> None:
    """Also in the steps in which rows end, and in those after."""
    task_id, kwargs, net = setup
    kwargs = {**kwargs, "max_episode_steps": 6}
    score, rows = ClassifierConfidence(net, 1, batch=2), 3
    singles = [LearnedReward(gym.make(task_id, **kwargs), score, **options) for _ in range(rows)]
    for row, env in enumerate(singles):
        env.reset(seed=7 + row)
    venv = VecLearnedReward(make_vec_env(task_id, rows, seed=7, **kwargs), score, **options)
    venv.reset()
    total, own, actions, ends = np.zeros(rows), np.zeros(rows), np.random.default_rng(1), 0
    for _ in range(15):
        action = actions.integers(venv.action_space.n, size=rows)
        _, rewards, dones, infos = venv.step(action)
        assert rewards.dtype == np.float32
        for row, env in enumerate(singles):
            _, reward, terminated, truncated, info = env.step(int(action[row]))
            assert rewards[row] == pytest.approx(reward, abs=1e-5)
            total[row] += reward
            own[row] += info["task_reward"]
            assert dones[row] == (terminated or truncated)
            if dones[row]:
                told = infos[row]
                assert told["episode"]["r"] == pytest.approx(total[row], abs=1e-4)
                assert told["task_return"] == pytest.approx(own[row], abs=1e-4)
                assert told["score"] == pytest.approx(info["score"], abs=1e-5)
                total[row], own[row], ends = 0, 0, ends + 1
                env.reset()
    assert ends >= 6


def test_differences_add_up_to_the_gain(setup: Any) -> None:
    task_id, kwargs, net = setup
    env = LearnedReward(gym.make(task_id, **kwargs), ClassifierConfidence(net, 1), difference=True)
    _, info = env.reset(seed=9)
    first, earned = info["score"], 0.0
    for k in range(10):
        _, reward, terminated, _, info = env.step(k % 4)
        earned += float(reward)
        if terminated:
            break
    assert earned == pytest.approx(info["score"] - first)


def test_rows_on_torch(setup: Any) -> None:
    task_id, kwargs, net = setup
    kwargs = {**kwargs, "max_episode_steps": 4, "seed": 7}
    score = ClassifierConfidence(net, 1)
    here, there = (
        VecLearnedReward(make_vec_env(task_id, 2, backend=b, **kwargs), score) for b in ("numpy", "torch")
    )
    here.reset(), there.reset()
    for k in range(9):
        action = np.array([k % 4, 1])
        np.testing.assert_allclose(here.step(action)[1], there.step(torch.as_tensor(action))[1], atol=2e-2)


def test_an_agent_learns_from_it(setup: Any) -> None:
    task_id, kwargs, net = setup
    before = {key: value.clone() for key, value in net.state_dict().items()}
    venv = VecLearnedReward(make_vec_env(task_id, 2, seed=0, **kwargs), ClassifierConfidence(net, 1))
    small = {"learning_starts": 8, "batch_size": 8, "buffer_size": 100}
    model = DQN(
        "MultiInputPolicy",
        venv,
        device="cpu",
        seed=0,
        policy_kwargs={"features_extractor_class": VisionExtractor},
        **small,
    )
    model.learn(60)
    buffer: Any = model.replay_buffer
    kept = buffer.rewards[:30].ravel()
    assert ((kept >= 0) & (kept <= 1)).all() and kept.std() > 0
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_channels_choose_a_view() -> None:
    torch.manual_seed(0)
    net = make_classifier("small", 3, 1, image_size=24)
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 24, 24), dtype=np.uint8)
    score = ClassifierConfidence(net, 2, channels=slice(2, 3))
    with torch.no_grad():
        wanted = net(torch.as_tensor(images[:, 2:]))[:, :].softmax(1)[:, 2]
    np.testing.assert_allclose(score({"window": images}), wanted, atol=1e-6)
    assert net.training is False


def test_what_does_not_fit_is_refused() -> None:
    net = make_classifier("small", 2, 3, image_size=24)
    images = {"window": np.zeros((1, 3, 24, 24), np.uint8)}
    with pytest.raises(ValueError, match="label must be >= 0"):
        ClassifierConfidence(net, -1)
    with pytest.raises(ValueError, match=r"label must be a column of the logits \(1, 2\), got 2"):
        ClassifierConfidence(net, 2)(images)
    with pytest.raises(ValueError, match="key must be one of window, got 'patch'"):
        ClassifierConfidence(net, 0, key="patch")(images)
    with pytest.raises(ValueError, match="mode must be one of 'replace', 'add', got 'both'"):
        LearnedReward(gym.make("visionrl/LandmarkLocalization-v0"), ClassifierConfidence(net, 0), mode="both")  # type: ignore[arg-type]
