"""Prediction on many files: a folder with their results, pictures, and a line of JSON each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from visionrl.agents.prediction import anatomy_files as anatomy_files  # registers its writers
from visionrl.agents.prediction import mask_files as mask_files  # registers its writers
from visionrl.agents.prediction import picture_files as picture_files  # registers its writers
from visionrl.agents.prediction import registration_files as registration_files  # registers its writers
from visionrl.agents.prediction.agent import Agent, Prediction
from visionrl.agents.prediction.films import FilmOptions, summary_film, tracks_film
from visionrl.agents.prediction.inputs import Input
from visionrl.agents.prediction.outputs import (
    Done,
    contents_of,
    folder_contents,
    voc_xml,
    write_all,
    write_in,
)
from visionrl.agents.prediction.track import predict_track
from visionrl.core.results import BoxTrack, Summary, Tracks, VideoBoxes
from visionrl.datasets import ClipSample, MotSample, VideoSample
from visionrl.rendering import write_png

LINES = "predictions.jsonl"
COLUMNS = 4  # of the pictures of one file
DEFAULT_FILMS = FilmOptions()
MAX_PICTURES = 16  # in the picture of one file


@dataclass(frozen=True)
class Report:
    """Numbers of files that were done and that failed.

    Attributes:
        done: how many have results.
        failed: (file, what is wrong) of the others.
        stopped: the user ended it at this file; empty where not.
    """

    done: int
    failed: list[tuple[str, str]]
    stopped: str = ""


def predict_files(
    agent: Agent,
    inputs: Sequence[Input],
    out: Path,
    *,
    overwrite: bool = False,
    pictures: bool = True,
    voc: bool = False,
    seed: int = 0,
    films: FilmOptions = DEFAULT_FILMS,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Apply an agent to files one after another, and write what it finds.

    The folder gets ``predictions.jsonl``, a line a file as it is done; ``NAME.png``, the annotated pictures, or for a
    video a film; and the files of the result's kind, see ``outputs``; those about the whole folder are written at the
    end, also where the user ends it early. A file that cannot be read is reported and the others go on. Each file that
    is written is whole, whenever the process ends.

    Args:
        agent: see ``Agent``.
        inputs: the files.
        out: the folder; made if it is not there.
        overwrite: replace results of earlier predictions.
        pictures: write the pictures and films.
        voc: write boxes as Pascal VOC's XML too.
        seed: of where episodes start.
        films: how films are made, and whether each frame is shown as it is done.
        tell: called after every file with the number of files that are done, and of all.

    Raises:
        FileExistsError: there is something in the folder already, and ``overwrite`` is off.
        ValueError: it is the folder of one of the files, which a result could replace; or ``voc`` is on for a task
            that finds no boxes.
    """
    if voc and "detection" not in agent.entry.tags:
        raise ValueError(f"voc must be off for tasks without boxes, got {agent.entry.id}")
    failed, used, done, stopped = [], set[str](), list[Done](), ""
    check_folder(out, inputs, overwrite)
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        log = os.open(out / LINES, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
        stack.callback(os.close, log)
        stack.callback(lambda: write_in(out, folder_contents(done)))
        for number, one in enumerate(inputs):
            try:
                sample = agent.sample_of(one.read())
                stem = out / unused(sample.name, used)
                shown = shown_as(stem, agent.sample_type, films.kind) if pictures else None
                prediction, written = predict_one(agent, sample, stem, seed, films, shown)
                if voc:
                    written += write_all(stem, {".xml": voc_xml(one.file, prediction)})
            except (ValueError, OSError, ImportError) as error:
                failed.append((one.file, str(error).replace("\n", " ")))
                tell(number + 1, len(inputs))
                continue
            about: dict[str, Any] = {"file": one.file, **prediction.to_json(), "agent": agent.name}
            about["written"] = [path.name for path in written]
            os.write(log, (json.dumps(about) + "\n").encode())
            done.append(Done.of(one.file, prediction))
            tell(number + 1, len(inputs))
            if isinstance(prediction.result, BoxTrack) and len(prediction.result.boxes) < len(sample.frames):
                stopped = one.file
                break
    return Report(len(done), failed, stopped)


def predict_one(
    agent: Agent, sample: Any, stem: Path, seed: int, films: FilmOptions, shown: Path | None
) -> tuple[Prediction, list[Path]]:
    """Apply the agent to one sample, and write its files.

    Args:
        agent: see ``Agent``.
        sample: of its ``sample_type``.
        stem: the files' path without an ending.
        seed: of where episodes start.
        films: how a film is made.
        shown: the film of a video, or the picture; None makes none. A video whose result is no film gets a PNG of
            that name.

    Raises:
        ValueError: the sample is not what the task is about, or a frame cannot be read.
    """
    if agent.sample_type is VideoSample:
        prediction, written = predict_track(agent, sample, stem, seed, films, shown)
        return prediction, list(dict.fromkeys([*written, *write_all(stem, contents_of(prediction))]))
    prediction = agent.predict_sample(sample, seed)
    written = write_all(stem, contents_of(prediction))
    if shown and isinstance(prediction.result, Tracks | VideoBoxes):
        written.append(tracks_film(shown, prediction, films))
    elif shown and isinstance(prediction.result, Summary):
        if sample.frames is not None and len(prediction.result.frames):
            written.append(summary_film(shown, prediction, films))
    elif shown:
        written.append(write_png(shown.with_suffix(".png"), beside(prediction.pictures()[:MAX_PICTURES])))
    return prediction, written


def shown_as(stem: Path, kind: type, film: str) -> Path:
    """The picture of a sample, or the film of a video, if there is one."""
    return stem.with_name(f"{stem.name}.{film if kind in (VideoSample, MotSample, ClipSample) else 'png'}")


def check_folder(out: Path, inputs: Sequence[Input], overwrite: bool) -> None:
    """Refuse to write into a folder that is not for results.

    Raises:
        FileExistsError: see ``predict_files``.
        ValueError: likewise.
    """
    folder = out.resolve()
    for place in (place.resolve() for one in inputs for place in one.places):
        if folder in (place, place.parent):
            raise ValueError(
                f"out must be another folder than that of the files, got {out} with {place.name}"
            )
    if not overwrite and out.is_dir() and (there := sorted(out.iterdir())):
        raise FileExistsError(
            f"out must be a new or empty folder, {out} has {there[0].name}; --overwrite replaces results"
        )


def unused(name: str, used: set[str]) -> str:
    """A name for files that no other sample of this prediction has; slashes become "_"."""
    base = name.replace("/", "_").replace("\\", "_").strip(".") or "sample"
    found, count = base, 1
    while found in used:
        count += 1
        found = f"{base}-{count}"
    used.add(found)
    return found


def beside(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures beside one another, four a row, all as high as the first."""
    height = pictures[0].shape[0]
    same = [
        cv2.resize(p, (max(round(p.shape[1] * height / p.shape[0]), 1), height), interpolation=cv2.INTER_AREA)
        for p in pictures
    ]
    rows = [np.concatenate(same[k : k + COLUMNS], axis=1) for k in range(0, len(same), COLUMNS)]
    wide = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, wide - row.shape[1]), (0, 0))) for row in rows])
