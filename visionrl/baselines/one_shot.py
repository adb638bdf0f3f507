"""Rules for streams of new classes: ask always, and prototypes with thresholds on how alike an image is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import cv2
import numpy as np

from visionrl.core import baseline
from visionrl.core.testing import start
from visionrl.envs.recognition.one_shot import ActiveOneShot, State

Run = Callable[[ActiveOneShot, State], State]
Look = Callable[[ActiveOneShot, np.ndarray], np.ndarray]
BLUR = 1.0  # standard deviation, pixels
EPISODES = 200  # of the training split, by which the thresholds are chosen
QUANTILES = (0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 0.9)
"""Of how alike an image and its nearest earlier one are: what the first threshold is chosen from."""

MARGINS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)


@baseline("ActiveOneShot-v0", "always ask", learns=False)
def always_ask(train: None) -> Run:
    """The label of each image is paid for."""

    def run(task: ActiveOneShot, state: State) -> State:
        return with_actions(state, np.full(task.longest, task.ways))

    return run


@baseline("ActiveOneShot-v0", "prototypes, pixels")
def pixel_prototypes(train: ActiveOneShot) -> Run:
    """The class whose mean image is most like this one; thresholds that say when to ask, from training streams."""
    return prototype_rule(train, blurred)


def prototype_rule(train: ActiveOneShot, look: Look) -> Run:
    """A prototype for each slot, the mean of the features whose labels were paid for (Snell et al., 2017).

    It asks where an image is not alike enough to any prototype, or nearly as much to a second one.

    Args:
        train: the two thresholds that earn most on its streams are taken.
        look: (N, F) features of some images of a task by number, of length 1.
    """
    starts = [start(train, seed=seed) for seed in range(EPISODES)]
    grams = [gram_of(look(train, one.stream[0])) for one in starts]
    best = np.concatenate([nearest_earlier(gram) for gram in grams])
    choices = np.array(list(product([*np.quantile(best, QUANTILES), np.inf], MARGINS)))
    earned = np.zeros(len(choices))
    for one, gram in zip(starts, grams, strict=True):
        actions = follow(gram, one.slot[0], train.ways, *choices.T)
        earned += [train.points(with_actions(one, row))[0] for row in actions]
    chosen = choices[earned.argmax()][:, None]

    def run(task: ActiveOneShot, state: State) -> State:
        gram = gram_of(look(task, state.stream[0]))
        return with_actions(state, follow(gram, state.slot[0], task.ways, *chosen)[0])

    return run


def gram_of(features: np.ndarray) -> np.ndarray:
    """(T, T) products of features (T, F) with each other."""
    return features @ features.T


def nearest_earlier(gram: np.ndarray) -> np.ndarray:
    """(T - 1,), how alike each image but the first is to the earlier one that is most like it."""
    return np.array([gram[time, :time].max() for time in range(1, len(gram))])


def follow(
    gram: np.ndarray, slot: np.ndarray, ways: int, least: np.ndarray, margin: np.ndarray
) -> np.ndarray:
    """(R, T) actions of R rules on a stream; they look at the slot of an image once its label is paid for.

    Args:
        gram: (T, T) products of features of length 1.
        slot: (T,) the truth, -1 where nobody can tell.
        ways: number of slots.
        least: (R,) similarity to the nearest prototype from which an image may be named.
        margin: (R,) lead of that prototype from which it may be named, where there are two.
    """
    rules = len(least)
    sums, squares = np.zeros((rules, ways, len(gram))), np.zeros((rules, ways))
    actions = np.full((rules, len(gram)), ways)
    for time, truth in enumerate(slot.tolist()):
        lengths = np.sqrt(np.maximum(squares, 1e-12))
        alike = np.where(squares > 0, sums[:, :, time] / lengths, -np.inf)
        second, first = np.sort(alike, axis=1)[:, -2:].T
        lead = np.where(np.isfinite(second), first - np.where(np.isfinite(second), second, 0), np.inf)
        names = np.isfinite(first) & (first >= least) & (lead >= margin)
        actions[names, time] = alike[names].argmax(axis=1)
        if truth >= 0:
            squares[~names, truth] += 2 * sums[~names, truth, time] + gram[time, time]
            sums[~names, truth] += gram[time]
    return actions


def with_actions(state: State, actions: np.ndarray) -> State:
    """The end of one episode, given all its actions (T,)."""
    return replace(state, taken=actions[None], step=np.full_like(state.step, len(actions)))


def blurred(task: ActiveOneShot, numbers: np.ndarray) -> np.ndarray:
    """(N, pixels) float64, images out of focus, without their mean brightness, of length 1."""
    images = task.bank.rows(numbers).astype(np.float32)
    soft = np.stack([[cv2.GaussianBlur(plane, (0, 0), BLUR) for plane in image] for image in images])
    flat = soft.reshape(len(images), -1).astype(float)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
