"""Hierarchical detection: zoom into one part of an image after another until an object fills the window."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Interval

from visionrl.core import arguments, register
from visionrl.envs.detection.box_search import BoxSearch
from visionrl.envs.detection.controls import LOCAL_MOVES, ZOOMS, BoxControl, DiscreteControl
from visionrl.envs.detection.starts import WHOLE_AND_CORNERS


@register(
    "HierarchicalDetection-v0",
    max_steps=200,
    tags=("detection", "discrete"),
    presets={
        "bellver2016": {"window": 224},
        "jie2016": {"moves": "tree", "window": 224},
        "cpu": {"window": 48},
        "training": {"mode": "training"},
    },
    expert_success_rate={None: 0.75, "bellver2016": 0.75, "cpu": 0.75, "training": 0.75},
)
@arguments
class HierarchicalDetection(BoxSearch):
    """The agent zooms into a part of what it sees, again and again, and reports when an object fills the window.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, w, w) uint8: the box; ``history``: the last 4 actions, one-hot, newest last; ``category``: the class sought, one-hot, if there are several |
    | Action      | moves "zoom": Discrete(6), moves "tree": Discrete(14); see below |
    | Reward      | a move: +1 where the overlap (IoU) with the object sought that the box overlaps most grows, else -1; 0 where none is left; a report: +3 if that overlap is 0.5 or more, else -3 |
    | Ends        | after 200 steps, or 20 reports |

    | Action | Meaning |
    |--------|---------|
    | 0 | top left: that part of the box, three quarters as wide and high |
    | 1 | top right |
    | 2 | bottom left |
    | 3 | bottom right |
    | 4 | middle |
    | 5 | report; with moves "tree" right, by a quarter of the box's width |
    | tree 6 | left |
    | tree 7 | up, by a quarter of the box's height |
    | tree 8 | down |
    | tree 9 | wider, by a quarter of the side |
    | tree 10 | higher |
    | tree 11 | narrower |
    | tree 12 | lower |
    | tree 13 | report |

    A report paints its box black, and the search restarts from the whole image, as it does after 10 steps without
    one. Zooming alone reaches few shapes: with objects much wider than high, or small, even the expert misses many
    (the paper's own bound on recall is below one half; on the embedded photographs it finds all in four episodes of five).

    Source: Bellver et al. (2016); the tree's moves are those of Jie et al. (2016), who walk the tree without a trigger.
    """

    moves: Literal["zoom", "tree"] = "zoom"
    """Zooms alone (Bellver et al.), or zooms and local moves (Jie et al.)."""
    iou_threshold: Annotated[float, Interval(ge=0.05, le=0.95)] = 0.5
    """IoU with an object from which a report is correct."""

    history_length, context, restart_boxes, cross = 4, 1.0, WHOLE_AND_CORNERS[:1], False
    patience = 10

    def make_control(self) -> BoxControl:
        return DiscreteControl(ZOOMS if self.moves == "zoom" else ZOOMS + LOCAL_MOVES, self.history_length)
