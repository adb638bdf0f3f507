"""Segmentation by a contour: a polygon that is drawn vertex by vertex around an object, or a spline that is moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Interval

from visionrl.banks.outlines import objects_in, outline_bank
from visionrl.core import Task, arguments, register
from visionrl.core.observables import Image
from visionrl.core.results import Mask
from visionrl.datasets import ImageSample
from visionrl.envs.segmentation.contour_controls import Contour, ContourControl, PolygonControl
from visionrl.envs.segmentation.spline_control import SplineControl
from visionrl.metrics.segmentation import OutlineScores
from visionrl.ops import Array, one_hot, to_numpy
from visionrl.ops.masks import iou
from visionrl.ops.polygons import polygon_mask
from visionrl.rendering import Canvas

SMALLEST = 12  # longer side of an object that is not left out, pixels of the file
PAPERS = {"control": "polygon", "grid": 28, "window": 224, "max_actions": 71}

SPLINE = {"control": "spline", "max_actions": 60, "shows": "candidates"}


@dataclass(frozen=True)
class State(Contour):
    """A contour around one object; B episodes.

    Attributes:
        image: (B,) int64, number of the sample.
        object: (B,) int64, index into the bank.
        iou: (B,) float64, overlap of the mask with the true one; 0 without labels.
    """

    image: Array
    object: Array
    iou: Array


@register(
    "ContourSegmentation-v0",
    max_steps=100,
    tags=("segmentation", "2d", "discrete"),
    expert_success_rate={"spline": 0.85, "refine": 0.85},
    presets={
        "castrejon2017": {**PAPERS, "crossing_cost": 0.0},
        "acuna2018": PAPERS,
        "spline": SPLINE,
        "refine": {**SPLINE, "start": "grabcut"},
    },
)
@arguments
class ContourSegmentation(Task[State]):
    """The agent sees the window around an object's box, and draws the object's outline.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, S, S) uint8: the box, enlarged by ``context``; ``drawn`` (4, S, S) uint8: what the polygon fills so far, the cells of its vertices, of the last one, of the first one, with control "spline" (1, S, S), what it fills; ``points``: its points in [-1, 1], for "spline"; where moves are shown as candidates, ``candidates`` (points * 8 + 1, 26) in [-1, 1] instead of all these; ``step``: the share of the actions that are taken |
    | Action      | Discrete(g * g + 1), for "spline" Discrete(points * 8 + 1); see below |
    | Reward      | gain of the IoU of the contour, closed at once, with the object; less ``crossing_cost`` for an edge that crosses an earlier one |
    | Ends        | when the agent closes the polygon or stops, and after ``max_actions`` |

    | Action | Meaning |
    |--------|---------|
    | polygon: the first g * g numbers | set a vertex in the middle of a cell of the grid, row by row; the first vertex again closes |
    | polygon: the last number | close the polygon |
    | spline: 8 * k + m | move point k by 1 pixel right, left, down, up (m = 0 to 3) or by 2 (m = 4 to 7), of a window of 56 |
    | spline: the last number | stop |

    The rewards of an episode add up to its last IoU, for a spline less that of the contour with which it begins. The expert draws a simpler outline of the true mask, clockwise from its topmost vertex, or moves the points
    of a spline onto it, which few points fit worse. Objects shorter than 12 pixels are left out. Of an object in several parts the largest counts, and holes are filled. ``classes`` keeps the objects of some names. ``info`` has
    ``iou``, ``dice``, ``vertices`` and ``is_success``: an IoU of ``target`` or more; tables have the boundary F as well.

    Source: Castrejón et al. (2017), "Annotating object instances with a Polygon-RNN", and Acuna et al. (2018),
    "Efficient interactive annotation of segmentation datasets with Polygon-RNN++", who reward the IoU. They start with
    a first vertex from a network of its own and have a recurrent memory; here the agent sees what it has drawn. The
    spline is that of Catmull & Rom (1974).
    """

    control: Literal["polygon", "spline"] = "polygon"
    """Draw a polygon vertex by vertex, or move the points of a closed spline."""
    window: Annotated[int, Ge(8)] = 56
    """Side of the window, pixels, a multiple of ``grid``."""
    grid: Annotated[int, Interval(ge=4, le=128)] = 28
    """Cells along each side of the window, in whose middles vertices may lie."""
    context: Annotated[float, Interval(ge=0, le=2)] = 0.15
    """Share by which the box is enlarged before it is cut out, as a square."""
    max_actions: Annotated[int, Interval(ge=3, le=100)] = 40
    """Actions that end an episode: the vertices of a polygon, or moves of a spline."""
    points: Annotated[int, Interval(ge=4, le=64)] = 12
    """Points of the spline."""
    crossing_cost: Annotated[float, Ge(0.0)] = 0.02
    """Cost of an edge of the polygon that crosses an earlier one."""
    target: Annotated[float, Interval(gt=0, le=1)] = 0.85
    """IoU of a success."""
    start: Literal["ellipse", "grabcut"] = "ellipse"
    """What a spline begins as: the ellipse in the box, or the contour that GrabCut finds in it."""
    shows: Literal["pictures", "candidates"] = "pictures"
    """What is seen, for control "spline": pictures, or a description of each move by what lies along it."""
    copies: Annotated[int, Interval(ge=1, le=64)] = 1
    """Windows an object: all but the first are mirrored, turned, shifted and stretched at random, for training."""
    channels: Literal[1, 3] | None = None
    """1 shows all images grey, 3 in RGB; None is RGB if an image of the split is."""

    sample_type, embedded = ImageSample, "composites"
    primary_metric = ("iou", True)
    hidden = ("iou", "progress")
    evaluation: ClassVar[dict[str, Any]] = {"copies": 1}
    box_prompt = True

    def setup(self) -> None:
        if self.window % self.grid:
            raise ValueError(f"window must be a multiple of grid, {self.grid}, got {self.window}")
        if self.shows == "candidates" and self.control == "polygon":
            raise ValueError("shows must be 'pictures' for control 'polygon', got 'candidates'")
        self.samples = self.load(classes=None)
        found = objects_in(self.samples, self.classes, self.labelled, SMALLEST)
        self.controller: ContourControl = (
            PolygonControl(self.grid, self.window, self.max_actions)
            if self.control == "polygon"
            else SplineControl(self.points, self.window, self.max_actions, self.shows == "candidates")
        )
        self.bank = outline_bank(
            self.samples,
            found,
            self.window,
            self.grid,
            self.context,
            self.copies,
            self.max_actions,
            self.points,
            self.channels,
            self.start,
        )
        self.items = len(self.bank.found)
        self.dataset_metrics = (OutlineScores(self.masks),)
        self.action_space = self.controller.space
        window = Image(self.bank.channels, self.window) if self.shows == "pictures" else None
        self.show(window=window, **self.controller.shown)

    def masks(self, ends: State) -> tuple[Sequence[np.ndarray], Sequence[np.ndarray]]:
        """The masks of N last states and the true ones, (N, S, S) bool."""
        return list(to_numpy(ends.mask)), list(self.bank.masks.array[to_numpy(ends.object)])

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        first = self.controller.start(self.bank.starts.array[item])
        truth = self.bank.masks.array[item]
        about = {"image": np.int64(self.bank.found[item].image), "object": np.int64(item)}
        return State(**vars(first), **about, iou=iou(first.mask[None], truth[None])[0])

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        after = self.controller.step(state, action, self.bank, state.object)
        return replace(after, iou=iou(after.mask, self.bank.masks.rows(state.object)))

    def observe(self, state: State) -> dict[str, Array]:
        windows = self.bank.windows.rows(state.object)
        return self.seen(window=windows + 0, **self.controller.seen(state, self.bank, state.object))

    def reward(self, before: State, action: Array, after: State) -> Array:
        return after.iou - before.iou - self.crossing_cost * (after.crossings - before.crossings)

    def terminated(self, state: State) -> Array:
        return state.finished

    def action_mask(self, state: State) -> Array:
        return self.controller.allowed(state)

    def metrics(self, state: State) -> dict[str, Array]:
        return {
            "iou": state.iou + 0,
            "dice": 2 * state.iou / (1 + state.iou),
            "vertices": state.count + 0,
            "is_success": state.iou >= self.target,
        }

    def expert(self, state: State) -> Array:
        return self.controller.best(state, self.bank, state.object)

    def good_actions(self, state: State) -> Array:
        return one_hot(self.expert(state), int(self.controller.space.n)) > 0

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> Mask:
        one = self.bank.found[int(state.object)]
        outline = self.bank.views[int(state.object)].to_file(self.controller.polygon(state))
        height, width = self.samples[one.image].image.shape[1:]
        if len(outline) < 3:
            return Mask.of(np.zeros((height, width), bool), one.name, 0.0)
        return Mask.of(polygon_mask(outline, height, width), one.name, polygon=outline)

    def draw(self, state: State) -> np.ndarray:
        item, outline = int(state.object), self.controller.polygon(state)
        canvas = Canvas(self.bank.windows.array[item])
        if self.labelled:
            canvas.outline(self.bank.masks.array[item], "truth", 1)
        canvas.path(np.concatenate([outline, outline[:1]]), "agent")
        points = state.vertices[: int(state.count)]
        for point in points:
            canvas.dot(point, "agent")
        overlap = f", IoU {float(state.iou):.2f}" if self.labelled else ""
        canvas.text(f"{self.bank.found[item].name}: {int(state.actions)} actions{overlap}")
        return canvas.pixels
