"""Metrics of video summaries: ranks, keyshot F, coverage.

Otani et al. (2019), "Rethinking the evaluation of video summaries": a random summary has nearly the keyshot F of a
human's, while the rank correlation of its scores with those of people is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from visionrl.ops import Array, xp_of

REPEATS = 20  # orders of pieces of equal score, over which F is averaged


def centred_ranks(rows: np.ndarray) -> np.ndarray:
    """(U, N) ranks of the values of each row less their mean; equal values share the mean of their ranks."""
    return np.sign(rows[:, :, None] - rows[:, None, :]).sum(axis=2) / 2


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


def coverage(seen: Array, important: Array, tolerance: int = 0) -> Array:
    """(B,) float64, share of the important frames within some frames of a seen one; 1 where none is important.

    Args:
        seen: (B, T) bool.
        important: (B, T) bool.
        tolerance: frames.
    """
    xp, near, count = xp_of(seen), seen, seen.shape[1]
    for shift in range(1, tolerance + 1):
        rim = xp.zeros_like(seen[:, : min(shift, count)])
        near = near | xp.concat([seen[:, shift:], rim], axis=1)
        near = near | xp.concat([rim, seen[:, : max(count - shift, 0)]], axis=1)
    total = xp.sum(xp.astype(important, xp.float64), axis=1)
    covered = xp.sum(xp.astype(important & near, xp.float64), axis=1)
    return xp.where(total > 0, covered / xp.where(total > 0, total, xp.ones_like(total)), xp.ones_like(total))
