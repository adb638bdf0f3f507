"""Base of the embedded sets: samples that are generated when they are accessed."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeVar, overload

from visionrl.datasets.splits import check_split

SampleT = TypeVar("SampleT")


class GeneratedDataset(Sequence[SampleT]):
    """Samples of a split, each generated from its number at each access.

    Args:
        split: "train", "val" or "test".
        count: number of samples; None takes the split's of ``counts``.
        counts: split -> default number of samples.

    Raises:
        ValueError: another split, or a count below 1; IndexError where an index is outside.
    """

    def __init__(self, split: str, count: int | None, counts: Mapping[str, int]) -> None:
        self.split = check_split(split)
        self._count = counts[split] if count is None else operator.index(count)
        if self._count < 1:
            raise ValueError(f"count must be >= 1, got {count}")

    @abstractmethod
    def _make(self, number: int) -> SampleT:
        """Sample ``number`` of the split, in [0, len)."""

    def __len__(self) -> int:
        """Number of samples."""
        return self._count

    @overload
    def __getitem__(self, index: int) -> SampleT: ...

    @overload
    def __getitem__(self, index: slice) -> list[SampleT]: ...

    def __getitem__(self, index: int | slice) -> SampleT | list[SampleT]:
        """One sample, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(f"index must be in [{-self._count}, {self._count}), got {index}")
        return self._make(index % self._count)
