"""Helpers for tests of tasks: states put somewhere, single actions, roll-outs."""

from __future__ import annotations

import numpy as np
import pytest

from visionrl.core import TaskVectorEnv, make_task
from visionrl.core.testing import act, at, roll_out, start

ID = "visionrl/LandmarkLocalization-v0"


@pytest.fixture(scope="module")
def task():
    return make_task(ID, window=16)


def test_a_state_is_put_somewhere_and_the_first_one_stays(task):
    first = start(task, rows=3)
    moved = at(task, first, position=(40.0, 30.0), stage=2)
    assert moved.position.tolist() == [[40.0, 30.0]] * 3 and moved.stage.tolist() == [2, 2, 2]
    assert first.stage.tolist() == [0, 0, 0] and moved.stage.dtype == first.stage.dtype
    assert not np.shares_memory(moved.trail, first.trail)


def test_a_wrong_field_is_named(task):
    with pytest.raises(ValueError, match=r"fields must be of image, .*, got 'place'"):
        at(task, place=(1, 2))
    with pytest.raises(ValueError, match="broadcast"):
        at(task, position=(1, 2, 3))


def test_starts_are_those_of_environments(task):
    env = TaskVectorEnv(3, ID, window=16)
    env.reset(seed=5)
    for name, value in vars(start(task, 5, rows=3)).items():
        np.testing.assert_array_equal(value, getattr(env.state, name))
    assert start(task, item=7).image.tolist() == start(task, 1, item=7).image.tolist()


def test_an_action_is_for_all_rows_or_one_a_row(task):
    state = at(task, start(task, rows=2), position=(40.0, 30.0))
    after, reward, over = act(task, state, 1)
    assert (after.position - state.position).tolist() == [[9.0, 0.0]] * 2
    assert reward.shape == (2,) and not over.any()
    each = act(task, state, [1, 2]).state.position - state.position
    assert each.tolist() == [[9.0, 0.0], [0.0, 9.0]]


def test_a_rollout_is_that_of_the_environment(task):
    env = TaskVectorEnv(4, ID, window=16, max_episode_steps=30)
    env.reset(seed=2)
    for moment in roll_out(task, "expert", 80, seed=2, limit=30):
        np.testing.assert_array_equal(moment.state.position, env.state.position)
        _, reward, terminated, _, _ = env.step(moment.action)
        np.testing.assert_array_equal(moment.reward, reward)
        np.testing.assert_array_equal(moment.terminated, terminated)


def test_policies(task):
    expert, again, chance, own = (
        [moment.action.tolist() for moment in roll_out(task, policy, 6, seed=1)]
        for policy in ("expert", "expert", "chance", lambda task, state: np.zeros(4, int))
    )
    assert expert == again != chance and own == [[0] * 4] * 6
    assert [m.action.tolist() for m in roll_out(ID, "chance", 6, seed=1, window=16)] == chance
