"""Words about images: a caption, an answer, the classes of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Caption:
    """A sentence about what an image shows.

    Attributes:
        caption: the sentence; empty where the agent said nothing.
    """

    caption: str

    def joined(self, others: Sequence[Caption]) -> Caption:
        """This result: an image has one caption."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"caption": self.caption}


@dataclass(frozen=True)
class Answer:
    """The answer to a question about an image, and where the agent looked.

    Attributes:
        question: the question.
        answer: the answer; None where the agent gave none.
        glimpses: (G, 2) float64, (x, y) of the places looked at, in order, pixels of the file; none where the agent saw
            the whole image.
        confidence: probability that the agent's policy gave the answer among all answers; None where it has none.
    """

    question: str
    answer: str | None
    glimpses: np.ndarray
    confidence: float | None = None

    def joined(self, others: Sequence[Answer]) -> Answer:
        """This result: one question has one answer."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        found = {"question": self.question, "answer": self.answer, "confidence": self.confidence}
        return {**found, "glimpses": self.glimpses.tolist()}


@dataclass(frozen=True)
class StreamClasses:
    """The classes of a stream of images, in the order of showing.

    Attributes:
        images: name of each image.
        labels: name of the class that the agent gave it; None where it asked for the label instead.
    """

    images: tuple[str, ...]
    labels: tuple[str | None, ...]

    def joined(self, others: Sequence[StreamClasses]) -> StreamClasses:
        """This result: a set of images is one stream."""
        return self

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        rows = zip(self.images, self.labels, strict=True)
        return {"stream": [{"image": image, "label": label, "asked": label is None} for image, label in rows]}
