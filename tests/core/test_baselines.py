"""Every registered baseline says what it does, in a docstring of its own."""

from __future__ import annotations

import pytest

from visionrl.core import BASELINES, TASKS


@pytest.mark.parametrize("task_id", sorted(BASELINES))
def test_each_baseline_has_a_docstring_of_its_own(task_id: str) -> None:
    assert task_id in TASKS
    for name, row in BASELINES[task_id].items():
        text = getattr(row.fit, "__doc__", None) or ""
        assert text.strip() and not text.startswith("partial("), f"{name} has none"
