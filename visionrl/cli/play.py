"""``visionrl play``: a task by hand."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import tyro
from annotated_types import Ge

from visionrl.agents.evaluation.policies import expert_policy
from visionrl.agents.evaluation.record import record
from visionrl.cli.common import Data, Split, check_out
from visionrl.core import Task, entry_of
from visionrl.core.capabilities import name_of
from visionrl.rendering import why_no_window

ARROWS = {"up": 1073741906, "down": 1073741905, "left": 1073741904, "right": 1073741903}  # SDL's key codes
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, kw_only=True)
class Play(Data):
    """Play a task by keyboard; without a display or pygame, write a film of the expert instead."""

    id: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ID")]
    """Id of the task, with or without "visionrl/"."""
    files: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")] = ()
    """With --no-labelled: files, folders or "FORMAT:PATH", as in predict."""
    split: Split = "train"
    """Samples to play on."""
    item: Annotated[int, Ge(0)] = 0
    """Number of the item that the expert's film starts from."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the first state."""
    labelled: bool = True
    """False is for files without labels, as in predict: what the person finds is written."""
    box: str | None = None
    """Where the object to be tracked is in the first frame of a video without labels: x,y,w,h in pixels."""
    out: Path | None = None
    """File of the film, default <task>-expert.gif; without labels the folder of the results, default predictions."""
    overwrite: bool = False
    """Replace results that are in the folder."""

    def run(self) -> None:
        """Open the window, or write the film.

        Raises:
            SystemExit: 1 if a file without labels could not be read.
            ValueError: an option does not fit the others.
        """
        entry = entry_of(self.id)
        self.check_task(entry.id)
        if self.labelled and self.box is not None:
            raise ValueError(f"box must be given with --no-labelled alone, got {self.box!r}")
        if self.labelled and self.files:
            raise ValueError(f"files must be given with --no-labelled alone, got {' '.join(self.files)}")
        if not self.labelled:
            self.play_files(entry.id)
            return
        if self.out and self.out.suffix.lower() != ".gif":
            raise ValueError(f"out must end in .gif, got {str(self.out)!r}")
        kwargs = {**self.env_kwargs, "split": self.split}
        if missing := why_no_window():
            path = self.out or Path(f"{entry.id.removeprefix('visionrl/')}-expert.gif")
            film(entry.id, path, kwargs, self.item, self.seed)
            print(f"no window ({missing}); wrote {path}, an episode of the expert")
        else:
            window(entry.id, kwargs, self.seed)

    def play_files(self, env_id: str) -> None:
        """Play on files without labels, and write what the person finds in them as ``predict`` does.

        Raises:
            SystemExit: 1 if a file could not be read.
            ValueError: no files are named, or no window can be opened.
        """
        from visionrl.agents.prediction.inputs import inputs_of, parse_box
        from visionrl.agents.prediction.person import Closed, Person, key_window
        from visionrl.agents.prediction.predict import predict_files

        words = [*self.files, *([] if self.data is None else [self.data])]
        if not words:
            raise ValueError("files must be given with --no-labelled: files, folders or FORMAT:PATH")
        task, out, done = entry_of(env_id).task, self.out or Path("predictions"), 0
        check_out(out)
        kind, box = (
            task.unlabelled_type or task.sample_type,
            None if self.box is None else parse_box(self.box),
        )
        inputs = inputs_of(words, kind, box)

        def tell(now: int, total: int) -> None:
            nonlocal done
            done = now

        with key_window(f"visionrl play {self.id}: Enter is done, Escape ends") as ask:
            keys = {codes[0]: action for codes, action in keys_of(task, len(LETTERS)).items()}
            print(f"{how_to_act(task)}; Enter is done, Escape ends")
            try:
                person = Person(env_id, self.env_kwargs, ask, keys)
                report = predict_files(
                    person, inputs, out, overwrite=self.overwrite, seed=self.seed, tell=tell
                )
            except Closed:
                print(f"stopped after {done} of {len(inputs)} files; results in {out}")
                return
        for file, why in report.failed:
            print(f"failed: {file}: {why}", file=sys.stderr)
        print(f"{report.done} of {len(inputs)} files; results in {out}")
        if report.failed:
            raise SystemExit(1)


def how_to_act(task: Any) -> str:
    """Say how a person acts in a task: its keys, or its clicks."""
    if hasattr(task, "click_action"):
        return getattr(task, "click_help", "left click on the object, right click beside it")
    names = [f"{LETTERS[k]} {name}" for k, name in sorted(action_names(task).items()) if k < len(LETTERS)]
    arrows = "arrow keys where an action is up, down, left or right"
    return "\n".join([*([", ".join(names)] if names else []), arrows])


def film(env_id: str, path: Path, kwargs: Mapping[str, Any], item: int, seed: int) -> Path:
    """An episode of the expert as a GIF."""
    split = kwargs["split"]
    return record(env_id, expert_policy, path, split=split, item=item, seed=seed, env_kwargs=kwargs)


def window(env_id: str, kwargs: Mapping[str, Any], seed: int) -> None:
    """Play in a window, one step per key; Escape closes it.

    Raises:
        ValueError: the task's actions are not a choice among a few.
    """
    from gymnasium.utils.play import play

    entry = entry_of(env_id)
    env = gym.make(entry.id, render_mode="rgb_array", **kwargs)
    if not isinstance(env.action_space, gym.spaces.Discrete):
        raise ValueError(
            f"env must have a Discrete action space to be played by keyboard, got {name_of(env.action_space)}"
        )
    names, keys = action_names(entry.task), keys_of(entry.task, int(env.action_space.n))
    print(
        ", ".join(f"{LETTERS[k]} {names.get(k, '')}".strip() for k in range(min(int(env.action_space.n), 36)))
    )
    print("arrow keys where an action is up, down, left or right; Escape ends")
    play(env, keys_to_action=keys, seed=seed, wait_on_player=True)


def action_names(task: type[Task]) -> dict[int, str]:
    """Number -> name, from the table of actions in a task's docstring: ``| 0 | up, ... |``."""
    rows = re.findall(r"^\s*\|\s*(\d+)\s*\|\s*([a-z][a-z ]*)", task.__doc__ or "", re.MULTILINE)
    return {int(number): name.strip() for number, name in reversed(rows)}  # the first of a number counts


def keys_of(task: type[Task], count: int) -> dict[tuple[int, ...], int]:
    """Key codes -> action: digits, then letters, in the order of the numbers, and arrows by the actions' names."""
    keys: dict[tuple[int, ...], int] = {
        (ord(letter),): number for number, letter in enumerate(LETTERS[:count])
    }
    named = action_names(task).items()
    return {**keys, **{(ARROWS[name],): number for number, name in named if name in ARROWS}}
