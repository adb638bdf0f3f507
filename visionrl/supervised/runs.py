"""The folder of a supervised run: when it may be begun, when gone on with, and the training in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from visionrl.agents.training.run_files import check_new, check_same, write_json
from visionrl.supervised.trainer import Trainer, TrainerConfig, save

MAY_CHANGE = ("epochs", "patience", "resume", "out", "name", "device", "threads")  # when a run is resumed
CHECKPOINT = "checkpoint.pt"


def check_run(config: TrainerConfig, run: Path, read: Callable[[Path], Any]) -> None:
    """Refuse to overwrite a run, or to go on with another one's config.

    Args:
        config: of the run that is wanted.
        run: its folder.
        read: gives the config of the run in a folder.

    Raises:
        ValueError: see above.
    """
    if not config.resume:
        check_new(run)
        return
    if not (run / CHECKPOINT).is_file():
        raise ValueError(f"resume needs a run to continue, and {run} holds none")
    check_same(config, read(run), MAY_CHANGE)


def learn(
    config: TrainerConfig,
    run: Path,
    work: Trainer,
    about: Mapping[str, Any],
    write: Callable[[Path, Mapping[str, Tensor]], None],
    console: Console,
) -> None:
    """Train to the end; the folder then holds ``config.json``, the checkpoint, and what ``write`` makes of the best.

    Args:
        config: of the run.
        run: its folder, which is there.
        work: the training.
        about: what ``config.json`` says beside the config.
        write: writes the best tensors into the folder; they are empty before the first epoch's end.
        console: where the lines go.

    Raises:
        SystemExit: Ctrl-C ended it, with code 130; the best weights so far are written.
    """
    write_json(run / "config.json", {"config": asdict(config), **about})
    if config.resume:
        work.restore(run / CHECKPOINT)
        console.print(f"resumed {run} after epoch {work.epoch}")
    else:
        save(run / CHECKPOINT, work.state())  # so that a run that is stopped in its first epoch can go on
    try:
        for line in work.run(console):
            save(run / CHECKPOINT, work.state())
            console.print(line)
    except KeyboardInterrupt:
        write(run, work.best)
        held = f"{run} has the best weights" if work.best else "there are no weights yet"
        console.print(f"stopped after epoch {work.epoch}; {held}, --resume goes on")
        raise SystemExit(130) from None
    write(run, work.best)
