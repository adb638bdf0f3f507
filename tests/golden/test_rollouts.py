"""Recorded roll-outs stay as they were: every quantity of every task, preset and backend; see ``rollouts.py``.

Digests differ between CPUs, so numbers are compared, to the sixth digit. Where a task's rules change on purpose, record
anew with ``python tests/golden/rollouts.py --write --only TASK``.
"""

from __future__ import annotations

import json

import pytest
import rollouts

HELD = json.loads(rollouts.FILE.read_text())
CASES = {rollouts.name_of(*case): case for case in rollouts.cases()}
FAST = (
    "LandmarkLocalization-v0",
    "LandmarkLocalization3D-v0",
    "GlimpseClassification-v0",
    "Registration2D-v0",
)


def mark(name: str) -> object:
    fast = name.startswith(FAST) and name.split()[1] == "-"
    return pytest.param(name, id=name.replace(" ", "_"), marks=[] if fast else pytest.mark.slow)


def test_every_task_preset_and_backend_is_recorded() -> None:
    assert sorted(HELD) == sorted(CASES)


@pytest.mark.parametrize("name", [mark(name) for name in CASES])
def test_a_rollout_is_as_it_was(name: str) -> None:
    found = rollouts.rollout(*CASES[name])
    assert sorted(found) == sorted(HELD[name]), "names of quantities changed"
    for key, (number, _) in found.items():
        assert number == pytest.approx(HELD[name][key][0], rel=1e-6, abs=1e-9), key
