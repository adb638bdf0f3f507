"""``visionrl classify`` on files."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visionrl.backbones import make_backbone
from visionrl.cli import classify
from visionrl.cli.main import main
from visionrl.datasets import CaptionSample
from visionrl.models import make_model, model_class, save_model


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright and dark pictures as support and as files, and untrained models."""
    folder, rng = tmp_path_factory.mktemp("classify"), np.random.default_rng(0)
    for name, level in (("bright", 170), ("dark", 10)):
        for number in range(3):
            place = folder / "support" / name if number < 2 else folder / "files"
            place.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(level, level + 60, (40, 30 + number), np.uint8)
            Image.fromarray(pixels).save(place / f"{name}{number}.png")
    (folder / "bad.png").write_text("no picture")
    shutil.copytree(folder / "support" / "bright", folder / "one" / "bright")
    (folder / "hollow" / "a").mkdir(parents=True)
    (folder / "hollow" / "b").mkdir()
    torch.manual_seed(0)
    model = make_model("prototypical", channels=1)
    save_model(model, folder / "prototypical")
    blank = np.zeros((3, 32, 32), np.uint8)
    small = {"side": 32, "backbone": "small", "width": 16}
    save_model(
        model_class("show_and_tell").for_samples([CaptionSample(blank, ("a bag",))], small), folder / "says"
    )
    torch.save(make_backbone("conv4", 3).state_dict(), folder / "conv4.pt")
    return folder


@pytest.mark.parametrize("model", ["{home}/prototypical", "conv4 --weights {home}/conv4.pt --side 32"])
def test_a_line_a_file_and_the_same_as_tables(home: Path, tmp_path: Path, model: str, capsys: Any) -> None:
    words = model.format(home=home).split()
    out = tmp_path / "out"
    options = [*words[1:], "--support", str(home / "support"), "--out", str(out)]
    main(["classify", words[0], str(home / "files"), *options])
    lines = capsys.readouterr().out.splitlines()
    for line, name in zip(lines, ("bright", "dark"), strict=False):
        assert line.startswith(f"{home / 'files' / name}2.png: {name} (")
    rows = json.loads((out / "classes.json").read_text())
    assert [row["class"] for row in rows] == ["bright", "dark"]
    assert all(sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-3) for row in rows)
    table = list(csv.DictReader((out / "classes.csv").read_text().splitlines()))
    assert [row["file"] for row in table] == [row["file"] for row in rows]
    assert [float(row["dark"]) for row in table] == [row["probabilities"]["dark"] for row in rows]
    with pytest.raises(SystemExit) as stopped:
        main(["classify", words[0], str(home / "files"), *options])
    assert stopped.value.code == 2 and "--overwrite replaces results" in capsys.readouterr().err


def test_a_broken_file_is_reported_and_the_others_go_on(home: Path, tmp_path: Path, capsys: Any) -> None:
    files = [str(home / "bad.png"), str(home / "files" / "dark2.png"), str(home / "none.png")]
    with pytest.raises(SystemExit) as stopped:
        options = ["--support", str(home / "support"), "--out", str(tmp_path / "o")]
        main(["classify", str(home / "prototypical"), *files, *options])
    said = capsys.readouterr()
    assert stopped.value.code == 1 and "dark2.png: dark" in said.out
    assert [line.split(": ")[1] for line in said.err.splitlines()] == [files[0], files[2]]
    assert len(json.loads((tmp_path / "o" / "classes.json").read_text())) == 1


def test_files_in_parts_and_twice_are_classified_as_at_once(
    home: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    line = ["classify", str(home / "prototypical"), str(home / "files"), "--support", str(home / "support")]
    main([*line, "--out", str(tmp_path / "whole")])
    monkeypatch.setattr(classify, "AT_ONCE", 1)
    main([*line[:3], str(home / "files" / "dark2.png"), *line[3:], "--out", str(tmp_path / "parts")])
    whole, parts = (json.loads((tmp_path / name / "classes.json").read_text()) for name in ("whole", "parts"))
    assert whole == parts and len(whole) == 2


WRONG = {
    "classify": "model must be given",
    "classify {home}/prototypical": "support must be given",
    "classify {home}/prototypical {home}/files/dark2.png": "support must be given",
    "classify {home}/prototypical --support {home}/support": "files must be one image or more, got none",
    "classify nowhere {home}/files --support {home}/support": "model must be a folder with model.json",
    "classify {home}/says {home}/files --support {home}/support": "must know classes by example, .* is a show_and",
    "classify {home}/prototypical {home}/files --support {home}/none": "support must be a folder with a folder for",
    "classify {home}/prototypical {home}/files --support {home}/one": "support must hold two folders of classes",
    "classify {home}/prototypical {home}/files --support {home}/hollow": "class folder .*/hollow/a must hold",
    "classify {home}/prototypical {home}/files --support {home}/support --weights x.pt": "weights must be left out",
    "classify small {home}/files --support {home}/support": "pretrained must be False for small",
    "classify conv4 {home}/files --support {home}/support --weights {home}/x.pt": "weights must be a file, got",
    "classify {home}/prototypical {home}/files --support {home}/support --side 8": "side must be",
    "classify {home}/prototypical {home}/files --support {home}/support --out {home}/bad.png/x": "bad.png is a file",
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_is_one_sentence(home: Path, line: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(line.format(home=home).split())
    said = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and len(said.splitlines()) == 1
    assert re.search(WRONG[line], said), said
