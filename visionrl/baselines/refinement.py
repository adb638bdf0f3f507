"""Refinement without an agent: nothing at all, random walkers from the same clicks, a rule for what is clicked on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from visionrl.core import baseline, batch
from visionrl.envs.segmentation.mask_features import ALIKE
from visionrl.envs.segmentation.refinement import DELTAS, Refinement, State
from visionrl.ops.random_walk import laplacian
from visionrl.ops.regions import region_means

Run = Callable[[Refinement, State], State]
Find = Callable[[Refinement, State, np.ndarray], np.ndarray]
"""``(task, state, rough (S, S)) -> (S, S) probabilities``."""
BETA = 90.0  # of the random walker, as in Segmentation-v0
PRIORS = (0.003, 0.01, 0.03, 0.1, 0.3)  # weights of the rough mask against the image
EPISODES = 24  # of the training split, on which the weight is chosen
STEP = max(DELTAS)
SIMILAR = 0.5  # similarity from which a region follows one that was clicked on


@baseline("Refinement-v0", "rough mask", learns=False)
def unrefined(train: None) -> Run:
    """The rough mask as it is, whatever the user clicks."""
    return each_round(lambda task, state, rough: state.likely[0])


@baseline("Refinement-v0", "random walker, the clicks", learns=False)
def walker_from_clicks(train: None) -> Run:
    """The random walker (Grady, 2006) from the clicks so far, and from where the rough mask is certain.

    Certain are the tenth of the pixels inside it of the highest probabilities, and the half outside it of the lowest; a
    click takes that away within a tenth of the side.
    """
    return each_round(walk_from_certain)


@baseline("Refinement-v0", "random walker, the clicks and the rough mask as prior")
def walker_with_prior(train: Refinement) -> Run:
    """The random walker with priors (Grady, 2005): the rough mask holds every pixel, with a weight from training."""

    def run(weight: float) -> Run:
        return each_round(lambda task, state, rough: walk_with_prior(task, state, rough, weight))

    starts = [train.sample(np.random.default_rng(k), k * train.items // EPISODES) for k in range(EPISODES)]
    rows = [batch.stack([one]) for one in starts]
    scores = [
        np.mean([train.metrics(run(weight)(train, row))["dice"][0] for row in rows]) for weight in PRIORS
    ]
    return run(PRIORS[int(np.argmax(scores))])


@baseline("Refinement-v0", "what resembles the region that was clicked on", learns=False)
def alike_regions(train: None) -> Run:
    """The region that was clicked on, and neighbours with a like mean intensity, change as the click says."""

    def run(task: Refinement, state: State) -> State:
        while not task.terminated(state)[0]:
            place, sign = (
                some[0][min(int(state.steps[0]), task.rounds - 1)] for some in (state.places, state.signs)
            )
            likely = state.likely[0]
            if place >= 0:
                chosen = around(task, state, int(place))[task.labels(state)[0]].reshape(likely.shape)
                likely = np.clip(likely + (STEP if sign > 0 else -STEP) * chosen, 0, 1)
            state = task.advance(replace(state, likely=likely[None]), ~state.finished)
        return state

    return run


def around(task: Refinement, state: State, place: int) -> np.ndarray:
    """(K,) bool, the region of a pixel and those of its neighbours that are alike."""
    labels, square = task.labels(state), task.bank.square.array[state.image]
    grey = task.bank.image(state.image).mean(axis=1).reshape(1, 1, -1) / 255
    means = region_means(grey, labels, task.count)[0, 0]
    own = int(labels[0, place])
    beside = task.parts.neighbours.array[square[0]][own] > 0
    alike = np.exp(-(((means - means[own]) / ALIKE) ** 2)) > SIMILAR
    return (beside & alike) | (np.arange(task.count) == own)


def each_round(find: Find) -> Run:
    """A method that makes a mask of the rough one and of the clicks so far, in every round."""

    def run(task: Refinement, state: State) -> State:
        rough = state.likely[0]
        while not task.terminated(state)[0]:
            state = task.advance(replace(state, likely=find(task, state, rough)[None]), ~state.finished)
        return state

    return run


def walk_from_certain(task: Refinement, state: State, rough: np.ndarray) -> np.ndarray:
    """See ``walker_from_clicks``."""
    known = task.bank.known(state.image)[0]
    inside, outside = rough[known & (rough > 0.5)], rough[known & (rough <= 0.5)]
    seeds = np.zeros(rough.shape, int)
    if inside.size:
        seeds[known & (rough >= np.quantile(inside, 0.9)) & (rough > 0.5)] = 1
    if outside.size:
        seeds[known & (rough <= np.quantile(outside, 0.5)) & (rough <= 0.5)] = -1
    rows, columns = np.indices(rough.shape)
    for place, sign in clicks(state):
        row, column = divmod(place, task.size)
        near = np.hypot(rows - row, columns - column) <= task.size / 10
        seeds[near & (seeds == -sign)] = 0
    return solve(task, state, rough, seeds, 0.0)


def walk_with_prior(task: Refinement, state: State, rough: np.ndarray, weight: float) -> np.ndarray:
    """See ``walker_with_prior``."""
    return solve(task, state, rough, np.zeros(rough.shape, int), weight)


def clicks(state: State) -> list[tuple[int, int]]:
    """The pixels and signs of the clicks so far."""
    both = zip(state.places[0].tolist(), state.signs[0].tolist(), strict=True)
    return [(place, sign) for place, sign in both if place >= 0]


def solve(task: Refinement, state: State, rough: np.ndarray, seeds: np.ndarray, weight: float) -> np.ndarray:
    """Probabilities (S, S) that a random walker reaches the object first.

    Args:
        task: whose bank has the image.
        state: one row; its clicks are seeds.
        rough: (S, S), the prior.
        seeds: (S, S), 1 on the object, -1 beside it, 0 unknown.
        weight: of the prior.
    """
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import spsolve

    image, known = task.bank.image(state.image)[0], task.bank.known(state.image)[0]
    fixed = seeds.ravel().copy()
    for place, sign in clicks(state):
        fixed[place] = sign
    matrix = laplacian(image, known, BETA) + weight * diags_array(np.ones(rough.size))
    free, held = np.flatnonzero(fixed == 0), np.flatnonzero(fixed)
    if not free.size:
        return (fixed > 0).astype(float).reshape(rough.shape)
    right = weight * rough.ravel()[free]
    if held.size:
        right = right - matrix[free][:, held] @ (fixed[held] > 0).astype(float)
    found = (fixed > 0).astype(float)
    found[free] = spsolve(matrix[free][:, free].tocsc(), right)
    return np.clip(found.reshape(rough.shape), 0, 1) * known
