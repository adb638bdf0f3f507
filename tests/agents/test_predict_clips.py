"""Summaries and skimmed films of a user's own videos."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from visionrl.agents.prediction.agent import classical
from visionrl.cli.main import main

SUMMARY, FORWARD = "VideoSummarization-v0", "FastForward-v0"


def write_film(path: Path, count: int = 60) -> Path:
    """Write a video of 4 frames a second in which something moves."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 4, (64, 48))
    for number in range(count):
        frame = np.full((48, 64, 3), 60, np.uint8)
        cv2.circle(frame, (10 + (number * 3 if 20 < number < 36 else 0) % 50, 24), 8, (30, 200, 220), -1)
        writer.write(frame)
    writer.release()
    return path


def test_a_film_gets_a_summary_a_table_and_a_skimmed_film(tmp_path: Path) -> None:
    film = write_film(tmp_path / "mine.avi")
    main(["predict", "motion energy", str(film), "--env", SUMMARY, "--out", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out" / "mine.json").read_text())
    assert found["frames"] == 60 and found["fps"] == 4 and len(found["kept"]) == 8
    assert min(found["kept"]) >= 16 and max(found["kept"]) < 40, "where something moves"
    rows = list(csv.DictReader((tmp_path / "out" / "mine.csv").read_text().splitlines()))
    assert len(rows) == 8 and sum(int(row["kept"]) for row in rows) == 1
    assert (tmp_path / "out" / "mine.gif").stat().st_size > 100


def test_a_folder_of_pictures_is_fast_forwarded(tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    for number in range(15):
        cv2.imwrite(str(tmp_path / "shots" / f"{number}.png"), np.full((9, 12, 3), 10 * number, np.uint8))
    words = ["predict", "uniform, 1 in 7", str(tmp_path / "shots"), "--env", FORWARD]
    main([*words, "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "shots.csv").read_text() == "frame,seconds\n0,\n7,\n14,\n"


def test_a_folder_of_films_gets_a_table_of_classes_with_the_frames_looked_at(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    for name in ("a", "b"):
        write_film(tmp_path / "films" / f"{name}.avi", 32)
    words = ["predict", "uniform 3", str(tmp_path / "films"), "--env", "FrameSelection-v0"]
    main([*words, "--out", str(tmp_path / "out")])
    rows = list(csv.DictReader((tmp_path / "out" / "classes.csv").read_text().splitlines()))
    assert [row["frames"] for row in rows] == ["5 17 27"] * 2 and all(row["label"] for row in rows)
    found = json.loads(next((tmp_path / "out").rglob("a.json")).read_text())
    assert found["label"] == rows[0]["label"] and found["looked_at"] == [5, 17, 27] and found["frames"] == 32
    for name in ("a", "b"):
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert picture.format == "PNG"
    assert not list((tmp_path / "out").glob("*.gif"))


def test_a_film_gets_segments_with_times_as_json_and_table(tmp_path: Path) -> None:
    film = write_film(tmp_path / "mine.avi", 60)
    words = ["predict", "sliding windows, 1 in 2", str(film), "--env", "TemporalDetection-v0"]
    main([*words, "--out", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out" / "mine.json").read_text())
    assert found["frames"] == 60 and found["fps"] == 4 and len(found["looked_at"]) == 30
    rows = list(csv.DictReader((tmp_path / "out" / "mine.csv").read_text().splitlines()))
    assert rows and len(rows) == len(found["segments"])
    best = max(found["segments"], key=lambda row: row["score"])
    assert best["start"] < 36 and best["end"] > 21, "where something moves"
    assert best["segment"] == [best["start"] / 4, best["end"] / 4] and best["label"]
    listed = json.loads((tmp_path / "out" / "segments.json").read_text())["results"]
    assert [row["segment"] for row in next(iter(listed.values()))] == [
        row["segment"] for row in found["segments"]
    ]
    assert (tmp_path / "out" / "mine.png").exists() and not list((tmp_path / "out").glob("*.gif"))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("none.mp4", "files must exist"),
        ("empty", "must hold videos or folders of pictures, found none"),
    ],
)
def test_what_is_no_video_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture, word: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as stop:
        main(["predict", "uniform", str(tmp_path / word), "--env", SUMMARY, "--out", str(tmp_path / "out")])
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_a_damaged_video_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "predict",
                "uniform",
                str(tmp_path / "bad.mp4"),
                "--env",
                SUMMARY,
                "--out",
                str(tmp_path / "out"),
            ]
        )
    assert stop.value.code == 1 and "failed" in capsys.readouterr().err


def test_an_array_of_frames_is_summarized() -> None:
    frames = np.zeros((100, 12, 16, 3), np.uint8)
    frames[50:] = np.random.default_rng(0).integers(0, 255, (50, 12, 16, 3))
    found = classical(SUMMARY, "motion energy").predict(frames, fps=5.0)
    assert len(found.pieces) == 10 and len(found.frames) == 10 and found.frames.min() >= 50
