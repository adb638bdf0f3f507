"""Hierarchical detection: zoom into one part of an image after another until an object fills the window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from visionrl.core import check_choice, register
from visionrl.envs.detection.search import Search
from visionrl.envs.detection.state import Moves, Rules

# (dx0, dy0, dx1, dy1) in sides of the box: three quarters of it at the top left, top right, bottom left, bottom right,
# and in the middle
ZOOMS: Moves = (
    *((0.0, 0.0, -0.25, -0.25), (0.25, 0.0, 0.0, -0.25), (0.0, 0.25, -0.25, 0.0), (0.25, 0.25, 0.0, 0.0)),
    (0.125, 0.125, -0.125, -0.125),
)
# right, left, up, down, wider, higher, narrower, lower, by a quarter of the side
LOCALS: Moves = (
    *((0.25, 0.0, 0.25, 0.0), (-0.25, 0.0, -0.25, 0.0), (0.0, -0.25, 0.0, -0.25), (0.0, 0.25, 0.0, 0.25)),
    *((-0.125, 0.0, 0.125, 0.0), (0.0, -0.125, 0.0, 0.125)),
    *((0.125, 0.0, -0.125, 0.0), (0.0, 0.125, 0.0, -0.125)),
)


@register(
    "HierarchicalDetection-v0",
    max_steps=200,
    tags=("detection", "discrete"),
    presets={
        "bellver2016": {"window": 224},
        "jie2016": {"moves": "tree", "window": 224},
        "small": {"window": 48},
    },
    expert_success_rate={None: 0.75, "bellver2016": 0.75, "small": 0.75},
)
class HierarchicalDetection(Search):
    """The agent zooms into a part of what it sees, again and again, and reports when an object fills the window.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, w, w) uint8: the box; ``history``: the last 4 actions, one-hot, newest last; ``category``: the class sought, one-hot, if there are several |
    | Action      | 0 top left, 1 top right, 2 bottom left, 3 bottom right, 4 middle, each three quarters as wide and high; 5 report. With the tree's moves 5 right, 6 left, 7 up, 8 down, 9 wider, 10 higher, 11 narrower, 12 lower, by a quarter of a side; 13 report |
    | Reward      | a move: sign of the change of the overlap (IoU) with the object sought that the box overlaps most, 0 where none is left; a report: +3 if that overlap is 0.5 or more, else -3 |
    | Ends        | after 200 steps, or 20 reports |

    A report paints its box black, and the search begins anew from the whole image, as it does after 10 steps without
    one. Zooming alone reaches few shapes: with objects much wider than high, or small, even the expert misses many
    (the paper's own bound on recall is below one half; on the embedded photographs it finds all in four episodes of five).

    Args:
        data: None for the embedded photographs, "FORMAT:PATH", or a sequence of ``ImageSample`` with boxes.
        split: "train", "val" or "test".
        category: class sought, or several; default all in the data, one of an image's own per episode.
        moves: "zoom", or "tree" for zooms and local moves.
        window: side of the window, pixels; 224 in the papers.
        reward: of a move: "sign" or "delta" of the IoU's change, or "giou", the change of the generalised IoU.
        trigger: reward of a right report.
        false_report: what a wrong one costs; as much by default. An agent reports what it is not sure of only where
            this is less.
        overlap: IoU from which a report is right.
        termination: "horizon"; "trigger" also ends at the first report, "found" when no object is left, and after
            ``patience`` steps where there was none, for training alone.
        patience: steps without a report after which the search begins anew.
        max_reports: reports that end the episode.
        smallest: no side becomes shorter than this, pixels.
        negatives: also ask for classes that are not in the image, as evaluation does.
        attended: keep every box, for ``ap_50_attended`` and recall, as evaluation does.
        augment: search random parts of the images, and mirrored ones too, with some objects reported already: for
            training.
        max_side: images with a longer side than this are shrunk to it; None never.
        channels: 1 shows all images grey, 3 in RGB; None is RGB if an image of the split is.
        loading: ``classes``, ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Bellver et al. (2016); the tree's moves are those of Jie et al. (2016), who walk the tree without a trigger.
    """

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        category: str | Sequence[str] | None = None,
        moves: Literal["zoom", "tree"] = "zoom",
        window: int = 64,
        reward: Literal["sign", "delta", "giou"] = "sign",
        trigger: float = 3.0,
        false_report: float | None = None,
        overlap: float = 0.5,
        termination: Literal["trigger", "found", "horizon"] = "horizon",
        patience: int = 10,
        max_reports: int = 20,
        smallest: float = 8.0,
        negatives: bool = False,
        attended: bool = False,
        augment: bool = False,
        max_side: int | None = 512,
        channels: Literal[1, 3] | None = None,
        **loading: Any,
    ) -> None:
        check_choice("moves", moves, ("zoom", "tree"))
        rules = Rules(
            moves=ZOOMS if moves == "zoom" else ZOOMS + LOCALS,
            history=4,
            corners=False,
            mark="box",
            control="discrete",
            step=0.25,
            reward=reward,
            trigger=trigger,
            false_report=trigger if false_report is None else false_report,
            overlap=overlap,
            termination=termination,
            patience=patience,
            max_reports=max_reports,
            trigger_after=0,
            smallest=smallest,
        )
        super().__init__(
            data,
            split,
            rules,
            category=category,
            window=window,
            context=1.0,
            negatives=negatives,
            attended=attended,
            augment=augment,
            max_side=max_side,
            channels=channels,
            **loading,
        )
