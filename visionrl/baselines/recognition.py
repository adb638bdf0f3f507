"""Nearest-neighbour classifiers of the whole image, and of a single glimpse at its middle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from visionrl.core import baseline
from visionrl.envs.recognition.glimpse import GlimpseClassification, State

SIDE = 16  # whole images are compared at this size, pixels
NEIGHBOURS = 3  # chosen on the validation split of the embedded digits, from 1, 3, 5, 7

Run = Callable[[GlimpseClassification, State], State]
Look = Callable[[GlimpseClassification, int], np.ndarray]


@baseline("GlimpseClassification-v0", "full image, nearest neighbours")
def full_image(train: GlimpseClassification) -> Run:
    """The training images most like the whole image vote; the upper reference, for it sees everything."""
    return neighbours(train, whole)


@baseline("GlimpseClassification-v0", "centre glimpse, nearest neighbours")
def centre_glimpse(train: GlimpseClassification) -> Run:
    """The training glimpses at the middle of the image, at all scales, most like its own vote."""
    return neighbours(train, middle)


def neighbours(train: GlimpseClassification, look: Look) -> Run:
    """K nearest neighbours by the angle between brightnesses (Cover & Hart, 1967)."""
    known = np.stack([look(train, item) for item in range(train.items)])
    labels = np.array(train.labels)

    def run(task: GlimpseClassification, state: State) -> State:
        nearest = np.argsort(-known @ look(task, int(state.image[0])), kind="stable")[:NEIGHBOURS]
        votes = np.bincount(labels[nearest], minlength=len(train.names)).astype(float)
        votes[labels[nearest[0]]] += 0.5  # the nearest decides between equals
        answer = task.names.index(train.names[int(votes.argmax())])
        return replace(state, answer=np.full(1, answer), finished=np.ones(1, bool))

    return run


def whole(task: GlimpseClassification, item: int) -> np.ndarray:
    """An image, grey, as a vector of length 1."""
    grey = task.samples[item].image.mean(axis=0, dtype=np.float32)
    return unit(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def middle(task: GlimpseClassification, item: int) -> np.ndarray:
    """The retina's view of an image's middle, as a vector of length 1."""
    place = np.broadcast_to((task.bank.sizes[item] - 1) / 2, (len(task.scales), 2))
    return unit(task.bank.crop(np.full(len(task.scales), item), place, np.arange(len(task.scales))))


def unit(pixels: np.ndarray) -> np.ndarray:
    """The pixels as a vector of length 1, brightness taken off; of length 0 where all are equal."""
    flat = pixels.astype(np.float32).ravel()
    flat -= flat.mean()
    return flat / max(float(np.linalg.norm(flat)), 1e-6)
