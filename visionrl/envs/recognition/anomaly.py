"""Detection of anomalies at few looks: look closely at some cells of a large image, then say whether it has a defect."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from gymnasium import spaces

from visionrl.banks.anomalies import HIGHEST, LOWEST, defective_cells
from visionrl.core import arguments, batch, register
from visionrl.core.observables import Image, Vector
from visionrl.core.results import Verdict
from visionrl.envs.recognition.anomaly_metrics import AnomalyMetrics
from visionrl.envs.recognition.anomaly_picture import anomaly_picture
from visionrl.envs.recognition.cell_features import CELL_FEATURES, adjacency, describe_cells
from visionrl.envs.recognition.cells import CellTask
from visionrl.envs.select import Selection
from visionrl.ops import Array, DeviceTable, xp_of

GLANCE = -100.0  # added to the anomaly score from afar, for an image without a look


@dataclass(frozen=True)
class State(Selection):
    """Looks and the verdict; ``taken`` has the cells looked at, -1 beyond. B episodes.

    Attributes:
        image: (B,) int64, index into the bank.
        said: (B,) int64, the verdict: 0 normal, 1 defect, -1 none.
        finished: (B,) bool, whether the episode is over, with a verdict or by one look too many.
    """

    image: Array
    said: Array
    finished: Array


@register(
    "AnomalyDetection-v0", max_steps=None, tags=("recognition", "2d", "discrete", "attention", "selection")
)
@arguments
class AnomalyDetection(CellTask[State]):
    """The agent sees a large image from afar, looks closely at a few cells of it, and says whether it has a defect.

    | Item        | Value |
    |-------------|-------|
    | Observation | "candidates": ``candidates`` (G * G + 2, 12): of each cell, the score from afar, that of a look once there was one, and those of the cells beside it; of the verdicts, in the last two rows, which one it is; ``context`` (4,). "maps": ``overview`` (C, O, O) uint8: the image from afar; ``maps`` (3, O, O) uint8, in the same places: the anomaly score of each cell from afar, those of the cells seen, and which were seen; ``context`` (4,): share of the looks used, the score of the last cell, the largest seen, and the largest from afar. With ``window`` the last cell, (C, O, O) uint8 |
    | Action      | Discrete(grid * grid + 2), see below |
    | Reward      | 1 for the right verdict, and ``place_bonus`` more where a defect is said and the last cell shows it; -``miss_cost`` where a defect is missed, -``alarm_cost`` for a false alarm; -``look_cost`` a look |
    | Ends        | with a verdict, or with a look beyond the ``budget``, which counts as the wrong one |

    | Action | Meaning |
    |--------|---------|
    | 0 to grid * grid - 1 | look at this cell, row by row; cells seen already are masked |
    | grid * grid | say "normal" |
    | grid * grid + 1 | say "defect", in the cell looked at last |

    Anomaly scores are those of a detector, fitted in closed form to the training images; each of these is scored by one
    that is fitted to others. A cell's score is the largest of its blocks, in deviations from the mean of good cells'.
    The score of an image is the largest of the cells that were looked at; images without a look rank below, by the largest
    from afar. ``info`` has ``accuracy`` of the verdict, ``looks`` and ``points``, the sum of the rewards; of all images
    together there are ``auroc``, ``ap`` and ``pixel_auroc``, in which what was not looked at ranks lowest, and
    ``auroc_KIND`` of each kind of defect against all good images. Where all images are good, or none, they are NaN.

    An image's class is its one label, "good" for those without a defect; without labels its mask says it. Source: the
    detectors are after Defard et al. (2021, PaDiM) and Roth et al. (2022, PatchCore), which score all of an image.
    """

    budget: Annotated[int, Ge(1)] = 8
    """Most cells that may be looked at."""
    shows: Literal["candidates", "maps"] = "candidates"
    """What the agent sees: features of the cells, or pictures of the whole with a map of their scores."""
    window: bool = False
    """Show the pixels of the cell looked at last."""
    place_bonus: Annotated[float, Ge(0.0)] = 0.5
    """Reward for the right place of a defect."""
    miss_cost: Annotated[float, Ge(0.0)] = 1.0
    """Cost of a defect that is missed."""
    alarm_cost: Annotated[float, Ge(0.0)] = 0.5
    """Cost of a false alarm."""
    look_cost: Annotated[float, Ge(0.0)] = 0.02
    """Cost of a look."""

    primary_metric = ("auroc", True)
    hidden = ()

    def setup(self) -> None:
        if self.window and self.shows == "candidates":
            raise ValueError("window must be False where candidates are shown, got True")
        if self.budget > (cells := self.cells):
            raise ValueError(f"budget must be <= the number of cells ({cells}), got {self.budget}")
        self.load_cells()
        self.defective, self.best = map(DeviceTable, defective_cells(self.bank))
        self.answers = range(cells, cells + 2)
        self.action_space = spaces.Discrete(cells + 2)
        self.dataset_metrics = [AnomalyMetrics(self.bank, self.looked, self.score)]
        self.beside = DeviceTable(adjacency(self.grid))
        if self.shows == "candidates":
            self.show(candidates=Vector((cells + 2, CELL_FEATURES), -2, 2), context=Vector(4, -1, 1))
        else:
            self.show(
                overview=Image(self.bank.channels, self.overview),
                maps=Image(3, self.overview),
                context=Vector(4, -1, 1),
                window=Image(self.bank.channels, self.overview) if self.window else None,
            )

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        return State(
            taken=np.full(self.longest, -1),
            step=np.int64(0),
            image=np.int64(item),
            said=np.int64(-1),
            finished=np.False_,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    @property
    def longest(self) -> int:
        """Most looks of an episode."""
        return self.budget

    def looked(self, taken: Array) -> Array:
        """(B, G * G) bool, the cells seen."""
        return self.taken_of(taken, self.cells)

    def last(self, state: State) -> Array:
        """(B,) int64, the cell looked at last; -1 before any look."""
        xp = xp_of(state.taken)
        place = xp.maximum(state.step - 1, 0 * state.step)
        return xp.take_along_axis(state.taken, place[:, None], axis=1)[:, 0]

    def at_last(self, table: Array, state: State) -> Array:
        """(B,), the entry of a table of cells (B, G * G) for the cell looked at last; for cell 0 before any look."""
        xp, last = xp_of(table), self.last(state)
        return xp.take_along_axis(table, xp.maximum(last, 0 * last)[:, None], axis=1)[:, 0]

    def largest_seen(self, state: State) -> Array:
        """(B,) float32, the largest score of the cells seen; ``LOWEST`` before any look."""
        xp, near = xp_of(state.taken), self.bank.nearby.rows(state.image)
        return xp.max(xp.where(self.looked(state.taken), near, xp.full_like(near, LOWEST)), axis=1)

    def score(self, state: State) -> Array:
        """(B,) float32, the image's anomaly score by what was looked at, for ranking."""
        xp = xp_of(state.taken)
        far = GLANCE + xp.max(self.bank.hints.rows(state.image), axis=1)
        return xp.where(state.step > 0, self.largest_seen(state), far)

    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.taken)
        action, cells = xp.astype(action, xp.int64), self.cells
        wants = action < cells
        looks = ~state.finished & wants & (state.step < self.budget)
        return replace(
            state,
            taken=xp.where(looks[:, None], self.take(state, action), state.taken),
            step=state.step + xp.astype(looks, xp.int64),
            said=xp.where(state.finished | wants, state.said, action - cells),
            finished=state.finished | ~looks,
        )

    def observe(self, state: State) -> dict[str, Array]:
        xp, image = xp_of(state.taken), state.image
        seen, near, far = self.looked(state.taken), self.bank.nearby.rows(image), self.bank.hints.rows(image)
        none, newest = state.step == 0, self.at_last(near, state)
        numbers = [
            xp.astype(state.step, xp.float32) / self.budget,
            *(x / HIGHEST for x in (xp.where(none, xp.zeros_like(newest), newest), self.largest_seen(state))),
            xp.max(far, axis=1) / HIGHEST,
        ]
        context = xp.stack(numbers, axis=1)
        if self.shows == "candidates":
            free = self.action_mask(state)[:, : self.cells]
            return self.seen(
                candidates=describe_cells(far, near, seen, free, self.beside.on(far)), context=context
            )
        shown = xp.where(seen, near, xp.full_like(near, LOWEST))
        maps = [*(byte_of(one) for one in (far, shown)), xp.astype(seen, xp.uint8) * 255]
        return self.seen(
            overview=self.bank.overviews.rows(image),
            maps=xp.stack([self.enlarged(one) for one in maps], axis=1),
            context=context,
            **({"window": self.pixels(state)} if self.window else {}),
        )

    def pixels(self, state: State) -> Array:
        """(B, C, O, O) uint8, the cell looked at last, its pixels repeated or left out; zeros before any look."""
        xp, last = xp_of(state.taken), self.last(state)
        cells = self.bank.cells.rows(state.image * self.cells + xp.maximum(last, 0 * last))
        places = xp.arange(self.overview, dtype=xp.int64, device=last.device) * self.cell // self.overview
        cells = xp.take(xp.take(cells, places, axis=2), places, axis=3)
        return xp.where((last < 0)[:, None, None, None], xp.zeros_like(cells), cells)

    def enlarged(self, cells: Array) -> Array:
        """(B, G * G) -> (B, O, O), each cell a square."""
        xp, factor = xp_of(cells), self.overview // self.grid
        square = xp.reshape(cells, (-1, self.grid, self.grid))
        return xp.repeat(xp.repeat(square, factor, axis=1), factor, axis=2)

    def action_mask(self, state: State) -> Array:
        """(B, n) bool, both verdicts, and the cells not seen yet while the budget lasts."""
        xp = xp_of(state.taken)
        free = ~self.looked(state.taken) & (state.step < self.budget)[:, None]
        return xp.concat([free, *[xp.ones_like(free[:, :1])] * 2], axis=1)

    def reward(self, before: State, action: Array, after: State) -> Array:
        return self.points(after) - self.points(before)

    def right(self, state: State) -> Array:
        """(B,) bool, whether the right verdict was said."""
        defect = self.defect.rows(state.image)
        return state.finished & (state.said == xp_of(state.taken).astype(defect, state.said.dtype))

    def points(self, state: State) -> Array:
        """(B,) float64, the sum of the rewards so far."""
        xp = xp_of(state.taken)
        defect, right = self.defect.rows(state.image), self.right(state)
        placed = right & defect & (state.step > 0) & self.at_last(self.defective.rows(state.image), state)
        one = xp.astype(right, xp.float64)
        wrong = xp.where(defect, self.miss_cost * (1 - one), self.alarm_cost * (1 - one))
        earned = one + self.place_bonus * xp.astype(placed, xp.float64) - wrong
        done = xp.astype(state.finished, xp.float64)
        return done * earned - self.look_cost * xp.astype(state.step, xp.float64)

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        xp, right = xp_of(state.taken), self.right(state)
        found = {"accuracy": xp.astype(right, xp.float64), "is_success": right, "looks": state.step + 0}
        return {**found, "points": self.points(state)}

    def expert(self, state: State) -> Array:
        """(B,) int64: the cell that has most of the defect, then "defect"; "normal" only when the looks are spent.

        In a good image it looks at the cells with the largest scores from afar, so that a clone, which does not know the
        truth, learns to look before it judges; likewise where the place of a defect is unknown.
        """
        xp, best, seen = xp_of(state.taken), self.best.rows(state.image), self.looked(state.taken)
        far = self.bank.hints.rows(state.image)
        next_one = xp.argmax(xp.where(seen, xp.full_like(far, LOWEST - 1), far), axis=1)
        known, may = best >= 0, state.step < self.budget
        found = xp.any(state.taken == best[:, None], axis=1)
        verdict = self.cells + xp.astype(self.defect.rows(state.image), xp.int64)
        return xp.where(may & ~(known & found), xp.where(known, best, next_one), verdict)

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> Verdict:
        said, cells = int(state.said), [int(one) for one in state.taken[: int(state.step)]]
        boxes = np.array([self.cell_box(int(state.image), one) for one in cells]).reshape(-1, 4)
        score = float(self.score(batch.stack([state]))[0])
        size = self.samples[int(state.image)].image.shape[:0:-1]
        return Verdict(
            None if said < 0 else self.names[said],
            score,
            boxes,
            self.heat(int(state.image), state.taken),
            size,
        )

    def draw(self, state: State) -> np.ndarray:
        sample = self.samples[int(state.image)]
        boxes = [self.cell_box(int(state.image), int(one)) for one in state.taken[: int(state.step)]]
        said = "?" if state.said < 0 else self.names[int(state.said)]
        truth = f", is {self.bank.kinds[int(state.image)]}" if self.labelled else ""
        words = f"{int(state.step)} looks: says {said}{truth}"
        return anomaly_picture(
            sample, boxes, self.heat(int(state.image), state.taken), words, self.labelled, state.said == 1
        )


def byte_of(scores: Array) -> Array:
    """Scores as bytes: -8 to 24 deviations are 0 to 255."""
    xp = xp_of(scores)
    return xp.astype(xp.round((scores - LOWEST) * (255 / (HIGHEST - LOWEST))), xp.uint8)
