"""Makes ``visionrl/datasets/embedded/data/garments.npz`` from the training file of Fashion-MNIST.

    apt-get download dataset-fashion-mnist && dpkg-deb -x dataset-fashion-mnist_*.deb FOLDER
    python scripts/make_garments.py FOLDER/usr/share/datasets/fashion-mnist

Reads ``train-images-idx3-ubyte.gz`` and ``train-labels-idx1-ubyte.gz``; the test file is left alone, so that it stays a
test for whoever uses Fashion-MNIST. The archive it writes holds

* ``images``: (700, 28, 28) uint8, 100 of each kind in the order of ``KINDS``, white on black;
* ``labels``: (700,) uint8, index of the kind;
* ``splits``: (700,) uint8, 0 train, 1 val, 2 test: of every kind the first 60, the next 15, the last 25.

Shirts, T-shirts and coats are left out: nobody tells them apart at 20 pixels. The same files give the same arrays.
"""

from __future__ import annotations

import argparse
import gzip
import os
from pathlib import Path

import numpy as np

KINDS = {"trouser": 1, "pullover": 2, "dress": 3, "sandal": 5, "sneaker": 7, "bag": 8, "boot": 9}
COUNTS = (60, 15, 25)  # of each kind in train, val and test
SEED = 0
TARGET = Path(__file__).resolve().parents[1] / "visionrl" / "datasets" / "embedded" / "data" / "garments.npz"


def read_idx(file: Path) -> np.ndarray:
    """The array of a gzipped IDX file of bytes."""
    content = gzip.decompress(file.read_bytes())
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def build(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of the archive."""
    images = read_idx(folder / "train-images-idx3-ubyte.gz")
    labels = read_idx(folder / "train-labels-idx1-ubyte.gz")
    if images.shape != (60000, 28, 28) or labels.shape != (60000,):
        raise ValueError(f"the training file must hold 60000 images of 28 x 28, got shape {images.shape}")
    rng, count = np.random.default_rng(SEED), sum(COUNTS)
    rows = [rng.choice(np.flatnonzero(labels == kind), count, replace=False) for kind in KINDS.values()]
    return {
        "images": images[np.concatenate(rows)],
        "labels": np.repeat(np.arange(len(KINDS), dtype=np.uint8), count),
        "splits": np.tile(np.repeat(np.arange(3, dtype=np.uint8), COUNTS), len(KINDS)),
    }


def main() -> None:
    """Builds the archive and puts it in its place in one move."""
    parser = argparse.ArgumentParser(description="Makes the embedded garments.")
    parser.add_argument("folder", type=Path, help="the folder of Fashion-MNIST's .gz files")
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()
    arrays = build(arguments.folder)
    partial = arguments.target.with_suffix(".partial.npz")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    os.replace(partial, arguments.target)
    print(f"{arguments.target}: {arrays['images'].shape}, {arguments.target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
