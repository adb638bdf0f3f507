"""The page about applying an agent says what happens."""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import pytest

from visionrl.agents.prediction import registration_files as registration_files
from visionrl.agents.prediction.outputs import FOLDER_WRITERS, WRITERS
from visionrl.cli.main import command_of, main
from visionrl.cli.parsing import parse
from visionrl.core import TASKS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:python)?\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
LINES = [line for block in BLOCKS for line in block.splitlines() if line.startswith("visionrl ")]


def test_the_five_minutes_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("nibabel", "SimpleITK"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    before = PAGE.partition("## An agent of your own")[0]
    names: dict[str, object] = {}
    for block in re.findall(r"^```(python)?\n(.*?)^```", before, re.DOTALL | re.MULTILINE):
        if block[0]:
            exec(block[1], names)
            continue
        for line in block[1].splitlines():
            if line.startswith("visionrl "):
                main(shlex.split(line, comments=True)[1:])
    assert {path.name for path in Path("found").iterdir()} == {
        "predictions.jsonl",
        *(f"ct.{end}" for end in ("csv", "fcsv", "mrk.json", "png")),
    }
    with Path("found/ct.csv").open() as file:
        _, head, *rows = list(csv.reader(file))
    assert head == ["name", "x", "y", "z"] and len(rows) == 8
    assert names["again"].points_mm == {} and set(names["again"].points) == {row[0] for row in rows}  # type: ignore[attr-defined]


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_page_is_one(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    if words[0] == "train":
        return  # test_commands looks at these
    parse(command_of(words[0]), words[0], words[1:])


def test_every_task_and_every_ending_is_in_the_table() -> None:
    table = PAGE.partition("## What is written")[2].partition("## Where things are")[0]
    for name in TASKS:
        short = name.removeprefix("visionrl/").rsplit("-v", 1)[0]
        assert re.search(rf"\b{short.removesuffix('3D')}", table), name
    for ending in (
        ".fcsv",
        ".mrk.json",
        ".matrix.txt",
        ".slice.mha",
        ".otb.txt",
        ".mot.txt",
        ".tfm",
        "-field.nii",
    ):
        assert f"NAME{ending}" in table
    assert len(WRITERS) + len(FOLDER_WRITERS) >= 9, "a new kind of result needs a row of the table"
