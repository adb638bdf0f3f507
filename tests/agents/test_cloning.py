"""Behaviour cloning: the policy comes to act like the expert, with every algorithm."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecNormalize, VecTransposeImage

from visionrl.agents import TrainConfig, clone, make_vec_env
from visionrl.agents.imitation.cloning import Memory
from visionrl.agents.imitation.targets import (
    expert_actions,
    imitation_targets,
    mixed_actions,
    pays_task_rewards,
)
from visionrl.agents.imitation.values import state_values
from visionrl.agents.training.config import resolve
from visionrl.agents.training.models import build_model

LANDMARK, GLIMPSE = "visionrl/LandmarkLocalization-v0", "visionrl/GlimpseClassification-v0"


def model_of(algo: Any, env: str, rows: int = 8, **kwargs: Any) -> Any:
    """An untrained model."""
    sizes = ("buffer_size=100",) if algo not in ("ppo", "a2c") else ()
    config = resolve(
        TrainConfig(
            env=env, algo=algo, device="cpu", num_envs=rows, recipe="none", algo_args=(*sizes, "gamma=0.5")
        )
    )
    return build_model(config, make_vec_env(env, rows, **kwargs))


def walk(env: Any, steps: int = 30) -> Any:
    """Observations and the expert's actions along its path, from new episodes."""
    obs = env.reset()
    for _ in range(steps):
        wanted = expert_actions(env)
        yield obs, wanted
        obs = env.step(wanted)[0]


def agreement(model: Any) -> float:
    """How often the best action earns no less at once than the expert's."""
    task = model.get_env().unwrapped.venv.task
    found = []
    for obs, wanted in walk(model.get_env()):
        state = model.get_env().unwrapped.venv.state
        own = model.predict(obs, deterministic=True)[0]
        earned, best = (task.reward(state, action, task.step(state, action)) for action in (own, wanted))
        found.append(earned >= best)
    return float(np.mean(found))


def error(model: Any) -> float:
    """Root mean square of the difference to the expert's actions."""
    gaps = [model.predict(obs, deterministic=True)[0] - wanted for obs, wanted in walk(model.get_env())]
    return float(np.sqrt(np.mean(np.square(gaps))))


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["dqn", "ddqn", "qrdqn", "ppo", "a2c"])
def test_numbered_actions(algo: str) -> None:
    """Where what is sought is always the same, the position says roughly what to do."""
    model = model_of(algo, LANDMARK, window=12, target="heart", step_sizes=(4,), scales=(4,))
    model.lr_schedule = lambda left: 1e-3
    before = agreement(model)
    clone(model, 1600)
    assert before < 0.5 and agreement(model) > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["ppo", "a2c", "sac", "td3"])
def test_actions_in_a_box(algo: str) -> None:
    model = model_of(algo, GLIMPSE, control="continuous", retina=8)
    model.lr_schedule = lambda left: 1e-3
    spread = [p.clone() for name, p in model.policy.named_parameters() if "log_std" in name and p.ndim == 1]
    before = error(model)
    clone(model, 1600)
    assert error(model) < 0.8 * before
    after = [p for name, p in model.policy.named_parameters() if "log_std" in name and p.ndim == 1]
    assert all(map(torch.equal, spread, after))


@pytest.mark.parametrize(("algo", "net"), [("dqn", "q_net"), ("qrdqn", "quantile_net"), ("td3", "actor")])
def test_targets_follow(algo: str, net: str) -> None:
    kwargs: dict[str, Any] = {"control": "continuous"} if algo == "td3" else {}
    model = model_of(algo, GLIMPSE, **kwargs)
    before = {key: value.clone() for key, value in getattr(model.policy, net).state_dict().items()}
    clone(model, 64)
    now, target = getattr(model.policy, net).state_dict(), getattr(model.policy, f"{net}_target").state_dict()
    assert all(torch.equal(now[key], target[key]) for key in now)
    assert not all(torch.equal(now[key], before[key]) for key in now)


@pytest.mark.parametrize("algo", ["dqn", "ppo"])
def test_what_there_is_to_learn(algo: str) -> None:
    """The expert's action is best among the values; a critic learns its worth; otherwise only the action."""
    model = model_of(algo, LANDMARK, window=12)
    env = model.get_env()
    env.reset()
    wanted = expert_actions(env)
    found = imitation_targets(model, wanted)
    if algo == "dqn":
        assert found.shape == (8, env.action_space.n)
        np.testing.assert_allclose(found[np.arange(8), wanted], found.max(1), atol=0.05)
    else:
        np.testing.assert_array_equal(found[:, 0], wanted)
        np.testing.assert_allclose(
            found[:, 1], state_values(env.unwrapped.venv.task, env.unwrapped.venv.state, 0.5)
        )
    np.testing.assert_array_equal(imitation_targets(model, wanted, try_actions=False), wanted[:, None])
    clone(model, 16, try_actions=False)


@pytest.mark.parametrize(("algo", "name"), [("dqn", "action_gains"), ("ppo", "action_weights")])
def test_without_returns_all_tools_are_learnt_from_where_the_task_knows_them(algo: str, name: str) -> None:
    """Values learn what each tool gains at once, actors the weights of all; the expert is asked once a state."""
    model = model_of(algo, "visionrl/Restoration-v0", patch_side=32)
    env = model.get_env()
    env.reset()
    venv = env.unwrapped.venv
    right = getattr(venv.task, name)(venv.state)
    wanted = expert_actions(env)
    np.testing.assert_array_equal(right.argmax(axis=1), wanted)
    found = imitation_targets(model, wanted, try_actions=False)
    np.testing.assert_allclose(found if algo == "dqn" else found[:, 1:], right, rtol=1e-5, atol=1e-6)
    asked = []
    plain = venv.task.action_gains
    venv.task.action_gains = lambda state: asked.append(len(state.image)) or plain(state)
    clone(model, 16, try_actions=False)
    assert asked == [8, 8]


@pytest.mark.slow
def test_a_critic_learns_what_states_are_worth() -> None:
    model = model_of("ppo", LANDMARK, window=12, target="heart", step_sizes=(4,), scales=(4,))
    model.lr_schedule = lambda left: 1e-3

    def miss() -> float:
        gaps = []
        for obs, _ in walk(model.get_env()):
            task, state = model.get_env().unwrapped.venv.task, model.get_env().unwrapped.venv.state
            worth = model.policy.predict_values(model.policy.obs_to_tensor(obs)[0])[:, 0].detach().numpy()
            gaps.append(worth - state_values(task, state, model.gamma))
        return float(np.sqrt(np.mean(np.square(gaps))))

    before = miss()
    clone(model, 1600)
    assert miss() < 0.7 * before


def test_a_frozen_backbone_stays_and_the_optimizer_is_new() -> None:
    config = resolve(
        TrainConfig(env=LANDMARK, device="cpu", num_envs=4, frozen=True, algo_args=("buffer_size=10",))
    )
    model: Any = build_model(config, make_vec_env(LANDMARK, 4, window=16))
    trunk = model.q_net.features_extractor.backbones
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    clone(model, 64)
    assert all(torch.equal(value, before[key]) for key, value in trunk.state_dict().items())
    assert not model.policy.optimizer.state_dict()["state"]


def note(seen: list[tuple[int, float]], done: int, loss: float) -> None:
    """Keep what ``on_step`` is told."""
    seen.append((done, loss))


def test_the_same_seed_gives_the_same_clone() -> None:
    found = []
    for _ in range(2):
        model = model_of("dqn", LANDMARK, window=16)
        seen: list[tuple[int, float]] = []
        clone(model, 100, on_step=partial(note, seen))
        found.append((seen, [p.clone() for p in model.policy.parameters()]))
    assert [done for done, _ in found[0][0]][-2:] == [96, 100]
    assert found[0][0] == found[1][0]
    assert all(map(torch.equal, found[0][1], found[1][1]))


def test_who_acts() -> None:
    """Of many rows the given shares act by policy and by chance."""
    model = model_of("dqn", LANDMARK, rows=200, window=12)
    env = model.get_env()
    obs, rng = env.reset(), np.random.default_rng(0)
    wanted = expert_actions(env)
    own = model.predict(obs, deterministic=True)[0]
    np.testing.assert_array_equal(mixed_actions(model, obs, wanted, (0.0, 0.0), rng), wanted)
    np.testing.assert_array_equal(mixed_actions(model, obs, wanted, (1.0, 0.0), rng), own)
    differ = own != wanted
    half = mixed_actions(model, obs, wanted, (0.5, 0.0), rng)[differ] == own[differ]
    assert 0.3 < half.mean() < 0.7
    chance = mixed_actions(model, obs, wanted, (0.0, 1.0), rng)
    assert (np.bincount(chance, minlength=4) > 20).all()


def test_the_oldest_states_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_vec_env(LANDMARK, 2, window=12, seed=0)
    each = sum(box.dtype.itemsize * int(np.prod(box.shape)) for box in env.observation_space.spaces.values())
    monkeypatch.setattr("visionrl.agents.imitation.cloning.MEMORY_BYTES", 4 * each)
    memory, obs = Memory(env, 100), env.reset()
    for number in range(3):
        memory.add(obs, np.full(2, number))
    assert sorted(memory.wanted.tolist()) == [1, 1, 2, 2]
    seen, wanted = memory.draw(np.random.default_rng(0))
    assert len(wanted) == 128 and set(wanted.tolist()) == {1, 2}
    assert {key: value.dtype for key, value in seen.items()} == {key: obs[key].dtype for key in obs}


def test_bad_numbers() -> None:
    model = model_of("ppo", LANDMARK, rows=1, window=12)
    for kwargs in ({"steps": 0}, {"steps": 10, "chance": 2.0}):
        with pytest.raises(ValueError, match="steps must be >= 1 and chance in"):
            clone(model, **kwargs)


def test_wrappers_that_change_rewards_leave_the_action_alone() -> None:
    env = make_vec_env(LANDMARK, 2, window=12)
    assert (
        pays_task_rewards(env)
        and pays_task_rewards(VecTransposeImage(env, skip=True))
        and not pays_task_rewards(VecNormalize(env, norm_obs=False))
    )
