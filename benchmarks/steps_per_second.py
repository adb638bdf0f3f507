"""Steps per second of both tasks beside what else could be used, all in one process, in turns.

Every round times each contender once, in an order of its own; contenders are compared by the medians over the
rounds, so load from elsewhere falls on all alike. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VISIONRL_THREADS"):
    os.environ[_variable] = "1"  # before any library reads it

import contenders as c  # noqa: E402
import cv2  # noqa: E402
import numpy as np  # noqa: E402
import report  # noqa: E402
import torch  # noqa: E402

cv2.setNumThreads(1)
torch.set_num_threads(1)
LIBRARIES = (
    *("numpy", "opencv-python-headless", "gymnasium", "torch", "array-api-compat", "envpool", "ap-gym"),
    "visionrl",
)


def build(quick: bool) -> tuple[list[c.Contender], dict[str, str]]:
    """All contenders, and why those that are missing are."""
    sizes = (16, c.ROWS) if quick else (1, 16, c.ROWS, 256, 1024)
    devices = {"numpy": "cpu", "torch": "cpu"}
    found, missing = c.others()
    c.register_scalars()
    for setup in c.SETUPS:
        for backend, device in devices.items():
            found += c.engine(setup, sizes, backend, device)
        if torch.cuda.is_available():
            found += c.engine(setup, sizes, "torch", "cuda")
        found += [*c.rivals(setup), *c.kernels(setup)]
        if not setup.landmark:
            found += c.two_threads(setup)
    if not torch.cuda.is_available():
        missing["cuda"] = "no CUDA device on this machine"
    return found, missing


def sample(contender: c.Contender, calls: int) -> tuple[float, float]:
    """Wall and CPU time of some calls, microseconds per environment step."""
    c.set_threads(contender.threads)
    contender.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        contender.call()
    contender.wait()
    each = 1e6 / (calls * contender.rows)
    return (time.perf_counter() - wall) * each, (time.process_time() - cpu) * each


def calibrate(contender: c.Contender, budget: float) -> int:
    """How many calls take about ``budget`` seconds, after a warm-up."""
    sample(contender, 2)
    wall, _ = sample(contender, 3)
    return max(int(budget * 1e6 / (wall * contender.rows)), 1)


def measure(found: list[c.Contender], rounds: int, budget: float) -> dict[str, dict[str, Any]]:
    """Every sample of every contender."""
    calls = {one.name: calibrate(one, budget) for one in found}
    rows: dict[str, dict[str, Any]] = {
        one.name: {
            "rows": one.rows,
            "threads": one.threads,
            "calls": calls[one.name],
            "wall_us": [],
            "cpu_us": [],
        }
        for one in found
    }
    rng = np.random.default_rng(0)
    for turn in range(rounds):
        for k in rng.permutation(len(found)):
            wall, cpu = sample(found[k], calls[found[k].name])
            rows[found[k].name]["wall_us"].append(wall)
            rows[found[k].name]["cpu_us"].append(cpu)
        print(f"round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
    return rows


def machine() -> dict[str, Any]:
    """Where and with what it was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "gpu": cuda,
        "load": list(os.getloadavg()),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    os.replace(part, path)


def main() -> None:
    """Measure, save, show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few sizes, few rounds: does it run?")
    parser.add_argument(
        "--only", default="", help="regular expression that the names of contenders must match"
    )
    parser.add_argument("--rounds", type=int, help="turns that each contender gets (default 9)")
    parser.add_argument("--budget", type=float, help="seconds of one turn (default 0.15)")
    parser.add_argument("--json", type=Path, default=Path("runs/speed.json"), help="where all samples go")
    parser.add_argument("--write", type=Path, help="also write the tables there (docs/results/speed.md)")
    args = parser.parse_args()
    rounds = args.rounds or (3 if args.quick else 9)
    budget = args.budget or (0.02 if args.quick else 0.15)
    found, missing = build(args.quick)
    found = [one for one in found if re.search(args.only, one.name)]
    print(f"{len(found)} contenders", file=sys.stderr)
    result = {
        "machine": machine(),
        "rounds": rounds,
        "budget_s": budget,
        "quick": args.quick,
        "setups": {setup.name: setup.about for setup in c.SETUPS},
        "missing": missing,
        "contenders": measure(found, rounds, budget),
    }
    write(args.json, json.dumps(result, indent=1))
    page = report.page(result)
    print(page)
    if args.write:
        write(args.write, page)


if __name__ == "__main__":
    main()
