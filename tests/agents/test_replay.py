"""Replay that keeps states: the same batches, the same agents, less memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import DictReplayBuffer

from visionrl.agents import TrainConfig, VisionExtractor, clone, make_vec_env
from visionrl.agents.imitation.cloning import Memory
from visionrl.agents.imitation.targets import expert_actions
from visionrl.agents.sb3.replay import StateRenderer, StateReplayBuffer, bytes_of
from visionrl.agents.training.config import resolve
from visionrl.agents.training.models import build_model, fit_buffer
from visionrl.core import TASKS, make_task
from visionrl.core.capabilities import pixels_of

CHEST, FLAT = "visionrl/LandmarkLocalization3D-v0", "visionrl/LandmarkLocalization-v0"
ROWS = 4


def half_expert(env: Any, step: int) -> np.ndarray:
    """The expert's actions in turn with actions by chance, so that episodes end."""
    rng = np.random.default_rng(step)
    chance = np.stack([env.action_space.sample() for _ in range(env.num_envs)])
    expert = expert_actions(env)
    by = rng.random(env.num_envs) < 0.7
    return np.where(by.reshape(-1, *[1] * (expert.ndim - 1)), expert, chance)


def both(
    env_id: str, steps: int = 40, recall: int = 1, **kwargs: Any
) -> tuple[DictReplayBuffer, StateReplayBuffer]:
    """A buffer of observations and one of states after the same steps; smaller than the steps, so they wrap."""
    env = make_vec_env(env_id, ROWS, seed=0, recall=recall, **{"max_episode_steps": 30, **kwargs})
    args: Any = (25 * ROWS, env.observation_space, env.action_space, "cpu", ROWS)
    plain, states = DictReplayBuffer(*args), StateReplayBuffer(*args)
    states.watch(env)
    last: Any = env.reset()
    for step in range(steps):
        action = half_expert(env, step)
        obs, reward, done, infos = env.step(action)
        after = {key: value.copy() for key, value in obs.items()}
        for row in np.flatnonzero(done):
            for key in after:
                after[key][row] = infos[row]["terminal_observation"][key]
        for buffer in (plain, states):
            buffer.add(last, after, action, reward, done, infos)
        last = obs
    return plain, states


def assert_same(*batches: Any) -> None:
    """Two batches are equal, bit by bit."""
    for one, other in zip(*batches, strict=True):
        if one is None and other is None:  # discounts, of returns over several steps
            continue
        parts = [(one[key], other[key]) for key in one] if isinstance(one, dict) else [(one, other)]
        for a, b in parts:
            assert a.dtype == b.dtype and torch.equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", sorted(TASKS))
def test_batches_are_the_same_for_every_task(env_id: str) -> None:
    """Each drawn step, also those that end an episode and those after the buffer began anew."""
    if pixels_of(make_task(env_id).action_space):
        pytest.skip("no algorithm that replays takes tasks in which every pixel acts")
    plain, states = both(env_id)
    assert states.full and states.pos == plain.pos and states.dones.any()
    batches = []
    for buffer in (plain, states):
        np.random.seed(3)  # noqa: NPY002 (as SB3 draws)
        batches.append(buffer.sample(64))
    assert_same(*batches)


@pytest.mark.parametrize("steps", [20, 40])
def test_windows_are_rendered_as_they_were_shown(steps: int) -> None:
    """Before and after the buffer began anew, whose oldest two steps lack what was before them and are not drawn."""
    plain, states = both(FLAT, steps, recall=3, window=24, max_episode_steps=9)
    assert states.full == (steps == 40) and states.dones.any() and states.ages.max() > 3
    drawn = (states.pos + np.arange(2, 25)) % 25 if states.full else np.arange(steps)
    batches = []
    for buffer in (plain, states):
        np.random.seed(3)  # noqa: NPY002 (as SB3 draws)
        batches.append(buffer._get_samples(np.tile(drawn, 8)))
    assert_same(*batches)
    assert batches[1].observations["window"].shape == (8 * len(drawn), 3, 3, 24, 24)
    assert {1, 2, 3} == set(batches[1].observations["recalled"].sum(1).int().tolist())
    asked: list[np.ndarray] = []
    states._get_samples = lambda which, env=None: asked.append(which)  # type: ignore[assignment,method-assign,return-value]
    for _ in range(20):
        states.sample(64)
    assert set(np.concatenate(asked)) == set(drawn.tolist())


def test_a_buffer_too_small_for_a_window_is_refused() -> None:
    env = make_vec_env(FLAT, ROWS, recall=5, window=24)
    buffer = StateReplayBuffer(16, env.observation_space, env.action_space, "cpu", ROWS)
    with pytest.raises(ValueError, match="buffer_size must be >= 20, a window of each row, got 16"):
        buffer.watch(env)


def test_the_memory_of_the_cloning_renders_windows() -> None:
    env = make_vec_env(FLAT, ROWS, seed=0, recall=3, window=24, max_episode_steps=8)
    both = [Memory(env, 20 * ROWS, rerender) for rerender in (False, True)]
    obs: Any = env.reset()
    for step in range(31):
        for memory in both:
            memory.add(obs, np.full((ROWS, 1), step, np.float32))
        obs = env.step(half_expert(env, step))[0]
    assert len(both[1].wanted) == 20 * ROWS
    shown, wanted = both[1].draw(np.random.default_rng(0), 400)
    assert set(wanted[:, 0]) == set(range(13, 31))
    for key, value in shown.items():
        kept = {(int(w), x.tobytes()) for w, x in zip(both[0].wanted[:, 0], both[0].seen[key], strict=True)}
        assert {(int(w), x.tobytes()) for w, x in zip(wanted[:, 0], value, strict=True)} <= kept


def test_an_agent_learns_the_same() -> None:
    found = []
    for kind in (DictReplayBuffer, StateReplayBuffer):
        env = make_vec_env(FLAT, ROWS, seed=0, window=24)
        args: dict[str, Any] = {"buffer_size": 200, "learning_starts": 32, "batch_size": 16, "seed": 0}
        policy = {"features_extractor_class": VisionExtractor}
        model = DQN(
            "MultiInputPolicy", env, policy_kwargs=policy, replay_buffer_class=kind, device="cpu", **args
        )
        if isinstance(model.replay_buffer, StateReplayBuffer):
            model.replay_buffer.watch(env)
        model.learn(320)
        found.append(model.policy.state_dict())
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


@pytest.mark.slow
def test_cloning_is_the_same() -> None:
    found = []
    for rerender in (False, True):
        config = resolve(
            TrainConfig(env=FLAT, device="cpu", num_envs=8, recipe="none", algo_args=("buffer_size=8",))
        )
        model: Any = build_model(config, make_vec_env(FLAT, 8, window=24, seed=0))
        clone(model, 400, rerender=rerender)
        found.append(model.policy.state_dict())
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_a_step_in_a_volume_takes_a_hundredth() -> None:
    env = make_vec_env(CHEST, 2, target="heart")
    kept, seen = StateRenderer(env).bytes_per_state, 2 * bytes_of(env.observation_space)
    task = make_task(CHEST, target="heart")
    state = task.sample(np.random.default_rng(0), 0)
    assert kept == sum(np.asarray(value).nbytes for value in vars(state).values()) < seen / 100


def test_the_memory_of_the_cloning_holds_more_states_than_pictures() -> None:
    env = make_vec_env(CHEST, 2, target="heart")
    assert len(Memory(env, 60_000).wanted) < 25_000 < len(Memory(env, 60_000, rerender=True).wanted)


def test_a_config_with_it() -> None:
    config = resolve(
        TrainConfig(env=CHEST, rerender=True, algo_args=("buffer_size=50000",), device="cpu", num_envs=2)
    )
    env = make_vec_env(CHEST, 2, target="heart")
    assert fit_buffer(config, env, given=False).algo_kwargs["buffer_size"] == 50_000
    model: Any = build_model(config, env)
    model.learn(64)
    assert isinstance(model.replay_buffer, StateReplayBuffer) and model.replay_buffer.pos == 32


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cache": True, "frozen": True}, "off with cache"),
        ({"algo": "ppo", "clone_steps": 0}, "off for ppo without clone_steps"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TrainConfig(rerender=True, **changes)


def test_a_buffer_that_watches_nothing_is_refused() -> None:
    env = make_vec_env(FLAT, 2)
    model = DQN("MultiInputPolicy", env, replay_buffer_class=StateReplayBuffer, buffer_size=64, device="cpu")
    with pytest.raises(ValueError, match="must watch an environment"):
        model.learn(8)
