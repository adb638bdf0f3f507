"""``visionrl list``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from visionrl.core import TASKS


@dataclass(frozen=True, kw_only=True)
class List:
    """The tasks there are, or the models, or the trained agents that come with the library."""

    agents: bool = False
    """List the agents."""
    models: bool = False
    """List the models, and which of them come trained."""

    def run(self) -> None:
        """Print the tasks, the models or the agents.

        Raises:
            ValueError: both models and agents are asked for.
        """
        from rich.console import Console

        if self.agents and self.models:
            raise ValueError("agents and models must be listed one at a time, got both")
        Console().print(agents() if self.agents else models() if self.models else tasks())


def tasks() -> Any:
    """The table of the tasks."""
    from rich.table import Table

    table = Table("task", "tags", "presets")
    for task_id, entry in sorted(TASKS.items()):
        words = ("\n".join(entry.tags), "\n".join(entry.presets))
        table.add_row(f"[bold]{task_id}[/bold]\n{summary(entry.task)}", *words, end_section=True)
    return table


def agents() -> Any:
    """The table of the agents that come with the library."""
    from rich.markup import escape
    from rich.table import Table

    from visionrl.agents.shipped import shipped_agents

    table = Table("agent", "MB", caption="visionrl predict AGENT FILES --out FOLDER")
    for one in shipped_agents():
        about = f"[bold]{escape(one.name)}[/bold]  {escape(one.env)}\n{escape(one.summary)}"
        table.add_row(about, f"{one.size / 1e6:.1f}", end_section=True)
    return table


def models() -> Any:
    """The table of the models, those that come trained first."""
    from rich.markup import escape
    from rich.table import Table

    from visionrl.models import list_models, model_class, shipped_models

    table = Table(
        "model",
        "MB",
        caption="visionrl caption MODEL IMAGES, ask MODEL IMAGE QUESTION, classify MODEL FILES",
    )
    for one in shipped_models():
        about = f"[bold]{escape(one.name)}[/bold]  trained {escape(one.model)}\n{escape(one.summary)}"
        table.add_row(about, f"{one.size / 1e6:.1f}", end_section=True)
    for name in list_models():
        table.add_row(f"[bold]{name}[/bold]\n{escape(summary(model_class(name)))}", "", end_section=True)
    return table


def summary(task: type) -> str:
    """The first line of what a task or a model says about itself."""
    return (task.__doc__ or "").strip().splitlines()[0]
