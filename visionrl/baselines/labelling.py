"""Rules of active learning for regions: entropy, variance, BALD; and the labels of the whole pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from visionrl.core import baseline
from visionrl.envs.segmentation.labelling import ActiveLabelling, State
from visionrl.ops import ridge

Run = Callable[[ActiveLabelling, State], State]
Rule = Callable[[ActiveLabelling, State, np.ndarray], np.ndarray]
MEMBERS = 8  # of the ensemble of BALD


@baseline("ActiveLabelling-v0", "entropy", learns=False)
def by_entropy(train: None) -> Run:
    """The candidate whose pixels have the largest mean entropy (Shannon, 1948; Settles, 2009)."""

    def rule(task: ActiveLabelling, state: State, pixels: np.ndarray) -> np.ndarray:
        return ridge.entropy(probabilities(pixels, state.weights[0]), axis=1).mean(axis=1)

    return choosing(rule)


@baseline("ActiveLabelling-v0", "variance", learns=False)
def by_variance(train: None) -> Run:
    """The candidate whose pixels have the largest mean variance of the class, 1 - sum of p^2 (Gini's impurity)."""

    def rule(task: ActiveLabelling, state: State, pixels: np.ndarray) -> np.ndarray:
        return 1 - (probabilities(pixels, state.weights[0]) ** 2).sum(axis=1).mean(axis=1)

    return choosing(rule)


@baseline("ActiveLabelling-v0", "BALD", learns=False)
def by_disagreement(train: None) -> Run:
    """The candidate on which eight segmenters, each of a bootstrap sample of the labelled regions, disagree the most.

    Disagreement is the entropy of their mean prediction less their mean entropy (Houlsby et al., 2011), as Casanova
    et al. (2020) have it by dropout.
    """

    def rule(task: ActiveLabelling, state: State, pixels: np.ndarray) -> np.ndarray:
        taken = state.taken[0, : int(state.step[0])]
        if not len(taken):
            return np.zeros(len(pixels))
        weight = np.random.default_rng(len(taken)).poisson(1.0, (MEMBERS, len(taken))).astype(float)
        bank, penalty = task.bank, task.penalty * np.eye(state.gram.shape[1])
        gram = np.tensordot(weight, bank.gram.array[taken], axes=1) + penalty
        members, _ = ridge.solve_ridge(gram, np.tensordot(weight, bank.moment.array[taken], axes=1))
        each = np.stack([probabilities(pixels, one) for one in members])  # (members, N, K, P)
        together = ridge.entropy(each.mean(axis=0), axis=1)
        return (together - ridge.entropy(each, axis=2).mean(axis=0)).mean(axis=1)

    return choosing(rule)


@baseline("ActiveLabelling-v0", "all labels", learns=False)
def all_labels(train: None) -> Run:
    """The segmenter that learns from every region of the pool, many times the budget; not an upper bound."""

    def run(task: ActiveLabelling, state: State) -> State:
        every = np.array([len(task.pool)])
        return replace(state, step=every, miou=np.full(1, task.miou_of_all), area=every * task.miou_of_all)

    return run


def choosing(rule: Rule) -> Run:
    """Whole episodes of the candidate with the highest score, of those that are not taken yet."""

    def run(task: ActiveLabelling, state: State) -> State:
        while not task.terminated(state)[0]:
            offered = task.offered(state)[0]
            scores = rule(task, state, task.bank.pixels.array[offered])
            allowed = np.where(task.action_mask(state)[0], scores, -np.inf)
            state = task.step(state, np.array([allowed.argmax()]))
        return state

    return run


def probabilities(pixels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N, K, P) class probabilities of pixels (N, F, P)."""
    return ridge.class_probabilities(weights.T @ pixels, axis=1)
