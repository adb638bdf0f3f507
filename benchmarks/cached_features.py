"""Training throughput of a frozen ResNet-18 with cached features beside the small network, in turns, on one thread.

    nice -n 10 python benchmarks/cached_features.py

DQN on LandmarkLocalization with its preset's batch of 128 and four updates every 64 steps; 32 px windows, 16 episodes
at a time. Prints environment steps per second, by the wall clock and by the CPU time of the process; medians.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before any library reads it

import torch  # noqa: E402
from stable_baselines3 import DQN  # noqa: E402

from visionrl.agents import VisionExtractor, make_vec_env  # noqa: E402
from visionrl.agents.networks.frozen_features import CachedFeatures  # noqa: E402

torch.set_num_threads(1)
STEPS = 2048
COMMON: dict[str, Any] = {"learning_rate": 1e-3, "gamma": 0.5, "batch_size": 128, "buffer_size": 20_000}
COMMON |= {"learning_starts": 500, "train_freq": 4, "gradient_steps": 4, "device": "cpu", "seed": 0}


def agents() -> dict[str, DQN]:
    """An agent by the name of its network; both have 256 features below the same value network."""
    plain, other = (make_vec_env("visionrl/LandmarkLocalization-v0", 16, seed=0, window=32) for _ in range(2))
    cached = CachedFeatures(other, "resnet18", stem="imagenet")
    small = {"features_extractor_class": VisionExtractor}
    return {
        "small, trained": DQN("MultiInputPolicy", plain, policy_kwargs=small, **COMMON),
        "resnet18, frozen and cached": DQN(
            "MultiInputPolicy", cached, policy_kwargs={"net_arch": [256, 64, 64]}, **COMMON
        ),
    }


def rate(agent: DQN) -> tuple[float, float]:
    """Steps per second of wall clock and of CPU time."""
    before, wall, cpu = agent.num_timesteps, time.perf_counter(), time.process_time()
    agent.learn(STEPS, reset_num_timesteps=False)
    steps = agent.num_timesteps - before
    return steps / (time.perf_counter() - wall), steps / (time.process_time() - cpu)


def main() -> None:
    """Measure in turns, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    found = agents()
    for agent in found.values():
        agent.learn(1024)
    rates = [[rate(agent) for agent in found.values()] for _ in range(rounds)]
    for k, name in enumerate(found):
        wall, cpu = (sorted(turn[k][clock] for turn in rates)[rounds // 2] for clock in (0, 1))
        print(f"{name:30} {wall:6.0f} steps/s, {cpu:6.0f} steps per CPU second")


if __name__ == "__main__":
    main()
