"""Super-resolution without an agent: one tool everywhere, and the deep network where a rule says it is worth it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from visionrl.banks.enlarged import COSTS, DEEP, TOOLS
from visionrl.core import baseline, batch
from visionrl.envs.enhancement.superresolution import State, SuperResolution

Run = Callable[[SuperResolution, State], State]
Score = Callable[[SuperResolution, int], np.ndarray]
"""``(task, picture) -> (N,)``, a number for each of its patches."""
ID = "SuperResolution-v0"
GRADIENT, DEVIATION = 0, 7  # of the numbers that describe a patch
WINDOWS = 60  # of the training split, on which rules are fitted
RIDGE = 100.0


@baseline(ID, "bicubic everywhere", learns=False)
def bicubic(train: None) -> Run:
    """Bicubic interpolation."""
    return everywhere("bicubic")


@baseline(ID, "back-projection everywhere", learns=False)
def back_projection(train: None) -> Run:
    """Iterative back-projection (Irani & Peleg, 1991)."""
    return everywhere("back-projection")


@baseline(ID, "network of 3 layers everywhere", learns=False)
def shallow(train: None) -> Run:
    """The cheap network."""
    return everywhere("espcn")


@baseline(ID, "deep network everywhere", learns=False)
def deep(train: None) -> Run:
    """The costly network, whatever the budget: the best fixed tool."""
    return everywhere("deep")


@baseline(ID, "deep network, random half", learns=False)
def by_chance(train: None) -> Run:
    """The costly network on half of the patches of a picture, by chance."""

    def score(task: SuperResolution, image: int) -> np.ndarray:
        return np.random.default_rng(image).random(task.bank.shapes[image].prod())

    return upper_half(score)


@baseline(ID, "deep network, half with the largest gradients", learns=False)
def by_gradient(train: None) -> Run:
    """The costly network on the half of the patches of a picture that have the largest gradients."""
    return upper_half(lambda task, image: about(task, image)[:, GRADIENT])


@baseline(ID, "deep network, half with the largest variance", learns=False)
def by_deviation(train: None) -> Run:
    """The costly network on the half of the patches of a picture that have the largest variance."""
    return upper_half(lambda task, image: about(task, image)[:, DEVIATION])


@baseline(ID, "deep network, half with the largest predicted gains")
def by_regression(train: SuperResolution) -> Run:
    """The costly network on the half of the patches of a picture where a ridge regression expects most of it.

    It has learnt, from all patches of the training pictures, the logarithm of the mean squared error that the network
    takes away (or adds) from what is known of each patch.
    """
    weights = fit_gain(train)
    return upper_half(lambda task, image: about(task, image) @ weights)


@baseline(ID, "deep network, gradients above a level")
def above_level(train: SuperResolution) -> Run:
    """The costly network where the gradient is above a level, the one that earns most on training pictures."""
    starts = training_windows(train)
    levels = np.quantile(train.bank.about.array[:-1, GRADIENT], np.linspace(0, 1, 41))

    def run(level: float, task: SuperResolution, state: State) -> State:
        return with_deep(task, state, task.bank.about.array[state.patches[0], GRADIENT] >= level)

    earned = [
        np.mean([train.metrics(run(level, train, one))["net_gain_db"][0] for one in starts])
        for level in levels
    ]
    best = float(levels[int(np.argmax(earned))])
    return lambda task, state: run(best, task, state)


def upper_half(score: Score, share: float = 0.5) -> Run:
    """The costly network on the share of the patches of a picture that have the highest scores."""

    def run(task: SuperResolution, state: State) -> State:
        image = int(state.image[0])
        found = score(task, image)
        best = np.argsort(-found, kind="stable")[: round(share * len(found))] + task.bank.first[image]
        return with_deep(task, state, np.isin(state.patches[0], best))

    return run


def everywhere(tool: str) -> Run:
    """One tool on every patch."""

    def run(task: SuperResolution, state: State) -> State:
        return with_tools(task, state, np.full_like(state.tools, TOOLS.index(tool)))

    return run


def about(task: SuperResolution, image: int) -> np.ndarray:
    """(N, NUMBERS), what is known of each patch of a picture."""
    first = task.bank.first[image]
    return task.bank.about.array[first : first + task.bank.shapes[image].prod()]


def with_deep(task: SuperResolution, state: State, chosen: np.ndarray) -> State:
    """The end of an episode in which the costly network was given to some patches, (g * g,) bool."""
    chosen = chosen & task.there(state)[0]
    return with_tools(task, state, np.where(chosen[None], DEEP, state.tools))


def with_tools(task: SuperResolution, state: State, tools: np.ndarray) -> State:
    """The end of an episode in which the patches got some tools, (1, g * g)."""
    changed = task.there(state) & (tools != state.tools)
    return task.finish(state, tools=tools, spent=(np.array(COSTS)[tools] * changed).sum(axis=1))


def training_windows(task: SuperResolution) -> list[State]:
    """First states of episodes of the training split."""
    rng = np.random.default_rng(0)
    return [batch.stack([task.sample(rng, number % task.items)]) for number in range(WINDOWS)]


def fit_gain(task: SuperResolution) -> np.ndarray:
    """(NUMBERS,) weights of a linear prediction of the signed logarithm of what the costly network takes away."""
    errors, pixels = task.bank.errors.array[:-1], task.bank.pixels.array[:-1]
    counted = pixels > 0
    removed = (errors[:, TOOLS.index(task.start)] - errors[:, DEEP])[counted] / pixels[counted]
    features = task.bank.about.array[:-1][counted].astype(np.float64)
    gram = features.T @ features + RIDGE * np.eye(features.shape[1])
    return np.linalg.solve(gram, features.T @ (np.sign(removed) * np.log1p(np.abs(removed))))
