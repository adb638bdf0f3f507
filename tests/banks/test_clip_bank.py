"""The bank of clips: gathers, and its features."""

from __future__ import annotations

import numpy as np
import pytest

from visionrl.banks.clips import FEATURES, ClipBank, describe
from visionrl.datasets import ClipSample
from visionrl.ops import namespace, to_numpy


def clips() -> list[ClipSample]:
    """Return two clips of other lengths and sizes."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (5, 3, 8, 12)).astype(np.uint8)
    second = rng.integers(0, 256, (3, 1, 6, 6)).astype(np.uint8)
    return [ClipSample(first, name="a"), ClipSample(second, name="b")]


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_times_beyond_the_clip_are_its_ends(backend: str) -> None:
    xp, bank = namespace(backend), ClipBank(clips(), 4)
    clip, time = xp.asarray([0, 1]), xp.asarray([[-2, 0, 4], [1, 2, 4]])
    assert to_numpy(bank.number(clip, time)).tolist() == [[0, 0, 4], [6, 7, 7]]
    assert to_numpy(bank.pictures(clip, time)).shape == (2, 3, 3, 4, 4)
    assert to_numpy(bank.rows(clip, time[:, 1])).shape == (2, FEATURES)


def test_features_of_a_clip_are_those_of_its_frames() -> None:
    bank = ClipBank(clips(), 4)
    frames = clips()[1].frames
    assert frames is not None
    np.testing.assert_array_equal(bank.features_of(1), [describe(frame) for frame in frames])


def test_features_have_length_one_and_tell_frames_apart() -> None:
    first, second = clips()[0].frames[:2]
    assert np.linalg.norm(describe(first)) == pytest.approx(1, abs=1e-5)
    assert describe(first) @ describe(first // 2 + 60) > describe(first) @ describe(second)
    assert np.isfinite(describe(np.zeros((1, 1, 1), np.uint8))).all()


def test_features_of_the_samples_are_used_where_all_have_some() -> None:
    own = [ClipSample(features=np.ones((2, 7))), ClipSample(features=np.ones((1, 7)))]
    bank = ClipBank(own, 4)
    assert bank.width == 7 and bank.thumbnails is None
    with pytest.raises(ValueError, match="samples must have frames to be shown"):
        bank.pictures(np.array([0]), np.array([0]))
    with pytest.raises(ValueError, match="must all have frames, or all features"):
        ClipBank([*own, clips()[0]], 4)
    with pytest.raises(ValueError, match=r"features must be equally many in all samples, got \[7, 8\]"):
        ClipBank([*own, ClipSample(features=np.ones((2, 8)))], 4)
