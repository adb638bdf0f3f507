"""``visionrl classify`` on files."""

from __future__ import annotations

import csv
import json
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
from visionrl.models import make_model, save_model


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright and dark pictures as support and as files, and an untrained model."""
    folder, rng = tmp_path_factory.mktemp("classify"), np.random.default_rng(0)
    for name, level in (("bright", 170), ("dark", 10)):
        for number in range(3):
            place = folder / "support" / name if number < 2 else folder / "files"
            place.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(level, level + 60, (40, 30 + number), np.uint8)
            Image.fromarray(pixels).save(place / f"{name}{number}.png")
    (folder / "bad.png").write_text("no picture")
    shutil.copytree(folder / "support" / "bright", folder / "one" / "bright")
    torch.manual_seed(0)
    save_model(make_model("prototypical", channels=1), folder / "prototypical")
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


def test_one_class_is_none(home: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["classify", str(home / "prototypical"), str(home / "files"), "--support", str(home / "one")])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.count("\n") == 1
    assert f"support must hold two folders of classes or more, {home / 'one'} has 1" in said
