"""Ways to choose frames of a clip without learning to: all with the task's own classifier of what they saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from visionrl.core import baseline, batch
from visionrl.envs.video.frames import FrameSelection, State

TASK = "FrameSelection-v0"
LEVELS = tuple(0.025 * k for k in range(1, 40))  # of the early stops; one is chosen on the training clips

Run = Callable[[FrameSelection, State], State]
Places = Callable[[FrameSelection, int], list[int]]


def uniform_places(positions: int, count: int) -> list[int]:
    """Positions at equal distances, or all."""
    return ((np.arange(min(count, positions)) + 0.5) * positions / min(count, positions)).astype(int).tolist()


def without_looks(state: State) -> State:
    """A state before the first look."""
    return replace(state, taken=np.full_like(state.taken, -1), step=np.zeros_like(state.step))


def with_looks(task: FrameSelection, state: State, places: list[int]) -> State:
    """The state of some episodes after looks at the same positions of all, and at no others."""
    state = without_looks(state)
    for place in places[: task.budget]:
        state = task.step(state, np.full(len(state.clip), place))
    return state


def with_answer(state: State) -> State:
    """The classifier's answer to what was seen."""
    return replace(state, said=state.scores.argmax(axis=1), finished=np.ones(len(state.clip), bool))


def by_places(places: Places) -> Run:
    """A method that looks at positions of its own choice, then answers."""
    return lambda task, state: with_answer(with_looks(task, state, places(task, int(state.clip[0]))))


def uniform(count: int) -> Callable[[FrameSelection], Run]:
    """A method that looks at so many frames."""

    def fit(train: FrameSelection) -> Run:
        """Frames at equal distances, as many as the name says."""
        return by_places(lambda task, clip: uniform_places(task.positions, count))

    return fit


for _count in (1, 2, 3, 4, 5):
    baseline(TASK, f"uniform {_count}")(uniform(_count))
baseline(TASK, "all frames")(uniform(64))


@baseline(TASK, "random 3")
def random_frames(train: FrameSelection) -> Run:
    """Three frames by chance, of a seed of each clip."""
    return by_places(lambda task, clip: np.random.default_rng(clip).permutation(task.positions)[:3].tolist())


@baseline(TASK, "first 3")
def first_frames(train: FrameSelection) -> Run:
    """The first three frames."""
    return by_places(lambda task, clip: [*range(min(3, task.positions))])


@baseline(TASK, "most motion")
def most_motion(train: FrameSelection) -> Run:
    """The frames before and after the largest change, which is known only once all frames were looked at."""

    def places(task: FrameSelection, clip: int) -> list[int]:
        features = task.bank.features_of(clip)[task.times.array[clip]]
        largest = int(np.linalg.norm(np.diff(features, axis=0), axis=1).argmax())
        return [largest, largest + 1]

    return by_places(places)


def halving(positions: int) -> list[int]:
    """All positions in an order in which the first few of any number lie at about equal distances."""
    order: list[int] = []
    for step in range(positions.bit_length() + 1):
        for place in ((np.arange(2**step) + 0.5) * positions / 2**step).astype(int).tolist():
            order += [place] if place not in order else []
    return order + [place for place in range(positions) if place not in order]


def sureness(state: State, gap: bool) -> np.ndarray:
    """(B,), the highest score, or how far it leads."""
    top = np.sort(state.scores, axis=1)
    return np.asarray(top[:, -1] - gap * top[:, -2])


def until_sure(task: FrameSelection, state: State, level: float, gap: bool) -> State:
    """The state once the classifier is sure enough of some episodes, looking in the order of ``halving``.

    Args:
        task: of the state.
        state: of some episodes, whose looks are forgotten.
        level: the least score, or gap.
        gap: measure the lead over the second class, not the score alone.
    """
    state = without_looks(state)
    for place in halving(task.positions)[: task.budget]:
        sure = (sureness(state, gap) >= level) & (state.step > 0)
        if sure.all():
            break
        after = task.step(state, np.full(len(state.clip), place))
        batch.put(after, sure, batch.take(state, sure))
        state = after
    return with_answer(state)


def best_level(train: FrameSelection, gap: bool, most: float | None) -> float:
    """The level of ``until_sure`` that is best on the training clips, for arguments of ``early_stop``."""
    state = without_looks(
        batch.stack([train.sample(np.random.default_rng(0), item) for item in range(train.items)])
    )
    sure, right = [], []
    for place in halving(train.positions)[: train.budget]:
        state = train.step(state, np.full(train.items, place))
        sure.append(sureness(state, gap))
        right.append(state.scores.argmax(axis=1) == train.labels.array)
    worth = {}
    for level in LEVELS:
        enough = np.stack([*sure[:-1], np.full(train.items, np.inf)]) >= level
        last = enough.argmax(axis=0)
        frames, accuracy = (last + 1).mean(), np.stack(right)[last, np.arange(train.items)].mean()
        pays = accuracy - train.frame_cost * frames
        worth[level] = pays if most is None else level if frames <= most else -level
    return max(worth, key=lambda level: worth[level])


def early_stop(gap: bool, most: float | None) -> Callable[[FrameSelection], Run]:
    """A method that stops once it is sure.

    Args:
        gap: as of ``until_sure``.
        most: frames that a training clip may take on average, then the surest level; None: the level that pays most.
    """

    def fit(train: FrameSelection) -> Run:
        """Frames at ever finer equal distances until the classifier is sure; the level is the training clips' best."""
        level = best_level(train, gap, most)
        return lambda task, state: until_sure(task, state, level, gap)

    return fit


for _name, _gap, _most in (
    ("early stop by score", False, None),
    ("early stop by lead", True, None),
    ("early stop by score, 2 frames", False, 2.0),
    ("early stop by lead, 2 frames", True, 2.0),
    ("early stop by lead, 3 frames", True, 3.0),
):
    baseline(TASK, _name)(early_stop(_gap, _most))
