"""Metrics of a whole split of inspected images: how well their scores, and those of their pixels, are ranked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from visionrl.banks.anomalies import HIGHEST, LOWEST, AnomalyBank
from visionrl.banks.anomaly_features import BLOCK
from visionrl.metrics.ranking import auroc, average_precision, counted_auroc

BINS = 256  # of the scores of pixels, whose area under the curve is counted


@dataclass(frozen=True)
class AnomalyMetrics:
    """Ranking of the images, and of their pixels, over a split.

    Attributes:
        bank: the images.
        looked: the cells taken of each episode, (B, T) -> (B, N) bool, those seen.
        score: last states -> (B,), the images' anomaly scores.
    """

    bank: AnomalyBank
    looked: Callable[[Any], Any]
    score: Callable[[Any], Any]

    @property
    def kinds(self) -> list[str]:
        """Kinds of defects, by name; their numbers in a record begin at 1."""
        return sorted(set(self.bank.kinds) - {"good"})

    def record(self, ends: Any) -> dict[str, np.ndarray]:
        """Score and kind of each image, and how many good and defective pixels have each score (N, BINS + 1)."""
        bank, image = self.bank, np.asarray(ends.image)
        seen = self.looked(np.asarray(ends.taken))
        place = (bank.blocks.array[image] - LOWEST) * (BINS - 1) / (HIGHEST - LOWEST)
        place = np.where(seen[:, :, None], np.rint(place).astype(np.int64) + 1, 0).reshape(len(image), -1)
        share = bank.share[image].reshape(len(image), -1) * BLOCK**2
        known = (share >= 0).all(axis=1)
        counts = [
            np.stack([np.bincount(p, w * k, BINS + 1) for p, w, k in zip(place, weight, known, strict=True)])
            for weight in (share, BLOCK**2 - share)
        ]
        number = {kind: k for k, kind in enumerate(self.kinds, 1)}
        return {
            "anomaly_score": np.asarray(self.score(ends), float),
            "anomaly_kind": np.array([number.get(bank.kinds[k], 0) for k in image]),
            "anomaly_pixels": counts[0],
            "good_pixels": counts[1],
        }

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """``auroc``, ``ap``, ``pixel_auroc``, ``auroc_KIND`` where there are several kinds; NaN with one class alone."""
        score, kind = records["anomaly_score"], records["anomaly_kind"]
        found = {"auroc": auroc(score, kind > 0), "ap": average_precision(score, kind > 0)}
        found["pixel_auroc"] = counted_auroc(
            records["anomaly_pixels"].sum(axis=0), records["good_pixels"].sum(axis=0)
        )
        for k, name in enumerate(self.kinds if len(self.kinds) > 1 else (), 1):
            some = (kind == k) | (kind == 0)
            found[f"auroc_{name}"] = auroc(score[some], kind[some] > 0)
        return found
