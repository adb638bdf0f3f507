"""Prediction of AnomalyDetection-v0 on images of the user: verdicts, places and heat maps in files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from visionrl.agents.prediction.agent import classical
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.predict import predict_files
from visionrl.datasets import ImageSample

ID = "visionrl/AnomalyDetection-v0"


def picture(rng: np.random.Generator, bad: bool, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Noise, (H, W), with a dark square where it is bad."""
    image = rng.normal(120, 12, size).clip(0, 255).astype(np.uint8)
    if bad:
        image[26:40, 70:88] = 20
    return image


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A folder as MVTec has it."""
    rng = np.random.default_rng(0)
    for part in ("train/good", "test/good", "test/dent", "ground_truth/dent"):
        (tmp_path / "product" / part).mkdir(parents=True)
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"product/train/good/{number:02}.png"), picture(rng, False))
    mask = np.zeros((96, 128), np.uint8)
    mask[26:40, 70:88] = 255
    cv2.imwrite(str(tmp_path / "product/test/good/0.png"), picture(rng, False))
    cv2.imwrite(str(tmp_path / "product/test/dent/0.png"), picture(rng, True))
    cv2.imwrite(str(tmp_path / "product/ground_truth/dent/0_mask.png"), mask)
    return tmp_path / "product"


def test_verdicts_places_and_heat_maps_are_written(product: Path, tmp_path: Path) -> None:
    rng, new = np.random.default_rng(5), tmp_path / "new"
    new.mkdir()
    for name, bad in (("a", False), ("b", True)):
        cv2.imwrite(str(new / f"{name}.png"), picture(rng, bad))
    agent = classical(ID, "detector's own surprise first, until found", f"mvtec:{product}")
    report = predict_files(agent, inputs_of([str(new)], ImageSample), tmp_path / "out")
    assert (report.done, report.failed) == (2, [])
    with open(tmp_path / "out/verdicts.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == ["normal", "defect"]
    assert rows[0]["x"] == "" and rows[0]["looks"] == "8"
    x, y, width, height = (float(rows[1][key]) for key in ("x", "y", "width", "height"))
    assert (width, height) == (16, 12) and 54 < x < 88 and 14 < y < 40
    found = json.loads((tmp_path / "out/b.json").read_text())
    assert found["label"] == "defect" and found["place"] == [x, y, width, height] == found["looks"][-1]
    heat = cv2.imread(str(tmp_path / "out/b-heat.png"), cv2.IMREAD_UNCHANGED)
    assert heat.shape == (96, 128) and heat[int(y) + 1, int(x) + 1] > 0 and (heat == 0).mean() > 0.8
    assert (tmp_path / "out/b.png").is_file()
