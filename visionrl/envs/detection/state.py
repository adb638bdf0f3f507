"""What a search for objects remembers, and the constants that it goes by."""

from __future__ import annotations

from dataclasses import dataclass

from visionrl.core import check_choice, check_range
from visionrl.ops import Array

Moves = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class State:
    """Where the box is, and what was reported so far; B episodes, at most N objects an image, K reports.

    Attributes:
        image: (B,) int64, index into the bank.
        category: (B,) int64, number of the class that is sought.
        view: (B, 4) float64, the part of the image that is searched: all of it, but for augmented training.
        box: (B, 4) float64, (x0, y0, x1, y1) edges in pixels.
        sought: (B, N) bool, the objects of the class that are not found yet.
        present: (B,) float64, objects of the class in the image.
        found: (B,) float64, how many of them were reported.
        reports: (B,) int64, reports so far.
        marks: (B, K, 4) float64, the boxes reported, in order; NaN where there is none yet.
        scores: (B, K) float64, how sure the policy was of each.
        spent: (B, K) float64, boxes attended for each, those since the report before it.
        since: (B,) int64, steps since the search began anew.
        since_report: (B,) int64, steps since the last report.
        start: (B,) int64, number of the box from which it begins next.
        actions: (B, H) int64, newest last, -1 before the start; (B, H, 5) float64 with continuous control.
        confidence: (B,) float64, what the policy said of the present box.
        attended: (B, P, 5) float64, every box and its confidence; NaN where there is none; P = 0 if not kept.
        steps: (B,) int64, steps so far.
    """

    image: Array
    category: Array
    view: Array
    box: Array
    sought: Array
    present: Array
    found: Array
    reports: Array
    marks: Array
    scores: Array
    spent: Array
    since: Array
    since_report: Array
    start: Array
    actions: Array
    confidence: Array
    attended: Array
    steps: Array


@dataclass(frozen=True)
class Rules:
    """The constants of a search; ``Detection`` says what they mean.

    Attributes:
        moves: (dx0, dy0, dx1, dy1) of each discrete move, in sides of the box.
        history: past actions in the observation.
        corners: begin anew from the image's corners too, not from the whole of it alone.
        mark: what is painted over a reported box, a "cross" or all of the "box".
    """

    moves: Moves
    history: int
    corners: bool
    mark: str
    control: str
    step: float
    reward: str
    trigger: float
    false_report: float
    overlap: float
    termination: str
    patience: int
    max_reports: int
    trigger_after: int
    smallest: float

    def __post_init__(self) -> None:
        check_choice("control", self.control, ("discrete", "continuous"))
        check_choice("reward", self.reward, ("sign", "delta", "giou"))
        check_choice("termination", self.termination, ("trigger", "found", "horizon"))
        check_range("step", self.step, 0.01, 0.45)
        check_range("trigger", self.trigger, 0.0)
        check_range("false_report", self.false_report, 0.0)
        check_range("overlap", self.overlap, 0.05, 0.95)
        check_range("patience", self.patience, 1)
        check_range("max_reports", self.max_reports, 1)
        check_range("trigger_after", self.trigger_after, 0)
        check_range("smallest", self.smallest, 1.0)

    @property
    def continuous(self) -> bool:
        """Whether an action is five numbers in [-1, 1], not the number of a move."""
        return self.control == "continuous"
