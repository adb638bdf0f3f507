from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from visionrl.agents import VisionExtractor, make_vec_env
from visionrl.backbones import make_backbone
from visionrl.core import TASKS

LANDMARK = "visionrl/LandmarkLocalization-v0"
ALGOS: dict[str, tuple[type[BaseAlgorithm], dict[str, Any]]] = {
    "dqn": (DQN, {"learning_starts": 8, "batch_size": 8, "buffer_size": 100, "target_update_interval": 16}),
    "ppo": (PPO, {"n_steps": 8, "batch_size": 16}),
}


class Normed(nn.Module):
    """A small network with BatchNorm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def build(algo: str, **trunk: Any) -> BaseAlgorithm:
    cls, kwargs = ALGOS[algo]
    policy = {"features_extractor_class": VisionExtractor, "features_extractor_kwargs": trunk}
    return cls(
        "MultiInputPolicy", make_vec_env(LANDMARK, 2), policy_kwargs=policy, device="cpu", seed=0, **kwargs
    )


def extractors(model: BaseAlgorithm) -> list[VisionExtractor]:
    return [module for module in model.policy.modules() if isinstance(module, VisionExtractor)]


def trunk_state(model: BaseAlgorithm) -> list[dict[str, torch.Tensor]]:
    return [{k: v.clone() for k, v in e.backbones.state_dict().items()} for e in extractors(model)]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_every_image_has_a_backbone_and_the_rest_is_joined() -> None:
    space = spaces.Dict(
        {
            "near": spaces.Box(0, 255, (3, 32, 32), np.uint8),
            "far": spaces.Box(0, 255, (1, 24, 40), np.uint8),
            "grid": spaces.Box(-1, 1, (2, 3), np.float32),
            "count": spaces.Box(0, 9, (1,), np.float32),
        }
    )
    net = VisionExtractor(space, features_dim=17)
    assert {key: trunk.in_channels for key, trunk in net.backbones.items()} == {"near": 3, "far": 1}
    assert net.head[0].in_features == 2 * 1024 + 6 + 1
    batch = {key: torch.rand(5, *box.shape) for key, box in space.items()}
    assert net(batch).shape == (5, 17) and net.features_dim == 17
    for key in space:  # every entry counts
        changed = net({**batch, key: torch.rand(5, *space[key].shape)})
        assert not torch.equal(changed, net(batch)), key


def test_an_observation_without_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must hold a .* image"):
        VisionExtractor(spaces.Dict({"x": spaces.Box(0, 1, (3,), np.float32)}))


@pytest.mark.parametrize("algo", ALGOS)
def test_backbones_see_images_between_0_and_1(algo: str) -> None:
    model = build(algo)
    seen: list[torch.Tensor] = []
    extractors(model)[0].backbones["window"].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    obs = model.get_env().reset()
    model.policy.predict(obs)
    assert torch.equal(seen[0], torch.as_tensor(obs["window"]).float() / 255)


PRESETS = [(task, preset) for task, entry in TASKS.items() for preset in (None, *entry.presets)]


@pytest.mark.parametrize(("env_id", "preset"), PRESETS)
def test_every_preset_of_every_task_trains(env_id: str, preset: str | None) -> None:
    env = make_vec_env(env_id, 2, preset=preset)
    policy = {"features_extractor_class": VisionExtractor}
    model = PPO("MultiInputPolicy", env, n_steps=4, batch_size=8, policy_kwargs=policy, device="cpu", seed=0)
    before = trunk_state(model)[0]
    model.learn(16)
    assert model.observation_space == env.unwrapped.venv.single_observation_space
    assert not same(before, trunk_state(model)[0])


@pytest.mark.parametrize("algo", ALGOS)
@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_backbones_do_not_move(algo: str, frozen: bool) -> None:
    net = Normed(3)
    net.body[1].running_mean.uniform_()
    model = build(algo, backbone=net, frozen=frozen)
    before = trunk_state(model)
    model.learn(96)
    after = trunk_state(model)
    assert any("running_mean" in key for key in before[0])
    assert all(map(same, before, after)) == frozen


def test_a_frozen_backbone_stays_in_evaluation_mode() -> None:
    model = build("ppo", backbone=Normed(3), frozen=True)
    for mode in (True, False, True):
        model.policy.set_training_mode(mode)
        assert model.policy.training == mode
        assert not any(m.training for m in model.policy.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize("algo", ALGOS)
def test_loaded_weights_outlive_the_initialisation(algo: str, tmp_path: Path) -> None:
    torch.save(make_backbone("small", 3).state_dict(), tmp_path / "small.pt")
    saved = torch.load(tmp_path / "small.pt", weights_only=True)
    model = build(algo, backbone="small", weights=str(tmp_path / "small.pt"))
    for extractor in extractors(model):
        loaded = extractor.backbones["window"].state_dict()
        assert same({key: loaded[key] for key in saved}, saved)


def test_a_module_is_copied_for_each_network() -> None:
    net = Normed(3)
    one, target = extractors(build("dqn", backbone=net))
    kept = [e.backbones["window"].state_dict() for e in (one, target)]
    weight = next(key for key in kept[0] if key.endswith("0.weight"))
    assert torch.equal(kept[0][weight], net.body[0].weight) and torch.equal(
        kept[1][weight], net.body[0].weight
    )
    assert len({kept[0][weight].data_ptr(), kept[1][weight].data_ptr(), net.body[0].weight.data_ptr()}) == 3


@pytest.mark.parametrize("algo", ALGOS)
@pytest.mark.parametrize("backbone", ["small", "resnet18"])
def test_saved_agents_load_and_act_alike(algo: str, backbone: str, tmp_path: Path) -> None:
    model = build(algo, backbone=backbone, frozen=backbone == "resnet18")
    if backbone == "small":
        model.learn(32)
    model.save(tmp_path / "agent.zip")
    again = ALGOS[algo][0].load(tmp_path / "agent.zip", device="cpu")
    assert all(map(same, trunk_state(model), trunk_state(again)))
    obs = model.get_env().reset()
    np.testing.assert_array_equal(
        model.predict(obs, deterministic=True)[0], again.predict(obs, deterministic=True)[0]
    )
