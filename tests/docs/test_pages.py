"""The code of the guides runs."""

import re
import sys
from importlib import import_module
from pathlib import Path

import gymnasium as gym
import pytest

from visionrl.backbones import _registry, make_backbone
from visionrl.core import TASKS
from visionrl.core.conformance import CHECKS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page):
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def first_task(tmp_path, monkeypatch):
    """The task of the page, registered while a test runs."""
    (tmp_path / "center_coin.py").write_text(blocks("first-task.md")[0])
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("center_coin").CenterCoin
    del TASKS["visionrl/CenterCoin-v0"], gym.registry["visionrl/CenterCoin-v0"], sys.modules["center_coin"]


@pytest.mark.slow
def test_the_first_task_keeps_to_the_rules(first_task):
    exec(blocks("first-task.md")[1], {})
    for name, rule in CHECKS.items():
        if name not in ("processes",):  # a new process has not imported it
            rule("visionrl/CenterCoin-v0")


def test_the_first_task_is_short():
    code = [line for line in blocks("first-task.md")[0].splitlines() if line.strip()]
    rows = [line for line in code if line.lstrip().startswith(("|", '"""'))]
    assert len(code) - len(rows) <= 75


def test_the_backbone_of_the_page_is_one():
    block = next(block for block in blocks("extending.md") if "register_backbone" in block)
    try:
        exec(block, {"__name__": "page"})
        assert make_backbone("tiny", in_channels=4).num_features == 16
    finally:
        _registry._BUILDERS.pop("tiny", None)


PAGES = sorted([*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS.parent)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("task_id", sorted(TASKS))
def test_the_readme_names_every_task_and_preset(task_id):
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    name = task_id.removeprefix("visionrl/")
    row = next(
        line for line in text.splitlines() if line.startswith("|") and f"environments/{name}.md" in line
    )
    assert all(f"`{preset}`" in row for preset in TASKS[task_id].presets)
