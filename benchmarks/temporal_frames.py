"""What the frames that an agent of ``TemporalDetection-v0`` looks at are worth: the same windows on three choices.

    python benchmarks/temporal_frames.py RUN --split val

Prints ``map_50`` and the share of the frames looked at: of the agent's segments, of sliding windows on the frames that
it looked at, and of sliding windows on as many frames at equal distances.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium.utils.seeding import np_random

from visionrl.agents import load_agent
from visionrl.baselines.temporal_detection import best_windows, scored, slid, window_lengths, with_segments
from visionrl.core import batch, make_task
from visionrl.envs.video.temporal import State, TemporalDetection

TASK = "visionrl/TemporalDetection-v0"


def row(task: TemporalDetection, name: str, ends: State) -> str:
    """A row of the table."""
    metric = task.dataset_metrics[0]
    precision = metric.compute(metric.record(ends))["map_50"]
    return f"| {name} | {task.metrics(ends)['frames'].mean():.3f} | {precision:.3f} |"


def with_windows(task: TemporalDetection, ends: State, lengths: np.ndarray) -> State:
    """The ends of episodes with what sliding windows find in the frames that were looked at."""
    found = []
    for number in range(len(ends.item)):
        end = batch.stack([batch.take(ends, number)])
        windows = slid(lengths, task.parts.array[int(end.item[0])])
        end = with_segments(task, end, best_windows(windows, scored(task, end, windows)))
        found.append(batch.take(end, 0))
    return batch.stack(found)


def at_equal_distances(task: TemporalDetection, ends: State) -> State:
    """The ends of episodes had as many frames been looked at, at equal distances."""
    looks = np.full_like(ends.looks, -1)
    for line, seen, item in zip(looks, ends.looks, ends.item, strict=True):
        (low, high), count = task.parts.array[item], int((seen >= 0).sum())
        frames = np.unique((low + (np.arange(count) + 0.5) * (high - low) / count).astype(int))
        line[: len(frames)] = frames
    return replace(ends, looks=looks)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="folder of a trained agent")
    parser.add_argument("--split", default="val", choices=("val", "test"))
    given = parser.parse_args()
    task: Any = make_task(TASK, split=given.split, jitter=0.0)
    lengths = window_lengths(make_task(TASK, split="train", jitter=0.0))
    starts = [task.sample(np_random(number)[0], number) for number in range(task.items)]
    ends, _ = load_agent(given.run).run_episodes(task, starts)
    print("| segments of | frames | map_50 |\n|---|---|---|")
    print(row(task, "the agent", ends))
    print(row(task, "windows, the agent's frames", with_windows(task, ends, lengths)))
    equal = at_equal_distances(task, ends)
    print(row(task, "windows, as many frames at equal distances", with_windows(task, equal, lengths)))


if __name__ == "__main__":
    main()
