"""Memory of worker processes: what each of ``SubprocVecEnv``'s holds for itself alone, in MiB; for Linux.

    python benchmarks/worker_memory.py --env Tracking-v0 --workers 8

Private memory is Private_Clean + Private_Dirty of ``/proc/PID/smaps_rollup``.
"""

import argparse
from functools import partial
from pathlib import Path

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import SubprocVecEnv

import visionrl  # noqa: F401 (registers the tasks, and what workers share)


def private(pid: int) -> float:
    """MiB that a process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def main() -> None:
    """Start workers, step each 20 times, print what they hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="Tracking-v0")
    parser.add_argument("--workers", type=int, default=8)
    asked = parser.parse_args()
    workers = SubprocVecEnv([partial(gym.make, f"visionrl/{asked.env}")] * asked.workers)
    workers.reset()
    for _ in range(20):
        workers.step(np.array([workers.action_space.sample() for _ in range(asked.workers)]))
    print(asked.env, [round(private(worker.pid)) for worker in workers.processes], "MiB each")
    workers.close()


if __name__ == "__main__":
    main()
