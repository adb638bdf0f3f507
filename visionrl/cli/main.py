"""The command ``visionrl``: list, show, play, train, evaluate, explain, track; each imports what it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from visionrl.agents.prediction.track import Track
from visionrl.cli.explain import Explain
from visionrl.core import BASELINES, TASKS, Task, entry_of, make_task

if TYPE_CHECKING:
    from visionrl.agents.training.config import TrainConfig

Split = Literal["train", "val", "test", "all"]


@dataclass(frozen=True)
class List:
    """The tasks there are."""

    def run(self) -> None:
        """Print them."""
        from rich.console import Console
        from rich.table import Table

        table = Table("task", "tags", "presets")
        for task_id, entry in sorted(TASKS.items()):
            words = ("\n".join(entry.tags), "\n".join(entry.presets))
            table.add_row(f"[bold]{task_id}[/bold]\n{summary(entry.task)}", *words, end_section=True)
        Console().print(table)


@dataclass(frozen=True)
class Show:
    """A task's rules, spaces, papers' presets and classical baselines."""

    id: tyro.conf.Positional[str]
    """Id of the task, with or without "visionrl/"."""

    def run(self) -> None:
        """Print them."""
        from rich.console import Console

        entry, console = entry_of(self.id), Console()
        console.print(entry.id, style="bold", highlight=False)
        describe(console, entry.task)
        task = make_task(entry.id, split="val")
        for key, box in task.observation_space.items():
            console.print(f"observation {key}: {box}", markup=False)
        console.print(f"action: {task.action_space}", markup=False)
        console.print(
            f"time limit: {entry.max_steps or 'none, the rules end an episode'}; runs on {task.backends}"
        )
        for name, constants in entry.presets.items():
            console.print(
                f"preset {name}: {' '.join(f'{k}={v}' for k, v in constants.items())}", markup=False
            )
        for name, method in BASELINES.get(entry.id, {}).items():
            console.print(f"baseline {name}: {(method.fit.__doc__ or '').splitlines()[0]}", markup=False)


@dataclass(frozen=True, kw_only=True)
class Data:
    """What the episodes are about."""

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
        from visionrl.agents.training.arguments import parse_args

        named = ("preset", "data", "classes", "split_file", "split_ratios")
        given = {name: getattr(self, name) for name in named}
        return {**{key: value for key, value in given.items() if value}, **parse_args(self.env_args)}


@dataclass(frozen=True, kw_only=True)
class Play(Data):
    """Play a task by keyboard; without a display or pygame, write a film of the expert instead."""

    id: tyro.conf.Positional[str]
    """Id of the task, with or without "visionrl/"."""
    split: Split = "train"
    """Samples to play on."""
    item: int = 0
    """Number of the item that the expert's film starts from."""
    seed: int = 0
    """Seed of the first state."""
    out: Path | None = None
    """File of the film; default <task>-expert.gif."""

    def run(self) -> None:
        """Open the window, or write the film."""
        from visionrl.cli import play
        from visionrl.rendering import why_no_window

        entry = entry_of(self.id)
        kwargs = {**self.env_kwargs, "split": self.split}
        if missing := why_no_window():
            path = self.out or Path(f"{entry.id.removeprefix('visionrl/')}-expert.gif")
            play.film(entry.id, path, kwargs, self.item, self.seed)
            print(f"no window ({missing}); wrote {path}, an episode of the expert")
        else:
            play.window(entry.id, kwargs, self.seed)


@dataclass(frozen=True)
class Train:
    """Train an agent, compare it with the baselines on the test split, save it."""

    config: TrainConfig

    def run(self) -> None:
        """Do it."""
        from visionrl.agents.training.train import train

        train(self.config)


@dataclass(frozen=True, kw_only=True)
class Evaluate(Data):
    """Compare a trained agent with random, classical methods and the expert; without an agent, only those.

    An agent is evaluated under the arguments it was trained with, except those given here. Its row, the table as
    metrics-<split>.json and a film, episode-<split>.gif, go into the run's folder.
    """

    run_folder: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(name="run")] = None
    """Folder of a finished run, or name of an agent that comes with the library: landmarks3d-chest."""
    env: str | None = None
    """Id of the task, where no run is given."""
    split: Split = "test"
    """Samples to evaluate on."""
    episodes: int | None = None
    """How many; default every item once, but at most 512."""
    seed: int = 0
    """Seed of the first episode."""
    num_envs: int = 64
    """Episodes at a time."""
    device: str = "auto"
    """Where the network lives: "cpu", "cuda", or "auto"."""
    out: Path | None = None
    """Folder for the table and the film; default the run's."""

    def run(self) -> None:
        """Do it, print the table."""
        from rich.console import Console

        from visionrl.agents.evaluation.compare import compare
        from visionrl.agents.training.run_files import write_json

        env_id, agents, film, kwargs, trained = self.subject()
        same: dict[str, Any] = {"split": self.split, "seed": self.seed, "env_kwargs": kwargs}
        counts: dict[str, Any] = {"episodes": self.episodes, "num_envs": self.num_envs}
        with Console(stderr=True).status("") as status:
            table = compare(env_id, agents, fit_kwargs=trained, say=status.update, **counts, **same)
        table.print()
        if folder := self.out or self.run_folder:
            from visionrl.agents.evaluation.record import record

            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / f"metrics-{self.split}.json", {**table.to_dict(), "env_kwargs": kwargs})
            record(env_id, film, folder / f"episode-{self.split}.gif", **same)
            print(f"saved in {folder}")

    def subject(self) -> tuple[str, dict[str, Any], Any, dict[str, Any], dict[str, Any] | None]:
        """Task, agents, whom to film, the task's arguments, and those of the agent's training."""
        if (self.run_folder is None) == (self.env is None):
            raise ValueError("evaluate needs a run's folder or --env, one of the two")
        if self.run_folder is None:
            from visionrl.agents.evaluation.policies import expert_policy

            return entry_of(self.env or "").id, {}, expert_policy, self.env_kwargs, None
        from visionrl.agents.evaluation.policies import agent_policy, agent_rows
        from visionrl.agents.training.saving import load_agent

        model, config = load_agent(self.run_folder, self.device)
        policy, given, trained = agent_policy(model), self.env_kwargs, config.env_kwargs
        if "data" in given:  # how the training data were split says nothing about other data
            kept = {key: value for key, value in trained.items() if key not in ("split_file", "split_ratios")}
        else:
            kept = trained
        return config.env, agent_rows(str(config.algo).upper(), model), policy, {**kept, **given}, trained


def summary(task: type[Task]) -> str:
    """The first line of what a task says about itself."""
    return (task.__doc__ or "").strip().splitlines()[0]


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


def train_command(args: Sequence[str]) -> Train:
    """``visionrl train``: the fields of ``TrainConfig`` are its options."""
    from visionrl.agents.training.config import TrainConfig

    config = tyro.cli(TrainConfig, prog="visionrl train", description=Train.__doc__, args=args)
    return Train(replace(config, env=entry_of(config.env).id))


def parser(command: type) -> Callable[[Sequence[str]], Any]:
    """What turns arguments into a command."""
    return lambda args: tyro.cli(command, prog=f"visionrl {command.__name__.lower()}", args=args)


COMMANDS: dict[str, tuple[type, Callable[[Sequence[str]], Any]]] = {
    "list": (List, parser(List)),
    "show": (Show, parser(Show)),
    "play": (Play, parser(Play)),
    "train": (Train, train_command),
    "evaluate": (Evaluate, parser(Evaluate)),
    "explain": (Explain, parser(Explain)),
    "track": (Track, parser(Track)),
}


def usage() -> str:
    """What there is to type."""
    lines = [
        f"  {name:10}{(command.__doc__ or '').splitlines()[0]}" for name, (command, _) in COMMANDS.items()
    ]
    return "\n".join(
        [
            "usage: visionrl [--debug] COMMAND ...",
            "",
            *lines,
            "",
            "visionrl COMMAND --help tells the options of a command; --version tells the version;",
            "--debug shows where an error comes from.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        SystemExit: 2 for wrong arguments or data, after one line on stderr; 130 for Ctrl-C.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    args = [arg for arg in args if arg != "--debug"]
    if not args or args[0] in ("-h", "--help"):
        print(usage())
    elif args[0] == "--version":
        from visionrl import __version__

        print(f"visionrl {__version__}")
    else:
        guarded(args, debug)


def guarded(args: Sequence[str], debug: bool) -> None:
    """Run a command; its ValueErrors, OSErrors and unknown arguments become one line on stderr and exit code 2."""
    try:
        if args[0] not in COMMANDS:
            raise ValueError(f"command must be one of {', '.join(COMMANDS)}, got {args[0]!r}")
        COMMANDS[args[0]][1](args[1:]).run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (ValueError, OSError) as error:
        if debug:
            raise
        from rich.console import Console

        console = Console(stderr=True, soft_wrap=True)
        console.print(f"error: {error}", style="red", markup=False, highlight=False)
        raise SystemExit(2) from None
