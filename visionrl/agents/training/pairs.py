"""Arguments as pairs "name=value": of a task, and of an algorithm."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from visionrl.core.door import check_engine
from visionrl.core.registry import Entry, argument_names, check_argument_names

# options of commands that are arguments of the task too, and may be given as such
TASK_FIELDS = {"data", "classes", "skip_bad", "split_file", "split_ratios"}
# arguments of the engine that an environment of a training run may have
ENGINE = ("backend", "device")


def check_env_args(
    entry: Entry, field: str, pairs: Iterable[str], options: Iterable[str], engine: Iterable[str] = ()
) -> None:
    """Refuse arguments of a task that it does not have, or that are options of the command and not of the task.

    Args:
        entry: the task.
        field: what holds the arguments, "env_args" or "train_args".
        pairs: the arguments, as ``parse_args`` reads them.
        options: names of the options.
        engine: arguments of the engine that may be among them, beside ``max_episode_steps``.

    Raises:
        ValueError: names an argument.
        UnknownArgumentError: the task does not have it.
    """
    given = parse_args(pairs)
    decided = {*options, "split", "preset"} - (argument_names(entry.task) - {"split"})
    for name in sorted(decided & set(given)):
        how = (
            f"an option of its own: --{name.replace('_', '-')}"
            if name in options
            else "which the run decides"
        )
        raise ValueError(f"{field} must not have {name}, {how}")
    check_engine(None, given.get("max_episode_steps"))
    check_argument_names(entry, set(given) - {"max_episode_steps", *engine})


def parse_args(pairs: Iterable[str]) -> dict[str, Any]:
    """``("window=45", "control=unit")`` as ``{"window": 45, "control": "unit"}``; values are JSON, else words.

    Raises:
        ValueError: a pair without a name or an equals sign, a name that is given twice, or a value nested too deeply.
    """
    parsed: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not (name.isidentifier() and sign):
            raise ValueError(f"arguments must look like name=value, got {pair!r}")
        if name in parsed:
            raise ValueError(f"arguments must be given once, got {name!r} twice")
        try:
            parsed[name] = json.loads(value)
        except RecursionError:
            raise ValueError(f"{name} must be a value of a few levels, got {value[:20]}...") from None
        except ValueError:  # a word, or a number of more digits than Python reads
            parsed[name] = value
    return parsed


def format_args(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The pairs that ``parse_args`` reads."""
    return tuple(f"{key}={json.dumps(value)}" for key, value in values.items())
