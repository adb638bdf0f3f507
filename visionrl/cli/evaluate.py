"""``visionrl evaluate``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from annotated_types import Ge, Interval

from visionrl.cli.common import Data, Split, check_out
from visionrl.core import entry_of


@dataclass(frozen=True, kw_only=True)
class Evaluate(Data):
    """Compare a trained agent with random, classical methods and the expert; without an agent, only those.

    An agent is evaluated under the arguments it was trained with, except those given here. The table as
    metrics-<split>.json, what it found in every image, video or volume as
    predictions-<split>.jsonl, and a film, episode-<split>.gif, go into the run's folder.
    """

    run_folder: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(name="run")] = None
    """Folder of a finished run, or name of an agent that comes with the library: landmarks3d-chest."""
    env: str | None = None
    """Id of the task, where no run is given."""
    split: Split = "test"
    """Samples to evaluate on."""
    episodes: Annotated[int, Ge(1)] | None = None
    """How many; default every item once, but at most 512."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the first episode."""
    num_envs: Annotated[int, Interval(ge=1, le=65_536)] = 64
    """Episodes at a time."""
    device: str = "auto"
    """Where the network lives: "cpu", "cuda", or "auto"."""
    out: Path | None = None
    """Folder for the table, the predictions and the film; default the run's, none for agents of the library."""
    compare: bool = True
    """Compare with random, the classical methods and the expert."""
    rows: tuple[str, ...] = ()
    """Those to compare with, by name, "random,expert"; default all."""

    def run(self) -> None:
        """Evaluate, print the table, write the files."""
        from rich.console import Console

        from visionrl.agents.evaluation.compare import chosen_rows, compare
        from visionrl.agents.evaluation.policies import expert_policy
        from visionrl.agents.evaluation.progress import doing
        from visionrl.agents.networks.device import check_device
        from visionrl.agents.training.run_files import write_json, write_text

        check_device(self.device)
        if self.out:
            check_out(self.out)
        env_id, agents, film, kwargs, trained = self.subject()
        rows = chosen_rows(env_id, self.rows or None) if self.compare else ()
        lines, folder = list[dict[str, Any]](), self.out or self.own_folder
        same: dict[str, Any] = {"split": self.split, "seed": self.seed, "env_kwargs": kwargs}
        counts: dict[str, Any] = {"episodes": self.episodes, "num_envs": self.num_envs}
        with doing(Console(stderr=True)) as say:
            tell: dict[str, Any] = {"keep": lines.extend if folder else None, "say": say}
            table = compare(env_id, agents, fit_kwargs=trained, rows=rows, **tell, **counts, **same)
        table.print()
        if folder:
            from visionrl.agents.evaluation.record import record

            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / f"metrics-{self.split}.json", {**table.to_dict(), "env_kwargs": kwargs})
            if lines:
                text = "".join(json.dumps({**line, "split": self.split}) + "\n" for line in lines)
                write_text(folder / f"predictions-{self.split}.jsonl", text)
            if film or any(row.kind == "expert" for row in table.rows):
                record(env_id, film or expert_policy, folder / f"episode-{self.split}.gif", **same)
            print(f"saved in {folder}")

    @property
    def own_folder(self) -> Path | None:
        """The run's folder; None for an agent that comes with the library, into which nothing is written."""
        return self.run_folder if self.run_folder and self.run_folder.is_dir() else None

    def subject(self) -> tuple[str, dict[str, Any], Any, dict[str, Any], dict[str, Any] | None]:
        """Task, agents, whom to film (None: the expert), the task's arguments, and those of the agent's training."""
        if self.rows and not self.compare:
            raise ValueError(f"rows must be left out with --no-compare, got {', '.join(self.rows)}")
        if self.run_folder is None and self.env is not None and not self.compare:
            raise ValueError(
                "no-compare needs a run's folder: without it there is nothing but the comparison"
            )
        if (self.run_folder is None) == (self.env is None):
            raise ValueError("evaluate needs a run's folder or --env, one of the two")
        if self.run_folder is None:
            self.check_task(self.env or "")
            return entry_of(self.env or "").id, {}, None, self.env_kwargs, None
        from visionrl.agents.evaluation.policies import agent_policy, agent_rows
        from visionrl.agents.training.saving import load_model

        model, config = load_model(self.run_folder, self.device)
        self.check_task(config.env)
        policy, given, trained = agent_policy(model), self.env_kwargs, config.env_kwargs
        if "data" in given:  # how the training data were split says nothing about other data
            kept = {key: value for key, value in trained.items() if key not in ("split_file", "split_ratios")}
        else:
            kept = trained
        return config.env, agent_rows(str(config.algo).upper(), model), policy, {**kept, **given}, trained
