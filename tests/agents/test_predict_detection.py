"""Detection in new images: boxes in the file's own pixels, the same with labels as without, in the field's formats."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import COCO
from PIL import Image

from visionrl.agents.prediction.agent import Agent, classical
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.predict import predict_files
from visionrl.core import batch, make_task
from visionrl.datasets import ImageSample, load

DETECTION, HIERARCHICAL = "visionrl/Detection-v0", "visionrl/HierarchicalDetection-v0"
EDGES = ("xmin", "ymin", "xmax", "ymax")
SMALL: dict[str, Any] = {
    "window": 16,
    "max_side": 64,
    "max_reports": 2,
    "category": ["cat", "dog"],
    "channels": 3,
}


class Zooms:
    """Makes the box smaller twice, then reports; surer of darker windows."""

    def __init__(self, smaller: int, report: int) -> None:
        self.smaller, self.report = smaller, report
        self.confidence: Any = None

    def __call__(self, observations: dict[str, np.ndarray], task: Any, state: Any) -> np.ndarray:
        self.confidence = 1 - observations["window"].mean((1, 2, 3)) / 255
        return np.where(state.steps_since_restart == 2, self.report, self.smaller)


AGENTS = {
    DETECTION: Agent(DETECTION, Zooms(5, 8), SMALL, name="zooms"),
    HIERARCHICAL: Agent(HIERARCHICAL, Zooms(4, 5), SMALL, name="zooms"),
}


def pixels(seed: int = 0, shape: tuple[int, ...] = (80, 120, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An RGB image, a grey one and one that is none."""
    home = tmp_path / "in"
    home.mkdir()
    Image.fromarray(pixels()).save(home / "a.png")
    Image.fromarray(pixels(1, (90, 50))).save(home / "b.png")
    (home / "c.png").write_bytes((home / "a.png").read_bytes()[:500])
    return home


@pytest.mark.parametrize("env_id", AGENTS)
def test_boxes_are_in_pixels_of_the_original_image(env_id: str) -> None:
    """120 pixels shrink to 64: smaller boxes leave 1 / 25 or 1 / 16 of the image, about its middle."""
    found = AGENTS[env_id].predict(pixels())
    assert sorted(found.labels) == ["cat", "cat", "dog", "dog"]
    assert len(found.boxes) == 4 and (np.diff(found.scores) <= 0).all()
    share = 0.6**2 if env_id == DETECTION else 0.75**2
    whole = np.array([120 * (1 - share), 80 * (1 - share), 120 * (1 + share), 80 * (1 + share)]) / 2
    near = np.abs(found.boxes - whole).max(axis=1).min()
    assert near < 0.6, "the first search is over the whole image; sides are rounded when it is shrunk"


@pytest.mark.parametrize("env_id", AGENTS)
def test_labels_are_not_looked_at(env_id: str) -> None:
    image = np.ascontiguousarray(pixels().transpose(2, 0, 1))
    bare = ImageSample(image, name="a")
    full = replace(bare, boxes=np.array([[30, 20, 80, 60.0], [0, 0, 20, 20]]), labels=("dog", "bird"))
    one, other = (AGENTS[env_id].predict_sample(sample) for sample in (bare, full))
    assert one.result.to_json() == other.result.to_json() and len(one.result.boxes) == 4
    for key, value in vars(one.ends).items():
        np.testing.assert_array_equal(value, getattr(other.ends, key), err_msg=key)
    np.testing.assert_array_equal(one.pictures()[0], other.pictures()[0])
    assert np.isnan(other.ends.present).all() and np.isnan(other.ends.found).all()


def test_what_needs_labels_says_so() -> None:
    task = AGENTS[DETECTION].task_on(ImageSample(pixels().transpose(2, 0, 1)))
    state = batch.stack([task.sample(np.random.default_rng(0), 0)])
    for method, args in (
        ("metrics", (state,)),
        ("expert", (state,)),
        ("reward", (state, np.array([0]), state)),
    ):
        with pytest.raises(ValueError, match=f"{method} needs samples with labels"):
            getattr(task, method)(*args)
    with pytest.raises(ValueError, match="name a category where it has no labels"):
        make_task(DETECTION, data=[ImageSample(pixels().transpose(2, 0, 1))], labelled=False)


def test_an_agent_of_training_mode_is_shown_the_whole_image() -> None:
    agent = Agent(DETECTION, Zooms(5, 8), {**SMALL, "mode": "training"})
    np.testing.assert_array_equal(agent.predict(pixels()).boxes, AGENTS[DETECTION].predict(pixels()).boxes)


def test_a_classical_method_needs_no_labels(tmp_path: Path) -> None:
    for k in range(6):
        Image.fromarray(pixels(k)).save(tmp_path / f"{k}.png")
        edges = "".join(
            f"<{key}>{value + k}</{key}>" for key, value in zip(EDGES, (20, 10, 70, 60), strict=True)
        )
        one = f"<object><name>cat</name><bndbox>{edges}</bndbox></object>"
        (tmp_path / f"{k}.xml").write_text(f"<annotation><filename>{k}.png</filename>{one}</annotation>")
    agent = classical(DETECTION, "sliding templates", f"voc:{tmp_path}")
    sample = load(f"voc:{tmp_path}", kind=ImageSample, split="test")[0]
    found, bare = agent.predict(sample), agent.predict(sample.image.transpose(1, 2, 0))
    assert len(found.boxes) and set(found.labels) == {"cat"} and found.to_json() == bare.to_json()


def predicted(folder: Path, out: Path, **more: Any) -> Any:
    return predict_files(AGENTS[DETECTION], inputs_of([str(folder)], ImageSample), out, **more)


def test_the_folder_has_coco_files_that_load(folder: Path, tmp_path: Path, capsys: Any) -> None:
    report = predicted(folder, tmp_path / "out")
    assert report.done == 2 and [Path(file).name for file, _ in report.failed] == ["c.png"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    truth = COCO(str(tmp_path / "out" / "coco.json"))
    results = truth.loadRes(str(tmp_path / "out" / "coco-results.json"))
    assert [image["file_name"] for image in truth.dataset["images"]] == [line["file"] for line in lines]
    assert [(image["width"], image["height"]) for image in truth.dataset["images"]] == [(120, 80), (50, 90)]
    assert [category["name"] for category in truth.dataset["categories"]] == ["cat", "dog"]
    for number, line in enumerate(lines, 1):
        for coco in (truth, results):
            rows = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
            assert [row["bbox"] for row in rows] == [box["bbox"] for box in line["boxes"]]
            assert [row["score"] for row in rows] == [box["score"] for box in line["boxes"]]
    assert "a.csv" in lines[0]["written"] and "a.xml" not in lines[0]["written"]
    with (tmp_path / "out" / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    x, y, width, height = lines[0]["boxes"][0]["bbox"]
    np.testing.assert_allclose(
        [float(rows[0][k]) for k in ("x0", "y0", "x1", "y1")], [x, y, x + width, y + height]
    )


def test_voc_files_are_read_as_the_boxes_in_whole_pixels(folder: Path, tmp_path: Path) -> None:
    predicted(folder, tmp_path / "out", voc=True, pictures=False)
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    (folder / "c.png").unlink()
    for name in ("a", "b"):
        (folder / f"{name}.xml").write_bytes((tmp_path / "out" / f"{name}.xml").read_bytes())
    samples = load(f"voc:{folder}", kind=ImageSample, split="all")
    for sample, line in zip(samples, lines, strict=True):
        corner, size = (
            np.array([box["bbox"] for box in line["boxes"]])[:, part] for part in (slice(2), slice(2, 4))
        )
        np.testing.assert_allclose(sample.boxes, np.concatenate([corner, corner + size], axis=1), atol=0.51)
        assert list(sample.labels) == [box["label"] for box in line["boxes"]]


def test_an_interrupted_prediction_leaves_whole_files(folder: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predicted(folder, tmp_path / "out", tell=stop)
    assert len((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()) == 1
    assert len(json.loads((tmp_path / "out" / "coco.json").read_text())["images"]) == 1


def test_voc_is_refused_where_there_are_no_boxes(tmp_path: Path) -> None:
    agent = Agent("LandmarkLocalization-v0", None, {"target": ["a"]})
    with pytest.raises(ValueError, match="voc must be off for tasks without boxes"):
        predict_files(agent, [], tmp_path / "out", voc=True)
