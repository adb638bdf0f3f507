"""Rules for samples with words: captions, questions and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from visionrl.datasets.arrays import as_floats, check_image
from visionrl.datasets.embedded.scene_words import Facts
from visionrl.datasets.samples import CaptionSample, QuestionSample
from visionrl.datasets.words import tokenize


def check_captions(sample: CaptionSample, where: str) -> CaptionSample:
    """The checked image with its captions."""
    image = check_image(sample.image, where)
    captions = _texts(sample.captions, "captions", where)
    for number, caption in enumerate(captions):
        check_sentence(caption, f"{where}: caption {number}")
    return replace(sample, image=image, captions=captions, facts=_facts(sample.facts, where))


def check_question(sample: QuestionSample, where: str) -> QuestionSample:
    """The checked image with its question and answers."""
    image = check_image(sample.image, where)
    check_sentence(sample.question, f"{where}: question")
    answers = _texts(sample.answers, "answers", where)
    if any(not answer.strip() for answer in answers):
        raise ValueError(f"{where}: answers must not be empty, got {list(answers)!r:.200}")
    if not isinstance(sample.kind, str):
        raise ValueError(f"{where}: kind must be a string, got {sample.kind!r:.80}")
    places = None if sample.places is None else _places(sample.places, image, where)
    return replace(sample, image=image, answers=answers, places=places)


def check_sentence(text: Any, where: str) -> None:
    """Refuse what is no text, or a text without a word.

    Raises:
        ValueError: ``where`` begins the message.
    """
    if not isinstance(text, str):
        raise ValueError(f"{where} must be a text, got {type(text).__name__}")
    if not tokenize(text):
        raise ValueError(f"{where} must have a word (letters a-z or digits), got {text!r:.80}")


def _texts(value: Any, name: str, where: str) -> tuple[str, ...]:
    """A sequence of strings."""
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        raise ValueError(f"{where}: {name} must be a sequence of texts, got {value!r:.80}")
    if bad := [one for one in value if not isinstance(one, str)]:
        raise ValueError(f"{where}: {name} must be texts, got {bad[0]!r:.80} of type {type(bad[0]).__name__}")
    return tuple(map(str, value))


def _places(value: Any, image: np.ndarray, where: str) -> np.ndarray:
    """(N, 2) places on the image's area."""
    places = as_floats(value, f"{where}: places")
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"{where}: places must be (N, 2), got shape {places.shape}")
    size = np.array(image.shape[:0:-1])
    inside = ((places >= -0.5) & (places <= size - 0.5)).all(axis=1)
    if not inside.all():
        raise ValueError(
            f"{where}: places must lie inside the image of width {size[0]} and height {size[1]}, "
            f"got {places[~inside][0].tolist()}"
        )
    return places


def _facts(value: Any, where: str) -> tuple:
    """The facts of an embedded scene as plain tuples; none where they are unknown."""
    facts = _tuples(value)
    try:
        return Facts.of(facts).to_tuple() if facts != () else ()
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _tuples(value: Any) -> Any:
    """Lists and tuples as tuples, all the way down."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
