"""Many objects in a video without identities: tracks, the file of the MOTChallenge, the film."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from visionrl.agents.evaluation.compare import compare
from visionrl.agents.evaluation.policies import RandomPolicy
from visionrl.agents.prediction.agent import Agent, classical
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.predict import Report, predict_files
from visionrl.cli import main as cli
from visionrl.core import batch, make_task
from visionrl.core.results import Tracks
from visionrl.datasets import MotSample, load

ID = "visionrl/MultiObjectTracking-v0"
SORT = "Hungarian and Kalman (SORT)"
LENGTH, SIDE = 6, 16
SPEEDS = (4, -4)


def places(time: int) -> list[list[float]]:
    """Edges of the two objects."""
    return [[x, y, x + SIDE, y + SIDE] for x, y in ((20 + 4 * time, 20), (80 - 4 * time, 60))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sequence of two patches that go by each other, with detections and no truth."""
    rng = np.random.default_rng(0)
    back = cv2.GaussianBlur(rng.integers(0, 256, (96, 128, 3)).astype(np.uint8), (0, 0), 2)
    things = rng.integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8)
    place, lines = tmp_path / "seq", []
    (place / "img1").mkdir(parents=True)
    (place / "det").mkdir()
    for time in range(LENGTH):
        picture = back.copy()
        for thing, (x0, y0, x1, y1) in zip(things, np.array(places(time), int), strict=True):
            picture[y0:y1, x0:x1] = thing
            lines.append(f"{time + 1},-1,{x0 + 1},{y0 + 1},{SIDE},{SIDE},0.9")
        cv2.imwrite(str(place / "img1" / f"{time + 1:06d}.png"), picture)
    (place / "det" / "det.txt").write_text("\n".join(lines) + "\n")
    return place


def labelled(folder: Path, boxes: Any = places) -> MotSample:
    """The sequence with the truth."""
    (bare,) = load(f"mot:{folder}", kind=MotSample, split="all")
    return replace(
        bare, ids=[np.array([4, 9])] * LENGTH, boxes=[np.array(boxes(time)) for time in range(LENGTH)]
    )


def test_two_objects_are_two_tracks(folder: Path) -> None:
    found = classical(ID, "rule on look and overlap").predict(folder)
    assert isinstance(found, Tracks)
    np.testing.assert_array_equal(found.frames, np.repeat(np.arange(LENGTH), 2))
    np.testing.assert_array_equal(found.ids, np.tile([1, 2], LENGTH))
    np.testing.assert_allclose(found.boxes.reshape(LENGTH, 2, 4), [places(time) for time in range(LENGTH)])
    np.testing.assert_allclose(found.scores, 0.9)
    assert found.to_json()["tracks"][3] == {"frame": 1, "id": 2, "bbox": [76, 60, 16, 16], "score": 0.9}


@pytest.mark.parametrize("name", ["greedy IoU", SORT])
def test_trackers_that_leave_the_decisions_out_give_their_tracks(name: str, folder: Path) -> None:
    found: Any = classical(ID, name).predict(folder)
    assert sorted(set(found.ids.tolist())) == [1, 2] and (found.scores == 0.9).all()
    at_last = found.boxes[found.frames == LENGTH - 1]
    np.testing.assert_allclose(at_last, places(LENGTH - 1), atol=2)


@pytest.mark.parametrize("policy", ["rule on look and overlap", SORT, "random"])
def test_the_truth_changes_nothing(policy: str, folder: Path) -> None:
    agent = Agent(ID, RandomPolicy(0), {"clip": 2}) if policy == "random" else classical(ID, policy)
    wrong = labelled(folder, lambda time: [[0, 0, 9, 9], [1, 1, 30, 30]])
    (bare,) = load(f"mot:{folder}", kind=MotSample, split="all")
    results: list[Any] = []
    for sample in (bare, labelled(folder), wrong):
        getattr(agent.policy, "spaces", {}).clear()
        results.append(agent.predict(sample))
    for other in results[1:]:
        for key, value in vars(results[0]).items():
            np.testing.assert_array_equal(getattr(other, key), value)
    assert policy == "random" or set(results[0].frames.tolist()) == set(range(LENGTH)), "all of the video"


def test_arrays_with_detections_are_tracked_like_their_files(folder: Path) -> None:
    (bare,) = load(f"mot:{folder}", kind=MotSample, split="all")
    pictures = np.stack([bare.frames[time] for time in range(LENGTH)])
    method = classical(ID, "rule on look and overlap")
    given: Any = method.predict(pictures, detections=bare.detections)
    np.testing.assert_array_equal(given.boxes, method.predict(folder).boxes)  # type: ignore[attr-defined]


def test_tasks_say_which_labels_they_lack(folder: Path) -> None:
    (bare,) = load(f"mot:{folder}", kind=MotSample, split="all")
    with pytest.raises(ValueError, match="sample 'seq' must have ids and boxes, or labelled must be False"):
        make_task(ID, data=[bare])
    undetected = replace(labelled(folder), detections=None)
    with pytest.raises(ValueError, match="sample 'seq' must have detections where labelled is False"):
        make_task(ID, data=[undetected], labelled=False)
    task = make_task(ID, data=[bare], labelled=False)
    state = batch.stack([task.sample(np.random.default_rng(0), 0)])
    assert np.isnan(state.action_labels).all() and (state.source == -1).all()
    with pytest.raises(ValueError, match="metrics needs samples with labels"):
        task.metrics(state)


def test_the_files_of_a_sequence(folder: Path, tmp_path: Path) -> None:
    method, out = classical(ID, "rule on look and overlap"), tmp_path / "out"
    assert predict_files(method, inputs_of([str(folder)], MotSample), out) == Report(1, [])
    lines = (out / "seq.mot.txt").read_text().splitlines()
    assert lines[0] == "1,1,21.000,21.000,16.000,16.000,0.9,-1,-1,-1"
    shutil.copytree(folder, tmp_path / "again")  # what was loaded is remembered by its path
    (tmp_path / "again" / "gt").mkdir()
    (tmp_path / "again" / "gt" / "gt.txt").write_text("\n".join(lines))
    (again,) = load(f"mot:{tmp_path / 'again'}", kind=MotSample, split="all")
    np.testing.assert_allclose(again.boxes, [places(time) for time in range(LENGTH)])
    with Image.open(out / "seq.gif") as film:
        assert film.n_frames == LENGTH  # type: ignore[attr-defined]
        picture = np.asarray(film.convert("RGB")).astype(int)
    zoom = picture.shape[1] / 128
    orange = np.abs(picture - [255, 159, 28]).sum(axis=-1) < 60
    assert orange[round(28 * zoom), round(20 * zoom)] and orange[round(68 * zoom), round(80 * zoom)]
    (told,) = (out / "predictions.jsonl").read_text().splitlines()
    assert len(json.loads(told)["tracks"]) == 2 * LENGTH
    assert json.loads(told)["written"] == ["seq.mot.txt", "seq.gif"]


def test_the_command_takes_a_folder_or_a_format(folder: Path, tmp_path: Path, capsys: Any) -> None:
    for k, word in enumerate((str(folder), f"mot:{folder}")):
        out = tmp_path / str(k)
        line = [
            "predict",
            SORT,
            word,
            "--env",
            "MultiObjectTracking-v0",
            "--out",
            str(out),
            "--no-pictures",
        ]
        cli.main(line)
        assert sorted(path.name for path in out.iterdir()) == ["predictions.jsonl", "seq.mot.txt"]
    assert (tmp_path / "0" / "seq.mot.txt").read_text() == (tmp_path / "1" / "seq.mot.txt").read_text()


def test_there_is_room_for_more_tracks_than_in_training(tmp_path: Path) -> None:
    """Objects that are seen in one frame each are all told, though training had room for two."""
    frames = np.random.default_rng(0).integers(0, 256, (4, 1, 64, 64), dtype=np.uint8)
    found = [np.array([[x, 10 * t, x + 8, 10 * t + 8, 0.9] for x in (0, 20, 40)], float) for t in range(4)]
    agent = classical(ID, "rule on look and overlap")
    agent.env_kwargs["max_tracks"] = 2
    result: Any = agent.predict(MotSample(frames, detections=found))
    assert len(set(result.ids.tolist())) > 2


def test_evaluation_keeps_the_tracks_of_every_row(folder: Path) -> None:
    found: list[Any] = []
    rows = [SORT, "rule on look and overlap"]
    compare(ID, rows=rows, keep=found.extend, env_kwargs={"data": [labelled(folder)], "window": 16})
    assert {line["agent"] for line in found} == set(rows)
    for line in found:
        assert line["name"] == "seq" and len(line["tracks"]) == 2 * LENGTH
        assert {one["id"] for one in line["tracks"]} == {1, 2}
