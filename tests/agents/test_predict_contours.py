"""Contours in new images: from a box, from boxes of a data set, or the whole image; on the pixels of the file."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from faster_coco_eval import COCO

from visionrl.agents.prediction.agent import Agent, classical
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.predict import predict_files
from visionrl.datasets import ImageSample

TASK = "visionrl/ContourSegmentation-v0"
DISC = np.hypot(*(np.mgrid[:150, :200] - np.array([80, 110])[:, None, None])) < 40


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A bright disc on dark noise."""
    noise = np.random.default_rng(0).integers(0, 60, (150, 200, 3), dtype=np.uint8)
    noise[DISC] += 180
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "disc.png"), noise)
    return tmp_path / "in" / "disc.png"


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("method", ["ellipse in the box", "GrabCut in the box"])
def test_a_box_gives_the_mask_of_the_object_in_the_size_of_the_file(image: Path, method: str) -> None:
    out = image.parents[1] / "out"
    agent = classical(TASK, method)
    inputs = inputs_of([str(image)], ImageSample, [70, 40, 80, 80])
    assert predict_files(agent, inputs, out).done == 1
    mask = cv2.imread(str(out / "disc-mask.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (150, 200) and set(np.unique(mask)) == {0, 255}
    assert overlap(mask > 0, DISC) > 0.93
    line = json.loads((out / "predictions.jsonl").read_text())
    assert line["masks"][0]["label"] == "object" and len(line["masks"][0]["segmentation"][0]) >= 6
    assert (out / "disc.png").is_file()
    whole = COCO(str(out / "coco.json"))
    assert overlap(whole.annToMask(whole.loadAnns(1)[0]).astype(bool), mask > 0) > 0.97


def test_the_mask_follows_a_box_that_moves_by_whole_pixels() -> None:
    image = np.zeros((90, 120, 3), np.uint8)
    agent = classical(TASK, "ellipse in the box")
    masks = [agent.predict(image, box=(x, 20, 40, 30)).masks[0] for x in (10, 31)]
    differs = np.roll(masks[0], 21, axis=1) != masks[1]
    assert differs.sum() <= 2 and masks[0].sum() > 800  # centres on an edge fall either way by rounding


def test_boxes_of_a_sample_are_an_object_each_and_without_one_the_image_is() -> None:
    agent = classical(TASK, "box")
    boxes = np.array([[5, 5, 30, 30], [40, 10, 80, 60.0]])
    sample = ImageSample(np.zeros((1, 70, 90), np.uint8), boxes, ("cat", "dog"), name="two")
    found = agent.predict(sample)
    assert found.labels == ("cat", "dog") and found.masks.shape == (2, 70, 90)
    assert not (found.masks[0] & found.masks[1]).any()
    whole = agent.predict(np.zeros((70, 90), np.uint8))
    assert whole.masks.mean() > 0.85 and whole.labels == ("object",)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((190, 10, 40, 40), "box must lie within the frame, 200 x 150, got 190,10,40,40"),
        ((10, 10, 0, 40), "box must have a width and height of at least one pixel"),
        ((10, 10, 5), "box must be four numbers"),
    ],
)
def test_a_bad_box_is_refused(image: Path, box: tuple[float, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        classical(TASK, "box").predict(image, box=box)


def test_a_box_is_for_one_image_and_for_tasks_that_take_one(image: Path) -> None:
    with pytest.raises(ValueError, match="box must be given for one image"):
        inputs_of([str(image), str(image)], ImageSample, [0, 0, 9, 9])
    with pytest.raises(ValueError, match="box must not be given for visionrl/Detection-v0"):
        Agent("visionrl/Detection-v0").sample_of(image, box=(0, 0, 9, 9))
