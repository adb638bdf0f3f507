"""Policies whose actions are places: what a place sees, what is left over, and what cloning learns of all of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO

from visionrl.agents import TrainConfig, train
from visionrl.agents.imitation import cloning, targets
from visionrl.agents.networks.model_io import copy_policy
from visionrl.agents.policies.action_map import MapExtractor, MapPolicy, MaskableMapPolicy, maps_of
from visionrl.agents.sb3.vec_env import make_vec_env
from visionrl.agents.training.saving import load_model
from visionrl.core import make_task
from visionrl.core.testing import start

ID = "visionrl/Segmentation-v0"
SMALL: dict[str, Any] = {"size": 32, "grid": 8, "seeds": 3, "split": "val"}
EXTRACTOR = {"features_extractor_kwargs": {"backbone": "hourglass", "features_dim": 16}}


def model_of(algo: Any = PPO, policy: Any = MapPolicy, **more: Any) -> Any:
    env = make_vec_env(ID, 4, **SMALL, **more)
    kwargs = {"action_maps": 2, **EXTRACTOR}
    return algo(policy, env, policy_kwargs=kwargs, n_steps=4, batch_size=8, n_epochs=1, device="cpu", seed=0)


def test_the_side_of_the_maps_follows_from_the_number_of_actions() -> None:
    assert maps_of(800, 2) == (20, 0) and maps_of(801, 2) == (20, 1) and maps_of(785, 1) == (28, 1)
    with pytest.raises(ValueError, match="action_maps must be at most a quarter of the actions, 9, got 5"):
        maps_of(9, 5)


@pytest.mark.parametrize(("algo", "policy"), [(PPO, MapPolicy), (MaskablePPO, MaskableMapPolicy)])
@pytest.mark.parametrize("stop", [False, True])
def test_they_act_and_learn_with_places_alone_and_with_a_stop(algo: Any, policy: Any, stop: bool) -> None:
    model = model_of(algo, policy, stop=stop)
    before = {key: value.clone() for key, value in model.policy.state_dict().items()}
    model.learn(32)
    after = model.policy.state_dict()
    assert any("action_net.last" in key and not torch.equal(before[key], after[key]) for key in before)
    acts = model.policy.predict(model.get_env().reset())[0]
    assert acts.shape == (4,) and (acts < 128 + stop).all()


def test_a_clone_of_places_learns_from_smaller_batches_than_others() -> None:
    plain = SimpleNamespace(policy=SimpleNamespace(), action_space=spaces.Discrete(9))
    assert targets.batch_size(model_of()) < targets.batch_size(plain) == targets.BATCH


def test_a_logit_depends_on_what_is_seen_at_its_place() -> None:
    model = model_of()
    seen = model.policy.obs_to_tensor(model.get_env().reset())[0]
    changed = {key: value.clone() for key, value in seen.items()}
    changed["image"][:, :, :4, :4] = 255 - changed["image"][:, :, :4, :4]
    with torch.no_grad():
        first, second = (model.policy.get_distribution(x).distribution.logits for x in (seen, changed))
    gap = (first - second).abs().view(4, 2, 8, 8)
    assert gap[:, :, :2, :2].mean() > 1.5 * gap[:, :, 4:, 4:].mean()


def test_images_of_several_sizes_and_other_actions_are_refused() -> None:
    image = {key: spaces.Box(0, 255, (3, side, side), np.uint8) for key, side in (("a", 32), ("b", 40))}
    with pytest.raises(ValueError, match="observation_space must hold images of one size alone"):
        MapExtractor(spaces.Dict(image))
    with pytest.raises(ValueError, match="action_maps must be left out for actions in Box"):
        MapPolicy(spaces.Dict({"a": image["a"]}), spaces.Box(-1, 1, (2,)), lambda left: 1e-3, action_maps=1)


def test_cloning_learns_the_weights_of_all_actions() -> None:
    env = make_vec_env(ID, 4, **SMALL)
    env.reset()
    task, state = env.unwrapped.venv.task, env.unwrapped.venv.state
    weights = task.action_weights(state)
    assert weights.shape == (4, 128) and (weights.argmax(axis=1) == task.expert(state)).all()
    allowed = task.action_mask(state)
    assert not weights[~allowed].any()
    model = model_of(MaskablePPO, MaskableMapPolicy)
    model.get_env().reset()
    found = targets.imitation_targets(model, targets.expert_actions(model.get_env()), try_actions=False)
    assert found.shape == (4, 1 + 128 + 128)
    losses: list[float] = []
    cloning.clone(model, 256, rate=1e-2, try_actions=False, on_step=lambda done, loss: losses.append(loss))
    assert np.mean(losses[-8:]) < losses[0] - 0.3
    copied = copy_policy(model.policy).state_dict()  # as a divergence from the clone needs it
    assert all(torch.equal(copied[key], value) for key, value in model.policy.state_dict().items())


def test_weights_that_are_one_action_are_its_likelihood() -> None:
    logits = torch.randn(5, 7).log_softmax(1)
    distribution = SimpleNamespace(distribution=SimpleNamespace(logits=logits))
    wanted = torch.tensor([0, 3, 6, 2, 2])
    alone = torch.nn.functional.one_hot(wanted, 7) * 4.0
    found = targets.weighed_log_prob(distribution, alone)
    assert torch.allclose(found, logits[torch.arange(5), wanted])


def test_weights_stop_where_nothing_is_wrong() -> None:
    task = make_task(ID, **SMALL, stop=True)
    state = start(task, rows=2)
    perfect = type(state)(**{**vars(state), "mask": task.bank.truth.array[state.image]})
    weights = task.action_weights(perfect)
    assert (weights.argmax(axis=1) == 128).all() and (weights.sum(axis=1) == 1).all()


def config(out: Path, **more: Any) -> TrainConfig:
    env = ("size=32", "grid=8", "seeds=3")
    sizes: dict[str, Any] = {"num_envs": 4, "timesteps": 32, "clone_steps": 32, "eval_every": 32}
    algo = ("n_steps=4", "batch_size=8", "n_epochs=1")
    sizes |= {"eval_episodes": 2, "test_episodes": 2, "env_args": env, "algo_args": algo}
    return TrainConfig(env=ID, device="cpu", out=str(out), **{**sizes, **more})


def test_the_recipe_trains_and_its_run_can_be_loaded(tmp_path: Path) -> None:
    run = train(config(tmp_path))
    model, _ = load_model(run, "cpu")
    assert isinstance(model.policy, MaskableMapPolicy)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"algo_args": ("net_arch=[8]",)}, "net_arch must be left out with action_maps"),
        ({"memory": "gru"}, "memory must be left out with action_maps of the recipe"),
        ({"tiles": 2}, "tiles must be left out with action_maps"),
        ({"attention": "soft"}, "attention must be left out with action_maps"),
        ({"stn": True}, "stn must be left out with action_maps"),
        (
            {"algo": "dqn", "recipe": "none", "algo_args": ("action_maps=2",)},
            "algo_args must be arguments of DQN",
        ),
        ({"algo_args": ("action_maps=0",)}, "action_maps must be"),
    ],
)
def test_tools_that_do_not_fit_maps_are_refused(tmp_path: Path, more: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(config(tmp_path, **more))
