"""How trackers do, video by video: rows, runs of agents, and OpenCV's contributed trackers where there are any."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import cv2
import numpy as np

from visionrl.agents.evaluation.policies import agent_policy
from visionrl.agents.training.saving import load_model
from visionrl.core import BASELINES, batch, make_task
from visionrl.datasets import VideoSample, load

TASK = "visionrl/Tracking-v0"
METRICS = ("success_auc", "precision_20px")
MATCHED = 32  # window of the task when it only counts, pixels
Run = Callable[[Any, Any], Any]


class Contributed:
    """A tracker of opencv-contrib as a row; the box stays where it is when the tracker says that it lost it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __call__(self, task: Any, state: Any) -> Any:
        """One video from its first state to its last."""
        tracker, box = self.make(), state.box[0]
        corner, sides = np.rint(box[:2]).astype(int), np.rint(box[2:] - box[:2]).astype(int)
        tracker.init(self.image(task, state), (*corner.tolist(), *sides.tolist()))
        state = task.step(state, task.hold)
        while not state.finished[0]:
            found, (x, y, wide, high) = tracker.update(self.image(task, state))
            if found:
                box = np.array([x, y, x + wide, y + high], float)
            state = task.step(replace(state, box=box[None]), task.hold)
        return state

    @staticmethod
    def image(task: Any, state: Any) -> np.ndarray:
        """The present frame as OpenCV has it."""
        image = task.bank.image(int(state.frame[0]))
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR if image.shape[2] == 1 else cv2.COLOR_RGB2BGR)


def by_policy(policy: Any) -> Run:
    """A policy as a function that goes through one video from its first state to its last."""

    def follow(task: Any, state: Any) -> Any:
        policy.reset()
        while not state.finished[0]:
            state = task.step(state, np.asarray(policy(task.observe(state), task, state)))
        return state

    return follow


def contributed() -> dict[str, Run]:
    """The trackers of opencv-contrib by name; none where it is not installed."""
    if not hasattr(cv2, "TrackerCSRT"):
        return {}
    makers = {"MOSSE": cv2.legacy.TrackerMOSSE.create, "KCF": cv2.TrackerKCF.create}
    return {name: Contributed(make) for name, make in (makers | {"CSRT": cv2.TrackerCSRT.create}).items()}


def main() -> None:
    """Print a table in Markdown: a row a tracker, the means, then success AUC / precision@20 of each video, and fps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="FORMAT:PATH; without it the embedded videos")
    parser.add_argument("--split", default="all")
    parser.add_argument("--every", type=int, default=1, help="only every such frame of the videos")
    parser.add_argument("--agents", nargs="*", default=[], help="folders of runs")
    parser.add_argument("--rows", nargs="*", help="only these rows")
    asked = parser.parse_args()
    where = {"data": asked.data, "split": asked.split, "clip": None}
    if asked.every > 1:
        where["data"] = shortened(asked.data, asked.split, asked.every)
    rows: dict[str, tuple[Run, dict[str, Any]]] = {
        name: (row.fit(None), {}) for name, row in BASELINES[TASK].items() if not row.learns
    }
    rows |= {name: (run, {}) for name, run in contributed().items()}
    rows = {name: row for name, row in rows.items() if asked.rows is None or name in asked.rows}
    for folder in asked.agents:
        agent, config = load_model(folder)
        kwargs = {key: value for key, value in config.env_kwargs.items() if key != "data"}
        rows[folder] = (by_policy(agent_policy(agent)), kwargs)
    for name, (run, kwargs) in rows.items():
        print(line(name, run, make_task(TASK, **{"window": MATCHED, **kwargs, **where})), flush=True)


def shortened(data: str | None, split: str, every: int) -> list[VideoSample]:
    """Videos in which the object moves faster, because frames are left out."""
    videos = load(data, kind=VideoSample, default="cutout-videos", split=split)
    made = []
    for k in range(len(videos)):
        kept = np.stack(list(videos[k].frames))[::every], videos[k].boxes[::every]
        made.append(VideoSample(*kept, name=videos[k].name))
    return made


def line(name: str, run: Run, task: Any) -> str:
    """One row: each video from the object's box in its first frame."""
    found, began = [], perf_counter()
    for item in range(task.items):
        end = run(task, batch.stack([task.sample(np.random.default_rng(0), item)]))
        found.append([float(task.metrics(end)[key][0]) for key in METRICS])
    fps = task.bank.lengths.sum() / (perf_counter() - began)
    cells = [f"{auc:.3f} / {precision:.3f}" for auc, precision in [np.mean(found, axis=0), *found]]
    return f"| {name} | {' | '.join(cells)} | {fps:.0f} |"


if __name__ == "__main__":
    main()
