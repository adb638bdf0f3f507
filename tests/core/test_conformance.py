"""Every registered task keeps to every rule."""

import pytest

from visionrl.core import TASKS
from visionrl.core.conformance import CHECKS


@pytest.mark.parametrize("rule", CHECKS)
@pytest.mark.parametrize("task_id", sorted(TASKS))
def test_task(task_id, rule):
    CHECKS[rule](task_id)


@pytest.mark.parametrize(
    ("task_id", "preset"),
    [(name, preset) for name, entry in sorted(TASKS.items()) for preset in entry.presets],
)
def test_preset(task_id, preset):
    for rule in ("spec", "gymnasium", "array_api", "observations", "expert"):
        CHECKS[rule](task_id, preset=preset)
