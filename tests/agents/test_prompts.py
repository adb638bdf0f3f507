"""Boxes and clicks that a user gives with an image."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from visionrl.agents.prediction.agent import Agent, classical
from visionrl.agents.prediction.prompts import parse_clicks, with_prompts
from visionrl.cli import main as cli
from visionrl.datasets import ImageSample

ID = "Segmentation-v0"


@pytest.fixture
def photograph(tmp_path):
    image = np.zeros((60, 80, 3), np.uint8)
    image[10:40, 8:30], image[20:50, 50:75] = 220, (0, 200, 0)
    Image.fromarray(image).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_clicks_are_read_with_their_sign():
    assert parse_clicks(["3,4,+", "5.5,6,-", "7,8"]) == [(3, 4, 1), (5.5, 6, -1), (7, 8, 1)]


@pytest.mark.parametrize("word", ["3", "a,b", "3,4,x", "3,4,+,5", ""])
def test_what_is_no_click_is_refused(word):
    with pytest.raises(ValueError, match="clicks must be x,y,\\+ on the object or x,y,- beside it"):
        parse_clicks([word])


def test_prompts_become_points_and_a_box():
    plain = ImageSample(np.zeros((1, 20, 30), np.uint8))
    sample = with_prompts(plain, [1, 2, 10, 12], [(3, 4, 1), (20, 5, -1)])
    assert list(sample.points) == ["+1", "-2"] and sample.boxes.tolist() == [[1, 2, 11, 14]]
    for clicks, message in (
        ([(30, 4, 1)], "clicks must lie in the image, 30 x 20, got 30,4"),
        ([(3, 4)], "clicks must be"),
    ):
        with pytest.raises(ValueError, match=message):
            with_prompts(plain, clicks=clicks)
    with pytest.raises(ValueError, match="box must lie within"):
        with_prompts(plain, box=[20, 2, 15, 5])


def test_the_click_says_which_object_is_meant(photograph):
    agent = classical(ID, "GrabCut in the object's box")
    for box, column in (([6, 8, 26, 34], 20), ([48, 18, 30, 34], 60)):
        mask = agent.predict(photograph, box=box).masks[0]
        assert mask.shape == (60, 80) and mask[30, column] and mask.sum() < 1200


def test_tasks_that_look_at_no_prompt_refuse_it(photograph):
    agent = classical("LandmarkLocalization-v0", "mean position")
    for prompt in ({"box": [1, 1, 5, 5]}, {"clicks": [(3, 4, 1)]}):
        with pytest.raises(ValueError, match="must not be given for visionrl/LandmarkLocalization-v0"):
            agent.predict(photograph, **prompt)
    assert isinstance(agent, Agent)


def predict(*words: str) -> None:
    cli.main(["predict", "GrabCut, the first clicks", "--env", ID, *words])


def test_the_command_writes_the_mask_in_the_files_own_pixels(photograph, tmp_path):
    out = tmp_path / "found"
    predict(str(photograph), "--clicks", "18,25,+", "62,35,-", "--out", str(out))
    mask = np.asarray(Image.open(out / "photo-mask.png"))
    assert mask.shape == (60, 80) and mask[25, 18] == 255 and mask[35, 62] == 0
    line = json.loads((out / "predictions.jsonl").read_text())
    assert line["masks"][0]["area"] == (mask > 0).sum()
    assert (out / "photo.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--clicks", "1,2,3"], "clicks must be x,y"),
        (["--clicks", "100,2,+"], "clicks must lie in the image, 80 x 60"),
        (["--box", "1,2,3"], "box must be four numbers"),
        (["--box", "70,2,30,4"], "box must lie within"),
    ],
)
def test_a_bad_prompt_is_one_line(photograph, words, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        predict(str(photograph), *words, "--out", str(tmp_path / "found"))
    assert ended.value.code in (1, 2) and message in capsys.readouterr().err


def test_a_prompt_is_about_one_file(photograph, tmp_path, capsys):
    with pytest.raises(SystemExit):
        predict(str(photograph.parent), "--clicks", "18,25,+", "--out", str(tmp_path / "found"))
    assert "clicks must be given for one image" in capsys.readouterr().err
