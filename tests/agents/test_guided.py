"""Guided exploration: what is done at random earns something at once."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from sb3_contrib import QRDQN
from stable_baselines3 import DQN, PPO

from visionrl.agents import TrainConfig, VisionExtractor, guided, make_vec_env
from visionrl.agents.imitation.guided import sample_good_actions
from visionrl.agents.training.models import algorithm_of
from visionrl.core.capabilities import rewarded_actions

LANDMARK = "visionrl/LandmarkLocalization-v0"


def small(algorithm: Any, **kwargs: Any) -> Any:
    """A model whose warm-up lasts 60 steps."""
    env = make_vec_env(LANDMARK, 4, window=16, seed=3)
    eyes = {"features_extractor_class": VisionExtractor, "features_extractor_kwargs": {"features_dim": 16}}
    own: dict[str, Any] = {"policy_kwargs": eyes}
    own |= {"learning_starts": 60, "batch_size": 8, "buffer_size": 400, "train_freq": 1, "seed": 0}
    return algorithm("MultiInputPolicy", env, device="cpu", **(own | kwargs))


@pytest.mark.parametrize("algorithm", [DQN, QRDQN])
def test_random_actions_are_good_ones(algorithm: Any) -> None:
    """With nothing but random actions, in the warm-up and after it, and better rewards than without guidance."""
    always = {"exploration_initial_eps": 1.0, "exploration_final_eps": 1.0}
    model, plain = (small(kind, **always) for kind in (guided(algorithm), algorithm))
    task, good = model.get_env().unwrapped.venv.task, []
    ordinary = partial(rewarded_actions, task)

    def kept(state: Any) -> np.ndarray:
        good.append(ordinary(state))
        return good[-1]

    task.good_actions = kept
    model.learn(120)
    plain.learn(120)
    taken = model.replay_buffer.actions[:30, :, :]
    assert np.take_along_axis(np.array(good), taken, axis=2).all() and not np.array(good).all()
    assert model.replay_buffer.rewards[:30].mean() > 0.2 > plain.replay_buffer.rewards[:30].mean()


def test_greedy_actions_stay_greedy() -> None:
    never = {"exploration_initial_eps": 0.0, "exploration_final_eps": 0.0}
    runs = [small(kind, learning_starts=0, **never).learn(120) for kind in (DQN, guided(DQN))]
    np.testing.assert_array_equal(*(run.replay_buffer.actions for run in runs))


def test_good_actions_have_equal_chances() -> None:
    env = make_vec_env(LANDMARK, 2, window=16, seed=1)
    env.reset()
    good = np.array([[True, False, True, False], [False, False, False, False]])
    env.unwrapped.venv.task.good_actions = lambda state: good
    np.random.seed(0)  # noqa: NPY002
    drawn = np.array([sample_good_actions(env) for _ in range(400)])
    counts = np.stack([np.bincount(column, minlength=4) for column in drawn.T])
    assert counts[0, 1] == counts[0, 3] == 0 and counts[0, 0] > 160 and counts[0, 2] > 160
    assert (counts[1] > 60).all()  # none is good: all may be drawn


def test_who_does_not_explore_at_random_is_refused() -> None:
    with pytest.raises(ValueError, match="algorithm must be epsilon-greedy, such as DQN, got PPO"):
        guided(PPO)
    with pytest.raises(ValueError, match="guided must be off for ppo, which explores by its own policy"):
        TrainConfig(algo="ppo", guided=True)
    assert issubclass(algorithm_of(TrainConfig(guided=True)), DQN)
    assert algorithm_of(TrainConfig()) is DQN
