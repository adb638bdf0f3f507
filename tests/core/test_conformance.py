"""Every registered task keeps every rule; the tests of one task follow each other, and share what they record."""

from __future__ import annotations

import pytest

from visionrl.core import TASKS
from visionrl.core.conformance import CHECKS
from visionrl.core.conformance.processes import check_new_process

LIGHT = (
    "GlimpseClassification-v0",
    "LandmarkLocalization-v0",
    "Registration2D-v0",
)  # these run in `make check`
OF_A_PRESET = ("array_api", "observations", "expert")


def slow_unless(quick: bool) -> list[pytest.MarkDecorator]:
    return [] if quick else [pytest.mark.slow]


def rules() -> list[object]:
    """A parameter for each id and rule but ``new_process``, which has a test of its own for all ids at once."""
    found = []
    for task_id in sorted(TASKS):
        name = task_id.removeprefix("visionrl/")
        for rule in CHECKS:
            if rule != "new_process":
                marks = slow_unless(name in LIGHT or rule == "docstring")
                found.append(pytest.param(task_id, rule, id=f"{name}-{rule}", marks=marks))
    return found


@pytest.mark.parametrize(("task_id", "rule"), rules())
def test_task(task_id: str, rule: str) -> None:
    CHECKS[rule](task_id)


@pytest.mark.slow
@pytest.mark.parametrize("rule", OF_A_PRESET)
@pytest.mark.parametrize(
    ("task_id", "preset"),
    [(name, preset) for name, entry in sorted(TASKS.items()) for preset in entry.presets],
)
def test_preset(task_id: str, preset: str, rule: str) -> None:
    CHECKS[rule](task_id, preset=preset)


@pytest.mark.slow
def test_another_hash_seed_and_more_threads_change_nothing() -> None:
    check_new_process(*sorted(TASKS))
