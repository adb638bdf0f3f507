"""Baselines of deformable registration: SimpleITK, and Gauss-Newton proposals without an agent."""

from __future__ import annotations

from typing import Any

import numpy as np

from visionrl.baselines.registration import identity
from visionrl.baselines.simple_itk import BINS, coarse_to_fine, descend_mutual_information, package
from visionrl.core import baseline
from visionrl.core.registry import Run
from visionrl.envs.registration.free_form import FreeForm, State
from visionrl.ops.deform import lattice

IMAGES, VOLUMES = "DeformableRegistration2D-v0", "DeformableRegistration3D-v0"
SAMPLES = 4000  # pixels or voxels that the metric samples
SHRINK = {2: (4, 2, 1), 3: (2, 1)}  # levels, by axes
MESH = {2: 6, 3: 4}  # cells of the B-spline grid along each axis
ITERATIONS = {2: 100, 3: 25}  # of the B-splines at each level


for _task in (IMAGES, VOLUMES):
    baseline(_task, "identity", learns=False)(identity)


@baseline(IMAGES, "SimpleITK, affine", learns=False)
@baseline(VOLUMES, "SimpleITK, affine", learns=False)
def affine(train: None) -> Run:
    """An affine map by gradient descent on Mattes' mutual information.

    Raises:
        ImportError: SimpleITK is missing.
    """
    return by_mutual_information(elastic=False)


@baseline(IMAGES, "SimpleITK, affine and B-spline", learns=False)
@baseline(VOLUMES, "SimpleITK, affine and B-spline", learns=False)
def bsplines(train: None) -> Run:
    """An affine map, then cubic B-splines (Rueckert et al., 1999), by L-BFGS-B.

    Raises:
        ImportError: SimpleITK is missing.
    """
    return by_mutual_information(elastic=True)


@baseline(IMAGES, "Gauss-Newton", learns=False)
@baseline(VOLUMES, "Gauss-Newton", learns=False)
def gauss_newton(train: None) -> Run:
    """Moves each control point once, in the task's order, by the proposal with the smallest unexplained variance.

    The proposal is accepted even where it explains little.

    Source: Lucas & Kanade (1981); Rueckert et al. (1999) for the splines.
    """

    def run(task: FreeForm, state: State) -> State:
        while not task.terminated(state)[0]:
            proposals = task.propose(state)[0]
            before, after = 1 - proposals[:, -2], 1 - proposals[:, -1]
            best = np.argmin(after / np.maximum(before, 1e-6))
            motion = proposals[None, best, : task.axes]
            moved = state.field + task.points.bspline_update(task.present(state), motion)
            state = task.with_field(state, moved, state.visited + 1)
        return state

    return run


def by_mutual_information(elastic: bool) -> Run:
    """SimpleITK as a method that solves an episode; ``elastic`` for B-splines after the affine map."""
    itk = package()

    def run(task: FreeForm, state: State) -> State:
        shape = (task.side,) * task.axes
        images = state.fixed[0].reshape(shape), task.bank.grey[int(state.image[0])]
        fixed, moving = (itk.GetImageFromArray(image.astype(np.float32)) for image in images)
        transform = find_affine(itk, fixed, moving, task.axes)
        if elastic:
            transform = find_bspline(itk, fixed, moving, transform, task.axes)
        places = lattice(task.nodes, task.axes).reshape(-1, task.axes) * (task.side - 1)
        there = np.array([transform.TransformPoint(place) for place in places.tolist()])
        field = (there - places).reshape(1, *[task.nodes] * task.axes, task.axes)
        return task.with_field(state, field, state.count + 0)

    return run


def find_affine(itk: Any, fixed: Any, moving: Any, axes: int) -> Any:
    """The affine map of the largest mutual information; the identity where the images do not meet."""
    transform = itk.AffineTransform(axes)
    transform.SetCenter([(n - 1) / 2 for n in fixed.GetSize()])
    meet = descend_mutual_information(itk, fixed, moving, transform, SHRINK[axes], SAMPLES)
    return transform if meet else itk.AffineTransform(axes)


def find_bspline(itk: Any, fixed: Any, moving: Any, start: Any, axes: int) -> Any:
    """B-splines, then the affine map."""
    bent = itk.BSplineTransformInitializer(fixed, [MESH[axes]] * axes)
    method = coarse_to_fine(itk, fixed, SHRINK[axes], SAMPLES)
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetOptimizerAsLBFGSB(gradientConvergenceTolerance=1e-5, numberOfIterations=ITERATIONS[axes])
    method.SetMovingInitialTransform(start)
    method.SetInitialTransform(bent, inPlace=True)
    method.Execute(fixed, moving)
    return itk.CompositeTransform([start, bent])
