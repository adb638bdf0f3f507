"""Milliseconds of ``predict`` with agents of the library, on one image, scan, frame and pair; loading apart.

    python benchmarks/predict.py --rounds 5

Files are read before the clock starts. Of the rounds the median is shown, after one that is not counted.
"""

import argparse
import statistics
from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

import cv2
import numpy as np

from visionrl import load_agent
from visionrl.datasets.embedded.chest import chest_ct

SIDE = 512


def image() -> np.ndarray:
    """A photograph, grey, 512 x 512."""
    from skimage import data

    return np.asarray(cv2.resize(data.camera(), (SIDE, SIDE)))


def scan() -> np.ndarray:
    """The embedded chest CT on 256^3 voxels, axes (z, y, x), Hounsfield units."""
    from scipy import ndimage

    voxels = chest_ct().volume.astype(np.float32)
    return ndimage.zoom(voxels, [256 / side for side in voxels.shape], order=1)


def frames(count: int) -> np.ndarray:
    """The photograph's middle, moving by two pixels a frame: (T, 480, 640) uint8."""
    large = cv2.resize(image(), (1000, 1000))
    return np.stack([large[200:680, 100 + 2 * t : 740 + 2 * t] for t in range(count)])


def cases() -> dict[str, tuple[str, Callable[[Any], Any], int]]:
    """What is predicted -> the agent, the call, and how many of the things it takes."""
    photo, ct, video = image(), scan(), frames(50)
    turned = cv2.warpAffine(photo, cv2.getRotationMatrix2D((256, 256), 8, 1), (SIDE, SIDE))
    spacing = tuple(4.0 * a / 256 for a in chest_ct().volume.shape[::-1])
    return {
        "one image, 512 x 512, 16 landmarks": ("landmarks-chest-xray", lambda agent: agent.predict(photo), 1),
        "one image, 512 x 512, its digit": ("glimpses-digits", lambda agent: agent.predict(photo), 1),
        "one CT, 256 x 256 x 256, 8 landmarks": (
            "landmarks3d-chest",
            lambda agent: agent.predict(ct, spacing_mm=spacing),
            1,
        ),
        "one frame, 640 x 480, of a video of 50": (
            "tracking-follow",
            lambda agent: agent.predict(video, box=(300, 200, 60, 60)),
            len(video),
        ),
        "one pair of images, 512 x 512": (
            "registration-photographs",
            lambda agent: agent.predict(photo, turned),
            1,
        ),
        "one pair of CT, 256 x 256 x 256": (
            "registration-volumes",
            lambda agent: agent.predict(ct, np.roll(ct, 4, axis=2), spacing_mm=np.array([spacing] * 2)),
            1,
        ),
    }


def main() -> None:
    """Time every case and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    load_agent("glimpses-digits", "cpu")  # imports torch
    print("| what | agent | ms | ms of CPU | loading the agent, ms |\n|---|---|---|---|---|")
    for what, (name, predict, count) in cases().items():
        began = perf_counter()
        agent = load_agent(name, "cpu")
        loading, spent = perf_counter() - began, list[tuple[float, float]]()
        for _ in range(rounds + 1):
            began, used = perf_counter(), process_time()
            predict(agent)
            spent.append((perf_counter() - began, process_time() - used))
        wall, cpu = (statistics.median(column) * 1000 / count for column in zip(*spent[1:], strict=True))
        print(f"| {what} | {name} | {wall:,.0f} | {cpu:,.0f} | {1000 * loading:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
