"""Deformable registration: bend an image or a volume, control point by control point, until it lies on another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge, MinLen

from visionrl.core import arguments, register
from visionrl.datasets import ImageSample, VolumeSample
from visionrl.envs.registration.free_form import FreeForm

PROPOSED = {"control": "gauss_newton"}


@register(
    "DeformableRegistration2D-v0",
    max_steps=200,
    tags=("registration", "2d", "continuous"),
    presets={"gauss_newton": PROPOSED, "revisits": {**PROPOSED, "control_points": (1, 2, 2, 4, 4, 8, 8)}},
)
@arguments
class DeformableRegistration2D(FreeForm):
    """The agent bends an image until it lies on another, one control point after the other, coarse to fine.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (2 * scales, w, w) uint8: about the control point, at each scale, the fixed image and the moving one as it is bent now; ``stage`` one-hot; ``position`` (2,) in [-1, 1]: of the control point; with control "gauss_newton" also ``proposals`` (scales * 4,) float32: at each scale the move of the control point that least squares propose, in tenths of the side, and the shares of the variance that are explained without and with it |
    | Action      | Box(2 or 2 + scales), or MultiDiscrete([11, 11]) for "steps"; see below |
    | Reward      | mean distance of the body's places from where they belong gained, in pixels held, or 10 times the overlap of labels gained; less ``folding_penalty`` for each percent of the field that folds more than before |
    | Ends        | when every control point of every stage has been moved once; those far from the body are left out |

    | Action | Meaning |
    |--------|---------|
    | "continuous" | how far the control point moves along x and y, in tenths of the side |
    | "steps" | one of 11 moves along x and y: 0.2, 0.5, 1.5, 4 or 10 % of the side to either side, or none |
    | "gauss_newton" | first 2 numbers as "continuous", then one a scale: trust in the proposal of that scale: the most trusted one is made if its number is above 0, else the move of the agent's own |

    One control point a move, seen from nearby, so that one small network serves every place; an episode shows up to 85 of
    them. A control point takes its surroundings along by a cubic B-spline that is 1 at the point and as wide as the points
    of its stage lie apart (free-form deformation); the displacement field is linear between ``nodes`` along each axis.

    By default an image of the split is the moving one, and the fixed one is the same under a random smooth deformation with
    a contrast and noise of its own, so that truth and labels are exact. The split decides the family of the deformations;
    they also turn by up to 6 degrees, stretch by up to 8 % and shift by up to 3 % of the side. ``info`` has ``tre_mm``, the
    mean error over the body, ``tre_start_mm``, ``folded_percent``, the share of the field whose Jacobian determinant is not
    positive, and, with masks, ``dice`` and ``dice_start``, the mean overlap of the 12 largest labels, at every second pixel.

    ``data`` may be pairs, too ("pairs:FOLDER", "learn2reg:FILE", a sequence of ``PairSample``), which are registered as they
    are, from middle on middle, whatever the ``difficulty``. Their error is that of their points (or centroids of labels);
    the expert follows the affine map that fits these best and radial splines for the rest: rough where points are few.

    Source: Krebs et al. (2017), "Robust non-rigid registration through agent-based action learning", there on the modes of
    a model of one organ; Rueckert et al. (1999) for the splines; Lucas & Kanade (1981) for "gauss_newton".
    """

    axes, sample_type, embedded = 2, ImageSample, "chest-ct-slices"


@register(
    "DeformableRegistration3D-v0",
    max_steps=200,
    tags=("registration", "3d", "continuous"),
    presets={"gauss_newton": PROPOSED, "revisits": {**PROPOSED, "control_points": (1, 2, 2, 4, 4)}},
)
@arguments
class DeformableRegistration3D(FreeForm):
    """The agent bends a volume until it lies on another, one control point after the other, coarse to fine.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (2 * scales, w, w, w) uint8, axes (z, y, x); ``stage`` one-hot; ``position`` (3,); with control "gauss_newton" also ``proposals`` (scales * 5,) float32: as in 2D |
    | Action      | Box(3 or 3 + scales), or MultiDiscrete([11, 11, 11]) for "steps": as in 2D, along x, y and z |
    | Reward      | as in 2D |
    | Ends        | as in 2D |

    All but the sizes is as in ``DeformableRegistration2D-v0``, sources too; an episode shows up to 73 control points.
    """

    control_points: Annotated[Sequence[Annotated[int, Ge(1)]], MinLen(1)] = (1, 2, 4)
    nodes: Annotated[int, Ge(3)] = 13
    side: Annotated[int, Ge(16)] = 48
    window: Annotated[int, Ge(8)] = 12
    success_radius: Annotated[float, Ge(1e-3)] = 0.02

    axes, sample_type, embedded = 3, VolumeSample, "chest-ct-volumes"
