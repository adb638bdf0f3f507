"""A toy world of language: one square, red or green, on the left or on the right of a small picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from visionrl.datasets import CaptionSample, QuestionSample
from visionrl.models import Model, model_class

SIDE = 32
SMALL: dict[str, Any] = {"side": SIDE, "backbone": "small", "width": 32, "dropout": 0.0}
CAPTIONERS = ["show_and_tell", "show_attend_and_tell", "caption_transformer", "prefix_captioner"]
ANSWERERS = [
    "vqa_question_only",
    "vqa_cnn_rnn",
    "vqa_film",
    "vqa_stacked_attention",
    "vqa_transformer",
]


def picture(colour: str, place: str, rng: np.random.Generator) -> np.ndarray:
    """(3, 32, 32) uint8."""
    image = rng.integers(0, 60, (3, SIDE, SIDE), np.uint8)
    left = int(rng.integers(2, 6)) + (16 if place == "right" else 0)
    top = int(rng.integers(4, 18))
    image[0 if colour == "red" else 1, top : top + 10, left : left + 10] = 250
    return image


def worlds(count: int, seed: int = 0) -> list[tuple[str, str, np.ndarray]]:
    """Colour, place and picture of some of them."""
    rng = np.random.default_rng(seed)
    pairs = [("red", "left"), ("red", "right"), ("green", "left"), ("green", "right")]
    return [(*pairs[k % 4], picture(*pairs[k % 4], rng)) for k in range(count)]


def captions(count: int, seed: int = 0) -> list[CaptionSample]:
    """Each with two captions."""
    return [
        CaptionSample(
            image, (f"a {colour} square on the {place}", f"on the {place} is {colour}"), name=str(k)
        )
        for k, (colour, place, image) in enumerate(worlds(count, seed))
    ]


def questions(count: int, seed: int = 0) -> list[QuestionSample]:
    """Two about each picture."""
    found = []
    for k, (colour, place, image) in enumerate(worlds(count, seed)):
        found.append(QuestionSample(image, "what colour is it", (colour,), "colour", name=f"{k} c"))
        found.append(
            QuestionSample(image, "is it left", ("yes" if place == "left" else "no",), "left", name=f"{k} l")
        )
    return found


def fit(name: str, samples: Any, steps: int = 100, lr: float = 3e-3, **options: Any) -> Model:
    """A model after some steps on all samples at once."""
    torch.manual_seed(0)
    model = model_class(name).for_samples(samples, {**SMALL, **options})
    split = model.encode(samples)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(split).backward()
        optimizer.step()
    return model.eval()
