"""Prompts of a user for an image: the box of an object, clicks on it and beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.core.registry import Entry
from visionrl.datasets import ImageSample, QuestionSample
from visionrl.datasets.readers.files import image_of
from visionrl.datasets.unlabelled import edges_within, read_unlabelled
from visionrl.datasets.validate_language import check_sentence

SIGNS = {"+": 1, "-": -1}

Click = tuple[float, float, int]
"""x and y in pixels of the file, whole numbers are centres; 1 on the object, -1 beside it."""


def parse_clicks(words: Sequence[str]) -> list[Click]:
    """Clicks of words "x,y,+" on the object and "x,y,-" beside it; "x,y" is on it.

    Raises:
        ValueError: a word is no click.
    """
    found = []
    for word in words:
        parts = word.split(",")
        try:
            x, y = (float(part) for part in parts[:2])
            sign = SIGNS[parts[2]] if len(parts) > 2 else 1
            if len(parts) > 3:
                raise ValueError
        except (ValueError, KeyError):
            raise ValueError(f"clicks must be x,y,+ on the object or x,y,- beside it, got {word!r}") from None
        found.append((x, y, sign))
    return found


def check_prompts(entry: Entry, box: Any, clicks: Any, question: str | None = None) -> None:
    """Refuse a box, clicks or a question for a task that does not look at them.

    Raises:
        ValueError: names the option and the task.
    """
    if question is not None and entry.task.sample_type is not QuestionSample:
        raise ValueError(f"question must not be given for {entry.id}")
    if box is not None and not entry.task.box_prompt:
        raise ValueError(f"box must not be given for {entry.id}")
    if clicks and not entry.task.click_prompt:
        raise ValueError(f"clicks must not be given for {entry.id}")


def asked_about(data: Any, question: str | None = None, **more: Any) -> QuestionSample:
    """A question about an image, a file or an array.

    Raises:
        ValueError: there is no question, or none with a word, or the image cannot be read.
    """
    if question is None:
        raise ValueError("question must be given, such as 'what colour is the bag'")
    check_sentence(question, "question")
    named = isinstance(data, str | Path)
    image = read_unlabelled(Path(data), ImageSample) if named else ImageSample(image_of(data))
    return QuestionSample(image.image, question, **{"name": image.name, **more})


def with_prompts(sample: ImageSample, box: Any = None, clicks: Sequence[Click] | None = None) -> ImageSample:
    """The image with a box (x, y, width, height) and clicks, as its ``boxes`` and ``points``.

    Raises:
        ValueError: one of them does not lie in the image, or a click is no x, y and sign.
    """
    high, wide = sample.image.shape[1:]
    points: dict[str, Any] = {}
    for number, click in enumerate(clicks or (), 1):
        given = np.asarray(click, float)
        if given.shape != (3,) or given[2] not in (1, -1):
            raise ValueError(f"clicks must be (x, y, 1) on the object or (x, y, -1) beside it, got {click!r}")
        if not (-0.5 <= given[0] <= wide - 0.5 and -0.5 <= given[1] <= high - 0.5):
            raise ValueError(f"clicks must lie in the image, {wide} x {high}, got {given[0]:g},{given[1]:g}")
        points[f"{'+' if given[2] > 0 else '-'}{number}"] = given[:2]
    if box is not None:
        sample = replace(sample, boxes=edges_within(box, sample.image)[None], labels=())
    return replace(sample, points=points) if points else sample
