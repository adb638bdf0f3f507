"""Double DQN and DQfD: the losses by hand, demonstrations that stay."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from visionrl.agents import DoubleDQN, DQfD, VisionExtractor, make_vec_env
from visionrl.agents.imitation.demonstrations import margin_loss

LANDMARK = "visionrl/LandmarkLocalization-v0"


def model_of(kind: Any, **kwargs: Any) -> Any:
    """An untrained model."""
    env = make_vec_env(LANDMARK, 4, window=12, max_episode_steps=8, seed=0)
    eyes = {"features_extractor_class": VisionExtractor, "features_extractor_kwargs": {"features_dim": 16}}
    own = {"learning_starts": 20, "batch_size": 16, "buffer_size": 200, "train_freq": 1, "seed": 0}
    return kind("MultiInputPolicy", env, policy_kwargs=eyes, device="cpu", **(own | kwargs))


def test_margin_loss_by_hand() -> None:
    values = torch.tensor([[1.0, 0.5, 0.0], [1.0, 0.5, 0.0], [2.0, 0.5, 0.0]])
    wanted = torch.tensor([0, 1, 0])
    # 0.5 + 0.8 - 1; 1 + 0.8 - 0.5; the last is better by more than the margin
    assert margin_loss(values, wanted, 0.8).item() == pytest.approx((0.3 + 1.3 + 0.0) / 3)


def test_the_target_is_double() -> None:
    """The online network chooses the next action, the target network values it."""
    model = model_of(DoubleDQN, gamma=0.5)
    tables = {"now": [[0.0, 1.0]], "online": [[3.0, 4.0]], "target": [[10.0, 2.0]]}
    model.q_net = lambda obs: torch.tensor(tables["online" if obs == "next" else "now"])
    model.q_net_target = lambda obs: torch.tensor(tables["target"])
    batch = SimpleNamespace(
        observations="now",
        next_observations="next",
        actions=torch.tensor([[1]]),
        rewards=torch.tensor([[1.0]]),
        dones=torch.tensor([[0.0]]),
    )
    loss, values = model.surprise(batch)
    assert loss.item() == pytest.approx(0.5)  # |1 - (1 + 0.5 * 2)| = 1: Huber gives 0.5
    assert values.tolist() == [[0.0, 1.0]]
    batch.dones = torch.tensor([[1.0]])
    assert model.surprise(batch)[0].item() == 0.0


def test_demonstrations_are_the_experts_and_stay() -> None:
    model = model_of(DQfD)
    model.demonstrate(61)
    demos: Any = model.demos
    assert demos.full and demos.buffer_size * demos.n_envs == 64
    assert (demos.rewards > 0).mean() > 0.8 and demos.timeouts.any()
    before = {key: value.copy() for key, value in demos.observations.items()}, demos.actions.copy()
    model.learn(400)
    assert all(np.array_equal(value, before[0][key]) for key, value in demos.observations.items())
    assert np.array_equal(demos.actions, before[1])


@pytest.mark.slow
def test_demonstrated_actions_become_the_best() -> None:
    """The share of demonstrations where the best action is the expert's, with and without the margin."""
    shares = []
    for margin in (0.8, 0.0):
        model = model_of(DQfD, margin=margin, demo_share=0.5, learning_rate=1e-3, gamma=0.9)
        model.demonstrate(40)
        model.learn(1200)
        batch = model.demos.sample(200)
        shares.append(
            (model.q_net(batch.observations).argmax(1, keepdim=True) == batch.actions).float().mean()
        )
    assert shares[0] > max(shares[1], 0.9)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="call demonstrate first"):
        model_of(DQfD).learn(40)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"demo_share must be in \(0, 1\)"):
            model_of(DQfD, demo_share=share)


def test_the_zip_leaves_the_demonstrations_out(tmp_path: Any) -> None:
    model = model_of(DQfD)
    model.demonstrate(2000)
    model.save(tmp_path / "agent.zip")
    loaded = DQfD.load(tmp_path / "agent.zip", device="cpu")
    assert loaded.demos is None and loaded.margin == 0.8
