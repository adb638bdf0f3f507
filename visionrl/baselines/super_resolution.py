"""Super-resolution without an agent: one tool everywhere, and the deep network where a rule says it is worth it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from visionrl.banks.enlarged import COSTS, DEEP, TOOLS
from visionrl.core import baseline, batch
from visionrl.envs.enhancement.superresolution import State, SuperResolution

Run = Callable[[SuperResolution, State], State]
Score = Callable[[SuperResolution, State], np.ndarray]
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


@baseline(ID, "deep network, random patches", learns=False)
def by_chance(train: None) -> Run:
    """The costly network on patches by chance, until the budget is spent."""

    def score(task: SuperResolution, state: State) -> np.ndarray:
        return np.random.default_rng(state.patches[0]).random(state.patches.shape[1])

    return lambda task, state: with_deep(task, state, best_of(score(task, state), task, state))


@baseline(ID, "deep network, largest gradients", learns=False)
def by_gradient(train: None) -> Run:
    """The costly network on the patches of the largest gradients, until the budget is spent."""
    return lambda task, state: with_deep(task, state, best_of(about(task, state)[:, GRADIENT], task, state))


@baseline(ID, "deep network, largest deviations", learns=False)
def by_deviation(train: None) -> Run:
    """The costly network on the patches of the largest variance, until the budget is spent."""
    return lambda task, state: with_deep(task, state, best_of(about(task, state)[:, DEVIATION], task, state))


@baseline(ID, "deep network, gradients above a level")
def above_level(train: SuperResolution) -> Run:
    """The costly network where the gradient is above a level, the one that earns most on training pictures."""
    starts = training_windows(train)
    gradients = train.bank.about.array[:-1, GRADIENT]
    levels = np.quantile(gradients, np.linspace(0, 1, 41))

    def run(level: float, task: SuperResolution, state: State) -> State:
        score = about(task, state)[:, GRADIENT]
        return with_deep(task, state, best_of(score, task, state) & (score >= level))

    earned = [np.mean([earnings(train, run(level, train, one)) for one in starts]) for level in levels]
    best = float(levels[int(np.argmax(earned))])
    return lambda task, state: run(best, task, state)


@baseline(ID, "deep network, largest predicted gains")
def by_regression(train: SuperResolution) -> Run:
    """The costly network where a ridge regression expects most of it, until the budget is spent.

    It has learnt, from all patches of the training pictures, the logarithm of the mean squared error that the network
    takes away (or adds) from what is known of each patch.
    """
    weights = fit_gain(train)
    return lambda task, state: with_deep(task, state, best_of(about(task, state) @ weights, task, state))


def everywhere(tool: str) -> Run:
    """One tool on every patch."""

    def run(task: SuperResolution, state: State) -> State:
        return with_tools(task, state, np.full_like(state.tools, TOOLS.index(tool)))

    return run


def about(task: SuperResolution, state: State) -> np.ndarray:
    """(g * g, NUMBERS), what is known of each patch."""
    return task.rows(task.bank.about, state.patches)[0]


def best_of(score: np.ndarray, task: SuperResolution, state: State) -> np.ndarray:
    """(g * g,) bool, the patches of the highest scores, as many as the budget pays for."""
    score = np.where(task.there(state)[0], score, -np.inf)
    count = int(float(task.allowed(state)[0]) + 1e-9)
    chosen = np.zeros(len(score), bool)
    chosen[np.argsort(-score, kind="stable")[:count]] = True
    return chosen & np.isfinite(score)


def with_deep(task: SuperResolution, state: State, chosen: np.ndarray) -> State:
    """The end of an episode in which the costly network was given to some patches, (g * g,) bool."""
    return with_tools(task, state, np.where(chosen[None], DEEP, state.tools))


def with_tools(task: SuperResolution, state: State, tools: np.ndarray) -> State:
    """The end of an episode in which the patches got some tools, (1, g * g)."""
    changed = task.there(state) & (tools != state.tools)
    spent = (np.array(COSTS)[tools] * changed).sum(axis=1)
    after = replace(
        state, tools=tools, spent=spent, steps=state.steps + 1, finished=np.ones_like(state.finished)
    )
    if not task.labelled:
        return after
    quality = state.quality.copy()
    quality[:, 1] = task.measure(after)
    return replace(after, quality=quality)


def earnings(task: SuperResolution, end: State) -> float:
    """What an episode earned."""
    return float(task.metrics(end)["gain_db"][0] - task.price * end.spent[0])


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
