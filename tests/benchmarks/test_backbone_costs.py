"""The measurement of the backbones runs and writes what it measured; its page has every backbone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_it_measures_and_writes(tmp_path: Path) -> None:
    saved, page = tmp_path / "costs.json", tmp_path / "costs.md"
    command = [sys.executable, str(ROOT / "benchmarks" / "backbones.py"), "--only", "^(small|nature)$"]
    rest = ["--repeats", "3", "--json", str(saved), "--write", str(page)]
    done = subprocess.run([*command, *rest], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(saved.read_text())["backbones"]
    assert set(rows) == {"small", "nature"}
    # two convolutions of 32 and 64 channels on 64 px: maps of 16x16 and 8x8; the rectifiers' outputs count too
    assert rows["small"]["outputs_mb"] == pytest.approx(2 * 4 * (32 * 16 * 16 + 64 * 8 * 8) / 1e6)
    assert rows["small"]["parameters"] == 20_064
    for row in rows.values():
        assert len(row["wall_ms_1"]) == len(row["cpu_ms_32"]) == 3
        assert min(row["wall_ms_1"] + row["wall_ms_32"]) > 0
    assert "| `small` | 64 | 1024 | 0.02 |" in page.read_text()


@pytest.mark.slow
def test_the_page_has_every_backbone() -> None:
    code = "from visionrl.backbones import list_backbones; print(*list_backbones())"
    names = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    text = (ROOT / "docs" / "results" / "backbones.md").read_text()
    assert not [name for name in names if f"`{name}`" not in text]
