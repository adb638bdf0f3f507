"""Segments of two actions joined in time, of real skeletons: rows of sliding windows, one JSON line each.

    python benchmarks/joined_skeletons.py --data skeletons:FOLDER

Two clips of a split are joined, with the pose held still for 8 to 16 frames before, between and after them; the clips
are the segments. The classifier learns from the training split, and the rows are about the validation split.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from visionrl.core import BASELINES, batch, make_task
from visionrl.datasets import ClipSample, load
from visionrl.metrics.segments import segment_metrics

ID = "visionrl/TemporalDetection-v0"
FILMS = {"train": 400, "val": 100}


def joined(rng: np.random.Generator, clips: list[ClipSample], name: str) -> ClipSample:
    """Two clips by chance, with rest about them."""
    parts, features, segments, labels = [], [], [], []
    chosen = [clips[k] for k in rng.integers(len(clips), size=2).tolist()]
    time_now = 0
    for number, clip in enumerate(chosen):
        frames, rows = np.asarray(clip.frames), np.asarray(clip.features)
        rest, after = (int(rng.integers(8, 17)) for _ in range(2))
        held = (0,) * rest + tuple(range(len(clip))) + (len(clip) - 1,) * (after if number else 0)
        parts.append(frames[list(held)])
        features.append(rows[list(held)])
        segments.append([time_now + rest, time_now + rest + len(clip)])
        labels.append(clip.label)
        time_now += len(held)
    return ClipSample(
        np.concatenate(parts),
        np.concatenate(features),
        segments=np.array(segments, float),
        segment_labels=tuple(labels),
        name=name,
    )


def films(data: str, split: str) -> list[ClipSample]:
    """Joined clips of a split."""
    clips = list(load(data, kind=ClipSample, split=split))
    rng = np.random.default_rng((11, len(clips)))
    return [joined(rng, clips, f"{split} {number}") for number in range(FILMS[split])]


def by_expert(task: Any, state: Any) -> Any:
    """The end of an episode of the expert."""
    while not task.terminated(state)[0]:
        state = task.step(state, task.expert(state))
    return state


def main() -> None:
    """Print a row of each method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    args = parser.parse_args()
    teacher = make_task(ID, data=films(args.data, "train"))
    task = make_task(ID, data=films(args.data, "val"), train_data=teacher.samples)
    print(json.dumps({"weight of the appearance": teacher.classifier.weight}), flush=True)
    rows = {name: method.fit for name, method in BASELINES[ID].items()}
    for name, fit in {**rows, "expert": lambda teacher: by_expert}.items():
        began = time.process_time()
        run = fit(teacher)
        starts = [batch.stack([task.sample(np.random.default_rng(0), item)]) for item in range(task.items)]
        ends = [run(task, state) for state in starts]
        records = [task.dataset_metrics[0].record(end) for end in ends]
        found = segment_metrics({key: np.concatenate([one[key] for one in records]) for key in records[0]})
        share = float(np.mean([task.metrics(end)["frames"][0] for end in ends]))
        row = {"method": name, "map_50": round(found["map_50"], 3), "frames": round(share, 3)}
        print(json.dumps({**row, "cpu_s": round(time.process_time() - began, 1)}), flush=True)


if __name__ == "__main__":
    main()
