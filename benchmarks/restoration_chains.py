"""What chains of tools can gain on pictures: the best for each patch, the best for all, and the expert's.

python benchmarks/restoration_chains.py --patches 16    # all chains of at most three tools, some two CPU minutes
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np

from visionrl.core import batch, make_task
from visionrl.envs.enhancement.tools import NAMES


def main() -> None:
    """Try every chain on validation patches and print mean gains of PSNR."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=16, help="patches of the validation split")
    count = parser.parse_args().patches
    task = make_task("Restoration-v0", split="val")
    rng = np.random.default_rng(0)
    start = batch.stack([task.sample(rng, k % task.items) for k in range(count)])
    states, gains = {(): start}, {(): np.zeros(count)}
    for length in (1, 2, 3):
        for chain in product(range(len(NAMES)), repeat=length):
            after = task.edit(states[chain[:-1]], np.full(count, chain[-1]))
            gains[chain] = task.measure(after) - start.quality[:, 0]
            if length < 3:
                states[chain] = after
    for length in (1, 2, 3):
        table = np.stack([gain for chain, gain in gains.items() if len(chain) <= length])
        best = max(gains, key=lambda chain: gains[chain].mean() if len(chain) <= length else -np.inf)
        print(
            f"at most {length}: for each patch {table.max(0).mean():.2f} dB, for all {table.mean(1).max():.2f} dB, by",
            end="",
        )
        print("", ", ".join(NAMES[k] for k in best))
    state = start
    for _ in range(3):
        state = task.step(state, np.where(state.finished, len(NAMES), task.expert(state)))
    print(f"the expert: {task.metrics(state)['gain_db'].mean():.2f} dB")


if __name__ == "__main__":
    main()
