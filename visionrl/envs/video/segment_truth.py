"""The truth of clips with segments: their classes, parts, and the precision of what is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from visionrl.banks.windows import labels_of
from visionrl.datasets import ClipSample
from visionrl.metrics.segments import segment_metrics, segment_records


@dataclass(frozen=True)
class SegmentPrecision:
    """Mean average precision of the segments emitted.

    Args:
        truth: (I, M, 2) segments of each part, NaN beyond the last.
        kinds: (I, M) numbers of their classes, -1 beyond the last.
        classes: how many there are.
    """

    truth: np.ndarray
    kinds: np.ndarray
    classes: int

    def record(self, ends: Any) -> dict[str, np.ndarray]:
        """Records of B last states: see ``segment_records``."""
        rows = []
        for row, item in enumerate(ends.item):
            there = self.kinds[item] >= 0
            found = ends.found[row]
            rows.append(
                segment_records(
                    *(found[:, :2], found[:, 2], ends.labels[row]),
                    *(self.truth[item][there], self.kinds[item][there], self.classes),
                )
            )
        return {key: np.stack([one[key] for one in rows]) for key in rows[0]}

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """See ``segment_metrics``."""
        return segment_metrics(records)


def segment_tables(
    clips: Sequence[ClipSample] | None, parts: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The segments of parts of clips, (I, M, 2), NaN beyond the last, and the numbers of their classes, (I, M), or -1.

    Args:
        clips: the clip of each part; None where nothing is labelled.
        parts: (I, 2), first frame of each part and the one after its last.
        names: of the classes.

    Raises:
        ValueError: a class is of no training clip, or two segments of one class overlap.
    """
    rows = [segments_in(clip, part, names) for clip, part in zip(clips or (), parts, strict=False)]
    widest = max((len(numbers) for _, numbers in rows), default=1) or 1
    truth, kinds = np.full((len(parts), widest, 2), np.nan), np.full((len(parts), widest), -1)
    for item, (segments, numbers) in enumerate(rows):
        truth[item, : len(numbers)], kinds[item, : len(numbers)] = segments, numbers
    return truth, kinds


def segments_in(sample: ClipSample, part: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) segments in a part of a clip, those with half of their length or more in it, and the numbers of their classes.

    Raises:
        ValueError: see ``segment_tables``.
    """
    segments = np.asarray(sample.segments, float).reshape(-1, 2)
    kinds = np.array([number_of(name, names, sample.name) for name in labels_of(sample)], int)
    check_no_overlap(segments, kinds, names, sample.name)
    within = np.clip(segments, *part)
    kept = np.diff(within, axis=1)[:, 0] >= np.diff(segments, axis=1)[:, 0] / 2
    return within[kept], kinds[kept]


def parts_of(length: int, chunk: int | None) -> np.ndarray:
    """(n, 2) float64, parts of a clip of about equal length, none longer than ``chunk``."""
    count = 1 if chunk is None else -(-length // chunk)
    edges = np.linspace(0, length, count + 1).round()
    return np.stack([edges[:-1], edges[1:]], axis=1)


def class_names(training: Sequence[ClipSample]) -> tuple[str, ...]:
    """The classes of the training clips' segments.

    Raises:
        ValueError: a clip has no segments, not even none, or no clip has any.
    """
    if bare := [sample.name for sample in training if sample.segments is None]:
        raise ValueError(f"samples must have segments, {bare[0]!r} of the training clips has none")
    names = tuple(sorted({name for sample in training for name in labels_of(sample)}))
    if not names:
        raise ValueError(f"training clips must have a segment or more, got none in {len(training)} clips")
    return names


def number_of(name: str, names: Sequence[str], clip: str) -> int:
    """The number of a class.

    Raises:
        ValueError: no training clip has it.
    """
    if name not in names:
        raise ValueError(
            f"segment_labels of {clip!r} must be of a training clip, {', '.join(names)}, got {name!r}"
        )
    return list(names).index(name)


def check_no_overlap(segments: np.ndarray, kinds: np.ndarray, names: Sequence[str], clip: str) -> None:
    """Refuse segments (n, 2) of one class, by number (n,), that overlap.

    Raises:
        ValueError: names two of them.
    """
    for kind in np.unique(kinds):
        own = segments[kinds == kind]
        own = own[np.argsort(own[:, 0], kind="stable")]
        for (a, b), (c, d) in zip(own[:-1].tolist(), own[1:].tolist(), strict=True):
            if c < b:
                raise ValueError(
                    f"segments of one class must not overlap, {clip!r} has {names[kind]!r} "
                    f"from {a:g} to {b:g} and from {c:g} to {d:g}"
                )
