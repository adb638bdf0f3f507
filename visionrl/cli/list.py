"""``visionrl list``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from visionrl.core import TASKS, Task


@dataclass(frozen=True, kw_only=True)
class List:
    """The tasks there are, or the trained agents that come with the library."""

    agents: bool = False
    """List the agents."""

    def run(self) -> None:
        """Print the tasks or the agents."""
        from rich.console import Console

        Console().print(agents() if self.agents else tasks())


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


def summary(task: type[Task]) -> str:
    """The first line of what a task says about itself."""
    return (task.__doc__ or "").strip().splitlines()[0]
