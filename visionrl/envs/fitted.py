"""The base of tasks that are fitted to training samples before their episodes begin: a classifier, a detector, a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

from visionrl.core import Task, arguments
from visionrl.datasets import load
from visionrl.datasets.splits import DEFAULT_RATIOS, DEFAULT_SEED

StateT = TypeVar("StateT")
DEFAULT_CUT = {"split_file": None, "split_ratios": DEFAULT_RATIOS, "split_seed": DEFAULT_SEED}


@arguments
class FittedTask(Task[StateT]):
    """A task that is fitted to training samples, those of its own data or others; a leaf asks for ``training_samples``.

    A run records where its training samples are from and how they were cut, so that its agent meets the same classifier,
    detector or model wherever it is used.
    """

    train_data: Any = None
    """Data to whose training split the task is fitted, as for ``data``, or a mapping of ``data`` and, where wanted,
    ``split_file``, ``split_ratios``, ``split_seed``; None is ``data`` itself, cut likewise."""

    def training_source(self) -> dict[str, Any]:
        """The data of the training samples, and what cuts them if anything is said of it.

        Raises:
            ValueError: ``train_data`` is a mapping of something else.
        """
        if self.train_data is None:
            return {"data": self.data, **{name: getattr(self, name) for name in DEFAULT_CUT}}
        if not isinstance(self.train_data, Mapping):
            return {"data": self.train_data}
        known = ("data", *DEFAULT_CUT)
        if unknown := [name for name in self.train_data if name not in known]:
            raise ValueError(f"train_data must have no more than {', '.join(known)}, got {unknown[0]!r}")
        return {"data": None, **self.train_data}

    def training_samples(self) -> tuple[Any, ...]:
        """The samples that the task is fitted to.

        Raises:
            ValueError: the task's own samples have no labels, and no others are given; or see ``load``.
        """
        if self.train_data is None and not self.labelled:
            raise ValueError(
                "train_data must be given where data has no labels: the task is fitted to it, got None"
            )
        same: dict[str, Any] = {"kind": self.sample_type, "default": self.embedded, "classes": self.classes}
        return load(split="train", skip_bad=self.skip_bad, **same, **self.training_source())

    def fitted_to_own_data(self) -> bool:
        """True if the training samples are of the task's own data, whose names then tell which of these they are."""
        own, data = (
            self.embedded if one is None else one for one in (self.data, self.training_source()["data"])
        )
        return data is own or (isinstance(data, str) and isinstance(own, str) and data == own)

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        source = self.training_source()
        data = source["data"] or self.embedded
        if not isinstance(data, str):
            return {}
        cut = {name: source[name] for name, usual in DEFAULT_CUT.items() if source.get(name, usual) != usual}
        if "split_file" in cut:
            cut["split_file"] = os.fspath(cut["split_file"])
        return {"train_data": {"data": data, **cut} if cut else data}
