"""Classes of new images by glimpses: the path in the file's own pixels, the same with labels as without."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visionrl.agents.prediction.agent import Agent
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.predict import predict_files
from visionrl.core import batch, make_task
from visionrl.datasets import ImageSample, load

ID = "visionrl/GlimpseClassification-v0"
PLACES = 4


class Looks:
    """Looks at cells 5 and 10 of a grid of 4 x 4, then says "dark" or "light" by what it has seen."""

    def __call__(self, observations: dict[str, np.ndarray], task: Any, state: Any) -> np.ndarray:
        said = PLACES**2 + (observations["window"].mean((1, 2, 3)) > 128)
        return np.where(state.glimpses == 1, 5, np.where(state.glimpses == 2, 10, said))


def agent(**more: Any) -> Agent:
    given: dict[str, Any] = {"classes": ["dark", "light"], "channels": 1, "mosaic_side": 32, "places": PLACES}
    return Agent(ID, Looks(), {**given, "retina": 4, "scales": (1, 2), **more}, name="looks")


def picture(value: int, shape: tuple[int, ...] = (60, 100)) -> np.ndarray:
    return np.random.default_rng(value).integers(value - 20, value + 20, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(20, 30), (60, 100), (60, 100, 3)])
def test_glimpses_are_in_pixels_of_the_original_image(shape: tuple[int, ...]) -> None:
    """Also where it is shrunk, or has colours that the agent does not see."""
    found = agent().predict(picture(60, shape))
    assert found.label == "dark" and len(found.glimpses) == 3
    cells = np.array([[3 / 8, 3 / 8], [5 / 8, 5 / 8]]) * [shape[1], shape[0]] - 0.5
    np.testing.assert_allclose(found.glimpses[1:], cells, atol=1e-9 if shape[1] <= 32 else 0.5)
    assert agent().predict(picture(200, shape)).label == "light"


def test_without_an_answer_there_is_no_class() -> None:
    found = agent(max_episode_steps=1).predict(picture(60))
    assert found.label is None and len(found.glimpses) == 2


def test_labels_are_not_looked_at() -> None:
    bare = ImageSample(picture(60)[None], name="a")
    full = replace(bare, boxes=np.array([[5, 5, 20, 30.0]]), labels=("light",))
    one, other = (agent().predict_sample(sample) for sample in (bare, full))
    assert one.result.to_json() == other.result.to_json()
    for key, value in vars(one.ends).items():
        np.testing.assert_array_equal(value, getattr(other.ends, key), err_msg=key)
    np.testing.assert_array_equal(one.pictures()[0], other.pictures()[0])
    assert (other.ends.label == -1).all() and np.isnan(other.ends.goal).all()


def test_the_arguments_of_a_run_show_new_images_as_those_of_training() -> None:
    data = [
        ImageSample(np.zeros((1, 24, 18), np.uint8), labels=("a",)),
        ImageSample(np.zeros((3, 16, 20), np.uint8), labels=("b",)),
    ]
    trained = make_task(ID, data=data)
    resolved = trained.resolved_arguments
    assert resolved == {"classes": ["a", "b"], "channels": 3, "mosaic_side": 24}
    for shape in ((1, 100, 70), (3, 12, 15)):
        new = [ImageSample(np.zeros(shape, np.uint8))]
        task = make_task(ID, data=new, labelled=False, **resolved)
        assert task.observation_space == trained.observation_space
        assert task.action_space == trained.action_space
    with pytest.raises(ValueError, match="classes must be given where data has no labels"):
        make_task(ID, data=[ImageSample(np.zeros((1, 24, 24), np.uint8))], labelled=False)


def test_classes_that_a_split_lacks_stay_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    for split, names in (("train", "ab"), ("val", "ba"), ("test", "b")):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
            Image.fromarray(picture(60, (20, 20))).save(tmp_path / split / name / "x.png")
    data = f"imagefolder:{tmp_path}"
    with pytest.warns(UserWarning, match="no image of the split has a"):
        task = make_task(ID, data=data, classes=["b", "a"], split="test")
    assert task.names == ("b", "a") and task.labels == [0]
    with pytest.raises(ValueError, match="classes must be names in the data set, got c, d; known: b"):
        make_task(ID, data=data, classes=["c", "d"], split="test")


def test_an_episode_with_labels_starts_as_one_without() -> None:
    samples = load("digits", kind=ImageSample, split="test")
    task = make_task(ID, split="test")
    free = make_task(ID, data=[samples[3]], labelled=False, **task.resolved_arguments)
    first, second = task.sample(np.random.default_rng(0), 3), free.sample(np.random.default_rng(0), 0)
    np.testing.assert_array_equal(task.result(first).glimpses, free.result(second).glimpses)
    shown = [one.observe(batch.stack([state])) for one, state in ((task, first), (free, second))]
    for key, value in shown[0].items():
        np.testing.assert_array_equal(value, shown[1][key], err_msg=key)


def test_the_folder_has_a_table_of_classes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, value in (("a", 60), ("b", 200)):
        Image.fromarray(picture(value)).save(tmp_path / "in" / f"{name}.png")
    predict_files(agent(), inputs_of([str(tmp_path / "in")], ImageSample), tmp_path / "out")
    with (tmp_path / "out" / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(Path(row["file"]).name, row["label"]) for row in rows] == [("a.png", "dark"), ("b.png", "light")]
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == ["dark", "light"] and len(lines[0]["glimpses"]) == 3
    assert lines[0]["written"] == ["a.png"]
