"""``visionrl caption`` and ``visionrl ask`` on files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visionrl.cli.main import main
from visionrl.datasets import CaptionSample, QuestionSample
from visionrl.models import model_class, save_model

OPTIONS = {"side": 32, "backbone": "small", "width": 16}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures, a text, and untrained models."""
    folder, rng = tmp_path_factory.mktemp("language"), np.random.default_rng(0)
    for name, shape in (("a.png", (40, 60, 3)), ("b.jpg", (30, 30))):
        Image.fromarray(rng.integers(0, 255, shape, np.uint8)).save(folder / name)
    (folder / "text.txt").write_text("text")
    blank = np.zeros((3, 32, 32), np.uint8)
    captions, questions = (
        [CaptionSample(blank, ("a red bag",))],
        [QuestionSample(blank, "is it red", ("yes",))],
    )
    for name, samples in (
        ("show_attend_and_tell", captions),
        ("show_and_tell", captions),
        ("vqa_transformer", questions),
        ("vqa_cnn_rnn", questions),
    ):
        save_model(model_class(name).for_samples(samples, OPTIONS), folder / name)  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize("decode", ["greedy", "beam", "nucleus"])
def test_a_line_an_image(home: Path, decode: str, capsys: Any) -> None:
    images = [str(home / "a.png"), str(home / "b.jpg")]
    main(["caption", str(home / "show_and_tell"), *images, "--decode", decode])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == images
    assert all(set(line.split(": ")[1].split()) <= {"a", "red", "bag"} for line in lines)


def test_the_sentences_and_where_it_looked_are_written(home: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    main(["caption", str(home / "show_attend_and_tell"), str(home / "a.png"), "--out", str(out)])
    rows = json.loads((out / "captions.json").read_text())
    said = capsys.readouterr().out.splitlines()[0].split(": ")[1]
    assert (
        rows[0]["image_id"] == str(home / "a.png") and rows[0]["caption"] == said and rows[0]["log_prob"] < 0
    )
    picture = np.array(Image.open(out / "a-words.png"))
    panels = 1 + len(said.split())
    assert picture.shape[1] > 240 * min(panels, 6) and picture.std() > 10
    main(["caption", str(home / "show_and_tell"), str(home / "a.png"), "--out", str(tmp_path / "plain")])
    assert [file.name for file in (tmp_path / "plain").iterdir()] == ["captions.json"]


def test_pictures_of_one_name_are_kept_apart_and_nothing_is_replaced_unasked(
    home: Path, tmp_path: Path, capsys: Any
) -> None:
    paths = [tmp_path / part / "p.png" for part in "xy"]
    for path, name in zip(paths, ("a.png", "b.jpg"), strict=True):
        path.parent.mkdir()
        Image.open(home / name).convert("RGB").save(path)
    line = ["caption", str(home / "show_attend_and_tell"), *map(str, paths), "--out", str(tmp_path / "out")]
    main(line)
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {"captions.json", "p-words.png", "p-2-words.png"}
    with pytest.raises(SystemExit) as stopped:
        main(line)
    assert stopped.value.code == 2 and "--overwrite replaces results" in capsys.readouterr().err
    main([*line, "--overwrite"])


def test_auto_is_the_device_that_is_here(home: Path, capsys: Any) -> None:
    for device in ("cpu", "auto"):
        line = ["--decode", "nucleus", "--seed", "3", "--device", device]
        main(["caption", str(home / "show_and_tell"), str(home / "a.png"), *line])
        main(["ask", str(home / "vqa_cnn_rnn"), str(home / "a.png"), "is it red", "--device", device])
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4 and said[1] == said[3] == "yes (1.00)"


def test_an_answer_and_where_it_looked(home: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "looks.png"
    main(["ask", str(home / "vqa_transformer"), str(home / "a.png"), "is it red", "--out", str(out)])
    assert capsys.readouterr().out.startswith("yes (1.00)")
    assert np.array(Image.open(out)).shape[1] > 4 * 160
    main(["ask", str(home / "vqa_cnn_rnn"), str(home / "b.jpg"), "is it red"])
    assert capsys.readouterr().out == "yes (1.00)\n"


WRONG = {
    "caption": "model must be given",
    "caption {home}/show_and_tell": "images must",
    "caption {home}/nowhere {home}/a.png": "model must be a folder with model.json",
    "caption {home}/vqa_cnn_rnn {home}/a.png": "model must be a captioner",
    "caption {home}/show_and_tell {home}/text.txt": "text.txt",
    "caption {home}/show_and_tell {home}/none.png": "none.png must exist",
    "caption {home}/show_and_tell {home}/a.png --decode best": "decode must be one of beam, greedy, nucleus",
    "caption {home}/show_and_tell {home}/a.png --beam 0": "beam must be",
    "caption {home}/show_and_tell {home}/a.png --out {home}/text.txt/x": "text.txt is a file",
    "caption {home}/show_and_tell {home}/a.png --device tpu": "device",
    "ask {home}/vqa_cnn_rnn": "must be given",
    "ask {home}/show_and_tell {home}/a.png why": "model must answer questions",
    "ask {home}/vqa_cnn_rnn {home}/a.png why": "question must have a word that the model knows, got 'why'",
    "ask {home}/vqa_cnn_rnn {home}/none.png red": "none.png must exist",
    "ask {home}/vqa_cnn_rnn {home}/a.png red --out x.gif": "out must end in .png, got x.gif",
    "ask {home}/vqa_cnn_rnn {home}/a.png red --out {home}/x.png": "out must be left out for vqa_cnn_rnn",
    "train-model --model show_and_tel": "did you mean 'show_and_tell'",
    "train-model --start nowhere": "start must be a folder with model.json",
    "train-model --options width": "arguments must look like name=value, got 'width'",
    "train-model --data captions:{home}/nowhere": "nowhere",
    "predict captioner-scenes {home}/a.png": "captioner-scenes has none, it is a model: visionrl caption",
    "list --models --agents": "agents and models must be listed one at a time",
}


@pytest.mark.parametrize(("line", "words"), WRONG.items())
def test_wrong_lines_are_one_line_and_end_with_2(
    line: str, words: str, home: Path, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(line.format(home=home).split())
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and words in said and len(said.strip().splitlines()) == 1


def test_the_list_has_the_models(capsys: Any) -> None:
    main(["list", "--models"])
    said = capsys.readouterr().out
    assert "show_attend_and_tell" in said and "vqa_film" in said
