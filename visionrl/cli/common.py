"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Split = Literal["train", "val", "test", "all"]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Options that choose a task's data and arguments."""

    preset: str | None = None
    """Name of a paper whose constants the task uses."""
    data: str | None = None
    """Your own data, "FORMAT:PATH"; default the embedded set."""
    classes: tuple[str, ...] = ()
    """Keep only the points or boxes of these names."""
    split_file: str | None = None
    """File that says which samples are for training, validation and test."""
    split_ratios: tuple[float, float, float] | None = None
    """Shares of training, validation and test, where the data come without a split."""
    env_args: tuple[str, ...] = ()
    """Further arguments of the task, each "name=value" with a JSON value or a word: target=heart."""

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """Those that are given."""
        from visionrl.agents.training.config import parse_args

        named = ("preset", "data", "classes", "split_file", "split_ratios")
        given = {name: getattr(self, name) for name in named}
        return {**{key: value for key, value in given.items() if value}, **parse_args(self.env_args)}
