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

from visionrl.agents.prediction import registration_files as registration_files
from visionrl.agents.prediction.agent import Agent
from visionrl.agents.prediction.inputs import Input
from visionrl.agents.prediction.outputs import contents_of, write_all
from visionrl.rendering import write_png

LINES = "predictions.jsonl"
WIDEST = 4  # pictures beside one another
MOST_PICTURES = 16  # in the picture of one file


@dataclass(frozen=True)
class Report:
    """What became of some files.

    Attributes:
        done: how many have results.
        failed: (file, what is wrong) of the others.
    """

    done: int
    failed: list[tuple[str, str]]


def predict_files(
    agent: Agent,
    inputs: Sequence[Input],
    out: Path,
    *,
    overwrite: bool = False,
    pictures: bool = True,
    seed: int = 0,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Apply an agent to files one after another, and write what it finds.

    The folder gets ``predictions.jsonl``, a line a file as it is done; ``NAME.png``, the annotated pictures; and the
    files of the result's kind, see ``outputs``. A file that cannot be read is reported and the others go on. Each file
    that is written is whole, whenever the process ends.

    Args:
        agent: see ``Agent``.
        inputs: the files.
        out: the folder; made if it is not there.
        overwrite: replace results of earlier predictions.
        pictures: write the pictures.
        seed: of where episodes start.
        tell: called after every file with the number of files that are done, and of all.

    Raises:
        FileExistsError: the folder has results already, and ``overwrite`` is off.
    """
    lines, failed, used = out / LINES, [], set[str]()
    if lines.exists() and not overwrite:
        raise FileExistsError(f"{lines} exists; --overwrite replaces it, or give another --out")
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        log = os.open(lines, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
        stack.callback(os.close, log)
        for number, one in enumerate(inputs):
            try:
                prediction = agent.predict_sample(agent.sample_of(one.read()), seed)
            except (ValueError, OSError, ImportError) as error:
                failed.append((one.file, str(error).replace("\n", " ")))
                tell(number + 1, len(inputs))
                continue
            stem = out / unused(prediction.name, used)
            contents = contents_of(prediction)
            written = write_all(stem, contents)
            if pictures:
                path = stem.with_name(stem.name + ".png")
                written.append(write_png(path, beside(prediction.pictures()[:MOST_PICTURES])))
            about: dict[str, Any] = {"file": one.file, **prediction.to_json(), "agent": agent.name}
            about["written"] = [path.name for path in written]
            os.write(log, (json.dumps(about) + "\n").encode())
            tell(number + 1, len(inputs))
    return Report(len(inputs) - len(failed), failed)


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
    rows = [np.concatenate(same[k : k + WIDEST], axis=1) for k in range(0, len(same), WIDEST)]
    wide = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, wide - row.shape[1]), (0, 0))) for row in rows])
