"""Models that recognise actions: training, any number of frames, files, bad clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visionrl.datasets import ClipSample
from visionrl.models import load_model, model_class, save_model

OPTIONS = {"skeleton_rnn": {"width": 16, "size": 16}, "frame_rnn": {"width": 16, "size": 16, "side": 16}}


def clips(count: int = 16) -> list[ClipSample]:
    """Clips of a square that grows bright or dark, and of numbers that rise or fall."""
    rng, found = np.random.default_rng(0), []
    for number in range(count):
        ramp = np.linspace(0, 1, 10 + number % 3) if number % 2 else np.linspace(1, 0, 10 + number % 3)
        frames = rng.integers(0, 30, (len(ramp), 1, 16, 16)).astype(np.uint8)
        frames[:, :, 4:12, 4:12] += (200 * ramp).astype(np.uint8)[:, None, None, None]
        rows = np.stack([ramp + rng.normal(0, 0.1, len(ramp)) for _ in range(3)], axis=1).astype(np.float32)
        found.append(ClipSample(frames, rows, ("fades", "dawns")[number % 2], name=str(number)))
    return found


def made(name: str, **options: Any) -> Any:
    """A model for those clips."""
    torch.manual_seed(0)
    return model_class(name).for_samples(clips(), {"frames": 6, **OPTIONS[name], **options})


@pytest.mark.parametrize(("name", "cell"), [("skeleton_rnn", "gru"), ("frame_rnn", "lstm")])
def test_a_recogniser_learns_which_way_things_go(name: str, cell: str) -> None:
    model, samples = made(name, cell=cell, dropout=0.0), clips()
    split, optimizer = model.encode(samples), torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model.train().loss(split).backward()
        optimizer.step()
    found = model.evaluate(samples, split)
    assert found["accuracy"] >= 0.9 and found["accuracy_2"] >= 0.9
    assert list(found) == ["accuracy", "accuracy_1", "accuracy_2", "accuracy_3", "accuracy_4"]


@pytest.mark.parametrize("name", OPTIONS)
def test_a_file_gives_the_same_answers(name: str, tmp_path: Path) -> None:
    model = made(name).eval()
    save_model(model, tmp_path / "model")
    split, places = model.encode(clips()), torch.tensor([1, 4])
    again: Any = load_model(tmp_path / "model").eval()
    assert torch.equal(model.logits(split[model.key], places), again.logits(split[model.key], places))


def test_clips_without_what_a_model_needs_are_refused() -> None:
    plain = clips()
    with pytest.raises(ValueError, match="must have label, '0' has none"):
        model_class("skeleton_rnn").for_samples([ClipSample(None, plain[0].features, name="0")], {})
    with pytest.raises(ValueError, match="must have frames for frame_rnn, 'a' has none"):
        model_class("frame_rnn").for_samples([ClipSample(None, plain[0].features, "x", name="a")], {})
    with pytest.raises(ValueError, match="must have features for skeleton_rnn, 'a' has none"):
        model_class("skeleton_rnn").for_samples([ClipSample(plain[0].frames, label="x", name="a")], {})
    with pytest.raises(ValueError, match="classes must be two or more"):
        model_class("skeleton_rnn").for_samples(plain[:1], {})
    with pytest.raises(ValueError, match="must have features for skeleton_rnn, 'b' has none"):
        made("skeleton_rnn").encode([ClipSample(plain[0].frames, label="dawns", name="b")])
    wide = ClipSample(None, np.zeros((9, 4), np.float32), "dawns", name="b")
    with pytest.raises(ValueError, match="features of 'b' must be 3 a frame, got 4"):
        made("skeleton_rnn").encode([wide])
    with pytest.raises(ValueError, match="label of 'b' must be one of dawns, fades, got 'rains'"):
        made("skeleton_rnn").encode([ClipSample(None, plain[0].features, "rains", name="b")])
