"""Captions without a network are said in the words of the task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from visionrl.baselines.language import nearest_caption, one_caption
from visionrl.core import batch
from visionrl.datasets import CaptionSample
from visionrl.envs.language.caption import CaptionGeneration


@pytest.mark.parametrize("method", [one_caption, nearest_caption])
def test_capitals_and_marks_of_a_caption_cost_no_word(method: Any) -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 3, 20, 20), np.uint8)
    samples = [CaptionSample(image, ("A dog, running fast.",), name=str(k)) for k, image in enumerate(images)]
    task = CaptionGeneration(data=samples, side=16)
    state: Any = batch.stack([task.sample(np.random.default_rng(0), 0)])
    end = method(task)(task, state)
    assert task.words.decode(end.taken[0]) == "a dog running fast" and bool(end.finished[0])
