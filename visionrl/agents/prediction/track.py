"""Tracking of one object in a video file: the boxes as a table, and a film of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from visionrl.agents.networks.device import check_device
from visionrl.agents.prediction.track_files import boxes_file, film_file
from visionrl.agents.prediction.track_view import FrameView, TrackedTask, live_window
from visionrl.core import BASELINES, Task, batch, did_you_mean, make_task

TASK = "visionrl/Tracking-v0"
FILMS = (".gif", ".webp", ".mp4")

Follow = Callable[[Any, Any], Any]  # (task, first state) -> last state
Tell = Callable[[int, int], None]  # (number of frames that are done, of all)


@dataclass(frozen=True, kw_only=True)
class Track:
    """Follow an object through a video: write its boxes, and a film of them.

    The boxes are a CSV file, frame,x,y,w,h, beside the film: frames count from 0, x and y are the upper left corner
    in pixels, (0, 0) the frame's own.
    """

    agent: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AGENT")]
    """Folder of an agent's run on Tracking-v0, or a classical method: "median flow", "template matching", ..."""
    video: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO")]
    """The video, a file or a folder of pictures."""
    box: str
    """Where the object is in the first frame: x,y,w,h in pixels."""
    out: Path | None = None
    """The film, .gif, .webp or .mp4, or .csv for the boxes alone; default <video>-track.gif."""
    fps: float = 25.0
    """Pictures per second of the film."""
    device: str = "auto"
    """Where the network lives: "cpu", "cuda", or "auto"."""
    live: bool = False
    """Show each frame in a window as it is done, and where the agent looked; Escape ends."""

    def run(self) -> None:
        """Track with a progress bar; print the files that were written."""
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
            bar = shown.add_task("reading", total=None)

            def tell(done: int, total: int) -> None:
                shown.update(bar, description="tracking", completed=done, total=total)

            options: dict[str, Any] = {
                "fps": self.fps,
                "device": self.device,
                "tell": tell,
                "live": self.live,
            }
            written = track(self.agent, self.video, parse_box(self.box), self.out, **options)
            done, total = (int(number or 0) for number in (shown.tasks[0].completed, shown.tasks[0].total))
        ended = f"; stopped at frame {done - 1}, the last is {total - 1}" if done < total else ""
        print(f"wrote {', '.join(map(str, written))}{ended}")


def track(
    agent: str | Path,
    video: str | Path,
    box: Sequence[float],
    out: str | Path | None = None,
    *,
    fps: float = 25.0,
    device: str = "auto",
    tell: Tell = lambda done, total: None,
    live: bool = False,
) -> list[Path]:
    """Follow an object through a video and write its boxes, and a film that shows them and where the agent looked.

    Decoded frames take up to ``visionrl.datasets.frames.memory_limit()`` bytes; boxes are written as they come, an
    mp4 likewise. A GIF or WebP is thinned to 150 pictures of at most 480 pixels. Files have their names once they are
    complete.

    Args:
        agent: folder of an agent's run, or the name of a classical method.
        video: a file, or a folder of pictures.
        box: (x, y, width, height) in the first frame, pixels.
        out: file of the film, or .csv for the boxes alone; default ``<video>-track.gif`` in the working directory.
        fps: pictures per second.
        device: where the network lives.
        tell: called after every frame with the number of frames that are done, and of all.
        live: show each frame in a window as it is done, at most ``fps`` a second; Escape, or closing the window, ends
            it all there, and the files have the frames that are done.

    Returns:
        The files: boxes, and film if there is one.

    Raises:
        ValueError: an argument breaks a rule, the video cannot be read, or there is no display to be live on.
    """
    if not 0 < fps <= 1000:
        raise ValueError(f"fps must be in (0, 1000], got {fps}")
    check_device(device)
    film_path, table_path = outputs(Path(video), out)
    with ExitStack() as stack:
        show = stack.enter_context(live_window(fps)) if live else None
        follow, kwargs = tracker(agent, device)
        task, count = on_video(video, box, kwargs)
        table_path.parent.mkdir(parents=True, exist_ok=True)
        table = stack.enter_context(boxes_file(table_path))
        film = stack.enter_context(film_file(film_path, count, fps)) if film_path else None
        image = task.bank.image  # type: ignore[attr-defined]

        def frame_done(looked: FrameView) -> None:
            table(looked.number, looked.box)
            if film:
                film(image(looked.number), looked)
            tell(looked.number + 1, count)
            if show and not show(image(looked.number), looked):
                raise Ended

        with suppress(Ended):
            follow(TrackedTask(task, frame_done), batch.stack([task.sample(np.random.default_rng(0), 0)]))
    return [path for path in (table_path, film_path) if path]


class Ended(Exception):
    """Raised when the user closes the live window."""


def on_video(video: str | Path, box: Sequence[float], kwargs: dict[str, Any]) -> tuple[Task, int]:
    """The task on a whole video, with the object's box in the first frame, and the number of frames.

    Raises:
        ValueError: the video cannot be read, or the box does not lie in it.
    """
    from visionrl.datasets import VideoSample
    from visionrl.datasets.frames import VideoFrames

    frames = VideoFrames(video, memory=1)  # the newest alone: the task holds the frames that it looks at
    boxes = np.full((len(frames), 4), np.nan)
    boxes[0] = edges_within(box, frames[0])
    sample = VideoSample(frames, boxes, name=str(video))
    whole = {"data": [sample], "split": "test", "clip": None, "start": "first"}
    return make_task(TASK, **{**kwargs, **whole}), len(frames)


def tracker(agent: str | Path, device: str) -> tuple[Follow, dict[str, Any]]:
    """Tracking function of an agent or a classical method, and the task's arguments for it.

    Raises:
        ValueError: the folder holds an agent of another task, or there is neither such a folder nor such a method.
    """
    if not Path(agent).is_dir():
        methods = {plain(name): method for name, method in BASELINES[TASK].items()}
        if plain(str(agent)) not in methods:
            rule = f"agent must be a run's folder or one of {', '.join(BASELINES[TASK])}, got {str(agent)!r}"
            raise ValueError(rule + did_you_mean(plain(str(agent)), methods))
        return methods[plain(str(agent))].fit(None), {"views": ("window",)}
    from visionrl.agents.training.run_files import read_config

    config, _, _ = read_config(Path(agent))
    if config.env != TASK:
        raise ValueError(f"agent must be of {TASK}, {agent} is of {config.env}")
    from visionrl.agents.evaluation.policies import agent_policy
    from visionrl.agents.training.saving import load_model

    loading = ("data", "classes", "split_file", "split_ratios", "split_seed")
    kwargs = {key: value for key, value in config.env_kwargs.items() if key not in loading}
    return by_policy(agent_policy(load_model(agent, device)[0])), kwargs


def plain(name: str) -> str:
    """Normalize the name of a method: "Median-Flow" becomes "median flow"."""
    return name.lower().replace("-", " ").replace("_", " ")


def by_policy(policy: Any) -> Follow:
    """Turn a policy into a function that tracks one episode."""

    def follow(task: Any, state: Any) -> Any:
        policy.reset()
        while not state.finished[0]:
            state = task.step(state, np.asarray(policy(task.observe(state), task, state)))
        return state

    return follow


def parse_box(text: str) -> list[float]:
    """Parse the four numbers of "x,y,w,h".

    Raises:
        ValueError: they are not four numbers.
    """
    try:
        box = [float(part) for part in text.split(",")]
    except ValueError:
        box = []
    if len(box) != 4:
        raise ValueError(f"box must be four numbers x,y,w,h, got {text!r}")
    return box


def edges_within(box: Sequence[float], frame: np.ndarray) -> np.ndarray:
    """(4,) edges (x0, y0, x1, y1) of x, y, width, height.

    Raises:
        ValueError: it has no area, or reaches out of the (C, H, W) frame.
    """
    x, y, width, height = (float(value) for value in box)
    if not (np.isfinite([x, y]).all() and 1 <= width < np.inf and 1 <= height < np.inf):
        raise ValueError(
            f"box must have a width and height of at least one pixel, got {x:g},{y:g},{width:g},{height:g}"
        )
    high, wide = frame.shape[1:]
    if x < 0 or y < 0 or x + width > wide or y + height > high:
        raise ValueError(
            f"box must lie within the frame, {wide} x {high}, got {x:g},{y:g},{width:g},{height:g}"
        )
    return np.array([x, y, x + width, y + height])


def outputs(video: Path, out: str | Path | None) -> tuple[Path | None, Path]:
    """Files of the film, if one is asked for, and of the boxes.

    Raises:
        ValueError: another kind of file, or one that would replace the video, or mp4 without PyAV.
    """
    path = Path(f"{video.resolve().stem}-track.gif") if out is None else Path(out)
    kind = path.suffix.lower()
    if kind not in (*FILMS, ".csv"):
        raise ValueError(f"out must end in {', '.join(FILMS)} or .csv, got {str(path)!r}")
    if kind == ".mp4" and not find_spec("av"):
        raise ValueError('out must not be .mp4 without PyAV: pip install "visionrl[video]"')
    table = path.with_suffix(".csv")
    if video.resolve() in (path.resolve(), table.resolve()):
        raise ValueError(f"out must not be the video itself, got {str(path)!r}")
    return None if kind == ".csv" else path, table
