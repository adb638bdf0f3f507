"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from visionrl.core import checked
from visionrl.core.arguments import hints_of

Split = Literal["train", "val", "test", "all"]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Options that choose a task's data and arguments."""

    preset: str | None = None
    """Name of a set of arguments of the task: a paper's constants, or a smaller task; "none" for none."""
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

    def __post_init__(self) -> None:
        """Check the bounds of the options."""
        cls: Any = type(self)
        for name in ("seed", "num_envs"):
            if hint := hints_of(cls).get(name):
                checked(name, hint, getattr(self, name))

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """Arguments of the task that are given."""
        from visionrl.agents.training.config import parse_args

        named = ("preset", "data", "classes", "split_file", "split_ratios")
        given = {name: getattr(self, name) for name in named}
        return {**{key: value for key, value in given.items() if value}, **parse_args(self.env_args)}
