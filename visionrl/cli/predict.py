"""``visionrl predict``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from annotated_types import Ge

from visionrl.cli.common import check_out
from visionrl.core.arguments import check_arguments


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Apply a trained agent, or a classical method, to new files without labels; write what it finds.

    The folder gets predictions.jsonl, a line a file; annotated pictures; and the results in the formats of the field.
    """

    agent: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AGENT")]
    """Folder of a run, name of an agent that comes with the library, or, with --env, of a classical method."""
    files: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")]
    """Files, folders or "FORMAT:PATH"; for registration files in pairs, fixed and moving in turn."""
    out: Path = Path("predictions")
    """Folder for the results."""
    overwrite: bool = False
    """Replace results that are in the folder."""
    env: str | None = None
    """Id of the task of a classical method."""
    data: str | None = None
    """What a classical method learns from, "FORMAT:PATH"; default the embedded set."""
    pictures: bool = True
    """Write annotated pictures."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of where episodes start."""
    device: str = "auto"
    """Where the network lives: "cpu", "cuda", or "auto"."""

    def __post_init__(self) -> None:
        """Check the kinds and bounds of the options."""
        check_arguments(self)

    def run(self) -> None:
        """Predict with a progress bar; say what was written and what could not be read.

        Raises:
            SystemExit: 1 if a file could not be read.
            KeyboardInterrupt: Ctrl-C; the files that are there are whole.
        """
        from rich.console import Console
        from rich.progress import Progress

        from visionrl.agents.prediction.agent import agent_named
        from visionrl.agents.prediction.inputs import inputs_of
        from visionrl.agents.prediction.predict import predict_files

        check_out(self.out)
        agent = agent_named(self.agent, self.env, self.device, self.data)
        inputs = inputs_of(self.files, agent.sample_type)
        console, reached = Console(stderr=True), 0

        def tell(done: int, total: int) -> None:
            nonlocal reached
            reached = done
            shown.update(bar, completed=done)

        with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
            bar = shown.add_task("predicting", total=len(inputs))
            options: dict[str, Any] = {"overwrite": self.overwrite, "pictures": self.pictures}
            try:
                report = predict_files(agent, inputs, self.out, seed=self.seed, tell=tell, **options)
            except KeyboardInterrupt:
                print(
                    f"stopped after {reached} of {len(inputs)} files; results in {self.out}", file=sys.stderr
                )
                raise
        for file, why in report.failed:
            print(f"failed: {file}: {why}", file=sys.stderr)
        print(f"{report.done} of {len(inputs)} files; results in {self.out}")
        if report.failed:
            raise SystemExit(1)
