"""The supervised row: what it learns from, where it goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from visionrl.agents import compare
from visionrl.core import batch, make_task
from visionrl.supervised.regression import draw, fit_regression, move_to, regression_policy

FLAT, DEEP = "visionrl/LandmarkLocalization-v0", "visionrl/LandmarkLocalization3D-v0"


@pytest.mark.parametrize("env_id", [FLAT, DEEP])
def test_it_learns_the_way_in_steps_of_the_stage(env_id: str) -> None:
    task: Any = make_task(env_id, target="heart")
    state, way = draw(task, np.random.default_rng(0), 300)
    steps = np.array(task.step_sizes)[state.stage][:, None]
    np.testing.assert_allclose(state.position + way * steps, state.landmark)
    assert set(state.stage.tolist()) == {0, 1, 2} and (state.position == np.rint(state.position)).all()
    far = [np.abs(state.position - state.landmark)[state.stage == k].mean() for k in range(3)]
    assert far[0] > 1.5 * far[1] > 1.5 * far[2] and 1.5 < far[2] < 3.5


@pytest.mark.parametrize("env_id", [FLAT, DEEP])
def test_one_that_knows_the_way_arrives(env_id: str) -> None:
    task: Any = make_task(env_id, target="heart")
    state = batch.stack([task.sample(np.random.default_rng(0), 3)])
    asked = []

    def net(seen: dict[str, np.ndarray]) -> torch.Tensor:
        asked.append(int(seen["stage"][0].argmax()))
        at = (seen["position"] + 1) / 2 * (state.high)
        return torch.as_tensor(0.8 * (state.landmark - at) / task.step_sizes[asked[-1]])

    end = regression_policy(net)(task, state)  # type: ignore[arg-type]
    assert asked == [0, 0, 1, 1, 2, 2] and end.finished[0]
    assert np.linalg.norm(end.position - state.landmark) < 1


def test_places_outside_are_brought_inside() -> None:
    task: Any = make_task(DEEP, target="heart")
    state = batch.stack([task.sample(np.random.default_rng(0), 0)])
    moved = move_to(state, state.position + 1000, state.stage)
    np.testing.assert_array_equal(moved.position, state.high)
    np.testing.assert_array_equal(moved.trail[:, -1], state.high)


@pytest.mark.slow
def test_it_learns_and_is_a_row() -> None:
    given: dict[str, Any] = {"target": "heart", "window": 24, "scales": (4,), "step_sizes": (4,)}
    losses: list[float] = []
    run = fit_regression(make_task(FLAT, **given), 120, on_update=lambda done, loss: losses.append(loss))
    table = compare(FLAT, methods={"regression": run}, split="val", episodes=8, env_kwargs=given)
    rows = {row.name: row.metrics["distance_px"].value for row in table.rows}
    assert len(losses) == 120 and np.mean(losses[-20:]) < 0.7 * np.mean(losses[:20])
    assert rows["regression"] < 0.5 * rows["random"]
