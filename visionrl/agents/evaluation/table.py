"""Results of an evaluation: estimates with intervals, and the table of all methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from textwrap import wrap
from typing import Any

import numpy as np

RESAMPLES = 2000
POOLED_RESAMPLES = 200  # of metrics that are computed anew for each
LEVEL = 0.95
NAME_WIDTH = 22  # of a method's name before its row
CLASS_WIDTH = 9  # of one above its column
TITLE_WIDTH = 9  # of a metric's name
KINDS = ("agent", "classical", "expert", "random")  # by what a reader wants to see where not all fit
UNITS = ("_px", "_mm")  # metrics with one of these suffixes are errors: they also get a median


@dataclass(frozen=True)
class Estimate:
    """A mean or a median, and the ends of its 95 % confidence interval; NaN for fewer than two images or videos."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        interval = "" if np.isnan(self.low) else f" [{_short(self.low)}, {_short(self.high)}]"
        return _short(self.value) + interval


@dataclass(frozen=True)
class Row:
    """One method's result.

    Attributes:
        name: what it is called.
        kind: "random", "classical", "agent" or "expert".
        metrics: name -> estimate; "median_..." beside the mean of every error.
        episodes: how many.
        steps: mean length of an episode; None for a classical method, which takes no steps.
        ms_per_step: wall clock per step of one episode, all rows of a batch being stepped together; or None.
        ms_per_episode: wall clock per episode; batched as above, one by one for a classical method.
        classes: class or structure -> metric -> its value in the episodes about it; empty where there are not two.
    """

    name: str
    kind: str
    metrics: Mapping[str, Estimate]
    episodes: int
    steps: float | None
    ms_per_step: float | None
    ms_per_episode: float
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """The methods on the same episodes of one split.

    Attributes:
        env_id: id of the task.
        split: which samples.
        seed: of the first episode.
        primary_metric: the metric to compare by, and whether more is better.
        clusters: different images or videos among the episodes; the intervals resample these.
        rows: random, classical methods, agents, expert.
        notes: what a reader must know, such as why a row is missing.
    """

    env_id: str
    split: str
    seed: int
    primary_metric: tuple[str, bool]
    clusters: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The metrics, the primary one and its median first."""
        names = list(dict.fromkeys(name for row in self.rows for name in row.metrics))
        first = [self.primary_metric[0], f"median_{self.primary_metric[0]}"]
        return [n for n in first if n in names] + [n for n in names if n not in first]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain lists, dicts, strings and numbers; NaN becomes None, so it is valid JSON."""
        rows = [
            {**asdict(row), "metrics": {k: asdict(row.metrics[k]) for k in row.metrics}} for row in self.rows
        ]
        name, more = self.primary_metric
        whole = {
            **asdict(self),
            "primary_metric": name,
            "more_is_better": more,
            "rows": rows,
            "notes": list(self.notes),
        }
        return {**_plain(whole), "interval": f"{LEVEL:.0%} percentile bootstrap over images or videos"}

    def to_markdown(self) -> str:
        """A GitHub table."""
        head = ["method", *self.columns, "episodes", "steps", "ms/step", "ms/episode"]
        lines = [head, ["---"] * len(head), *(self._cells(row) for row in self.rows)]
        return "\n".join(
            ["| " + " | ".join(line) + " |" for line in lines] + [f"\n{note}" for note in self._remarks()]
        )

    def print(self, console: Any = None, brief: bool = False) -> None:
        """Show it in a terminal, in one block: the primary metric and success first, and as many others as fit.

        Args:
            console: rich's; default: standard output.
            brief: no more than the primary metric, success and cost.
        """
        from rich.console import Console

        console = console or Console()
        head = [*self.columns, "episodes", "steps", "ms/step", "ms/episode"]
        main = [self.primary_metric[0], f"median_{self.primary_metric[0]}", "is_success", "ms/episode"]
        every = {row.name: dict(zip(head, self._cells(row)[1:], strict=True)) for row in self.rows}
        kept = [name for name in main if name in head]
        wanted = kept if brief else [*kept, *(name for name in head if name not in kept)]
        names = ["\n".join(wrap(name, NAME_WIDTH)) for name in every]
        columns = {
            name: (_title(name), [cells[name].replace(" [", "\n[") for cells in every.values()])
            for name in wanted
        }
        shown = _fitting(names, columns, console.width)
        console.print(f"{self.env_id}, {self.split} split", style="bold", highlight=False)
        order = sorted(shown, key=head.index)
        console.print(_grid("method", names, [columns[name] for name in order]))
        missing = [name for name in wanted if name not in shown and any(columns[name][1])]
        more = [f"Beyond the width: {', '.join(missing)}."] if missing else []
        for note in [*self._remarks(), *more]:
            console.print(note, style="dim", markup=False, highlight=False)
        if not brief:
            self._print_classes(console)

    def _print_classes(self, console: Any) -> None:
        """Show the primary metric of every class, structure or sequence, a row each, and a column a method."""
        name, rows = self.primary_metric[0], [row for row in self.rows if row.classes]
        classes = list(dict.fromkeys(one for row in rows for one in row.classes))
        if not classes:
            return
        counts = {one: str(int(row.classes[one]["episodes"])) for row in rows for one in row.classes}
        columns = {"episodes": ("epi-\nsodes", [counts[one] for one in classes])}
        for row in rows:
            found = [row.classes.get(one, {}).get(name, float("nan")) for one in classes]
            values = ["-" if np.isnan(value) else _short(value) for value in found]
            columns[row.name] = "\n".join(wrap(row.name, CLASS_WIDTH)), values
        wanted = [row.name for row in sorted(rows, key=lambda row: KINDS.index(row.kind))]
        shown = _fitting(classes, {key: columns[key] for key in [*wanted, "episodes"]}, console.width)
        console.print(f"{name} of each", style="bold", highlight=False)
        console.print(_grid("", classes, [column for key, column in columns.items() if key in shown]))
        if missing := [key for key in columns if key not in shown]:
            text = f"Beyond the width: {', '.join(missing)}."
            console.print(text, style="dim", markup=False, highlight=False)

    def _cells(self, row: Row) -> list[str]:
        numbers = [str(row.metrics[name]) if name in row.metrics else "" for name in self.columns]
        costs = ["" if x is None else _short(x) for x in (row.steps, row.ms_per_step, row.ms_per_episode)]
        return [row.name, *numbers, str(row.episodes), *costs]

    def _remarks(self) -> list[str]:
        name, more = self.primary_metric
        better = f"{name}: {'more' if more else 'less'} is better"
        episodes = f"{self.rows[0].episodes} episodes, " if self.rows else ""
        text = f"{better}; [95 % confidence]: {episodes}bootstrap over {self.clusters} images or videos."
        return [text, *self.notes]


Column = tuple[str, list[str]]  # title and cells, which may have several lines


def _title(name: str) -> str:
    """A metric's name above its column, in lines: its words, then its unit."""
    unit = next((unit for unit in UNITS if name.endswith(unit)), "")
    words = name.removesuffix(unit).replace("_", " ").replace("/", "/ ")
    return "\n".join([*wrap(words, TITLE_WIDTH, break_long_words=False), *([unit[1:]] if unit else [])])


def _fitting(names: list[str], columns: Mapping[str, Column], width: int) -> list[str]:
    """The columns that fit beside the rows' names, the first ones before the others; one always."""
    room, shown = width - _width(names) - 4, list[str]()
    for name, (title, cells) in columns.items():
        need = _width([title, *cells]) + 2
        if not shown or need <= room:
            shown, room = [*shown, name], room - need
    return shown


def _width(texts: Sequence[str]) -> int:
    """Characters of the longest line."""
    return max((len(line) for text in texts for line in text.split("\n")), default=0)


def _grid(first: str, names: list[str], columns: Sequence[Column]) -> Any:
    """Rich's table of named rows."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid

    grid = Grid(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=(0, 1, 0, 0))
    grid.add_column(first, no_wrap=True)
    for title, _ in columns:
        grid.add_column(title, justify="right", no_wrap=True)
    for number, name in enumerate(names):
        grid.add_row(name, *(cells[number] for _, cells in columns))
    return grid


def estimate(
    values: np.ndarray, groups: np.ndarray | None = None, *, median: bool = False, seed: int = 0
) -> Estimate:
    """Mean or median with a 95 % percentile interval by the cluster bootstrap (Efron & Tibshirani, 1993).

    Whole groups are drawn with replacement, since episodes on one image are not independent of each other.

    Args:
        values: (N,) numbers or bools.
        groups: (N,) whole numbers, the image or video of each; default: each its own.
        median: the median instead of the mean.
        seed: of the draws.

    Raises:
        ValueError: there is no value.
    """
    values = np.asarray(values, float)
    if values.size == 0:
        raise ValueError("values must not be empty, got 0")
    names, member = np.unique(np.arange(len(values)) if groups is None else groups, return_inverse=True)
    middle = float(np.median(values) if median else np.mean(values))
    if len(names) < 2:
        return Estimate(middle, float("nan"), float("nan"))
    of = _weighted_median if median else _weighted_mean
    drawn = np.concatenate([of(values, weights) for weights in _weights(member, len(names), seed)])
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(middle, float(low), float(high))


def summarize(results: Mapping[str, np.ndarray], groups: np.ndarray | None = None) -> dict[str, Estimate]:
    """Every metric's and the return's estimate; for errors, in pixels or millimetres, the median as well."""
    found: dict[str, Estimate] = {}
    for key in [key for key in results if key not in ("length", "item")]:
        values = results[key]
        found[key] = estimate(values, groups)
        if key.endswith(UNITS):
            found[f"median_{key}"] = estimate(values, groups, median=True)
    return found


def estimate_dataset_metrics(
    compute: Callable[[Mapping[str, np.ndarray]], Mapping[str, float]],
    records: Mapping[str, np.ndarray],
    groups: np.ndarray,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Metrics that episodes have only together, with intervals as ``estimate`` gives, of 200 resamples.

    Args:
        compute: see ``visionrl.core.capabilities.DatasetMetric``.
        records: name -> (N, ...), likewise.
        groups: (N,) whole numbers, the image or video of each episode.
        seed: of the draws.
    """
    rng, (names, member) = np.random.default_rng(seed), np.unique(groups, return_inverse=True)
    rows = [np.flatnonzero(member == group) for group in range(len(names))]
    middle, drawn = compute(records), []
    for _ in range(POOLED_RESAMPLES if len(names) > 1 else 0):
        some = np.concatenate([rows[group] for group in rng.integers(len(names), size=len(names))])
        drawn.append(compute({key: values[some] for key, values in records.items()}))
    return {key: Estimate(value, *_interval([one[key] for one in drawn])) for key, value in middle.items()}


def _interval(drawn: Sequence[float]) -> tuple[float, float]:
    """The ends of the interval of a metric's resamples; NaN without any that is a number."""
    defined = np.array([x for x in drawn if not np.isnan(x)])
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _weights(member: np.ndarray, groups: int, seed: int) -> Iterator[np.ndarray]:
    """(b, N) how often each value is in each of b resamples; small blocks, to bound the memory."""
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES // 100):
        yield rng.multinomial(groups, np.full(groups, 1 / groups), size=100)[:, member]


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (weights @ values) / weights.sum(axis=1)


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """As ``np.median`` of the values, each repeated as often as its weight: (N,), (b, N) -> (b,)."""
    order = np.argsort(values)
    upto, ordered = np.cumsum(weights[:, order], axis=1), values[order]
    half = upto[:, -1:] / 2
    return (ordered[(upto >= half).argmax(axis=1)] + ordered[(upto > half).argmax(axis=1)]) / 2


def _short(x: float) -> str:
    """Three or four significant digits, never an exponent for numbers of everyday size."""
    return (
        f"{x:.0f}"
        if abs(x) >= 1000
        else f"{x:.1f}"
        if abs(x) >= 100
        else f"{x:.2f}"
        if abs(x) >= 10
        else f"{x:.3f}"
    )


def _plain(x: Any) -> Any:
    """Convert to Python's own types, NaN to None."""
    if isinstance(x, Mapping):
        return {str(key): _plain(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [_plain(value) for value in x]
    return None if isinstance(x, float) and np.isnan(x) else x
