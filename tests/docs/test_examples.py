"""The examples run as a user runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.slow
def test_custom_backbone(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(FOLDER / "custom_backbone.py"), "--timesteps", "640"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"by name: +([\d.]+) px\nas module: +([\d.]+) px\n", done.stdout)
    assert found, done.stdout
    assert all(0 < float(distance) < 1000 for distance in found.groups())
    assert not list(tmp_path.iterdir())


def test_custom_backbone_is_short() -> None:
    assert len((FOLDER / "custom_backbone.py").read_text().splitlines()) < 60
