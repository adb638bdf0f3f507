"""Boxes in the frames of a user's video: files, film, errors of the command."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from visionrl.cli import main as cli

LENGTH = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sequence in MOT's layout, without truth: one detection a frame, 3 pixels further each; ever lighter frames."""
    place = tmp_path / "seq"
    (place / "img1").mkdir(parents=True)
    (place / "det").mkdir()
    for time in range(1, LENGTH + 1):
        cv2.imwrite(str(place / "img1" / f"{time:06d}.png"), np.full((48, 64, 3), 60 + 20 * time, np.uint8))
    lines = [f"{time},-1,{11 + 3 * (time - 1)},11,16,12,0.8" for time in range(1, LENGTH + 1)]
    (place / "det" / "det.txt").write_text("\n".join(lines) + "\n")
    return place


def command(folder: Path, out: Path) -> None:
    cli.main(["predict", "every 2nd frame", str(folder), "--env", "VideoDetection-v0", "--out", str(out)])


def test_the_files_and_the_film_of_a_sequence(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command(folder, out)
    table = (out / "seq.csv").read_text().splitlines()
    assert table[:3] == [
        "frame,x,y,w,h,score,detected",
        "0,10.0,10.0,16.0,12.0,0.8,1",
        "1,10.0,10.0,16.0,12.0,0.776,0",
    ]
    assert table[4].startswith("3,19.0,10.0,16.0,12.0"), (
        "a frame on from the detection in frame 2, by its velocity"
    )
    mot = (out / "seq.mot.txt").read_text().splitlines()
    assert len(mot) == LENGTH and mot[0] == "1,-1,11.000,11.000,16.000,12.000,0.8,-1,-1,-1"
    found = json.loads((out / "predictions.jsonl").read_text())
    assert found["detected"] == [0, 2, 4] and found["written"] == ["seq.mot.txt", "seq.csv", "seq.gif"]
    with Image.open(out / "seq.gif") as film:
        assert film.n_frames == LENGTH  # type: ignore[attr-defined]


def test_a_sequence_without_detections_is_an_error_of_one_line(folder: Path, tmp_path: Path, capsys) -> None:
    (folder / "det" / "det.txt").unlink()
    with pytest.raises(SystemExit) as stop:
        command(folder, tmp_path / "out")
    error = capsys.readouterr().err
    assert stop.value.code in (1, 2) and "Traceback" not in error and "det" in error
