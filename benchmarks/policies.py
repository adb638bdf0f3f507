"""Frames per CPU second of training with and without memory, and what they are spent on, on one thread.

    nice -n 10 python benchmarks/policies.py

PPO, and RecurrentPPO for states that are carried along, on LandmarkLocalization with 32 px windows: 1,024 frames a
rollout, 4 epochs in batches of 256, 256 features. "small" learns from images, "cached" is a frozen ResNet-18 whose
features are cached. Prints a table in Markdown; medians over rounds in turns.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"  # before any library reads it

import numpy as np  # noqa: E402
import torch  # noqa: E402
from sb3_contrib import RecurrentPPO  # noqa: E402
from stable_baselines3 import PPO  # noqa: E402

from visionrl.agents import CachedFeatures, VisionExtractor, make_vec_env  # noqa: E402
from visionrl.agents.networks.frozen_features import FeatureHead  # noqa: E402
from visionrl.agents.policies.recurrent import RecurrentPolicy  # noqa: E402
from visionrl.agents.policies.sequence import SequenceExtractor  # noqa: E402

torch.set_num_threads(1)
TASK, RECALL, FRAMES, SIZE = "visionrl/LandmarkLocalization-v0", 4, 1024, 256
COMMON: dict[str, Any] = {"batch_size": 256, "n_epochs": 4, "device": "cpu", "seed": 0}
MEMORIES = ("none", "window rnn", "window lstm", "window gru", "window attention")
MEMORIES += ("carried rnn", "carried lstm", "carried gru")
PARTS = ("environment", "forward", "buffer", "gradient")


class Clock:
    """CPU seconds of functions by name; a function within another counts for itself alone."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        self.running: list[str] = []
        self.since = 0.0

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Count the calls of a method under a name."""
        inner: Callable[..., Any] = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.turn()
            self.running.append(name)
            try:
                return inner(*args, **kwargs)
            finally:
                self.turn()
                self.running.pop()

        setattr(owner, method, timed)

    def turn(self) -> None:
        """Give the time since the last turn to the innermost function."""
        now = time.process_time()
        if self.running:
            self.spent[self.running[-1]] += now - self.since
        self.since = now


def agent(memory: str, cached: bool, rows: int) -> tuple[Any, Clock]:
    """An agent with a memory, "none", "window KIND" or "carried KIND", and the clock of its parts."""
    how, _, kind = memory.partition(" ")
    recall = RECALL if how == "window" else 1
    env = make_vec_env(TASK, rows, seed=0, window=32, recall=1 if cached else recall)
    sees: dict[str, Any] = {"features_extractor_class": FeatureHead if cached else VisionExtractor}
    if recall > 1:
        sees = {"features_extractor_class": SequenceExtractor}
    if cached:
        env = CachedFeatures(env, "resnet18", recall, stem="imagenet", device="cpu")
    sees["features_extractor_kwargs"] = {"features_dim": SIZE, **({"kind": kind} if recall > 1 else {})}
    own: dict[str, Any] = {"cell": kind, "lstm_hidden_size": SIZE} if how == "carried" else {}
    algorithm, policy = (RecurrentPPO, RecurrentPolicy) if own else (PPO, "MultiInputPolicy")
    model: Any = algorithm(policy, env, policy_kwargs={**sees, **own}, n_steps=FRAMES // rows, **COMMON)
    clock = Clock()
    clock.watch(env, "step", "environment")
    clock.watch(model.policy, "forward", "forward")
    clock.watch(model, "train", "gradient")
    for method in ("add", "compute_returns_and_advantage", "_get_samples"):
        clock.watch(model.rollout_buffer, method, "buffer")
    return model, clock


def measure(model: Any, clock: Clock) -> dict[str, float]:
    """CPU milliseconds a frame of a rollout and its updates, in parts and in all."""
    clock.spent = dict.fromkeys(PARTS, 0.0)
    began, frames = time.process_time(), model.num_timesteps
    model.learn(FRAMES, reset_num_timesteps=False)
    frames = model.num_timesteps - frames
    spent = {**clock.spent, "all": time.process_time() - began}
    return {name: 1000 * seconds / frames for name, seconds in spent.items()}


def main() -> None:
    """Measure in turns, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="+", default=[16, 64])
    options = parser.parse_args()
    print("| rows | images | memory | frames/s | of none | " + " | ".join(PARTS) + " |")
    print("|" + "---|" * (5 + len(PARTS)))
    for rows in options.rows:
        for cached in (False, True):
            agents = {memory: agent(memory, cached, rows) for memory in MEMORIES}
            turns = [{m: measure(*one) for m, one in agents.items()} for _ in range(options.rounds + 1)][1:]
            cost = {m: {k: float(np.median([t[m][k] for t in turns])) for k in turns[0][m]} for m in agents}
            for memory, spent in cost.items():
                rate, share = 1000 / spent["all"], cost["none"]["all"] / spent["all"]
                parts = " | ".join(f"{spent[name]:.2f}" for name in PARTS)
                images = "cached" if cached else "small"
                print(f"| {rows} | {images} | {memory} | {rate:.0f} | {share:.2f} | {parts} |", flush=True)


if __name__ == "__main__":
    main()
