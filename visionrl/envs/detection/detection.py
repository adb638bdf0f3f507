"""Detection: change a box, a fifth of itself at a time, until it fits an object, and say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from visionrl.core import check_range, register
from visionrl.envs.detection.search import Search
from visionrl.envs.detection.state import Rules

# (dx0, dy0, dx1, dy1) in units of the step: right, left, up, down, bigger, smaller, fatter, taller
EDGES = (
    *((1, 0, 1, 0), (-1, 0, -1, 0), (0, -1, 0, -1), (0, 1, 0, 1)),
    *((-1, -1, 1, 1), (1, 1, -1, -1), (0, 1, 0, -1), (1, 0, -1, 0)),
)


@register(
    "Detection-v0",
    max_steps=200,
    tags=("detection", "discrete", "continuous"),
    presets={"caicedo2015": {"window": 224}, "small": {"window": 48}},
)
class Detection(Search):
    """The agent changes a box until it fits an object of the class it is asked for, reports it, and searches on.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, w, w) uint8: the box with a margin; ``history``: the last 10 actions, one-hot, newest last; ``category``: the class sought, one-hot, if there are several |
    | Action      | 0 right, 1 left, 2 up, 3 down, 4 bigger, 5 smaller, 6 fatter, 7 taller, each moving edges by 0.2 of the box's sides; 8 report. Or, continuous, shift and growth of both sides and a report where the fifth number exceeds 0 |
    | Reward      | a move: sign of the change of the overlap (IoU) with the object sought that the box overlaps most, 0 where none is left; a report: +3 if that overlap is 0.6 or more, else -3 |
    | Ends        | after 200 steps, or 20 reports |

    A report paints a black cross over its box (inhibition of return) and the search begins anew, as it does after 40
    steps without one: first from the whole image, then from its four corners, three quarters wide and high, in turn.
    Boxes do not leave the image: an edge that would is stopped at the border.

    An episode is about one image and one class. ``info`` has ``iou``, ``found``, ``missed`` and ``false_reports``;
    evaluation asks for every class in every image and has VOC's average precision of the reports (``ap_50``, and
    ``ap_50_11pt`` at 11 recalls) and of all attended boxes (``ap_50_attended``), the mean over the classes, beside
    ``recall_at_10``, ``_50`` and ``_200`` boxes and ``steps_per_detection``. An agent's reports are ranked by how
    much it makes of the report (its Q-value, or its probability), with continuous control by the fifth number.

    Args:
        data: None for the embedded photographs, "FORMAT:PATH", or a sequence of ``ImageSample`` with boxes.
        split: "train", "val" or "test".
        category: class sought, or several; default all in the data, one of an image's own per episode.
        window: side of the window, pixels; 224 in the paper.
        context: side of what the window shows, in sides of the box; 16 of 224 pixels at each border.
        control: "discrete" or "continuous".
        step: how far an action moves an edge, in sides of the box.
        reward: of a move: "sign" or "delta" of the IoU's change, or "giou", the change of the generalised IoU.
        trigger: reward of a right report.
        false_report: what a wrong one costs; as much by default. An agent reports what it is not sure of only where
            this is less.
        overlap: IoU from which a report is right.
        termination: "horizon"; "trigger" also ends at the first report, "found" when no object is left, and after
            ``patience`` steps where there was none, for training alone.
        patience: steps without a report after which the search begins anew.
        max_reports: reports that end the episode.
        trigger_after: steps of a search before which ``action_mask`` allows no report.
        smallest: no side becomes shorter than this, pixels.
        negatives: also ask for classes that are not in the image, as evaluation does.
        attended: keep every box, for ``ap_50_attended`` and recall, as evaluation does.
        augment: search random parts of the images, and mirrored ones too (twice the memory), with some objects
            reported already: for training.
        max_side: images with a longer side than this are shrunk to it; None never.
        channels: 1 shows all images grey, 3 in RGB; None is RGB if an image of the split is.
        loading: ``classes``, ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Caicedo & Lazebnik (2015), whose network sees 224 x 224 pixels and whose reports a classifier ranks.
    """

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        category: str | Sequence[str] | None = None,
        window: int = 64,
        context: float = 7 / 6,
        control: Literal["discrete", "continuous"] = "discrete",
        step: float = 0.2,
        reward: Literal["sign", "delta", "giou"] = "sign",
        trigger: float = 3.0,
        false_report: float | None = None,
        overlap: float = 0.6,
        termination: Literal["trigger", "found", "horizon"] = "horizon",
        patience: int = 40,
        max_reports: int = 20,
        trigger_after: int = 0,
        smallest: float = 8.0,
        negatives: bool = False,
        attended: bool = False,
        augment: bool = False,
        max_side: int | None = 512,
        channels: Literal[1, 3] | None = None,
        **loading: Any,
    ) -> None:
        check_range("step", step, 0.01, 0.45)
        rules = Rules(
            moves=tuple((step * x0, step * y0, step * x1, step * y1) for x0, y0, x1, y1 in EDGES),
            history=10,
            corners=True,
            mark="cross",
            control=control,
            step=step,
            reward=reward,
            trigger=trigger,
            false_report=trigger if false_report is None else false_report,
            overlap=overlap,
            termination=termination,
            patience=patience,
            max_reports=max_reports,
            trigger_after=trigger_after,
            smallest=smallest,
        )
        super().__init__(
            data,
            split,
            rules,
            category=category,
            window=window,
            context=context,
            negatives=negatives,
            attended=attended,
            augment=augment,
            max_side=max_side,
            channels=channels,
            **loading,
        )
