"""What all tests share; threads are pinned before any library reads the environment."""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_variable] = "1"

from pathlib import Path  # noqa: E402

import pytest  # noqa: E402

_CACHE = Path(__file__).resolve().parents[1] / ".pytest_cache" / "visionrl"
os.environ.setdefault(
    "VISIONRL_CACHE", str(_CACHE)
)  # of embedded samples; workers and subprocesses inherit it


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of optional real data beside the checkout; its tests are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}")
    return folder
