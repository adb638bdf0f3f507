"""A classifier that is learnt in closed form: ridge regression on random Fourier features (Rahimi & Recht, 2007).

It is learnt in a second and needs no library of networks. Samples it has learnt from can be scored by one that has not:
it is learnt once without each fold, and once from all, as agents that learn from scores must not see ones that are too
good.
"""

from __future__ import annotations

import numpy as np

from visionrl.ops import Array, DeviceTable, Recalled, xp_of

FOLDS, WAVES = 5, 768  # parts of the training clips, Fourier features
WIDTH, PENALTY = 0.1, 0.3
"""Of kernel and ridge; chosen by the folds of JHMDB from .03, .1, .2 and .1, .3, 1."""

SHARPNESS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 30)
"""Of probabilities; what fits samples not learnt from best is taken."""


class FourierRidge(Recalled):
    """Class scores of rows of numbers; C classes, D numbers a row.

    Attributes:
        folds: their number, which is the number of the classifier that has learnt from all.
        centre: (D,) float64, and ``scale``, of the rows.
        waves: (D, W) float64, and ``phase`` (W,), of the Fourier features of a scaled row.
        weights: (W + 1, (folds + 1) * C) float64.
        sharpness: what the regression's values are multiplied by before the softmax.
    """

    folds: int
    classes: int

    def fit(
        self,
        rows: np.ndarray,
        labels: np.ndarray,
        fold: np.ndarray,
        rng: np.random.Generator,
        width: float,
        shares: np.ndarray | None = None,
    ) -> float:
        """Learn from rows (N, D) of classes (N,), each in a fold (N,).

        Args:
            rows: float64.
            labels: int64.
            fold: int64, in [0, ``folds``).
            rng: of the Fourier features.
            width: of the kernel: the inverse of its squared radius, in squared deviations of a number.
            shares: (D,) of each number in the squared distance of two rows; None: equal ones.

        Returns:
            Mean negative log probability of the classes by classifiers that have not learnt from the row's fold.
        """
        self.centre, self.scale = DeviceTable(rows.mean(axis=0)), DeviceTable(rows.std(axis=0) + 1e-6)
        shares = np.full(rows.shape[1], 1 / rows.shape[1]) if shares is None else shares
        self.waves = DeviceTable(rng.normal(size=(len(shares), WAVES)) * np.sqrt(2 * width * shares)[:, None])
        self.phase = DeviceTable(rng.uniform(0, 2 * np.pi, WAVES))
        waved = self.waved(rows)
        self.weights, self.sharpness = DeviceTable(self._solved(waved, labels, fold)), 1.0
        raw = self._raw(waved, fold)
        found = {one: _surprise(one * raw, labels) for one in SHARPNESS}
        self.sharpness = min(found, key=lambda one: found[one])
        return found[self.sharpness]

    def _solved(self, waved: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
        """(W + 1, (folds + 1) * C) weights without each fold, and with all, from Fourier features of all rows."""
        target, own = np.eye(self.classes)[labels], [fold == one for one in range(self.folds)]
        gram = np.stack([waved[some].T @ waved[some] for some in own])
        moment = np.stack([waved[some].T @ target[some] for some in own])
        penalty = PENALTY * np.eye(waved.shape[1])
        found = [
            np.linalg.solve(gram.sum(0) - left + penalty, moment.sum(0) - gone)
            for left, gone in [*zip(gram, moment, strict=True), (0 * gram[0], 0 * moment[0])]
        ]
        return np.concatenate(found, axis=1)

    def scaled(self, rows: Array) -> Array:
        """Rows (B, D), each of their numbers with mean 0 and deviation 1 over the training clips."""
        return (rows - self.centre.on(rows)) / self.scale.on(rows)

    def waved(self, rows: Array) -> Array:
        """(B, W + 1) Fourier features of rows (B, D), and a 1."""
        xp = xp_of(rows)
        found = xp.cos(self.scaled(rows) @ self.waves.on(rows) + self.phase.on(rows)) * (2 / WAVES) ** 0.5
        return xp.concat([found, xp.ones_like(found[:, :1])], axis=1)

    def scores(self, rows: Array, fold: Array) -> Array:
        """(B, C) probabilities of classes.

        Args:
            rows: (B, D) float64.
            fold: (B,) int64, by the classifier that has not learnt from this fold; ``folds`` for that of all.
        """
        xp = xp_of(rows)
        raw = self.sharpness * self._raw(self.waved(rows), fold)
        odds = xp.exp(raw - xp.max(raw, axis=1)[:, None])
        return odds / xp.sum(odds, axis=1)[:, None]

    def _raw(self, waved: Array, fold: Array) -> Array:
        """(B, C) values of the regression for Fourier features (B, W + 1)."""
        split = xp_of(waved).reshape(waved @ self.weights.on(waved), (-1, self.folds + 1, self.classes))
        return xp_of(waved).take_along_axis(split, fold[:, None, None], axis=1)[:, 0, :]


def folds_by_class(labels: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) int64, the fold of each clip; those of a class (N,) go to all folds in turn."""
    order = np.argsort(labels + rng.random(len(labels)), kind="stable")  # by class, by chance within
    return np.argsort(order) % folds


def _surprise(raw: np.ndarray, labels: np.ndarray) -> float:
    """The mean negative log probability of labels (N,) under the softmax of (N, C)."""
    top = raw.max(axis=1)
    total = top + np.log(np.exp(raw - top[:, None]).sum(axis=1))
    return float((total - raw[np.arange(len(raw)), labels]).mean())
