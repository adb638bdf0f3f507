"""The tables of the page about policies are what the code does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from gymnasium import spaces
from sb3_contrib import MaskablePPO

import visionrl  # noqa: F401  (registers the tasks)
from visionrl.agents.training.algorithms import Algo
from visionrl.agents.training.config import TrainConfig
from visionrl.agents.training.models import ALGORITHMS, FITS
from visionrl.core import TASKS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
KINDS = {"discrete": spaces.Discrete, "several discrete": spaces.MultiDiscrete, "continuous": spaces.Box}
MEMORIES = ("rnn", "lstm", "gru", "attention", "matching")
TOOLS: tuple[dict[str, Any], ...] = (
    {"rerender": True, "clone_steps": 0},
    {"guided": True},
    {"clone_steps": 9},
    {"demo_steps": 9},
)


def accepts(algo: str, **tools: Any) -> bool:
    """Tell if a run may have these tools."""
    try:
        TrainConfig(algo=algo, device="cpu", **tools)  # type: ignore[arg-type]
    except ValueError:
        return False
    return True


def row_of(algo: str) -> str:
    """The row of the page's table for an algorithm."""
    actions = ", ".join(name for name, kind in KINDS.items() if kind in FITS[algo]) or "of each pixel"
    memory = ", ".join(kind for kind in MEMORIES if accepts(algo, memory=kind)) or "-"
    team = spaces.MultiDiscrete in FITS[algo] and accepts(algo, communication="mean")
    flags = [issubclass(ALGORITHMS[algo], MaskablePPO), *(accepts(algo, **tools) for tools in TOOLS), team]
    recall = "T" if accepts(algo, memory="gru", recall=4) else "carried" if memory != "-" else "-"
    marks = " | ".join("yes" if flag else "-" for flag in flags)
    return f"| `{algo}` | {actions} | {memory} | {recall} | {marks} |"


def test_the_page_has_each_algorithm_as_it_is() -> None:
    rows = [
        line for line in PAGE.splitlines() if line.startswith("| `") and line.split("`")[1] in get_args(Algo)
    ]
    assert rows == [row_of(algo) for algo in get_args(Algo)]


def test_the_page_names_the_tasks_that_forbid_actions() -> None:
    masked = [
        name.removeprefix("visionrl/") for name, entry in TASKS.items() if hasattr(entry.task, "action_mask")
    ]
    assert masked
    named = {
        line[2:].strip("`") for line in PAGE.splitlines() if line.startswith("* `") and line.endswith("-v0`")
    }
    assert named == set(masked)
