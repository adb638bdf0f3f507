"""``visionrl predict``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from annotated_types import Ge, Interval

from visionrl.cli.common import check_out
from visionrl.core.arguments import check_arguments

Tell = Callable[[int, int], None]  # how many are done, of all


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Apply a trained agent, or a classical method, to new files without labels; write what it finds.

    The folder gets predictions.jsonl, a line a file; annotated pictures; and the results in the formats of the field.
    """

    agent: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AGENT")]
    """Folder of a run, name of an agent that comes with the library, or, with --env, of a classical method."""
    files: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")]
    """Files, folders or "FORMAT:PATH"; for registration files in pairs, fixed and moving in turn; one video."""
    box: str | None = None
    """Where the object is, in the first frame of a video or in an image: x,y,w,h in pixels."""
    clicks: tuple[str, ...] = ()
    """Clicks of a user in an image: x,y,+ on the object, x,y,- beside it, in pixels."""
    modalities: str | None = None
    """Of the fixed and of the moving file of each pair, such as mr,ct; default the same."""
    question: str | None = None
    """What is asked about each image, such as "what colour is the bag"."""
    out: Path = Path("predictions")
    """Folder for the results."""
    overwrite: bool = False
    """Replace results that are in the folder."""
    env: str | None = None
    """Id of the task of a classical method."""
    data: str | None = None
    """What a classical method learns from, "FORMAT:PATH"; default the embedded set."""
    env_args: tuple[str, ...] = ()
    """Arguments of the task of a classical method, each "name=value" with a JSON value or a word: style=picture.png."""
    pictures: bool = True
    """Write annotated pictures, and films of videos."""
    film: Literal["gif", "webp", "mp4"] = "gif"
    """Kind of a film; gif and webp are thinned to 150 pictures, mp4 needs PyAV."""
    fps: Annotated[float, Interval(gt=0, le=1000)] = 25.0
    """Pictures per second of a film, and most of a live view."""
    live: bool = False
    """Show each frame of a video in a window as it is done, and where the agent looked; Escape ends."""
    voc: bool = False
    """Write boxes as Pascal VOC's XML too, a file an image."""
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

        from visionrl.agents.prediction.track_view import live_window

        check_out(self.out)
        console, window = Console(stderr=True), live_window(self.fps) if self.live else nullcontext()
        with (
            window as show,
            Progress(console=console, transient=True, disable=not console.is_terminal) as bars,
        ):
            files, frames = (bars.add_task(what, total=None, visible=False) for what in ("files", "frames"))
            try:
                report = self.predict(show, partial(advance, bars, files), partial(advance, bars, frames))
            except KeyboardInterrupt:
                reached, of = (int(number or 0) for number in (bars.tasks[0].completed, bars.tasks[0].total))
                print(f"stopped after {reached} of {of} files; results in {self.out}", file=sys.stderr)
                raise
            at, total = (int(number or 0) for number in (bars.tasks[1].completed, bars.tasks[1].total))
        for file, why in report.failed:
            print(f"failed: {file}: {why}", file=sys.stderr)
        ended = (
            f"; {report.stopped} stopped at frame {at - 1}, the last is {total - 1}" if report.stopped else ""
        )
        count = report.done + len(report.failed)
        print(f"{report.done} of {count} files; results in {self.out}{ended}")
        if report.failed:
            raise SystemExit(1)

    def predict(self, show: Any, tell: Tell, tell_frames: Tell) -> Any:
        """Apply the agent to the files: a ``Report``; for ``show`` see ``live_window``.

        Raises:
            ValueError: an option, or a file, is not what the task is about.
        """
        from visionrl.agents.networks.device import check_device
        from visionrl.agents.prediction.agent import agent_named
        from visionrl.agents.prediction.films import FilmOptions
        from visionrl.agents.prediction.inputs import inputs_of, parse_box, parse_modalities
        from visionrl.agents.prediction.predict import check_folder, predict_files
        from visionrl.agents.prediction.prompts import check_prompts, parse_clicks
        from visionrl.agents.training.pairs import check_env_args, parse_args
        from visionrl.core import entry_of
        from visionrl.datasets import VideoSample

        check_device(self.device)
        box, clicks = None if self.box is None else parse_box(self.box), parse_clicks(self.clicks)
        check_folder(self.out, (), self.overwrite)  # at once: a classical method may learn for minutes
        films = FilmOptions(self.film, self.fps, show, tell_frames)
        if self.env is not None:
            check_env_args(entry_of(self.env), "env_args", self.env_args, ("data",))
        given = parse_args(self.env_args)
        agent = agent_named(self.agent, self.env, self.device, self.data, tell_what, given)
        if self.live and agent.sample_type is not VideoSample:
            raise ValueError(f"live must not be asked for with {agent.entry.id}, which tracks nothing")
        if agent.sample_type is not VideoSample or clicks:
            check_prompts(agent.entry, box, clicks, self.question)
        modalities = None if self.modalities is None else parse_modalities(self.modalities)
        inputs = inputs_of(self.files, agent.sample_type, box, clicks, modalities, self.question)
        tell(0, len(inputs))
        named = ("overwrite", "pictures", "voc", "seed")
        options: dict[str, Any] = {name: getattr(self, name) for name in named}
        return predict_files(agent, inputs, self.out, films=films, tell=tell, **options)


def tell_what(what: str) -> None:
    """Say what is being done, where it may take minutes."""
    print(what, file=sys.stderr, flush=True)


def advance(bars: Any, bar: Any, done: int, total: int) -> None:
    """Move a progress bar."""
    bars.update(bar, completed=done, total=total, visible=True)
