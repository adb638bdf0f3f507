"""Damaged video files: each gives frames of one shape, or is refused in one line that names it; in time."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from mutations import FAULTS

from visionrl.datasets.frames import VideoFrames

BYTES = (
    *("truncate", "empty", "flip_bytes", "flip_one_bit", "cut_out", "put_in", "repeat", "noise", "zeros"),
    "huge_words",
)
KINDS = {"avi": "MJPG", "mp4": "mp4v", "ts": "MPG2"}
CASES = 20  # of each kind
SECONDS = 5.0


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A video of 12 frames in each container, as bytes."""
    root, found = tmp_path_factory.mktemp("videos"), {}
    for kind, code in KINDS.items():
        writer = cv2.VideoWriter(
            str(root / f"a.{kind}"), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*code), 25, (64, 48)
        )
        for k in range(12):
            writer.write(
                np.roll(np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8), k, axis=1)
            )
        writer.release()
        found[kind] = (root / f"a.{kind}").read_bytes()
    return found


@pytest.mark.parametrize("seed", range(CASES))
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_video_gives_frames_or_is_refused_by_name(videos, tmp_path, kind, seed):
    file = tmp_path / f"a.{kind}"
    file.write_bytes(videos[kind])
    rng = np.random.default_rng(seed)
    name = BYTES[int(rng.integers(len(BYTES)))]
    FAULTS[name](file, rng)
    begin = time.perf_counter()
    try:
        frames = VideoFrames(file)
        for k in (0, len(frames) // 2, 0, min(len(frames), 40) - 1):
            frame = frames[k]
            assert (frame.shape, frame.dtype) == (frames[0].shape, np.uint8)
    except (ValueError, OSError) as error:
        assert str(file) in str(error) and "\n" not in str(error), f"{name}: {error}"
    assert time.perf_counter() - begin < SECONDS, name
