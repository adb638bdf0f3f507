"""What chains of tools can gain on pictures: the best for each patch, the best for all, and the expert's.

python benchmarks/restoration_chains.py --patches 16    # all chains of at most three tools, some two CPU minutes
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import Any

import numpy as np

from visionrl.core import batch, make_task
from visionrl.envs.enhancement.tools import NAMES


def main() -> None:
    """Try every chain on validation patches and print mean gains of PSNR."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--patches", type=int, default=16, help="patches of the validation split")
    count = parser.parse_args().patches
    task: Any = make_task("Restoration-v0", split="val")
    rng = np.random.default_rng(0)
    start = batch.stack([task.sample(rng, k % task.items) for k in range(count)])
    states: dict[tuple[int, ...], Any] = {(): start}
    gains: dict[tuple[int, ...], np.ndarray] = {(): np.zeros(count)}
    for length in (1, 2, 3):
        for chain in product(range(len(NAMES)), repeat=length):
            after = task.edit(states[chain[:-1]], np.full(count, chain[-1]))
            gains[chain] = task.measure(after) - start.quality[:, 0]
            if length < 3:
                states[chain] = after
    for length in (1, 2, 3):
        some = {chain: gain for chain, gain in gains.items() if len(chain) <= length}
        best = max(some, key=lambda chain: gains[chain].mean())
        each, alike = np.max(list(some.values()), axis=0).mean(), gains[best].mean()
        tools = ", ".join(NAMES[k] for k in best)
        print(f"at most {length}: for each patch {each:.2f} dB, for all {alike:.2f} dB, by {tools}")
    state = start
    for _ in range(3):
        state = task.step(state, np.where(state.finished, len(NAMES), task.expert(state)))
    print(f"the expert: {task.metrics(state)['gain_db'].mean():.2f} dB")


if __name__ == "__main__":
    main()
