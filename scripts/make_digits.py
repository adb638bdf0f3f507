"""Makes ``visionrl/datasets/embedded/data/digits.npz`` from the handwritten digits that come with scikit-learn.

    python scripts/make_digits.py                                # downloads the wheel with pip
    python scripts/make_digits.py scikit_learn-1.9.1-...whl

Needs numpy alone: the digits are a CSV file in the wheel. The archive it writes holds

* ``images``: (1797, 8, 8) uint8, 0 (paper) to 16 (ink), in the order of scikit-learn;
* ``labels``: (1797,) uint8, the digit;
* ``splits``: (1797,) uint8, 0 train, 1 val, 2 test: of every digit 70, 10 and 20 %, drawn with a seed.

The split is by image: the copy has no writers' numbers, so all 13 writers are in every split. The same wheel
gives the same arrays.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

WHEEL = "scikit-learn==1.9.1"
MEMBER = "sklearn/datasets/data/digits.csv.gz"
SHARES = (0.7, 0.8)  # of each digit: train up to the first, val up to the second, test the rest
SEED = 0
TARGET = Path(__file__).resolve().parents[1] / "visionrl" / "datasets" / "embedded" / "data" / "digits.npz"


def download_wheel(folder: Path) -> Path:
    """The path of the wheel, fetched by pip into the folder."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True)
    return next(folder.glob("scikit_learn-*.whl"))


def split(labels: np.ndarray) -> np.ndarray:
    """(N,) uint8, the split of every image, in equal shares of each digit."""
    rng, splits = np.random.default_rng(SEED), np.zeros(len(labels), np.uint8)
    for digit in range(10):
        rows = rng.permutation(np.flatnonzero(labels == digit))
        cuts = [round(share * len(rows)) for share in SHARES]
        splits[rows[cuts[0] : cuts[1]]] = 1
        splits[rows[cuts[1] :]] = 2
    return splits


def build(wheel: Path) -> dict[str, np.ndarray]:
    """The arrays of the archive."""
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read(MEMBER)).decode()
    table = np.loadtxt(io.StringIO(text), delimiter=",").astype(np.uint8)
    if table.shape != (1797, 65) or table[:, :64].max() != 16 or table[:, 64].max() != 9:
        raise ValueError(f"the table must hold 1797 digits of 8 x 8 pixels, got shape {table.shape}")
    labels = table[:, 64]
    return {"images": table[:, :64].reshape(-1, 8, 8), "labels": labels, "splits": split(labels)}


def main() -> None:
    """Builds the archive and puts it in its place in one move."""
    parser = argparse.ArgumentParser(description="Makes the embedded digits.")
    parser.add_argument(
        "wheel", nargs="?", type=Path, help="the scikit-learn wheel; downloaded when left out"
    )
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        arrays = build(arguments.wheel or download_wheel(Path(name)))
    partial = arguments.target.with_suffix(".partial.npz")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    os.replace(partial, arguments.target)
    print(f"{arguments.target}: {arrays['images'].shape}, {arguments.target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
