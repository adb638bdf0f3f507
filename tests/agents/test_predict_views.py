"""Poses in space of a user's own detections."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from tests.datasets.test_views_reader import written
from tests.envs.test_view_selection import BODY
from visionrl.agents.prediction.agent import classical
from visionrl.cli.main import main


def test_a_capture_gets_points_in_space_and_the_order_of_the_cameras(tmp_path: Path) -> None:
    path = written(tmp_path, "mine.npz", points=None, camera_names=np.array([f"cam{k}" for k in range(6)]))
    words = ["predict", "farthest direction", str(path), "--env", "ViewSelection-v0"]
    main([*words, "--out", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out" / "mine.json").read_text())
    assert len(found["cameras"]) == 6 and found["cameras"][0].startswith("cam")
    rows = list(csv.DictReader((tmp_path / "out" / "mine.csv").read_text().splitlines()))
    assert np.abs([[float(row[k]) for k in "xyz"] for row in rows] - BODY).max() < 20
    assert (tmp_path / "out" / "mine.png").stat().st_size > 100


def test_all_cameras_are_named_and_give_the_least_spread(tmp_path: Path) -> None:
    path = written(tmp_path, "mine.npz", points=None, camera_names=np.array([f"cam{k}" for k in range(6)]))
    spreads = {}
    for name, folder in (("all cameras", "all"), ("farthest direction", "six")):
        words = ["predict", name, str(path), "--env", "ViewSelection-v0", "--out", str(tmp_path / folder)]
        main(words)
        found = json.loads((tmp_path / folder / "mine.json").read_text())
        assert len(found["cameras"]) == 6
        spreads[name] = [at["spread_mm"] for at in found["points"].values()]
    assert np.allclose(spreads["all cameras"], spreads["farthest direction"], rtol=0.2)


def test_a_file_is_predicted_on_in_python(tmp_path: Path) -> None:
    path = written(tmp_path, "mine.json", points=None)
    result = classical("ViewSelection-v0", "most certain").predict(str(path))
    assert set(result.to_json()["points"]) == {"head", "left_hand", "right_hand", "hip", "foot"}
