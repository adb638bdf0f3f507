from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_util import make_vec_env as sb3_make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecTransposeImage

import visionrl
from visionrl.agents import SB3VecEnv, VisionExtractor, make_vec_env

LANDMARK, TRACKING = "visionrl/LandmarkLocalization-v0", "visionrl/Tracking-v0"
SMALL = {"policy_kwargs": {"features_extractor_class": VisionExtractor}, "device": "cpu", "seed": 0}


def mixed_actions(env: SB3VecEnv, rng: np.random.Generator) -> np.ndarray:
    """Half by the expert, half by chance, so that rows end at different times and in both ways."""
    expert = env.venv.task.expert(env.venv.state)
    random = rng.integers(env.action_space.n, size=env.num_envs)
    return np.where(np.arange(env.num_envs) % 2 == 0, expert, random)


def without_time(episode: dict) -> dict:
    return {key: value for key, value in episode.items() if key != "t"}


@pytest.mark.slow
@pytest.mark.parametrize(("env_id", "limit"), [(LANDMARK, 40), (TRACKING, 70)])
def test_rows_are_those_of_dummy_vec_env(env_id: str, limit: int) -> None:
    rows, kwargs = 5, {"window": 32, "max_episode_steps": limit}
    ours = make_vec_env(env_id, rows, seed=7, **kwargs)
    theirs = DummyVecEnv([lambda: Monitor(gym.make(env_id, **kwargs)) for _ in range(rows)])
    theirs.seed(7)
    rng, ended, truncated = np.random.default_rng(0), 0, 0
    obs, expected = ours.reset(), theirs.reset()
    assert ours.reset_infos == theirs.reset_infos
    for _ in range(300):
        for key in expected:
            np.testing.assert_array_equal(obs[key], expected[key])
        actions = mixed_actions(ours, rng)
        obs, rewards, dones, infos = ours.step(actions)
        expected, their_rewards, their_dones, their_infos = theirs.step(actions)
        np.testing.assert_array_equal(rewards, their_rewards)
        np.testing.assert_array_equal(dones, their_dones)
        assert rewards.dtype == their_rewards.dtype and dones.dtype == bool
        for row in np.flatnonzero(dones):
            mine, other = dict(infos[row]), dict(their_infos[row])
            assert without_time(mine.pop("episode")) == without_time(other.pop("episode"))
            last, their_last = mine.pop("terminal_observation"), other.pop("terminal_observation")
            assert all(np.array_equal(last[key], their_last[key]) for key in their_last)
            assert mine == other and "is_success" in mine
            assert ours.reset_infos[row] == theirs.reset_infos[row]
            ended, truncated = ended + 1, truncated + mine["TimeLimit.truncated"]
        assert not any(infos[row] for row in np.flatnonzero(~dones))
    assert ended > 10 and 0 < truncated < ended


def test_the_tasks_time_limit_and_module_prefix() -> None:
    env = make_vec_env(f"visionrl:{LANDMARK}", 2)
    assert env.venv.limit == gym.spec(LANDMARK).max_episode_steps == 200
    assert make_vec_env(TRACKING, 1, window=32).venv.limit == np.inf
    assert isinstance(visionrl.make_vec_env(LANDMARK, 3, preset="ghesu2016"), SB3VecEnv)


def test_seeds_and_options() -> None:
    env = make_vec_env(LANDMARK, 3, seed=5)
    first = env.reset()
    assert not np.array_equal(env.reset()["window"], first["window"])
    assert env.seed(5) == [5, 6, 7]
    env.set_options({"item": 2})
    env.reset()
    assert len(set(env.venv.state.image.tolist())) == 1
    env.seed(5)
    np.testing.assert_array_equal(env.reset()["window"], first["window"])


def test_attributes_and_methods() -> None:
    env = make_vec_env(LANDMARK, 3, seed=0, render_mode="rgb_array")
    env.reset()
    assert env.get_attr("task", [0, 2]) == [env.venv.task] * 2
    assert not env.has_attr("nothing_of_this_name")
    pictures = env.env_method("render", indices=[1])
    np.testing.assert_array_equal(pictures[0], env.venv.render()[1])
    assert env.render().ndim == 3 and len(env.get_images()) == 3
    env.set_attr("note", 4)
    assert env.get_attr("note") == [4, 4, 4]
    with pytest.raises(ValueError, match="indices must be all rows"):
        env.set_attr("note", 5, [0])
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(gym.wrappers.TimeLimit, 1) == [False]
    env.close()


def test_another_autoreset_is_refused() -> None:
    venv = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    with pytest.raises(ValueError, match="SAME_STEP"):
        SB3VecEnv(venv)
    venv.close()


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # buffers of Stable-Baselines3 copy tensors
def test_torch_observations_stay_tensors() -> None:
    ours = make_vec_env(LANDMARK, 3, seed=1, backend="torch", max_episode_steps=20)
    plain = make_vec_env(LANDMARK, 3, seed=1, max_episode_steps=20)
    obs, expected = ours.reset(), plain.reset()
    for _ in range(50):
        assert all(isinstance(value, torch.Tensor) for value in obs.values())
        np.testing.assert_array_equal(obs["window"].numpy(), expected["window"])
        actions = np.asarray(plain.venv.task.expert(plain.venv.state))
        obs, rewards, dones, infos = ours.step(actions)
        expected, their_rewards, their_dones, their_infos = plain.step(actions)
        assert isinstance(rewards, np.ndarray) and rewards.dtype == np.float32
        np.testing.assert_allclose(rewards, their_rewards, atol=1e-6)
        np.testing.assert_array_equal(dones, their_dones)
        assert [set(info) for info in infos] == [set(info) for info in their_infos]
    ours.seed(0)
    assert PPO("MultiInputPolicy", ours, n_steps=8, batch_size=24, **SMALL).learn(48).num_timesteps == 48


def test_more_channels_than_rows_are_not_transposed() -> None:
    env = make_vec_env(LANDMARK, 2, window=8, frames=4)
    assert env.observation_space["window"].shape == (12, 8, 8)
    assert isinstance(env, VecTransposeImage) and isinstance(env.unwrapped, SB3VecEnv)
    model = DQN("MultiInputPolicy", env, buffer_size=100, learning_starts=8, train_freq=1, **SMALL)
    assert model.learn(40).observation_space["window"].shape == (12, 8, 8)
    np.testing.assert_array_equal(
        model._last_obs["window"], env.unwrapped.venv.task.observe(env.venv.venv.state)["window"]
    )


def test_stable_baselines3s_own_makers() -> None:
    env = sb3_make_vec_env(f"visionrl:{LANDMARK}", 2, seed=0)
    assert isinstance(env, DummyVecEnv)
    assert PPO("MultiInputPolicy", env, n_steps=8, batch_size=16, **SMALL).learn(32).num_timesteps == 32
    model = PPO("MultiInputPolicy", make_vec_env(LANDMARK, 2), n_steps=8, batch_size=16, **SMALL)
    assert np.isfinite(evaluate_policy(model, make_vec_env(LANDMARK, 2, seed=0), n_eval_episodes=3)[0])


TOP = """
import visionrl
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv
ENV = "visionrl/LandmarkLocalization-v0"
if __name__ == "__main__":
"""
INSIDE = """
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv
ENV = "visionrl:visionrl/LandmarkLocalization-v0"
if __name__ == "__main__":
"""
BODY = """
    env = make_vec_env(ENV, 2, vec_env_cls=SubprocVecEnv, vec_env_kwargs={"start_method": "forkserver"})
    print(env.reset()["window"].shape)
    print(env.step([0, 1])[1].shape)
    env.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("head", [TOP, INSIDE], ids=["import at the top", "module in the id"])
def test_processes_from_a_script(head: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(head + BODY)
    root = str(Path(visionrl.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["(2, 3, 40, 40)", "(2,)"]


def test_the_plain_policy_of_stable_baselines3_takes_the_default_window() -> None:
    model = PPO(
        "MultiInputPolicy", visionrl.make_vec_env(LANDMARK, 4), n_steps=8, batch_size=16, device="cpu"
    )
    assert model.learn(32).num_timesteps == 32


def test_without_labels_there_are_no_rewards_no_metrics_and_no_expert() -> None:
    args = {"target": ["heart"], "labelled": False, "max_episode_steps": 3, "window": 16}
    env = make_vec_env("visionrl/LandmarkLocalization-v0", 2, seed=0, **args)
    env.reset()
    for _ in range(3):
        _, reward, done, infos = env.step(np.zeros(2, int))
        assert not reward.any()
    assert done.all() and set(infos[0]) == {"episode", "terminal_observation", "TimeLimit.truncated"}
    single = gym.make("visionrl/LandmarkLocalization-v0", **args)
    single.reset(seed=0)
    assert single.step(0)[1] == 0.0 and single.step(0)[4] == {}
    with pytest.raises(ValueError, match="expert needs samples with labels"):
        env.get_attr("task")[0].expert(None)
