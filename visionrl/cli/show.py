"""``visionrl show``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from visionrl.core import BASELINES, Task, describe_arguments, entry_of, make_task
from visionrl.core.capabilities import name_of
from visionrl.core.registry import Entry


@dataclass(frozen=True)
class Show:
    """A task's rules, arguments, spaces, papers' presets and classical baselines."""

    id: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")]
    """Id of the task, with or without "visionrl/"."""

    def run(self) -> None:
        """Print the task."""
        from rich.console import Console

        entry, console = entry_of(self.id), Console()
        console.print(entry.id, style="bold", highlight=False)
        describe(console, entry.task)
        console.print(argument_table(entry.task))
        task = make_task(entry.id, split="val")
        for key, box in task.observation_space.items():
            console.print(f"observation {key}: {box}", markup=False)
        console.print(f"action: {name_of(task.action_space)}", markup=False)
        limit = entry.max_steps or "none, the rules end an episode"
        console.print(f"time limit: {limit}; runs on {', '.join(task.backends)}")
        for line in (*presets(entry), *baselines(entry)):
            console.print(line, markup=False)


def presets(entry: Entry) -> list[str]:
    """A line a preset, with its arguments."""
    return [
        f"preset {name}: {' '.join(f'{k}={v}' for k, v in kw.items())}" for name, kw in entry.presets.items()
    ]


def baselines(entry: Entry) -> list[str]:
    """A line a classical method, with what its docstring says first."""
    methods = BASELINES.get(entry.id, {}).items()
    return [f"baseline {name}: {(method.fit.__doc__ or '').splitlines()[0]}" for name, method in methods]


def argument_table(task: type[Task]) -> Any:
    """The arguments of a task: name, default, allowed values, meaning."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("argument", "default", "values", "meaning")
    for one in sorted(describe_arguments(task), key=lambda one: one.owner == "Task"):  # its own first
        table.add_row(one.name, escape(repr(one.default)), escape(one.rule), escape(one.text))
    return table


def describe(console: Any, task: type[Task]) -> None:
    """Print a task's docstring, its table drawn as a table."""
    from inspect import getdoc

    from rich.table import Table

    lines = (getdoc(task) or "").splitlines()
    table = Table(show_header=False)
    for line in lines:
        if line.startswith("|") and not set(line) <= set("|- "):
            table.add_row(*(cell.strip().replace("``", "") for cell in line.strip("|").split("|", 1)))
        elif not line.startswith("|"):
            if table.rows:
                console.print(table)
                table = Table(show_header=False)
            console.print(line, markup=False, highlight=False)
