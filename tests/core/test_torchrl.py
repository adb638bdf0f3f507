"""Other libraries make the environments by id, with keywords of their own."""

from __future__ import annotations

import gymnasium as gym
import pytest

from visionrl.core import TASKS

ID = "visionrl/LandmarkLocalization-v0"


@pytest.mark.parametrize("task_id", sorted(TASKS))
@pytest.mark.parametrize("make", [gym.make, gym.make_vec], ids=["make", "make_vec"])
def test_an_unknown_keyword_is_a_type_error_in_pythons_words(task_id, make):
    """TorchRL's ``GymEnv`` passes ``frameskip`` to every environment, and takes it back where it reads these words."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'frameskip'"):
        make(task_id, frameskip=1)


def test_torchrl_makes_the_environments():
    envs = pytest.importorskip("torchrl.envs")
    from torchrl.envs.utils import check_env_specs

    env = envs.GymEnv(ID, window=16)
    check_env_specs(env)
    assert env.observation_spec["window"].shape == (3, 16, 16)
    assert env.rollout(5)["next", "reward"].shape == (5, 1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'nope'"):
        envs.GymEnv(ID, nope=1)
