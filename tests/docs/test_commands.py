"""The commands on the pages name tasks, presets, arguments and options that exist."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from visionrl.agents.training.config import TrainConfig
from visionrl.cli.evaluate import Evaluate
from visionrl.core import TASKS, entry_of
from visionrl.core.registry import argument_names

ROOT = Path(__file__).resolve().parents[2]
ENGINE = {"backend", "device", "max_episode_steps"}


def commands():
    """(page, words) of every `visionrl train` and `visionrl evaluate` in the Markdown of the project."""
    found = []
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]):
        text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
        for line in re.findall(r"visionrl (?:train|evaluate) [^\n`|]*", text):
            words = line.split("#")[0].split("; do")[0].split(" && ")[0]
            try:
                found.append((page.name, shlex.split(words)))
            except ValueError:
                continue  # prose with an apostrophe
    return found


def values_after(words, option):
    """The words between an option and the next one."""
    if option not in words:
        return []
    rest = words[words.index(option) + 1 :]
    stop = next((k for k, word in enumerate(rest) if word.startswith("--")), len(rest))
    return rest[:stop]


def test_there_are_commands():
    assert len(commands()) > 40


@pytest.mark.parametrize(("page", "words"), commands(), ids=lambda value: str(value)[:60])
def test_a_command_names_what_exists(page, words):
    known = {f.name for f in fields(TrainConfig if words[1] == "train" else Evaluate)}
    for word in words:
        if re.fullmatch(r"--[a-z-]+", word):
            name = word[2:].replace("-", "_")
            assert name in known or name.removeprefix("no_") in known, f"{page}: {word}"
    ids = values_after(words, "--env")
    if not ids or not (ids[0] in TASKS or f"visionrl/{ids[0]}" in TASKS):
        assert not ids or not ids[0].startswith("visionrl/"), f"{page}: {ids}"
        return
    entry = entry_of(ids[0])
    for given in values_after(words, "--env-args") + values_after(words, "--train-args"):
        name = given.split("=")[0]
        assert name in argument_names(entry.task) | ENGINE, f"{page}: {entry.id} has no argument {name!r}"
    for preset in values_after(words, "--preset")[:1]:
        assert preset in (*entry.presets, "none") or not preset.isidentifier(), f"{page}: preset {preset}"
