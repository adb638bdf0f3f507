"""Ways to choose cameras without learning to; all triangulate as the task does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from visionrl.core import baseline, batch
from visionrl.envs.pose.views import State, ViewSelection

TASK = "ViewSelection-v0"
EPISODES = 96  # training episodes that the best fixed cameras are chosen on, or one of each capture

Next = Callable[[ViewSelection, State], int]
Run = Callable[[ViewSelection, State], State]


def look_through(choose: Next, count: int | None = None) -> Run:
    """A method that looks through cameras of its choice.

    Args:
        choose: the next one, of one episode.
        count: how many in all; None: the task's budget.
    """

    def run(task: ViewSelection, state: State) -> State:
        wanted = min(count or task.budget, task.budget, int(task.bank.real.array[state.capture[0]].sum()))
        while int(state.step[0]) < wanted:
            state = task.step(state, np.array([choose(task, state)]))
        return replace(state, finished=np.ones(1, bool))

    return run


def free_cameras(task: ViewSelection, state: State) -> np.ndarray:
    """Numbers of the cameras that are not seen yet."""
    return np.flatnonzero(task.action_mask(state)[0, :-1])


def by_chance(task: ViewSelection, state: State) -> int:
    """A camera by chance, of a seed that the first detections give."""
    seed = int(abs(float(state.places.sum())) * 1000) % 2**32 + int(state.step[0])
    return int(np.random.default_rng(seed).choice(free_cameras(task, state)))


def farthest(task: ViewSelection, state: State, flat: bool) -> int:
    """The camera whose direction is farthest from those seen; its opposite counts as the same unless flat.

    Args:
        task: of the state.
        state: of one episode.
        flat: by the azimuth about the upright line alone, as in Gärtner et al. (2020).
    """
    free, seen = free_cameras(task, state), np.flatnonzero(task.view_mask(state.taken)[0])
    directions = task.directions(state)[0]
    if flat:
        level = directions[:, :2]
        directions = level / np.maximum(np.linalg.norm(level, axis=1, keepdims=True), 1e-9)
    near = directions[free] @ directions[seen].T
    return int(free[(near if flat else np.abs(near)).max(axis=1).argmin()])


def most_certain(task: ViewSelection, state: State) -> int:
    """The camera after which the points should be most certain, by where the pose says that they are."""
    free, forecast = free_cameras(task, state), task.outlook(state)
    return int(free[forecast["after"][0, free].sum(axis=-1).argmin()])


@baseline(TASK, "random views", learns=False)
def random_views(train: None) -> Run:
    """As many cameras as may be seen, by chance."""
    return look_through(by_chance)


@baseline(TASK, "farthest azimuth", learns=False)
def farthest_azimuth(train: None) -> Run:
    """Each camera as far about the body from the others as can be."""
    return look_through(partial(farthest, flat=True))


@baseline(TASK, "farthest direction", learns=False)
def farthest_direction(train: None) -> Run:
    """Each camera's line of sight as far from the others' as can be."""
    return look_through(partial(farthest, flat=False))


@baseline(TASK, "most certain", learns=False)
def expected_information(train: None) -> Run:
    """Each camera as will make the points most certain, if its detections are as usual (next best view)."""
    return look_through(most_certain)


@baseline(TASK, "best fixed cameras")
def best_fixed_cameras(train: ViewSelection) -> Run:
    """Cameras in one order for all captures, chosen one by one for the least mean error in training captures."""
    items = [number % train.items for number in range(max(EPISODES, train.items))]
    state = batch.stack([train.sample(np.random.default_rng(seed), item) for seed, item in enumerate(items)])
    order: list[int] = []
    while len(order) < train.budget and len(order) < train.count:
        errors = np.full(train.count, np.inf)
        for view in set(range(train.count)) - set(order):
            taken = np.concatenate([state.taken[:, :1], np.tile([*order, view], (len(items), 1))], axis=1)
            pose, _ = train.pose_of(state.capture, taken, state.places, state.scores)
            errors[view] = train.error_of(state.capture, state.points, pose).mean()
        order.append(int(errors.argmin()))

    def choose(task: ViewSelection, state: State) -> int:
        free = free_cameras(task, state).tolist()
        return next((view for view in order if view in free), free[0])

    return look_through(choose)


@baseline(TASK, "all cameras", learns=False)
def all_cameras(train: None) -> Run:
    """Every camera at once, which no budget counts."""

    def run(task: ViewSelection, state: State) -> State:
        real = task.bank.real.array[state.capture]
        taken = np.where(real, np.arange(task.count), -1)
        pose, fit = task.pose_of(state.capture, taken, state.places, state.scores)
        error = task.error_of(state.capture, state.points, pose)
        finished = np.ones(len(taken), bool)
        return replace(
            state, taken=taken, pose=pose, fit=fit, error=error, step=real.sum(axis=1), finished=finished
        )

    return run
