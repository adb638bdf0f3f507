"""The page of the data formats has every format, with a tree whose files the small sets write alike."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small_sets import SETS

PAGE = Path(__file__).parents[2] / "docs" / "data-formats.md"


def sections() -> dict[str, str]:
    """Format -> what the page says about it."""
    parts = re.split(r"^## (\S+)$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_page_has_every_format():
    assert set(SETS) <= set(sections())


@pytest.mark.parametrize("name", sorted(SETS))
def test_each_format_has_a_tree_with_the_kinds_of_files_that_are_read(tmp_path, name):
    tree = sections()[name].split("```")[1]
    assert re.match(r"\n\S+/\n  \S", tree)
    SETS[name](tmp_path)
    written = {file.suffix for file in tmp_path.rglob("*") if file.is_file()}
    stated = set(re.findall(r"\.\w+", sections()[name]))
    assert written & stated, f"the page names {sorted(stated)}, the small set has {sorted(written)}"
