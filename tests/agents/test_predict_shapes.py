"""Points of a model on a user's own image."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

from visionrl.cli.main import main
from visionrl.datasets import ImageSample, load


def test_an_image_and_a_box_give_points_in_pixels_of_the_file(tmp_path: Path) -> None:
    sample = load(None, kind=ImageSample, default="chest-xray", split="val")[0]
    cv2.imwrite(str(tmp_path / "mine.png"), sample.image[0])
    truth = np.array(list(sample.points.values()))
    x, y = truth.min(axis=0) + 0.5
    wide, high = np.ptp(truth, axis=0)
    words = ["predict", "cascaded regression", str(tmp_path / "mine.png"), "--env", "ShapePose-v0"]
    box = ["--box", f"{x:.1f},{y:.1f},{wide:.1f},{high:.1f}"]
    main([*words, *box, "--out", str(tmp_path / "out")])
    rows = {
        row["name"]: row for row in csv.DictReader((tmp_path / "out" / "mine.csv").read_text().splitlines())
    }
    found = np.array([[float(rows[name][axis]) for axis in "xy"] for name in sample.points])
    assert np.linalg.norm(found - truth, axis=1).mean() < 4
    assert (tmp_path / "out" / "mine.png").stat().st_size > 100
