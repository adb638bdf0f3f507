"""``visionrl completion``: candidates for bash's TAB key."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import tyro

from visionrl.core import TASKS, describe_arguments, entry_of
from visionrl.core.arguments import hints_of
from visionrl.core.registry import Entry

HOW = "complete -o nospace -C 'visionrl completion' visionrl"


@dataclass(frozen=True)
class Completion:
    """Complete a command line in bash: names of tasks, presets, options, arguments.

    Without the variables that bash sets for a completion, prints the line for ~/.bashrc that turns it on.
    """

    def run(self) -> None:
        """Print the candidates, one a line, or how to turn completion on."""
        if "COMP_LINE" not in os.environ:
            print(HOW)
            return
        line = os.environ["COMP_LINE"][: int(os.environ.get("COMP_POINT", "0")) or None]
        print("\n".join(candidates(line)))


def candidates(line: str) -> list[str]:
    """Possible completions of the last word of a command line, each with the blank that ends it."""
    *before, last = line.split(" ")
    words = [word for word in before[1:] if word]
    found = [one for one in _known(words, last) if one.startswith(last)]
    kept = last.rpartition("=")[0]  # readline breaks words at "=", and keeps what stands before it
    return [one.removeprefix(f"{kept}=") + ("" if one.endswith("=") else " ") for one in found]


def _known(words: Sequence[str], last: str) -> Iterable[str]:
    """All that may stand after some words."""
    from visionrl.cli.main import COMMANDS, command_of

    if not words:
        return COMMANDS
    if words[0] not in COMMANDS:
        return []
    if last.startswith("-"):
        return options_of(command_of(words[0]))
    option = next((word for word in reversed(words) if word.startswith("--")), "")
    entry = _task_of(words)
    if option == "--env-args" and entry:
        return arguments_of(entry, last)
    if words[-1] == "--preset" and entry:
        return [*entry.presets, "none"]
    if words[-1] == "--env" or (words[0] in ("show", "play") and len(words) == 1):
        return [id_ if last.startswith("visionrl") else id_.removeprefix("visionrl/") for id_ in TASKS]
    return []


def options_of(command: type) -> list[str]:
    """The options of a command, those of a nested configuration among them; what has a place is none."""
    found = []
    hints = get_type_hints(command, include_extras=True)
    for field in fields(command):
        hint = hints[field.name]
        kind, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        names = [one.name for one in fields(kind)] if is_dataclass(kind) else [field.name]
        found += [f"--{name.replace('_', '-')}" for name in names if tyro.conf.Positional not in marks]
    return found


def arguments_of(entry: Entry, last: str) -> list[str]:
    """``name=`` of every argument of a task; its values where they are few and the name is there already."""
    name, given, _ = last.partition("=")
    if not given:
        return [f"{one.name}=" for one in describe_arguments(entry.task)]
    hint = hints_of(entry.task).get(name)
    return [f"{name}={value}" for value in _few_values(hint)]


def _few_values(hint: object) -> list[str]:
    """The values of an annotation that allows a few."""
    if hint is bool:
        return ["true", "false"]
    if get_origin(hint) is Literal:
        return [str(value) for value in get_args(hint)]
    if get_origin(hint) is Annotated:
        return _few_values(get_args(hint)[0])
    return [value for part in get_args(hint) for value in _few_values(part)]


def _task_of(words: Sequence[str]) -> Entry | None:
    """The task that a command line names."""
    named = words[words.index("--env") + 1 :][:1] if "--env" in words else words[1:2]
    try:
        return entry_of(named[0]) if named else None
    except ValueError:
        return None
