"""The card of an agent: what it does, the data it learnt from, command, seed, figures, limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from visionrl.agents.training.config import TrainConfig
from visionrl.core import entry_of

NO_LIMITS = ("Nothing is known about data that differ from those it learnt from.",)
STATED = ("python", "visionrl", "torch", "stable-baselines3")  # versions


def card(
    name: str,
    about: Mapping[str, Any],
    metrics: Mapping[str, Any] | None,
    summary: str,
    limits: Sequence[str] = NO_LIMITS,
) -> str:
    """The card of an agent, as Markdown.

    Args:
        name: of the agent.
        about: the run's ``config.json``.
        metrics: its ``metrics.json``; None where there is none.
        summary: what the agent does, a sentence.
        limits: what it cannot do, a sentence each.
    """
    config = TrainConfig.from_dict(about["config"])
    task = entry_of(config.env)
    own = task.task.embedded
    data = config.data or (f"the embedded set `{own}`" if own else "the task's own embedded set")
    versions = ", ".join(f"{key} {about['versions'][key]}" for key in STATED if key in about["versions"])
    blocks = [
        f"# {name}",
        summary,
        f"```\nvisionrl predict {name} FILES --out FOLDER\n```",
        f"* Task: `{task.id}`\n* Data: the training split of {data}\n* Seed: {config.seed}; {versions}",
        f"```\n{about['command']}\n```",
        "## Figures",
        figures(metrics) if metrics else "None were kept.",
        "## Limits",
        "\n".join(f"* {limit}" for limit in limits),
    ]
    return "\n\n".join(blocks) + "\n"


def figures(metrics: Mapping[str, Any]) -> str:
    """The comparison on the test split, one row a method: what it is compared by, its median, and success."""
    test = metrics["test"]
    wanted = (test["primary_metric"], f"median_{test['primary_metric']}", "is_success")
    columns = [name for name in dict.fromkeys(wanted) if any(name in row["metrics"] for row in test["rows"])]
    lines = [["method", *columns, "episodes"], ["---"] * (len(columns) + 2)]
    for row in test["rows"]:
        cells = [estimate(row["metrics"].get(column)) for column in columns]
        lines.append([row["name"], *cells, str(row["episodes"])])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"Test split, mean [95 % interval]:\n\n{table}"


def estimate(found: Mapping[str, Any] | None) -> str:
    """A number and its interval as text; empty for none."""
    if found is None or found["value"] is None:
        return ""
    value, low, high = (
        None if found[key] is None else f"{found[key]:.4g}" for key in ("value", "low", "high")
    )
    return str(value) if low is None or high is None else f"{value} [{low}, {high}]"
