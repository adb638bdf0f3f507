"""The difference between two policies on the same episodes, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from visionrl.agents.evaluation.episodes import Plan, Result
from visionrl.agents.evaluation.table import Estimate, estimate, estimate_dataset_metrics
from visionrl.core.capabilities import compute_all


@dataclass(frozen=True)
class Score:
    """The scores of a policy that a paired difference is computed from.

    Attributes:
        values: (N,) the metric at each episode's end; empty where episodes have it only together.
        records: name -> (N, ...), see ``DatasetMetric``.
    """

    values: np.ndarray
    records: dict[str, np.ndarray]

    @classmethod
    def of(cls, result: Result, metric: str) -> Score:
        """The parts of a result that the metric needs."""
        if metric in result.values:
            return cls(np.asarray(result.values[metric], float), {})
        return cls(np.zeros(0), result.records)

    def to_tensors(self) -> dict[str, torch.Tensor]:
        """As tensors by name, for a checkpoint."""
        return {key: torch.tensor(value) for key, value in {"": self.values, **self.records}.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Score:
        """The score that ``to_tensors`` gave."""
        arrays = {key: value.numpy() for key, value in tensors.items()}
        return cls(arrays.pop(""), arrays)


def paired_difference(plan: Plan, before: Score, after: Score) -> Estimate:
    """The gain of one policy over another in the task's primary metric; positive is better.

    Args:
        plan: whose episodes both went through.
        before: the score of the one.
        after: of the other.

    Returns:
        The difference and its 95 % interval by bootstrap over images or videos, both policies on the same resamples.
    """
    (metric, more), groups = plan.task.primary_metric, plan.chosen.groups
    sign = 1.0 if more else -1.0
    if len(before.values):
        return estimate(sign * (after.values - before.values), groups)
    joined = {
        f"{name}.{key}": value
        for name, one in (("0", before), ("1", after))
        for key, value in one.records.items()
    }
    compute = partial(difference, plan.task, metric, sign)
    return estimate_dataset_metrics(compute, joined, groups)["gain"]


def difference(task: Any, metric: str, sign: float, records: dict[str, np.ndarray]) -> dict[str, float]:
    """The gain in a metric of a data set, from the records of both policies: names begin with "0." and "1."."""
    one, other = (
        compute_all(task, {key[2:]: value for key, value in records.items() if key[0] == which})[metric]
        for which in "01"
    )
    return {"gain": sign * (other - one)}
