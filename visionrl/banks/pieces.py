"""The clips of one split in pieces of equal length, with what people think of each; held once for all episodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl.banks.clips import ClipBank, clip_bank, shared_by_clips
from visionrl.datasets.samples import ClipSample
from visionrl.metrics.summary import centred_ranks
from visionrl.ops import Array, DeviceTable, Recalled, xp_of

USUAL_FPS = 25.0  # of clips that do not say
LAGS = (1, 2, 4, 8, 16)  # pieces; how unlike a piece is to all that were shown so long ago or longer
CHANGES = 3


class PieceBank(Recalled):
    """Pieces of clips; V clips of at most P pieces, padded with 0.

    Args:
        bank: the frames' features.
        samples: of the bank; with scores where ``labelled``.
        seconds: length of a piece; a piece has one frame at least.
        budget: share of a clip that a summary may have.
        labelled: False takes no scores.

    Attributes:
        starts: of each clip, the first frames of its pieces and its number of frames, (n + 1,).
        counts: (V,) int64, pieces of each clip; lent to any array library, as all tables are.
        most: P.
        features: (V * P, D) float32, mean of the frames' features, of length 1.
        change: (V * P, 3) float32, mean over a piece of the change from frame to frame: its length, its largest and its
            mean absolute entry.
        alike: (V * P, P) float32, cosine with each piece of the clip.
        repeats: (V * P, 5) float32, largest cosine with the pieces at least 1, 2, 4, 8 or 16 pieces back; -1: none.
        worth: (V, P) float64, mean score of all people, each between 0 and 1.
        level: (V,) float64, the worth from which on the pieces fill the budget.
        best: (V,) float64, worth over the level, of all pieces over it; 1 where that is 0.
        order: (V, P, P) float32, mean over people of the sign of the difference of two pieces' scores, over the root
            of the number of pairs that differ; for Kendall's tau.
        ranks: (V, P) float64, mean over people of the centred ranks, of length 1 each; for Spearman's rho.
        human: (V,) float64, mean tau of one person with another.
        users: of each clip, (U, n) float64, mean scores of each piece; none where not labelled.
    """

    def __init__(
        self, bank: ClipBank, samples: Sequence[ClipSample], seconds: float, budget: float, labelled: bool
    ) -> None:
        lengths = [max(1, round(seconds * (sample.fps or USUAL_FPS))) for sample in samples]
        self.starts = [
            np.array([*range(0, len(s), n), len(s)]) for s, n in zip(samples, lengths, strict=True)
        ]
        counts = np.array([len(one) - 1 for one in self.starts])
        self.most, clips = int(counts.max()), len(samples)
        rows, users = clips * self.most, [np.zeros((0, n)) for n in counts]
        features, change = np.zeros((rows, bank.width), np.float32), np.zeros((rows, CHANGES), np.float32)
        alike, repeats = np.zeros((rows, self.most), np.float32), np.full((rows, len(LAGS)), -1, np.float32)
        for clip in range(clips):
            place = slice(clip * self.most, clip * self.most + counts[clip])
            frames = bank.features_of(clip).astype(float)
            means = piece_means(frames, self.starts[clip])
            features[place] = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
            steps = np.diff(frames, axis=0, prepend=frames[:1])
            change[place] = piece_means(change_sizes(steps), self.starts[clip])
            alike[place, : counts[clip]] = features[place] @ features[place].T
            repeats[place] = nearest_before(alike[place, : counts[clip]])
        self.counts, self.features = DeviceTable(counts), DeviceTable(features)
        self.change = DeviceTable(change)
        self.alike, self.repeats = DeviceTable(alike), DeviceTable(repeats)
        if labelled:
            users = [piece_means(s.scores.T, b).T for s, b in zip(samples, self.starts, strict=True)]
        self.users = users
        self._opinions(counts, budget)

    def _opinions(self, counts: np.ndarray, budget: float) -> None:
        """Work out what people think of each piece."""
        clips, most = len(counts), self.most
        worth, order = np.zeros((clips, most)), np.zeros((clips, most, most), np.float32)
        level, best, human, ranks = np.zeros(clips), np.ones(clips), np.zeros(clips), np.zeros((clips, most))
        for clip, (users, n) in enumerate(zip(self.users, counts.tolist(), strict=True)):
            if not len(users):
                continue
            spread = np.ptp(users, axis=1, keepdims=True)
            worth[clip, :n] = ((users - users.min(axis=1, keepdims=True)) / np.maximum(spread, 1e-9)).mean(0)
            kept = max(1, int(budget * n))
            down = np.sort(worth[clip, :n])[::-1]
            level[clip] = (down[kept - 1] + down[min(kept, n - 1)]) / 2
            over = np.maximum(worth[clip, :n] - level[clip], 0).sum()
            best[clip] = over if over > 0 else 1.0
            signs = np.sign(users[:, :, None] - users[:, None, :])
            pairs = np.sqrt((signs**2).sum(axis=(1, 2)) / 2)
            weighed = signs / np.maximum(pairs, 1)[:, None, None]
            order[clip, :n, :n] = weighed.mean(axis=0)
            flat = weighed.reshape(len(users), -1)
            if len(users) > 1:
                both = flat @ flat.T / 2
                human[clip] = (both.sum() - np.trace(both)) / (len(users) * (len(users) - 1))
            own = centred_ranks(users)
            long = np.linalg.norm(own, axis=1, keepdims=True)
            ranks[clip, :n] = (own / np.maximum(long, 1e-9)).mean(axis=0)
        self.worth, self.level, self.best = DeviceTable(worth), DeviceTable(level), DeviceTable(best)
        self.order, self.ranks, self.human = DeviceTable(order), DeviceTable(ranks), DeviceTable(human)

    def sizes(self, clip: int) -> np.ndarray:
        """(n,) int64, frames of each piece of one clip."""
        return np.diff(self.starts[clip])

    def row(self, clip: Array, piece: Array) -> Array:
        """Numbers of pieces in the tables of V * P rows; pieces beyond the ends count as these. (B,) or (B, K)."""
        xp = xp_of(piece)
        last, base = self.counts.rows(clip) - 1, clip * self.most
        if piece.ndim == 2:
            last, base = last[:, None], base[:, None]
        return base + xp.maximum(xp.minimum(piece, last), xp.zeros_like(piece))

    def valid(self, clip: Array) -> Array:
        """(B, P) bool, the pieces that a clip has."""
        counts = self.counts.rows(clip)
        return xp_of(counts).arange(self.most, device=counts.device)[None, :] < counts[:, None]

    def correlations(self, clip: Array, scores: Array) -> tuple[Array, Array]:
        """(B,) mean over people of Kendall's tau-b and of Spearman's rho of scores (B, P); 0 for constant scores."""
        xp, valid = xp_of(scores), self.valid(clip)
        signs = xp.sign(scores[:, :, None] - scores[:, None, :])
        signs = xp.where(valid[:, :, None] & valid[:, None, :], signs, xp.zeros_like(signs))
        order = xp.astype(self.order.rows(clip), signs.dtype)
        pairs = xp.sum(xp.abs(signs), axis=(1, 2)) / 2
        ranks = xp.sum(signs, axis=2) / 2
        long = xp.sqrt(xp.sum(ranks * ranks, axis=1))
        tau, rho = xp.sum(signs * order, axis=(1, 2)) / 2, xp.sum(ranks * self.ranks.rows(clip), axis=1)
        one = xp.ones_like(tau)
        return tau / xp.sqrt(xp.where(pairs > 0, pairs, one)), rho / xp.where(long > 0, long, one)


def piece_means(rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(n, D) means of (T, D) rows over pieces."""
    return np.add.reduceat(rows, starts[:-1], axis=0) / np.diff(starts)[:, None]


def change_sizes(steps: Array) -> Array:
    """(..., 3), sizes of changes of features (..., D): length, largest and mean absolute entry."""
    xp, sizes = xp_of(steps), xp_of(steps).abs(steps)
    length = xp.sqrt(xp.sum(sizes * sizes, axis=-1))
    return xp.stack([length, xp.max(sizes, axis=-1), xp.mean(sizes, axis=-1)], axis=-1)


def nearest_before(alike: np.ndarray) -> np.ndarray:
    """(n, 5) largest cosine of each piece with those at least ``LAGS`` before it, -1 where there are none."""
    found = np.full((len(alike), len(LAGS)), -1.0)
    for column, lag in enumerate(LAGS):
        for piece in range(lag, len(alike)):
            found[piece, column] = alike[piece, : piece - lag + 1].max()
    return found


def diverse_set(alike: np.ndarray, far: int, budget: float, excess_cost: float) -> np.ndarray:
    """(n,) bool, a set of pieces that is diverse and representative, put together one by one while it gets better.

    Args:
        alike: (n, n) cosines of the pieces.
        far: pieces from beyond which on two count as wholly unlike.
        budget: share of the pieces beyond which each costs.
        excess_cost: of the squared share beyond.
    """
    count = len(alike)
    place = np.arange(count)
    apart = np.where(np.abs(place[:, None] - place) > far, 1.0, 1.0 - alike)
    kept, nearest, unlike, value = np.zeros(count, bool), np.full(count, -1.0), 0.0, 0.0
    while not kept.all():
        size = int(kept.sum()) + 1
        sums = unlike + apart[:, kept].sum(axis=1)
        spread = sums / max(size * (size - 1) / 2, 1)
        close = np.exp(-(2 - 2 * np.maximum(nearest, alike)).mean(axis=1))
        total = (spread + close) / 2 - excess_cost * max(size / count - budget, 0) ** 2
        total[kept] = -np.inf
        best = int(total.argmax())
        if total[best] <= value:
            break
        kept[best], value, unlike = True, float(total[best]), float(sums[best])
        nearest = np.maximum(nearest, alike[best])
    return kept


def piece_bank(samples: Sequence[ClipSample], seconds: float, budget: float, labelled: bool) -> PieceBank:
    """The pieces of some clips; environments over the same ones share them."""
    return shared_by_clips(_pieces, samples, seconds, budget, labelled)


def _pieces(samples: Sequence[ClipSample], seconds: float, budget: float, labelled: bool) -> PieceBank:
    """Make the bank of pieces, on that of the frames."""
    return PieceBank(clip_bank(samples), samples, seconds, budget, labelled)
