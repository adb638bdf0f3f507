"""Tables of a recipe: which fields of a run it may decide, and what it must not hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from visionrl.agents.training.algorithms import Algo
from visionrl.core import checked
from visionrl.core.registry import Entry

OF_THE_TASK = ("preset", "train_preset", "train_episode_steps")  # what a recipe says of its task
# fields that a recipe may decide: at its top, in the table of an algorithm, or in that of a preset
DECIDED = (
    "backbone",
    "features_dim",
    "model",
    "fusion",
    "tiles",
    "communication",
    "clone_steps",
    "clone_rate",
    "clone_repeats",
    "clone_action_values",
    "clone_kl",
    "clone_kl_end",
    "value_warmup",
    "num_envs",
    "timesteps",
    "eval_every",
    "eval_episodes",
)


def check_tables(tables: Mapping[str, Any], entry: Entry, path: Any, hints: Mapping[str, Any]) -> None:
    """Refuse a recipe whose tables are misspelt.

    Args:
        tables: of the recipe.
        entry: its task.
        path: its file.
        hints: types of the fields that it may decide.

    Raises:
        ValueError: names the file and the table.
    """
    for algo in get_args(Algo):
        table = tables.get(algo, {})
        inner = (
            [key for key, value in table.items() if isinstance(value, dict)]
            if isinstance(table, dict)
            else [algo]
        )
        if wrong := [key for key in inner if key != "cloned"]:
            raise ValueError(f"recipe must have tables [{algo}] and [{algo}.cloned], {path} has {wrong[0]!r}")
    presets = tables.get("presets", {})
    for table in (tables, *(tables.get(algo, {}) for algo in get_args(Algo)), *presets.values()):
        for where in (table, table.get("cloned", {})):
            check_decided(where, path, hints)
    named = [*presets, *(tables[key] for key in ("preset", "train_preset") if key in tables)]
    if wrong := [name for name in named if name not in (*entry.presets, "none")]:
        raise ValueError(f"recipe must name presets of {entry.id}, {path} has {wrong[0]!r}")


def check_decided(table: Mapping[str, Any], path: Any, hints: Mapping[str, Any]) -> None:
    """Refuse fields of ``TrainConfig`` in a recipe's table that no run can have.

    Raises:
        ValueError: names the file, the field, the rule and the value.
    """
    for name in ("algo", *DECIDED):
        if name in table:
            try:
                checked(name, hints[name], table[name])
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
