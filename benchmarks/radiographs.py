"""Milliseconds per digitally reconstructed radiograph of the embedded chest CT, by OpenCV and by torch.

    python benchmarks/radiographs.py
    python benchmarks/radiographs.py --device cuda --batch 64

OpenCV is what environments use on NumPy and for torch tensors on the CPU; the torch kernel is what they use on an
accelerator, shown here on any device. One thread; the calls of both alternate. Prints medians and quartiles in JSON, of
CPU time on the CPU, which neighbours on a shared core disturb less, of the wall clock on an accelerator.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before any library reads it
os.environ["VISIONRL_THREADS"] = "1"

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from visionrl.core import make_task  # noqa: E402
from visionrl.ops.radiograph import Beam, render, render_torch  # noqa: E402

torch.set_num_threads(1)
cv2.setNumThreads(1)
FIELD_MM = 409.6  # side of the detector


def contenders(size: int, batch: int, device: str) -> dict[str, Callable[[], Any]]:
    """Calls that render a batch, by the name of their kernel."""
    task: Any = make_task("visionrl/Registration2D3D-v0", size=size, pixel_mm=FIELD_MM / size, spacing_mm=4.0)
    rng = np.random.default_rng(0)
    states = [task.sample(rng, int(rng.integers(task.items))) for _ in range(batch)]
    index, pose = np.array([s.image for s in states]), np.array([s.pose for s in states])
    arm = task.bank
    densities, beam = arm.densities["y"], arm.geometry.beam(0, pose)
    there = torch.asarray(index, device=device)
    rays = Beam(*(torch.asarray(way, device=device) for way in beam))

    def by_torch() -> None:
        render_torch(densities, there, rays, size)
        if device != "cpu":
            torch.cuda.synchronize()

    return {"opencv": lambda: render(densities, index, beam, size), f"torch, {device}": by_torch}


def measure(size: int, batch: int, device: str, rounds: int) -> dict[str, Any]:
    """Milliseconds per render of each kernel."""
    calls = contenders(size, batch, device)
    times: dict[str, list[float]] = {name: [] for name in calls}
    clock = time.process_time if device == "cpu" else time.perf_counter
    for turn in range(rounds + 1):
        for name, call in calls.items():
            began = clock()
            call()
            if turn:  # the first warms up
                times[name].append(1000 * (clock() - began) / batch)
    quartiles = {name: np.percentile(each, (50, 25, 75)).round(3).tolist() for name, each in times.items()}
    return {"size": size, "batch": batch, "median and quartiles, ms": quartiles}


def main() -> None:
    """Measure every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=11)
    args = parser.parse_args()
    for size in args.sizes:
        print(json.dumps(measure(size, args.batch, args.device, args.rounds)), flush=True)


if __name__ == "__main__":
    main()
