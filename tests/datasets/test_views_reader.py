"""The reader of captures by several cameras: .npz and .json, units, distortion, splits, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.envs.test_view_selection import BODY, NAMES, capture
from visionrl.datasets import ViewSample, load


def content(**more: Any) -> dict[str, Any]:
    """What a file of one capture holds."""
    sample = capture()
    plain = {
        "P": sample.cameras,
        "detections": sample.detections,
        "points": BODY,
        "joint_names": np.array(NAMES),
    }
    return {**plain, **more}


def written(folder: Path, name: str = "a.npz", **more: Any) -> Path:
    """A file of a capture."""
    arrays = {key: value for key, value in content(**more).items() if value is not None}
    if name.endswith("npz"):
        np.savez(folder / name, **arrays)
    else:
        plain = {key: np.asarray(value).tolist() for key, value in arrays.items()}
        (folder / name).write_text(json.dumps(plain).replace("NaN", "null"))
    return folder / name


def read(path: Path, split: str = "all") -> tuple[ViewSample, ...]:
    return load(f"views:{path}", kind=ViewSample, split=split)


@pytest.mark.parametrize("name", ["a.npz", "a.json"])
def test_both_kinds_of_files_say_the_same(tmp_path: Path, name: str) -> None:
    (found,) = read(written(tmp_path, name))
    wanted = capture()
    seen = found.cameras[0] @ [*BODY[0], 1.0]
    assert np.allclose(seen[:2] / seen[2], wanted.detections[0, 0]) and found.joint_names == NAMES
    assert np.allclose(found.detections, wanted.detections) and (found.scores == 1).all()


def test_units_are_heeded(tmp_path: Path) -> None:
    cameras = capture().cameras * [10, 10, 10, 1.0]
    (found,) = read(written(tmp_path, P=cameras, points=BODY / 10, unit=np.array("centimetre; y down")))
    assert np.allclose(found.points, BODY)
    seen = found.cameras[3] @ [*BODY[1], 1.0]
    assert np.allclose(seen[:2] / seen[2], found.detections[3, 1])
    with pytest.raises(ValueError, match="unit must be mm, cm or m, got 'inch'"):
        read(written(tmp_path, "b.npz", unit=np.array("inch")))


def test_distortion_is_taken_off_the_detections(tmp_path: Path) -> None:
    inner, turn, shift = np.array([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]]), np.eye(3), np.zeros(3)
    lens = np.array([-0.2, 0.05, 0.001, 0.001, 0.0])
    points = np.array([[100.0, 50, 1000], [-300, 200, 1200], [0, 0, 900], [250, -200, 1000], [10, 10, 1500]])
    bent = cv2.projectPoints(points, np.zeros(3), shift, inner, lens)[0][:, 0]
    straight = (points / points[:, 2:]) @ inner.T
    more = {"K": [inner] * 2, "R": [turn] * 2, "t": [shift] * 2, "distortion": [lens] * 2, "P": None}
    (found,) = read(written(tmp_path, **more, detections=np.array([bent, bent]), points=points))
    assert np.abs(found.detections[0] - straight[:, :2]).max() < 0.01 < np.abs(bent - straight[:, :2]).max()


def test_captures_of_a_file_have_subjects_and_splits(tmp_path: Path) -> None:
    more: dict[str, Any] = {"detections": None, "points": np.array([BODY, BODY + 1, BODY + 2])}
    path = written(tmp_path, **more, sequence=np.array(["x", "x", "y"]), person=np.array([0, 1, 0]))
    assert [sample.subject for sample in read(path)] == ["x/0", "x/1", "y/0"]
    path = written(tmp_path, **more, split=np.array(["train", "val", "test"]))
    assert [sample.name for sample in read(path, "val")] == ["a/1"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"P": None}, "must have P, or K, R and t of the cameras"),
        ({"P": np.zeros((3, 4))}, r"P must be \(V, 3, 4\)"),
        ({"detections": None, "points": None}, "must have detections or points, got neither"),
        ({"detections": np.zeros((2, 6, 5, 2))}, "points must be of 2 captures"),
        ({"distortion": np.zeros((6, 5))}, "distortion must be"),
        ({"person": np.array([0, 1])}, "person must be one a capture"),
        ({"split": np.array(["train", "val"])}, r"split must be one a capture \(1\), got 2"),
        ({"detector_px": np.zeros(0)}, "detector_px must be one number, got 0"),
        ({"links": np.array([[0, 1.5]])}, r"links must be \(n, 2\) whole numbers"),
        ({"unit": np.zeros(0, str)}, "unit must be mm, cm or m, got ''"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(written(tmp_path, **more))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(ValueError, match="must hold one object"):
        read(tmp_path / "a.json")
    with pytest.raises(ValueError, match="must hold files of captures"):
        read(empty(tmp_path))


def empty(folder: Path) -> Path:
    """An empty folder."""
    (folder / "empty").mkdir()
    return folder / "empty"
