"""Detection of anomalies in a stream: say of one cell of an image after the other whether it shows a defect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Interval
from gymnasium import spaces

from visionrl.banks.anomalies import HIGHEST
from visionrl.core import arguments, register
from visionrl.core.observables import Image, Vector
from visionrl.core.results import Verdict
from visionrl.envs.recognition.anomaly_picture import anomaly_picture
from visionrl.envs.recognition.cells import CellTask
from visionrl.envs.select import Selection
from visionrl.metrics.ranking import auroc
from visionrl.ops import Array, DeviceTable, one_hot, xp_of

NOTHING = -100.0  # added to the anomaly score of an image of which no cell is said to show a defect


@dataclass(frozen=True)
class State(Selection):
    """A stream of cells and what was said of them: ``taken`` is 1 for a defect, 0 for none, -1 beyond. B episodes.

    Attributes:
        stream: (B, T) int64, image * G * G + cell, in the order of showing.
        truth: (B, T) int64, 1 where the cell shows a defect, 0 where it does not, -1 where that is unknown.
    """

    stream: Array
    truth: Array


@register(
    "AnomalyStream-v0",
    max_steps=None,
    tags=("recognition", "2d", "discrete", "selection"),
    presets={"pang2021": {"defect_share": 0.5, "length": 2000, "score": False}},
)
@arguments
class AnomalyStream(CellTask[State]):
    """The agent sees one cell of an image after the other, and says of each whether it shows a defect.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, cell, cell) uint8: the cell; with ``score`` its anomaly score, (1,) in [-1, 1] |
    | Action      | Discrete(2): 0 says "normal", 1 "defect" |
    | Reward      | 1 for a defect that is found, -``alarm_cost`` for a false alarm, -``miss_cost`` for a defect that is missed; 0 for what is rightly called normal, and where the truth is unknown |
    | Ends        | with the stream |

    In training a stream has ``length`` cells of all images of the split: with probability ``defect_share`` one with a part
    of a defect, else one without; the first is any cell of one image. In evaluation, and on new images, it has all cells of one image, row by row. Anomaly
    scores are those of a detector, as in ``AnomalyDetection-v0``.

    ``info`` has ``accuracy`` over the cells and ``points``, the sum of the rewards; of all images together there are
    ``precision``, ``recall`` and ``f1`` of the cells said to show a defect, and ``auroc`` of the images by the number of
    such cells. They are NaN where nothing can be counted.

    Source: Pang et al. (2021), "Toward deep supervised anomaly detection: reinforcement learning from partially labeled
    anomaly data". There the next object depends on the agent's own network, the nearest or the farthest one by its
    features, and an isolation forest adds to the reward; here the stream is drawn beforehand, so that what an agent
    says does not change what it sees, and the forest's part, which does not depend on the action, is left out.
    """

    defect_share: Annotated[float, Interval(ge=0.0, le=1.0)] | None = 0.1
    """Probability of a cell with a defect; None shows all cells of one image, as evaluation does unless it is given."""
    length: Annotated[int, Ge(1)] = 64
    """Number of cells in a stream, where ``defect_share`` is a number."""
    score: bool = True
    """Show the anomaly score of the cell."""
    miss_cost: Annotated[float, Ge(0.0)] = 1.0
    """Cost of a defect that is missed."""
    alarm_cost: Annotated[float, Ge(0.0)] = 1.0
    """Cost of a false alarm."""

    primary_metric = ("f1", True)
    hidden = ("truth",)
    evaluation: ClassVar[dict[str, Any]] = {"defect_share": None}

    def setup(self) -> None:
        self.load_cells()
        share = self.bank.share.max(axis=2).ravel()
        if not self.labelled:
            share = np.full_like(share, -1)
        self.truth = np.where(share < 0, -1, share > 0).astype(np.int64)
        self.pools = [np.flatnonzero(self.truth == kind) for kind in (0, 1)]
        if self.mixed and min(map(len, self.pools)) == 0:
            raise ValueError(
                "defect_share must be None where the images do not show cells with and without defects"
            )
        self.scores = DeviceTable(self.bank.nearby.array.ravel())
        self.action_space = spaces.Discrete(2)
        self.dataset_metrics = [StreamMetrics(self)]
        self.show(window=Image(self.bank.channels, self.cell), score=Vector(1) if self.score else None)

    @property
    def mixed(self) -> bool:
        """True if a stream has cells of all images."""
        return self.labelled and self.defect_share is not None

    @property
    def longest(self) -> int:
        """Cells of a stream, T."""
        return self.length if self.mixed else self.cells

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        stream = item * self.cells + np.arange(self.cells)
        if self.labelled and self.defect_share is not None:
            first = rng.choice(stream)
            defect = rng.random(self.length) < self.defect_share
            clean, defective = (rng.choice(pool, self.length) for pool in self.pools)
            stream = np.where(defect, defective, clean)
            stream[0] = first
        return State(
            taken=np.full(self.longest, -1), step=np.int64(0), stream=stream, truth=self.truth[stream]
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.taken)
        more = xp.astype(~self.terminated(state), xp.int64)
        return replace(state, taken=self.take(state, xp.astype(action, xp.int64)), step=state.step + more)

    def observe(self, state: State) -> dict[str, Array]:
        cell = self.shown(state.stream, state.step)
        xp, score = xp_of(cell), self.scores.rows(cell) / HIGHEST
        values = {"score": xp.clip(score, -1.0, 1.0)} if self.score else {}
        return self.seen(window=self.bank.cells.rows(cell), **values)

    def counts(self, state: State) -> dict[str, Array]:
        """(B,) float64 each: defects found, false alarms, defects missed, cells rightly called normal."""
        xp, said, truth = xp_of(state.taken), state.taken, state.truth
        pairs = {"found": (1, 1), "alarms": (1, 0), "missed": (0, 1), "passed": (0, 0)}
        return {
            name: xp.sum(xp.astype((said == one) & (truth == other), xp.float64), axis=1)
            for name, (one, other) in pairs.items()
        }

    def points(self, state: State) -> Array:
        """(B,) float64, the sum of the rewards so far."""
        found = self.counts(state)
        return found["found"] - self.alarm_cost * found["alarms"] - self.miss_cost * found["missed"]

    def reward(self, before: State, action: Array, after: State) -> Array:
        return self.points(after) - self.points(before)

    def terminated(self, state: State) -> Array:
        return state.step >= self.longest

    def metrics(self, state: State) -> dict[str, Array]:
        found = self.counts(state)
        right, all_said = found["found"] + found["passed"], sum(found.values())
        xp = xp_of(state.taken)
        accuracy = right / xp.where(all_said > 0, all_said, xp.ones_like(all_said))
        wrong = found["alarms"] + found["missed"]
        return {
            "accuracy": accuracy,
            "points": self.points(state),
            "is_success": (wrong == 0) & (all_said > 0),
        }

    def expert(self, state: State) -> Array:
        """(B,) int64: the truth, "normal" where it is unknown."""
        truth = self.shown(state.truth, state.step)
        return xp_of(truth).maximum(truth, 0 * truth)

    def action_gains(self, state: State) -> Array:
        """(B, 2) float64, what each answer earns at once."""
        xp, truth = xp_of(state.taken), self.shown(state.truth, state.step)
        defect, normal = (xp.astype(truth == kind, xp.float64) for kind in (1, 0))
        return xp.stack([-self.miss_cost * defect, defect - self.alarm_cost * normal], axis=1)

    def good_actions(self, state: State) -> Array:
        """(B, 2) bool, the expert's answer."""
        return one_hot(self.expert(state), 2) > 0

    # -- edge ------------------------------------------------------------------------------------------------------
    def said_cells(self, state: State) -> tuple[int, np.ndarray]:
        """The image of the cell now, and its cells said to show a defect, the one with the largest score last."""
        place = min(int(state.step), self.longest - 1)
        image = int(state.stream[place]) // self.cells
        cells = state.stream[np.asarray(state.taken) == 1]
        cells = np.unique(cells[cells // self.cells == image]) % self.cells
        return image, cells[np.argsort(self.bank.nearby.array[image][cells], kind="stable")]

    def result(self, state: State) -> Verdict:
        image, cells = self.said_cells(state)
        near = self.bank.nearby.array[image]
        score = near[cells[-1]] if len(cells) else NOTHING + near.max()
        boxes = np.array([self.cell_box(image, int(one)) for one in cells]).reshape(-1, 4)
        size = self.samples[image].image.shape[:0:-1]
        return Verdict(self.names[len(cells) > 0], float(score), boxes, self.heat(image, cells), size)

    def draw(self, state: State) -> np.ndarray:
        image, cells = self.said_cells(state)
        boxes = [self.cell_box(image, int(one)) for one in cells]
        place = min(int(state.step), self.longest - 1)
        boxes.append(self.cell_box(image, int(state.stream[place]) % self.cells))
        words = f"cell {place + 1} of {self.longest}: {len(cells)} with a defect"
        heat = self.heat(image, cells)
        return anomaly_picture(self.samples[image], boxes, heat, words, self.labelled, False)


@dataclass(frozen=True)
class StreamMetrics:
    """Cells found over a split, and the ranking of its images; see the task."""

    task: AnomalyStream

    def record(self, ends: State) -> dict[str, np.ndarray]:
        """Counts of the cells of each stream, (N,) each, the cells said to show a defect, and whether one does."""
        counts = {name: np.asarray(value) for name, value in self.task.counts(ends).items()}
        truth = np.asarray(ends.truth)
        defect = np.where((truth == 1).any(axis=1), 1, np.where((truth < 0).any(axis=1), -1, 0))
        return {**counts, "said": (np.asarray(ends.taken) == 1).sum(axis=1), "defect": defect}

    def compute(self, records: Mapping[str, np.ndarray]) -> dict[str, float]:
        """``precision``, ``recall``, ``f1`` and ``auroc``."""
        found, alarms, missed = (float(records[key].sum()) for key in ("found", "alarms", "missed"))
        known = records["defect"] >= 0
        return {
            "precision": ratio(found, found + alarms),
            "recall": ratio(found, found + missed),
            "f1": ratio(2 * found, 2 * found + alarms + missed),
            "auroc": auroc(records["said"][known].astype(float), records["defect"][known] > 0),
        }


def ratio(part: float, whole: float) -> float:
    """A part of a whole; NaN of nothing."""
    return part / whole if whole else float("nan")
