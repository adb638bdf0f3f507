"""What all tests share; threads are pinned before any library reads the environment."""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_variable] = "1"

from collections.abc import Callable  # noqa: E402
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


@pytest.fixture(scope="session")
def write_spots() -> Callable[..., Path]:
    """A function that writes pictures with a bright spot into a folder, and ``points.csv`` of where it is."""
    import cv2
    import numpy as np

    def write(folder: Path, count: int, side: int) -> Path:
        rng, lines = np.random.default_rng(0), ["file,spot_x,spot_y"]
        for number, (x, y) in enumerate(rng.integers(side // 4, side * 3 // 4, (count, 2))):
            picture = rng.integers(0, 120, (side, side, 3), np.uint8)
            picture[y - 3 : y + 4, x - 3 : x + 4] = 255
            cv2.imwrite(str(folder / f"{number}.png"), picture)
            lines.append(f"{number}.png,{x},{y}")
        (folder / "points.csv").write_text("\n".join(lines))
        return folder

    return write
