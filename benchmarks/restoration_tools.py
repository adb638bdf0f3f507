"""What each tool of restoration costs for a patch: on OpenCV and NumPy, and on torch, on the CPU and one thread.

python benchmarks/restoration_tools.py    # half a minute; medians of rounds in turns, CPU milliseconds a patch
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import process_time
from typing import Any

import cv2
import numpy as np
import torch

from visionrl.envs.enhancement.pixel_tools import PIXEL_TOOLS
from visionrl.envs.enhancement.tools import DAMPING, TOOLS
from visionrl.ops import filters_torch
from visionrl.ops.kernels import wiener

ROUNDS, PATCHES = 15, 16
KINDS = {"image": (TOOLS, (3, 63, 63)), "pixel": (PIXEL_TOOLS, (1, 70, 70))}


def on_torch(tool: Any) -> Callable[[Any], Any]:
    """The same tool by torch's kernels, which the library takes on accelerators alone."""
    name, given = tool.func.__name__, tool.keywords
    if name == "_deblur":
        return lambda images: filters_torch.convolve(images, wiener(given["sigma"], DAMPING, 25))
    if name == "_shift":
        return tool
    return partial(getattr(filters_torch, name), **given)


def main() -> None:
    """Time every tool and print a table."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print("| control | tool | OpenCV, NumPy | torch |\n|---|---|---|---|")
    for control, (tools, shape) in KINDS.items():
        images: Any = np.random.default_rng(0).uniform(0, 255, (PATCHES, *shape)).astype(np.float32)
        tensor: Any = torch.from_numpy(images)
        runs: dict[tuple[str, str], Callable[[], Any]] = {
            (name, where): partial(one, given)
            for name, tool in tools.items()
            for where, one, given in (("numpy", tool, images), ("torch", on_torch(tool), tensor))
        }
        spent: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
        for _ in range(ROUNDS):
            for key, run in runs.items():
                began = process_time()
                run()
                spent[key].append(1000 * (process_time() - began) / PATCHES)
        for name in tools:
            numpy_ms, torch_ms = (float(np.median(spent[name, where])) for where in ("numpy", "torch"))
            print(f"| {control} | {name} | {numpy_ms:.3f} | {torch_ms:.3f} |")


if __name__ == "__main__":
    main()
