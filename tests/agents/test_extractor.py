from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from visionrl.agents import VisionExtractor, make_vec_env
from visionrl.agents.networks.extractor import MapAttention
from visionrl.agents.networks.numbers import NumbersExtractor, shows_images
from visionrl.agents.policies.candidates import CandidateExtractor, candidate_policy, offers_candidates
from visionrl.agents.policies.pixel_ppo import PixelPPO
from visionrl.agents.policies.pixelwise import PixelPolicy
from visionrl.backbones import as_backbone, make_backbone
from visionrl.core import TASKS
from visionrl.core.capabilities import pixels_of

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


def test_film_lets_the_numbers_scale_and_shift_what_is_seen() -> None:
    space = spaces.Dict(
        {"window": spaces.Box(0, 255, (1, 24, 24), np.uint8), "goal": spaces.Box(0, 1, (3,), np.float32)}
    )
    net = VisionExtractor(space, features_dim=8, fusion="film")
    seen = {"window": torch.rand(2, 1, 24, 24), "goal": torch.eye(3)[:2]}
    with torch.no_grad():
        net.film.weight.zero_()
        net.film.bias.zero_()
        plain = net(seen)
        torch.testing.assert_close(plain, net.head(net.encode("window", seen["window"])).relu())
        net.film.weight[:8, 1] = 1  # the second goal doubles it all
        torch.testing.assert_close(net(seen), plain * torch.tensor([[1.0], [2.0]]))
    wrong: dict[str, Any] = {"fusion": "sum"}
    with pytest.raises(ValueError, match="fusion must be one of"):
        VisionExtractor(space, **wrong)


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
    assert net.head.in_features == 2 * 1024 + 6 + 1
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


@pytest.mark.slow
@pytest.mark.parametrize(("env_id", "preset"), PRESETS)
def test_every_preset_of_every_task_trains(env_id: str, preset: str | None) -> None:
    env = make_vec_env(env_id, 2, preset=preset)
    if pixels_of(env.action_space):  # whose policy has a network of its own
        pixels = PixelPPO(PixelPolicy, env, n_steps=4, batch_size=8, policy_kwargs={"width": 2}, device="cpu")
        first = pixels.policy.first.weight.detach().clone()
        pixels.learn(16)
        assert not torch.equal(first, pixels.policy.first.weight)
        return
    bare = offers_candidates(env.observation_space, env.action_space)  # nothing to be seen by a backbone
    sees = VisionExtractor if shows_images(env.observation_space) else NumbersExtractor
    policy = {"features_extractor_class": CandidateExtractor if bare else sees}
    kind = candidate_policy("ppo") if bare else "MultiInputPolicy"
    model = PPO(kind, env, n_steps=4, batch_size=8, policy_kwargs=policy, device="cpu", seed=0)

    def weights() -> dict[str, torch.Tensor]:
        if not bare and sees is VisionExtractor:
            return trunk_state(model)[0]
        return {key: value.clone() for key, value in model.policy.features_extractor.state_dict().items()}

    before = weights()
    model.learn(16)
    assert model.observation_space == env.unwrapped.venv.single_observation_space
    assert not same(before, weights())


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


@pytest.mark.slow
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


# -- options ------------------------------------------------------------------------------------------------------


class Steering(gym.ActionWrapper):
    """LandmarkLocalization steered by one number in [-1, 1], for algorithms of continuous actions."""

    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def action(self, action: Any) -> int:
        return int(np.clip((action[0] + 1) * 2, 0, 3))


class Masked(gym.Wrapper):
    """LandmarkLocalization that forbids the first action, for MaskablePPO."""

    forbidden = 0

    def action_masks(self) -> np.ndarray:
        return np.arange(4) != self.forbidden

    def step(self, action: Any) -> Any:
        if action == self.forbidden:
            raise AssertionError("a forbidden action was taken")
        return self.env.step(action)


def env_of(algo: str) -> Any:
    wrapper = {"sac": Steering, "td3": Steering, "maskableppo": Masked}.get(algo)
    if wrapper is None:
        return make_vec_env(LANDMARK, 2, window=32)
    return wrapper(gym.make(LANDMARK, window=32))


REPLAY = {"learning_starts": 8, "batch_size": 8, "buffer_size": 100}
EVERY: dict[str, tuple[type[BaseAlgorithm], str, dict[str, Any]]] = {
    "dqn": (DQN, "MultiInputPolicy", REPLAY),
    "qrdqn": (QRDQN, "MultiInputPolicy", REPLAY),
    "sac": (SAC, "MultiInputPolicy", REPLAY),
    "td3": (TD3, "MultiInputPolicy", REPLAY),
    "ppo": (PPO, "MultiInputPolicy", {"n_steps": 16, "batch_size": 16, "n_epochs": 2}),
    "a2c": (A2C, "MultiInputPolicy", {"n_steps": 8}),
    "recurrentppo": (RecurrentPPO, "MultiInputLstmPolicy", {"n_steps": 16, "batch_size": 16, "n_epochs": 2}),
    "maskableppo": (MaskablePPO, "MultiInputPolicy", {"n_steps": 16, "batch_size": 16, "n_epochs": 2}),
}


@pytest.fixture(scope="module")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, torch.Tensor]]:
    """A file of weights of `small`, and what is in it."""
    path = tmp_path_factory.mktemp("weights") / "small.pt"
    state = make_backbone("small", 3).state_dict()
    torch.save(state, path)
    return str(path), state


KINDS = ("soft", "self", "multihead", "hard")


@pytest.mark.parametrize(("algo", "attention"), [
    *((algo, KINDS[k % 4]) for k, algo in enumerate(EVERY)),
    *(("ppo", kind) for kind in ("soft", "self", "multihead")),
])  # fmt: skip
@pytest.mark.slow
def test_every_algorithm_learns_around_a_frozen_trunk(
    algo: str, attention: str, small_weights: tuple[str, dict[str, torch.Tensor]]
) -> None:
    """The loaded trunk stays, also through SB3's initialisation; what is around it learns."""
    cls, policy, kwargs = EVERY[algo]
    path, saved = small_weights
    trunk = {"weights": path, "frozen": True, "stn": True, "attention": attention, "features_dim": 32}
    net: dict[str, Any] = {"features_extractor_class": VisionExtractor, "features_extractor_kwargs": trunk}
    model: Any = cls(policy, env_of(algo), policy_kwargs=net, device="cpu", seed=0, **kwargs)
    before = [{k: v.clone() for k, v in e.state_dict().items()} for e in extractors(model)]
    assert before
    model.learn(48)
    for extractor in extractors(model):
        loaded = extractor.backbones["window"].state_dict()
        for key, value in saved.items():  # Polyak averaging rounds in the targets of SAC and TD3
            torch.testing.assert_close(loaded[key], value, rtol=1e-6, atol=1e-9)
    trunk_now = extractors(model)[0].backbones["window"].state_dict()
    assert same({key: trunk_now[key] for key in saved}, saved)
    learnt = extractors(model)[0].state_dict()
    for part in ("transformers.", "attentions.", "head."):
        names = [key for key in learnt if key.startswith(part)]
        assert any(not torch.equal(learnt[key], before[0][key]) for key in names), part


def look(net: VisionExtractor, space: spaces.Dict, rows: int = 3) -> torch.Tensor:
    """The features of some images in [0, 1] and volumes in [0, 255]."""
    scale = {3: 1.0, 4: 255.0}
    return net({key: scale[len(box.shape)] * torch.rand(rows, *box.shape) for key, box in space.items()})


@pytest.mark.parametrize(("kind", "shape"), [
    ("soft", (3, 2, 2)),
    ("hard", (3, 2, 2)),
    ("multihead", (3, 4, 2, 2)),
])  # fmt: skip
def test_attention_maps_are_kept_and_sum_to_one(kind: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    space = spaces.Dict({"a": spaces.Box(0, 255, (3, 16, 16), np.uint8)})
    net = VisionExtractor(space, attention=kind).train()
    look(net, space).sum().backward()
    weights = net.attention_maps["a"]
    assert weights.shape[-2:] == (3, 3) and weights.shape[:-2] == shape[:-2]
    torch.testing.assert_close(weights.sum((-2, -1)), torch.ones(shape[:-2]))
    assert not weights.requires_grad
    assert all(p.grad is not None for p in net.attentions.parameters())
    if kind == "hard":
        assert set(weights.unique().tolist()) == {0.0, 1.0}


def test_the_vector_says_where_attention_is() -> None:
    """All weight on one place: the vector is the map there, and the place's (x, y)."""
    net = as_backbone(nn.AvgPool2d(4), 3, 16)
    attention = MapAttention("soft", net, (3, 16, 16))
    features = torch.rand(1, 3, 4, 4)
    wanted = torch.where(torch.arange(16) == 7, 100.0, -100.0)[None]  # row 1, column 3
    attention.look.logits = lambda flat, query, keys: wanted
    vector, weights = attention(net, features)
    torch.testing.assert_close(vector[0], torch.cat([features[0, :, 1, 3], torch.tensor([0.75, -0.25])]))
    assert weights[0, 1, 3] == 1


def test_self_attention_starts_as_the_plain_backbone() -> None:
    space = spaces.Dict({"a": spaces.Box(0, 255, (3, 32, 32), np.uint8)})
    net = VisionExtractor(space, attention="self").eval()
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(net.encode("a", image), net.backbones["a"](image))
    assert net.attention_maps["a"].shape == (2, 1, 16, 16)


def test_the_transformer_starts_as_the_identity_in_ppo() -> None:
    model = build("ppo", stn=True)
    (net,) = extractors(model)
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(net.transformers["window"](image), image)
    torch.testing.assert_close(net.encode("window", image), net.backbones["window"](image))


VOLUMES = spaces.Dict(
    {
        "cube": spaces.Box(0, 255, (1, 12, 16, 20), np.uint8),
        "other": spaces.Box(0, 255, (2, 12, 16, 20), np.uint8),
        "near": spaces.Box(0, 255, (3, 32, 32), np.uint8),
        "position": spaces.Box(-1, 1, (3,), np.float32),
    }
)


class VolumeEnv(gym.Env):
    """Noise: two volumes, an image and numbers."""

    observation_space, action_space = VOLUMES, spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: int) -> Any:
        return self.observation_space.sample(), float(action), bool(self.np_random.random() < 0.1), False, {}


@pytest.mark.parametrize("attention", ["none", "soft", "self", "multihead", "hard"])
def test_volumes_of_one_size_share_a_3d_backbone(attention: Any) -> None:
    torch.manual_seed(0)
    net = VisionExtractor(VOLUMES, attention=attention).eval()
    kinds = {key: (trunk.dims, trunk.in_channels) for key, trunk in net.backbones.items()}
    assert kinds == {"cube": (3, 3), "near": (2, 3)}
    seen: list[torch.Tensor] = []
    net.backbones["cube"].stages.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    batch = {key: torch.as_tensor(VOLUMES[key].sample())[None].float() for key in VOLUMES}
    assert net(batch).shape == (1, 256)
    both = torch.cat([batch["cube"], batch["other"]], 1)
    torch.testing.assert_close(seen[0], net.backbones["cube"].normalize(both / 255))
    if attention in ("soft", "hard"):
        assert net.attention_maps["cube"].ndim == 4


@pytest.mark.parametrize("algo", ALGOS)
def test_agents_learn_from_volumes(algo: str) -> None:
    cls, kwargs = ALGOS[algo]
    policy = {"features_extractor_class": VisionExtractor, "features_extractor_kwargs": {"features_dim": 16}}
    kwargs = {**kwargs, "batch_size": 8}
    model = cls("MultiInputPolicy", VolumeEnv(), policy_kwargs=policy, device="cpu", seed=0, **kwargs)
    before = trunk_state(model)[0]
    model.learn(32)
    assert not same(before, trunk_state(model)[0])


@pytest.mark.parametrize("frozen", [True, False])
def test_an_own_module_reads_volumes(frozen: bool) -> None:
    own = nn.Sequential(nn.Conv3d(3, 5, 3, 2), nn.ReLU())
    space = spaces.Dict({key: VOLUMES[key] for key in ("cube", "other")})
    net = VisionExtractor(space, backbone=own, features_dim=7, frozen=frozen)
    volumes = {key: torch.as_tensor(space[key].sample())[None].float() for key in space}
    wanted = own(torch.cat([volumes["cube"], volumes["other"]], 1) / 255).mean((2, 3, 4))
    torch.testing.assert_close(net.encode("cube", torch.cat([volumes["cube"], volumes["other"]], 1)), wanted)
    assert all(p.requires_grad != frozen for p in net.backbones.parameters())
    assert net(volumes).shape == (1, 7)


@pytest.mark.parametrize(("options", "words"), [
    ({"attention": "sharp"}, "attention must be one of 'none'"),
    ({"stn": True}, "stn must be False where the observation holds volumes, got 'cube'"),
    ({"attention": "soft", "backbone": nn.Sequential(nn.Flatten(), nn.LazyLinear(4))}, "more than one place"),
])  # fmt: skip
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], words: str) -> None:
    space = VOLUMES if "stn" in options else spaces.Dict({"a": VOLUMES["near"]})
    with pytest.raises(ValueError, match=words):
        VisionExtractor(space, **options)
