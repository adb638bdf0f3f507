"""Metrics of video summaries: rank correlation with people, keyshot F, coverage.

Otani et al. (2019), "Rethinking the evaluation of video summaries": a random summary has nearly the keyshot F of a
human's, while the rank correlation of its scores with those of people is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

REPEATS = 20  # orders of pieces of equal score, over which F is averaged


def kendall_tau(scores: np.ndarray, users: np.ndarray) -> np.ndarray:
    """(U,) Kendall's tau-b of scores (N,) with those of each user (U, N); 0 where either is constant."""
    one, others = np.sign(np.subtract.outer(scores, scores)), np.sign(users[:, :, None] - users[:, None, :])
    sizes = np.sqrt((one**2).sum() * (others**2).sum(axis=(1, 2)))
    return _ratio((one * others).sum(axis=(1, 2)), sizes)


def spearman_rho(scores: np.ndarray, users: np.ndarray) -> np.ndarray:
    """(U,) Spearman's rho of scores (N,) with those of each user (U, N); 0 where either is constant."""
    one, others = centred_ranks(scores[None])[0], centred_ranks(users)
    return _ratio(others @ one, np.linalg.norm(others, axis=1) * np.linalg.norm(one))


def centred_ranks(rows: np.ndarray) -> np.ndarray:
    """(U, N) ranks of the values of each row less their mean; equal values share the mean of their ranks."""
    return np.sign(rows[:, :, None] - rows[:, None, :]).sum(axis=2) / 2


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """A ratio, 0 where nothing is below."""
    return np.where(below > 0, above / np.where(below > 0, below, 1), 0.0)


def knapsack(
    values: Sequence[float] | np.ndarray, sizes: Sequence[int] | np.ndarray, room: int
) -> np.ndarray:
    """(N,) bool, the items of largest total value whose sizes fit into a room; exact.

    Args:
        values: (N,), >= 0.
        sizes: (N,) whole numbers >= 1.
        room: largest sum of sizes.
    """
    worth, taken = np.asarray(values, float), np.zeros((len(sizes), room + 1), bool)
    best = np.zeros(room + 1)
    for item, size in enumerate(np.asarray(sizes, int).tolist()):
        if size > room:
            continue
        other = np.full(room + 1, -np.inf)
        other[size:] = best[: room + 1 - size] + worth[item]
        taken[item] = other > best
        best = np.maximum(best, other)
    chosen, left = np.zeros(len(taken), bool), room
    for item in range(len(taken) - 1, -1, -1):
        if taken[item, left]:
            chosen[item] = True
            left -= int(sizes[item])
    return chosen


def keyshots(scores: np.ndarray, sizes: np.ndarray, budget: float, rng: np.random.Generator) -> np.ndarray:
    """(N,) bool, the pieces of a summary of at most a share of the frames; chance decides between equal scores.

    The value of a piece is its score times its frames (Gygli et al., 2015); scores are moved to be > 0.
    """
    low, spread = float(scores.min()), max(float(np.ptp(scores)), 1e-9)
    values = (scores - low) / spread + 1e-3 + 1e-6 * rng.random(len(scores))
    return knapsack(values * sizes, sizes, int(budget * sizes.sum()))


def f_score(chosen: np.ndarray, truth: np.ndarray, sizes: np.ndarray) -> float:
    """F of the frames of some pieces, (N,) bool, against those of others; 0 where they share none."""
    shared = float(sizes[chosen & truth].sum())
    return 2 * shared / max(float(sizes[chosen].sum() + sizes[truth].sum()), 1.0)


def keyshot_f(
    scores: np.ndarray, users: np.ndarray, sizes: np.ndarray, budget: float = 0.15, repeats: int = REPEATS
) -> tuple[float, float]:
    """Keyshot F against each user's own keyshots: the mean over users, and the largest.

    Args:
        scores: (N,) of each piece.
        users: (U, N) likewise.
        sizes: (N,) frames of each piece.
        budget: share of the frames that a summary may have.
        repeats: orders of equal scores that are averaged.
    """
    found = np.zeros((repeats, len(users)))
    for turn in range(repeats):
        rng = np.random.default_rng(turn)
        chosen = keyshots(scores, sizes, budget, rng)
        found[turn] = [f_score(chosen, keyshots(user, sizes, budget, rng), sizes) for user in users]
    each = found.mean(axis=0)
    return float(each.mean()), float(each.max())


@dataclass(frozen=True)
class KeyshotF:
    """Keyshot F of the summaries of a data set, see ``keyshot_f``, averaged over its clips.

    Args:
        users: of each clip, (U, n) scores of people of each piece.
        sizes: of each clip, (n,) frames of each piece.
        budget: share of the frames that a summary may have.
    """

    users: Sequence[np.ndarray]
    sizes: Sequence[np.ndarray]
    budget: float

    def record(self, ends: Any) -> dict[str, np.ndarray]:
        """F of each last state with ``clip`` and ``scores``: the mean over people, and the largest."""
        found = []
        for clip, scores in zip(np.asarray(ends.clip).tolist(), np.asarray(ends.scores), strict=True):
            users, sizes = self.users[clip], self.sizes[clip]
            found.append(keyshot_f(scores[: len(sizes)], users, sizes, self.budget, repeats=5))
        mean, most = np.array(found).reshape(-1, 2).T
        return {"keyshot_f_mean": mean, "keyshot_f_max": most}

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """``f_mean`` and ``f_max``, in [0, 1]."""
        return {name: float(records[f"keyshot_{name}"].mean()) for name in ("f_mean", "f_max")}


def coverage(seen: np.ndarray, important: np.ndarray, tolerance: int = 0) -> float:
    """Share of the important frames within some frames of a seen one; 1 where none is important.

    Args:
        seen: (T,) bool.
        important: (T,) bool.
        tolerance: frames.
    """
    near = np.convolve(seen, np.ones(2 * tolerance + 1), "full")[tolerance : tolerance + len(seen)] > 0.5
    return float((near & important).sum() / important.sum()) if important.any() else 1.0
