"""CPU seconds and peak memory of the first ``gym.make`` of every id, each in a fresh process.

Run ``python benchmarks/first_make.py [WORD]``; with a word, only the ids that contain it.
"""

from __future__ import annotations

import json
import subprocess
import sys

import gymnasium as gym

import visionrl  # noqa: F401  registers the ids

PROGRAM = """
import json, pickle, resource, sys, time, warnings
warnings.simplefilter("ignore")
import gymnasium as gym, visionrl
start = time.process_time()
env = gym.make(sys.argv[1])
made = time.process_time() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([made, peak, len(pickle.dumps(env)) / 2**20]))
"""


def main() -> None:
    """Print one row an id."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    print("| id | CPU s | peak MiB | pickle MiB |\n|---|---|---|---|")
    for name in sorted(name for name in gym.registry if name.startswith("visionrl/") and word in name):
        done = subprocess.run([sys.executable, "-c", PROGRAM, name], capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
            print(f"| {name} | {reason} | | |", flush=True)
            continue
        cpu, peak, pickled = json.loads(done.stdout.splitlines()[-1])
        print(f"| {name} | {cpu:.2f} | {peak:.0f} | {pickled:.1f} |", flush=True)


if __name__ == "__main__":
    main()
