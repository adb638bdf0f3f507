"""Pictures of tasks that seek something by name say its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from visionrl.core import make_task
from visionrl.rendering import Canvas


@pytest.mark.parametrize(
    ("task_id", "kwargs", "sought"),
    [
        ("LandmarkLocalization-v0", {}, "point"),
        ("LandmarkLocalization3D-v0", {}, "point"),
        ("MultiLandmarkLocalization3D-v0", {"team": 2}, "point"),
        ("Detection-v0", {}, "category"),
        ("HierarchicalDetection-v0", {}, "category"),
        ("ViewPlane3D-v0", {}, "view"),
    ],
)
def test_what_is_sought_is_named(task_id: str, kwargs: dict, sought: str, monkeypatch: Any) -> None:
    said: list[str] = []
    monkeypatch.setattr(Canvas, "text", lambda self, words, at=None: said.append(words))
    task: Any = make_task(f"visionrl/{task_id}", split="val", **kwargs)
    for item in (0, task.items - 1):
        said.clear()
        state = task.sample(np.random.default_rng(0), item)
        task.draw(state)
        if sought == "view":
            assert said == ["through AC, PC, PMJ"]
        elif sought == "category":
            assert said == [task.names[int(state.category)]]
        else:
            goals = np.atleast_1d(state.goal).tolist()
            assert sorted(set(said)) == sorted({task.names[goal] for goal in goals})
