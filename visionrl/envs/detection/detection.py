"""Detection: change a box, a fifth of itself at a time, until it fits an object, and report it."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Interval

from visionrl.core import arguments, register
from visionrl.envs.detection.box_search import BoxSearch
from visionrl.envs.detection.controls import EDGE_MOVES, BoxControl, ContinuousControl, DiscreteControl
from visionrl.envs.detection.starts import WHOLE_AND_CORNERS


@register(
    "Detection-v0",
    max_steps=200,
    tags=("detection", "discrete", "continuous"),
    presets={
        "caicedo2015": {"window": 224},
        "cpu": {"window": 48},
        "training": {"mode": "training", "false_positive_cost": 1.0},
    },
)
@arguments
class Detection(BoxSearch):
    """The agent changes a box until it fits an object of the class it is asked for, reports it, and searches on.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, w, w) uint8: the box with a margin of a twelfth of its sides; ``history``: the last 10 actions, one-hot, newest last; ``category``: the class sought, one-hot, if there are several |
    | Action      | "discrete": Discrete(9), "continuous": Box(5); see below |
    | Reward      | a move: +1 where the overlap (IoU) with the object sought that the box overlaps most grows, else -1; 0 where none is left; a report: +3 if that overlap is 0.6 or more, else -3 |
    | Ends        | after 200 steps, or 20 reports |

    | Action | Meaning |
    |--------|---------|
    | 0 | right, by ``step_size`` of the box's width |
    | 1 | left |
    | 2 | up, by ``step_size`` of its height |
    | 3 | down |
    | 4 | bigger: each edge moves out by ``step_size`` |
    | 5 | smaller |
    | 6 | fatter: the upper and lower edge move in |
    | 7 | taller: the left and right edge move in |
    | 8 | report |
    | continuous (dx, dy, dw, dh, r) | shift and growth of both sides, 1 is ``step_size``, and a report where r exceeds 0 |

    A report paints a black cross over its box (inhibition of return) and the search restarts, as it does after 40
    steps without one: first from the whole image, then from its four corners, three quarters wide and high, in turn.
    Boxes do not leave the image: an edge that would is stopped at the border. No side becomes shorter than 8 pixels.

    An episode is about one image and one class. ``info`` has ``iou``, ``found``, ``missed`` and ``false_positives``;
    evaluation asks for every class in every image and has VOC's average precision of the reports (``ap_50``, and
    ``ap_50_11pt`` at 11 recalls) and of all visited boxes (``ap_50_visited``), the mean over the classes, beside
    ``recall_at_10``, ``_50`` and ``_200`` boxes and ``steps_per_detection``. An agent's reports are ranked by its
    confidence in the report (its Q-value, or its probability), with continuous control by the fifth number.

    Source: Caicedo & Lazebnik (2015), whose network sees 224 x 224 pixels, 16 of them a margin, and whose reports a
    classifier ranks.
    """

    control: Literal["discrete", "continuous"] = "discrete"
    """Numbered moves of the edges, or a free move."""
    step_size: Annotated[float, Interval(ge=0.01, le=0.45)] = 0.2
    """Length of a move of an edge, in sides of the box."""
    iou_threshold: Annotated[float, Interval(ge=0.05, le=0.95)] = 0.6
    """IoU with an object from which a report is correct."""
    trigger_after: Annotated[int, Ge(0)] = 0
    """Steps of a search before which action masks allow no report."""

    history_length, context, restart_boxes, cross = 10, 7 / 6, WHOLE_AND_CORNERS, True
    patience = 40

    def make_control(self) -> BoxControl:
        if self.control == "continuous":
            return ContinuousControl(self.step_size, self.history_length)
        step = self.step_size
        moves = tuple((step * x0, step * y0, step * x1, step * y1) for x0, y0, x1, y1 in EDGE_MOVES)
        return DiscreteControl(moves, self.history_length)
