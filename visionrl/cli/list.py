"""``visionrl list``."""

from __future__ import annotations

from dataclasses import dataclass

from visionrl.core import TASKS, Task


@dataclass(frozen=True)
class List:
    """The tasks there are."""

    def run(self) -> None:
        """Print the tasks."""
        from rich.console import Console
        from rich.table import Table

        table = Table("task", "tags", "presets")
        for task_id, entry in sorted(TASKS.items()):
            words = ("\n".join(entry.tags), "\n".join(entry.presets))
            table.add_row(f"[bold]{task_id}[/bold]\n{summary(entry.task)}", *words, end_section=True)
        Console().print(table)


def summary(task: type[Task]) -> str:
    """The first line of what a task says about itself."""
    return (task.__doc__ or "").strip().splitlines()[0]
