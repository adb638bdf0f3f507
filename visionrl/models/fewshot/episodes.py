"""Episodes of few-shot learning: a few classes, a few images of each to learn from, and others to be told apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Episode:
    """Numbers of images; row *c* is of class *c* of the episode.

    Attributes:
        support: (way, shot) int64, those to learn from.
        query: (way, query) int64, those to be told apart.
    """

    support: np.ndarray
    query: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """(way * (shot + query),) int64: class by class, the support first."""
        return np.concatenate([self.support, self.query], 1).ravel()


class EpisodeSampler:
    """Draws episodes from labelled images: classes at random, then images of each, none twice.

    Args:
        labels: (N,) the class of each image, of any kind that can be sorted.
        way: classes of an episode.
        shot: images of each class to learn from.
        query: images of each class to be told apart.
        rng: what the draws come from.

    Raises:
        ValueError: a number is below 1, there are fewer classes than ``way``, or a class has fewer images than
            ``shot + query``.
    """

    def __init__(
        self, labels: Sequence[Any] | np.ndarray, way: int, shot: int, query: int, rng: np.random.Generator
    ) -> None:
        for name, value, least in (("way", way, 2), ("shot", shot, 1), ("query", query, 1)):
            if value < least:
                raise ValueError(f"{name} must be >= {least}, got {value}")
        names, numbers = np.unique(np.asarray(labels), return_inverse=True)
        if way > len(names):
            raise ValueError(f"way must be at most the number of classes, {len(names)}, got {way}")
        order = np.argsort(numbers, kind="stable")
        self.groups = np.split(order, np.cumsum(np.bincount(numbers, minlength=len(names)))[:-1])
        small = min(range(len(names)), key=lambda j: len(self.groups[j]))
        if len(self.groups[small]) < shot + query:
            raise ValueError(
                f"each class must have shot + query = {shot + query} images or more, "
                f"{str(names[small])!r} has {len(self.groups[small])}"
            )
        self.way, self.shot, self.query, self.rng = way, shot, query, rng

    def sample(self) -> Episode:
        """The next episode."""
        chosen = self.rng.choice(len(self.groups), self.way, replace=False)
        rows = [self.rng.choice(self.groups[j], self.shot + self.query, replace=False) for j in chosen]
        both = np.stack(rows)
        return Episode(both[:, : self.shot], both[:, self.shot :])


def episode_accuracies(
    sampler: EpisodeSampler, logits: Callable[[Tensor, Tensor, Tensor], Tensor], count: int
) -> np.ndarray:
    """(count,) the share of queries of each episode whose class has the highest logit.

    Args:
        sampler: of the episodes.
        logits: from numbers of support images (N,), their classes (N,) from 0 to way - 1, and numbers of query images
            (Q,), to (Q, way).
        count: of episodes.
    """
    labels = torch.arange(sampler.way).repeat_interleave(sampler.shot)
    wanted = torch.arange(sampler.way).repeat_interleave(sampler.query)
    found = []
    for _ in range(count):
        episode = sampler.sample()
        support, query = (torch.from_numpy(part.ravel()) for part in (episode.support, episode.query))
        found.append(float((logits(support, labels, query).argmax(1).cpu() == wanted).float().mean()))
    return np.array(found)
