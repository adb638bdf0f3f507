"""Tracking of one object in a video: its boxes, and a film of them, are written as the agent goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from visionrl.agents.prediction.agent import Agent, Prediction
from visionrl.agents.prediction.films import FilmOptions, film_file
from visionrl.agents.prediction.outputs import BOXES_HEAD, boxes_line
from visionrl.agents.prediction.track_view import FrameView, TrackedTask, draw_view
from visionrl.core import Task
from visionrl.datasets import VideoSample
from visionrl.rendering import replacing


def predict_track(
    agent: Agent, sample: VideoSample, stem: Path, seed: int, options: FilmOptions, film: Path | None = None
) -> tuple[Prediction, list[Path]]:
    """Follow the object of a video; its boxes, and a film that shows where the agent looked, are written on the way.

    Decoded frames take up to ``visionrl.datasets.frames.memory_limit()`` bytes. Files have their names once they are
    complete. Where ``options.show`` says not to go on, they have the frames that are done.

    Args:
        agent: of a task on ``VideoSample``.
        sample: the video; the object's first box alone is looked at.
        stem: the files' path without an ending.
        seed: see ``Agent.predict_sample``.
        options: of the film.
        film: its file; None makes none.

    Returns:
        What the agent found, and the files: NAME.csv, and the film if there is one.

    Raises:
        ValueError: a frame cannot be read.
    """
    count, boxes = len(sample.frames), stem.with_name(stem.name + ".csv")
    spent = 0.0  # in files and on the screen
    with ExitStack() as stack:
        table = stack.enter_context(boxes_file(boxes))
        opened = stack.enter_context(film_file(film, count, options.fps)) if film else None

        def wrap(task: Task) -> Any:
            image = task.bank.image  # type: ignore[attr-defined]

            def frame_done(view: FrameView) -> bool:
                nonlocal spent
                began, number = perf_counter(), view.number
                table(number, view.box)
                if opened and number in opened.numbers:
                    frame = image(number)
                    opened.add(draw_view(frame, view, opened.zoom(frame.shape[:2])))
                options.tell(number + 1, count)
                goes_on = not options.show or options.show(image(number), view)
                spent += 1000 * (perf_counter() - began)
                return goes_on

            return TrackedTask(task, frame_done)

        prediction = agent.predict_sample(sample, seed, wrap)
    return replace(prediction, milliseconds=prediction.milliseconds - spent), [boxes, film] if film else [
        boxes
    ]


@contextmanager
def boxes_file(path: Path) -> Iterator[Callable[[int, np.ndarray], None]]:
    """Open a CSV file of boxes; yields a function that appends one line per frame."""
    with replacing(path) as partial, partial.open("w") as file:
        file.write(BOXES_HEAD)

        def write(number: int, edges: np.ndarray) -> None:
            file.write(boxes_line(number, edges))

        yield write
