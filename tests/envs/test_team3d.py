"""A team that looks for landmarks in one volume: each agent keeps the rules of a single one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from visionrl.agents.evaluation.compare import evaluate
from visionrl.agents.evaluation.policies import expert_policy
from visionrl.core import BASELINES, batch, make_task
from visionrl.datasets import VolumeSample

ID, ONE = "visionrl/MultiLandmarkLocalization3D-v0", "visionrl/LandmarkLocalization3D-v0"
POINTS = {"a": (30.0, 40.0, 20.0), "b": (10.0, 20.0, 30.0), "c": (40.0, 20.0, 10.0)}
RIGHT, LEFT, UP = 3, 2, 0


def sample(seed=0, **kwargs):
    voxels = np.random.default_rng(seed).integers(1, 256, (1, 50, 70, 60), dtype=np.uint8)
    return VolumeSample(**{"volume": voxels, "spacing_mm": (0.5, 1.0, 2.0), "points": POINTS, **kwargs})


@pytest.fixture
def task():
    return make_task(ID, data=[sample()], target=["c", "a"], window=5)


@pytest.fixture
def state(task):
    return batch.stack([task.sample(np.random.default_rng(0), 0)])


def test_each_agent_does_what_a_single_one_would(task, state):
    """Positions, rewards, windows and stages, over whole episodes by experts and chance."""
    rng = np.random.default_rng(1)
    ones = [make_task(ONE, data=[sample()], target=name, window=5) for name in task.agents]
    for _ in range(60):
        action = np.where(rng.random((1, 2)) < 0.7, task.expert(state), rng.integers(6, size=(1, 2)))
        after = task.step(state, action)
        rewards, seen = task.agent_rewards(state, action, after), task.observe(after)
        for k, one in enumerate(ones):
            single = batch.stack([one.sample(np.random.default_rng(0), 0)])
            moved = ("position", "stage", "trail", "actions", "finished")
            single = replace(single, **{name: getattr(state, name)[:, k] for name in moved})
            if state.finished[0, k]:
                assert rewards[0, k] == 0 and (after.position[0, k] == state.position[0, k]).all()
                continue
            then = one.step(single, action[:, k])
            for name in moved:
                np.testing.assert_array_equal(getattr(after, name)[:, k], getattr(then, name))
            assert rewards[0, k] == one.reward(single, action[:, k], then)[0]
            view = one.observe(then)
            np.testing.assert_array_equal(seen["window"][:, 3 * k : 3 * k + 3], view["window"])
            np.testing.assert_array_equal(seen["history"][:, k], view["history"])
            np.testing.assert_allclose(
                task.metrics(after)[f"{task.agents[k]}_mm"], one.metrics(then)["error_mm"]
            )
        state = after
    assert state.finished.all()


def test_an_agent_stops_by_itself_and_the_others_go_on(task, state):
    state = replace(state, finished=np.array([[True, False]]), position=np.full((1, 2, 3), 20.0))
    action = np.array([[LEFT, LEFT]])
    after = task.step(state, action)
    assert after.position[0, 0].tolist() == [20, 20, 20] and after.position[0, 1].tolist() == [29, 20, 20]
    shares = task.agent_rewards(state, action, after)
    assert shares[0, 0] == 0 != shares[0, 1] and task.reward(state, action, after)[0] == shares.mean()
    assert task.observe(after)["stopped"].tolist() == [[1, 0]]
    assert (
        not task.terminated(after)[0] and task.terminated(replace(after, finished=np.ones((1, 2), bool)))[0]
    )


def test_success_is_that_of_all(task, state):
    there = replace(state, position=state.landmark.copy())
    assert task.metrics(there)["is_success"][0] and task.metrics(there)["worst_mm"][0] == 0
    away = there.landmark + np.array([[[0, 0, 0], [0, 0, 5]]])
    found = task.metrics(replace(state, position=away))
    assert not found["is_success"][0] and found["worst_mm"][0] == 10 and found["error_mm"][0] == 5
    assert found["sdr_2mm"][0] == 0.5 and found["c_mm"][0] == 0 and found["a_mm"][0] == 10


def test_a_number_spreads_agents_over_the_structures_that_all_samples_have():
    fewer = {name: POINTS[name] for name in "ab"}
    task = make_task(ID, data=[sample(), sample(1, points=fewer)], team=2, window=5)
    assert task.agents == ("a", "b") and task.items == 2 and task.resolved_arguments["target"] == ["a", "b"]
    assert make_task(ID, data=[sample()], team=1, window=5).agents == ("b",)
    with pytest.raises(ValueError, match="team must be <= 2, the structures that all samples have, got 3"):
        make_task(ID, data=[sample(), sample(1, points=fewer)], window=5)


def test_samples_that_lack_a_structure_are_left_out():
    few = sample(1, points={"a": POINTS["a"]})
    with pytest.warns(UserWarning, match="1 samples lack a structure"):
        task = make_task(ID, data=[few, sample()], target=["a", "b"], window=5)
    assert task.items == 1 and task.sample(np.random.default_rng(0), 0).image == 1
    with pytest.raises(ValueError, match="data must have samples with all of a, b, got none"):
        make_task(ID, data=[few, sample(2, points={"b": POINTS["b"]})], target=["a", "b"], window=5)


def test_the_mean_position_is_a_row(task, state):
    run = BASELINES[ID]["mean position"].fit(task)
    assert task.metrics(run(task, state))["error_mm"][0] < 1e-9, "one sample is its own mean"


def test_evaluation_tells_each_structures_error():
    found = evaluate(ID, expert_policy, split="val", episodes=4, env_kwargs={"target": ["heart", "trachea"]})
    assert found["heart_mm"].shape == (4,) and found["is_success"].all()
    np.testing.assert_allclose((found["heart_mm"] + found["trachea_mm"]) / 2, found["error_mm"])
    assert len(set(found["item"])) == 4


def test_the_picture_shows_every_agent(task, state):
    one = batch.take(state, 0)
    moved = replace(one, position=np.stack([one.position[0], one.position[1] + 5]))
    assert (task.draw(one) != task.draw(moved)).any()
