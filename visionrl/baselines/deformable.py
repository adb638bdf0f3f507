"""What a user would pick instead of an agent to bend images and volumes: SimpleITK, affine and by B-splines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from visionrl.baselines.simple_itk import coarse_to_fine, descend, package
from visionrl.core import baseline
from visionrl.envs.registration.deformable import DeformableRegistration, State
from visionrl.ops.deform import lattice

TASKS = ("DeformableRegistration2D-v0", "DeformableRegistration3D-v0")
SAMPLES = 4000  # pixels or voxels that the metric looks at
SHRINK = {2: (4, 2, 1), 3: (2, 1)}  # levels, by axes
MESH = {2: 6, 3: 4}  # cells of the B-spline grid along each axis
ITERATIONS = {2: 100, 3: 25}  # of the B-splines at each level

Run = Callable[[DeformableRegistration, State], State]


def identity(train: None) -> Run:
    """The start, as it is."""
    return lambda task, state: replace(state, visited=state.count + 0)


def affine(train: None) -> Run:
    """Mattes' mutual information by gradient descent, an affine map.

    Raises:
        ImportError: SimpleITK is missing.
    """
    return finder(package(), elastic=False)


def bsplines(train: None) -> Run:
    """The same, bent further by cubic B-splines (Rueckert et al., 1999), by L-BFGS-B.

    Raises:
        ImportError: SimpleITK is missing.
    """
    return finder(package(), elastic=True)


for _task in TASKS:
    for _name, _fit in (
        ("identity", identity),
        ("SimpleITK, affine", affine),
        ("SimpleITK, affine and B-spline", bsplines),
    ):
        baseline(_task, _name, learns=False)(_fit)


def finder(itk: Any, elastic: bool) -> Run:
    """A method that solves an episode."""

    def run(task: DeformableRegistration, state: State) -> State:
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
    """The affine map of the largest mutual information, coarse to fine."""
    transform = itk.AffineTransform(axes)
    transform.SetCenter([(n - 1) / 2 for n in fixed.GetSize()])
    method = prepared(itk, fixed, axes)
    descend(method)
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed, moving)
    return transform


def find_bspline(itk: Any, fixed: Any, moving: Any, start: Any, axes: int) -> Any:
    """B-splines, then the affine map."""
    bent = itk.BSplineTransformInitializer(fixed, [MESH[axes]] * axes)
    method = prepared(itk, fixed, axes)
    method.SetOptimizerAsLBFGSB(gradientConvergenceTolerance=1e-5, numberOfIterations=ITERATIONS[axes])
    method.SetMovingInitialTransform(start)
    method.SetInitialTransform(bent, inPlace=True)
    method.Execute(fixed, moving)
    return itk.CompositeTransform([start, bent])


def prepared(itk: Any, fixed: Any, axes: int) -> Any:
    """A registration by mutual information, without an optimizer."""
    method = coarse_to_fine(itk, fixed, SHRINK[axes], SAMPLES)
    method.SetMetricAsMattesMutualInformation(32)
    return method
