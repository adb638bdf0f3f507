"""A task of several agents as PettingZoo's parallel environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from visionrl.core import make_task

pettingzoo = pytest.importorskip("pettingzoo")
ID = "visionrl/MultiLandmarkLocalization3D-v0"
SMALL: dict[str, Any] = {"window": 9}


def make(**kwargs: Any) -> Any:
    from visionrl.core.parallel import ParallelTaskEnv

    return ParallelTaskEnv(ID, **SMALL, **kwargs)


def test_pettingzoos_own_test() -> None:
    from pettingzoo.test import parallel_api_test

    parallel_api_test(make(max_episode_steps=60), num_cycles=200)


def test_seeds() -> None:
    from pettingzoo.test import parallel_seed_test

    parallel_seed_test(make, num_cycles=30)


def test_agents_leave_one_by_one_and_the_rewards_are_their_shares() -> None:
    env = make()
    seen, _ = env.reset(seed=0)
    assert list(seen) == env.possible_agents and seen[env.agents[0]]["window"].shape == (3, 9, 9, 9)
    sizes, total = [], 0.0
    while env.agents:
        before, acting = env.state, list(env.agents)
        wanted = env.task.expert(env.state)[0]
        actions = {agent: int(wanted[env.possible_agents.index(agent)]) for agent in acting}
        seen, rewards, ended, cut, told = env.step(actions)
        whole = env.task.reward(before, wanted[None], env.state)[0]
        assert sum(rewards.values()) / 3 == pytest.approx(whole)
        assert set(seen) == set(rewards) == set(ended) == set(cut) == set(told) == set(acting)
        assert [agent for agent in acting if not ended[agent]] == env.agents and not any(cut.values())
        sizes.append(len(env.agents))
        total += whole
    assert sizes[-1] == 0 and {1, 2} & set(sizes) and total > 0
    assert all(info["is_success"] for info in told.values())


def test_the_time_limit_cuts_all() -> None:
    env = make(max_episode_steps=2)
    env.reset(seed=0)
    acting = dict.fromkeys(env.agents, 0)
    assert not any(env.step(acting)[3].values())
    assert all(env.step(acting)[3].values()) and not env.agents


def test_an_item_and_a_picture() -> None:
    env = make(render_mode="rgb_array")
    env.reset(seed=0, options={"item": 3})
    assert int(env.state.image[0]) == 3 and env.render().dtype == np.uint8


def test_a_single_agent_is_refused() -> None:
    from visionrl.core.parallel import ParallelTaskEnv

    assert make_task("visionrl/LandmarkLocalization3D-v0").agents == ()
    with pytest.raises(ValueError, match="several agents"):
        ParallelTaskEnv("visionrl/LandmarkLocalization3D-v0")
