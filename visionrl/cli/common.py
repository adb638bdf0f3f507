"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from visionrl.core import entry_of
from visionrl.core.arguments import check_arguments

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
    skip_bad: bool = False
    """Leave out samples that cannot be read, with a warning that counts and names them."""
    split_file: str | None = None
    """File that says which samples are for training, validation and test."""
    split_ratios: tuple[float, float, float] | None = None
    """Shares of training, validation and test, where the data come without a split."""
    env_args: tuple[str, ...] = ()
    """Further arguments of the task, each "name=value" with a JSON value or a word: target=heart."""

    def __post_init__(self) -> None:
        """Check the kinds and bounds of the options."""
        check_arguments(self)

    def check_task(self, env_id: str) -> None:
        """Refuse arguments that a task does not have.

        Raises:
            ValueError: no such task, or an argument that is an option of its own.
            UnknownArgumentError: the task does not have it.
        """
        from visionrl.agents.training.pairs import TASK_FIELDS, check_env_args

        options = {field.name for field in fields(self)} - TASK_FIELDS
        check_env_args(entry_of(env_id), "env_args", self.env_args, options)

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """Arguments of the task that are given."""
        from visionrl.agents.training.pairs import parse_args

        named = ("preset", "data", "classes", "skip_bad", "split_file", "split_ratios")
        given = {name: getattr(self, name) for name in named}
        return {**{k: x for k, x in given.items() if x not in (None, (), False)}, **parse_args(self.env_args)}


def check_out(path: Path) -> None:
    """Refuse to write into a folder that cannot be: one of those above is a file.

    Raises:
        NotADirectoryError: names the file.
    """
    for above in (path, *path.parents):
        if above.is_dir():
            return
        if above.exists():
            raise NotADirectoryError(f"out must be in a folder, {above} is a file")
