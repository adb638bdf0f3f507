"""Fixed schedules of a detector on a video, and a rule on how much the picture changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from visionrl.core import baseline
from visionrl.core.batch import stack
from visionrl.envs.video.detection import DETECT, FOLLOW, PREDICT, State, VideoDetection

ID = "VideoDetection-v0"
LEVELS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2)  # mean differences that the rule tries

Run = Callable[[VideoDetection, State], State]
Choice = Callable[[VideoDetection, State], int]


def by_choice(choice: Choice) -> Run:
    """Return a method that chooses the action of each frame."""

    def run(task: VideoDetection, state: State) -> State:
        while not task.terminated(state)[0]:
            state = task.step(state, np.array([choice(task, state)]))
        return state

    return run


def every(count: int, between: int) -> Callable[[None], Run]:
    """A method that detects in every ``count``-th frame."""

    def fit(train: None) -> Run:
        """The detector on frames at equal distances, and the motion model or optical flow on those between."""
        return by_choice(lambda task, state: DETECT if (int(state.time[0]) + 1) % count == 0 else between)

    return fit


for _name, _count, _between in (
    ("every frame", 1, PREDICT),
    ("every 2nd frame", 2, PREDICT),
    ("every 4th frame", 4, PREDICT),
    ("every 8th frame", 8, PREDICT),
    ("every 4th frame, flow", 4, FOLLOW),
    ("every 5th frame, flow", 5, FOLLOW),  # costs what every fourth with velocities does
):
    baseline(ID, _name, learns=False)(every(_count, _between))


@baseline(ID, "random frames, 1 in 4, flow", learns=False)
def random_frames(train: None) -> Run:
    """The detector on a quarter of the frames by chance, of a seed of each video, optical flow on the others."""

    def run(task: VideoDetection, state: State) -> State:
        chance = np.random.default_rng(int(state.item[0])).random(state.actions.shape[1])
        return by_choice(lambda task, now: DETECT if chance[int(now.time[0]) + 1] < 0.25 else FOLLOW)(
            task, state
        )

    return run


@baseline(ID, "scene change")
def scene_change(train: VideoDetection) -> Run:
    """The detector where the picture differs from the last one that it saw by more than a threshold, else optical flow.

    The threshold has the highest value on the training videos.
    """
    rng = np.random.default_rng(0)
    starts = stack([train.sample(rng, item) for item in range(train.items)])

    def value(level: float) -> float:
        state = starts
        while not train.terminated(state).all():
            state = train.step(state, np.where(changes(train, state) > level, DETECT, FOLLOW))
        return float(train.metrics(state)["value"].mean())

    best = max(LEVELS, key=value)
    return by_choice(lambda task, state: DETECT if changes(task, state)[0] > best else FOLLOW)


def changes(task: VideoDetection, state: State) -> np.ndarray:
    """(B,) mean difference of the next frame from the last one on which the detector ran, in [0, 1]."""
    following = task.frame(state, np.minimum(state.time + 1, state.length - 1))
    return task.motion.difference(following, task.frame(state, state.time - state.since)).mean(axis=(1, 2))
