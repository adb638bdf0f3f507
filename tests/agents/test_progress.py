"""Progress is a line that changes on a terminal, and plain lines elsewhere."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from visionrl.agents.evaluation.compare import compare
from visionrl.agents.evaluation.progress import doing


@pytest.mark.slow
def test_without_a_terminal_every_row_is_a_line() -> None:
    written = StringIO()
    task = {"window": 16, "scales": [1], "step_sizes": [8], "max_episode_steps": 3}
    with doing(Console(file=written, width=20)) as say:
        table = compare("visionrl/LandmarkLocalization-v0", episodes=1, env_kwargs=task, say=say)
    lines = written.getvalue().splitlines()
    for row in table.rows:
        assert f"evaluating: {row.name}" in lines, "none is broken at the width"
    assert not any("loading" in line for line in lines)


def test_on_a_terminal_there_are_no_lines() -> None:
    written = StringIO()
    with doing(Console(file=written, force_terminal=True)) as say:
        say("random")
    assert "evaluating:" not in written.getvalue()
