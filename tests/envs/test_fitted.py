"""Tasks fitted to training samples: a run says where these are from and how they were cut, and meets the same model."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.envs.test_anomaly import SMALL, parts
from tests.envs.test_shape_pose import pictures
from visionrl.cli.main import main
from visionrl.core import TASKS, make_task
from visionrl.datasets import ImageSample
from visionrl.envs.fitted import FittedTask

FITTED = sorted(name for name, entry in TASKS.items() if issubclass(entry.task, FittedTask))


@pytest.fixture
def faces(tmp_path: Path) -> tuple[str, Path]:
    """A table of landmarks, and a split by hand: the first six are training images, unlike the usual cut."""
    folder = tmp_path / "faces"
    folder.mkdir()
    samples = pictures(12)
    with open(folder / "points.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", *[f"{name}_{axis}" for name in samples[0].points for axis in "xy"]])
        for sample in samples:
            cv2.imwrite(str(folder / f"{sample.name}.png"), sample.image[0])
            writer.writerow([f"{sample.name}.png", *np.ravel(list(sample.points.values()))])
    split = tmp_path / "split.csv"
    rows = [f"p{k},{'train' if k < 6 else 'val' if k < 9 else 'test'}" for k in range(12)]
    split.write_text("\n".join(rows) + "\n")
    return f"csv:{folder}", split


@pytest.mark.parametrize("task_id", FITTED)
def test_the_data_are_told_and_a_mapping_of_something_else_is_refused(task_id: str) -> None:
    entry = TASKS[task_id]
    assert entry.task().resolved_arguments["train_data"] == entry.task.embedded
    with pytest.raises(ValueError, match="train_data must have no more than data, split_file"):
        entry.task(train_data={"data": None, "folds": 3})


def test_the_model_of_a_split_file_is_the_one_that_new_images_get(faces: tuple[str, Path]) -> None:
    data, split = faces
    own = make_task("ShapePose-v0", data=data, split_file=split, window=9)
    assert own.resolved_arguments["train_data"] == {"data": data, "split_file": str(split)}
    new = [ImageSample(pictures()[0].image, name="new")]
    again = make_task("ShapePose-v0", data=new, labelled=False, window=9, **own.resolved_arguments)
    other = make_task(
        "ShapePose-v0", data=new, labelled=False, window=9, train_data=data, target=list(own.names)
    )
    assert np.array_equal(again.model.mean, own.model.mean)
    assert not np.array_equal(other.model.mean, own.model.mean)


def test_a_detector_of_a_mapping_knows_which_images_it_was_fitted_to() -> None:
    data = parts()
    make: Any = lambda train: make_task("AnomalyDetection-v0", data=data, train_data=train, **SMALL)  # noqa: E731
    assert make(None).fitted_to_own_data() and make({"data": data}).fitted_to_own_data()
    assert not make(parts(seed=1)).fitted_to_own_data()


@pytest.mark.slow
def test_a_run_with_a_split_file_predicts_with_its_own_model(
    faces: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, split = faces
    words = f"train --env ShapePose-v0 --data {data} --split-file {split} --name r --device cpu".split()
    words += ["--timesteps", "64", "--num-envs", "1", "--clone-steps", "0", "--test-episodes", "3"]
    main([*words, "--env-args", "window=9", "modes=2"])
    config = json.loads((tmp_path / "runs/r/config.json").read_text())["config"]
    told = dict(word.split("=", 1) for word in config["env_args"])
    assert json.loads(told["train_data"]) == {"data": data, "split_file": str(split)}
    main(["predict", "runs/r", str(tmp_path / "faces/p3.png"), "--device", "cpu", "--out", "out"])
    assert len((tmp_path / "out/p3.csv").read_text().splitlines()) == 6
