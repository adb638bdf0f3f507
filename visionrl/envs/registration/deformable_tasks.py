"""Deformable registration of images and of volumes, as tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from visionrl.core import register
from visionrl.datasets import ImageSample, VolumeSample
from visionrl.envs.registration.bending_rules import BendingRules
from visionrl.envs.registration.deformable import Deformable


@register(
    "DeformableRegistration2D-v0",
    max_steps=200,
    tags=("registration", "2d", "continuous"),
    presets={
        "fits": {"control": "fits"},
        "revisits": {"control": "fits", "points": (1, 2, 2, 4, 4, 8, 8)},
    },
)
class DeformableRegistration2D(Deformable):
    """The agent bends an image until it lies on another, one control point after the other, coarse to fine.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (2 * scales, w, w) uint8: about the control point, at each scale, the fixed image and the moving one as it is bent now; ``stage`` one-hot; ``position`` (2,) in [-1, 1]: of the control point; with "fits" also ``fits`` (scales * 4,) float32: at each scale the move of the control point that least squares propose, in ``step``, and the shares of the variance that is explained without and with it |
    | Action      | how far the control point is moved along x and y: "continuous", up to ``step`` of the side along each; or "steps": one of 11 steps for each, 0.2 to 10 % of the side to either side, or none; or "fits": the same numbers as in "continuous", then one a scale: the proposal of the scale whose number is largest is made, if that is above 0, else the numbers |
    | Reward      | mean distance of the body's places from where they belong gained, in pixels held, or 10 times the overlap of structures gained; less ``folds`` for each percent of the field that folds more than before |
    | Ends        | when every control point of every stage has been moved once; those far from the body are left out |

    One control point a move, seen from nearby, and not all at once: so one small network serves every place, and each
    episode shows it up to 85 different ones. A control point takes its surroundings along by a cubic B-spline that is 1 at
    the point and as wide as the points of its stage lie apart (free-form deformation; Rueckert et al., 1999). The field
    is held at ``nodes`` along each axis and is linear in between.

    In each episode an image of the split is the moving one; the fixed one is the same under a random smooth deformation, with
    a contrast and noise of its own, so that truth and labels are exact. ``info`` has ``tre_mm``, the mean error over the
    body, ``tre_start_mm``, ``folded_percent``, the share of the field whose Jacobian determinant is not positive, and,
    where there are masks, ``dice`` and ``dice_start``, the mean overlap of the 12 largest structures of the split. An
    episode succeeds below ``radius`` of the side.

    Pairs are registered as they are, from middle on middle: no random bending, contrast or noise, and ``difficulty`` changes
    nothing. Their error is that of their points (the centroids of their labels where they have none), and the true field,
    which the expert follows, is the affine map that fits these best and radial splines for the rest: rough where points are few.

    Args:
        data: None for slices of the embedded chest CT, "FORMAT:PATH", or a sequence of ``ImageSample``; masks are optional. Or
            pairs, "pairs:FOLDER", "learn2reg:FILE" or a sequence of ``PairSample``, which are registered as they are.
        split: "train", "val" or "test"; also decides the family of the deformations.
        control: "continuous", "steps", or "fits": as in "continuous", or one of the moves that a Gauss-Newton step proposes.
        points: control points along each axis, one number a stage; a stage may come twice.
        nodes: nodes along each axis.
        side: pixels along each axis to which all are scaled.
        window: side of the windows.
        scales: pixels per pixels of a window.
        step: largest continuous move and proposal, a share of the side.
        bend: root mean square velocity of the deformations, a share of the side; they also turn by up to 6 degrees,
            stretch by up to 8 % and shift by up to 3 % of the side.
        change: how much the fixed image differs in contrast and noise; 0 not at all.
        folds: what a percent of folded field costs.
        reward: "truth" or "dice", which asks for masks alone.
        radius: an episode succeeds below this error, a share of the side.
        dice_of: labels whose overlap ``info`` also has by itself, as ``dice_LABEL``, such as one organ among landmarks.
        loading: ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Krebs et al. (2017), "Robust non-rigid registration through agent-based action learning", for bending by an
    agent; there the modes of a statistical model of one organ. Lucas & Kanade (1981) for "fits".
    """

    axes, kind, default, coarser = 2, ImageSample, "chest-ct-slices", 2

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        control: Literal["continuous", "steps", "fits"] = "continuous",
        points: Sequence[int] = (1, 2, 4, 8),
        nodes: int = 25,
        side: int = 96,
        window: int = 32,
        scales: Sequence[int] = (3, 1),
        step: float = 0.1,
        bend: float = 0.025,
        change: float = 1.0,
        folds: float = 0.1,
        reward: Literal["truth", "dice"] = "truth",
        radius: float = 0.015,
        dice_of: Sequence[int] = (),
        **loading: Any,
    ) -> None:
        rules = BendingRules(
            control, points, nodes, side, window, scales, step, bend, change, folds, reward, radius, dice_of
        )
        super().__init__(data, split, rules, **loading)


@register(
    "DeformableRegistration3D-v0",
    max_steps=200,
    tags=("registration", "3d", "continuous"),
    presets={
        "fits": {"control": "fits"},
        "revisits": {"control": "fits", "points": (1, 2, 2, 4, 4)},
    },
)
class DeformableRegistration3D(Deformable):
    """The agent bends a volume until it lies on another, one control point after the other, coarse to fine.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (2 * scales, w, w, w) uint8: about the control point, at each scale, the fixed volume and the moving one as it is bent now; ``stage`` one-hot; ``position`` (3,) in [-1, 1]: of the control point; with "fits" also ``fits`` (scales * 5,) float32: at each scale the move of the control point that least squares propose, in ``step``, and the shares of the variance that is explained without and with it |
    | Action      | how far the control point is moved along x, y and z: "continuous", up to ``step`` of the side along each; or "steps": one of 11 steps for each, 0.2 to 10 % of the side to either side, or none; or "fits": the same numbers as in "continuous", then one a scale: the proposal of the scale whose number is largest is made, if that is above 0, else the numbers |
    | Reward      | mean distance of the body's places from where they belong gained, in pixels held, or 10 times the overlap of structures gained; less ``folds`` for each percent of the field that folds more than before |
    | Ends        | when every control point of every stage has been moved once; those far from the body are left out |

    One control point a move, seen from nearby, and not all at once: so one small network serves every place, and each
    episode shows it up to 73 different ones. A control point takes its surroundings along by a cubic B-spline that is 1 at
    the point and as wide as the points of its stage lie apart (free-form deformation; Rueckert et al., 1999). The field
    is held at ``nodes`` along each axis and is linear in between.

    In each episode a volume of the split is the moving one; the fixed one is the same under a random smooth deformation, with
    a contrast and noise of its own, so that truth and labels are exact. ``info`` has ``tre_mm``, the mean error over the
    body, ``tre_start_mm``, ``folded_percent``, the share of the field whose Jacobian determinant is not positive, and,
    where there are masks, ``dice`` and ``dice_start``, the mean overlap of the 12 largest structures of the split at every second voxel. An
    episode succeeds below ``radius`` of the side.

    Pairs are registered as they are, from middle on middle: no random bending, contrast or noise, and ``difficulty`` changes
    nothing. Their error is that of their points (the centroids of their labels where they have none), and the true field,
    which the expert follows, is the affine map that fits these best and radial splines for the rest: rough where points are few.

    Args:
        data: None for the embedded chest CT, "FORMAT:PATH", or a sequence of ``VolumeSample``; masks are optional. Or
            pairs, "pairs:FOLDER", "learn2reg:FILE" or a sequence of ``PairSample``, which are registered as they are.
        split: "train", "val" or "test"; also decides the family of the deformations.
        control: "continuous", "steps", or "fits": as in "continuous", or one of the moves that a Gauss-Newton step proposes.
        points: control points along each axis, one number a stage; a stage may come twice.
        nodes: nodes along each axis.
        side: voxels along each axis to which all are scaled.
        window: side of the windows.
        scales: voxels per voxels of a window.
        step: largest continuous move and proposal, a share of the side.
        bend: root mean square velocity of the deformations, a share of the side; they also turn by up to 6 degrees,
            stretch by up to 8 % and shift by up to 3 % of the side.
        change: how much the fixed volume differs in contrast and noise; 0 not at all.
        folds: what a percent of folded field costs.
        reward: "truth" or "dice", which asks for masks alone.
        radius: an episode succeeds below this error, a share of the side.
        dice_of: labels whose overlap ``info`` also has by itself, as ``dice_LABEL``, such as one organ among landmarks.
        loading: ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Krebs et al. (2017), "Robust non-rigid registration through agent-based action learning", for bending by an
    agent; there the modes of a statistical model of one organ. Lucas & Kanade (1981) for "fits".
    """

    axes, kind, default, coarser = 3, VolumeSample, "chest-ct-volumes", 2

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        control: Literal["continuous", "steps", "fits"] = "continuous",
        points: Sequence[int] = (1, 2, 4),
        nodes: int = 13,
        side: int = 48,
        window: int = 12,
        scales: Sequence[int] = (3, 1),
        step: float = 0.1,
        bend: float = 0.025,
        change: float = 1.0,
        folds: float = 0.1,
        reward: Literal["truth", "dice"] = "truth",
        radius: float = 0.02,
        dice_of: Sequence[int] = (),
        **loading: Any,
    ) -> None:
        rules = BendingRules(
            control, points, nodes, side, window, scales, step, bend, change, folds, reward, radius, dice_of
        )
        super().__init__(data, split, rules, **loading)
