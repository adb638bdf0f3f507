"""What a user would pick instead of an agent for volumes: SimpleITK, at the volumes' own resolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from visionrl.baselines.mutual_information import find_itk, to_image
from visionrl.baselines.simple_itk import package
from visionrl.core import baseline
from visionrl.envs.registration.registration import Registration3D, State

TASK = "Registration3D-v0"

Run = Callable[[Registration3D, State], State]


@baseline(TASK, "identity", learns=False)
def identity(train: None) -> Run:
    """The start, as it is."""
    return lambda task, state: state


@baseline(TASK, "SimpleITK, mutual information", learns=False)
def itk_mutual_information(train: None) -> Run:
    """Mattes' mutual information by gradient descent, at a quarter, a half and the whole resolution.

    Raises:
        ImportError: SimpleITK is missing.
    """
    return finder(moments=False)


@baseline(TASK, "SimpleITK, from the moments", learns=False)
def itk_moments(train: None) -> Run:
    """The same, but begun where the centres of mass lie on each other, whatever the episode's start.

    Raises:
        ImportError: SimpleITK is missing.
    """
    return finder(moments=True)


def finder(moments: bool) -> Run:
    """SimpleITK as one that solves an episode."""
    itk = package()

    def run(task: Registration3D, state: State) -> State:
        sample = task.samples[int(state.pair[0])]
        fixed, moving = (
            to_image(itk, volume[0], spacing)
            for volume, spacing in zip((sample.fixed, sample.moving), sample.spacing_mm, strict=True)
        )
        found = find_itk(itk, fixed, moving, state.pose[0], task.transform, moments)
        return replace(state, pose=found[None], finished=np.ones(1, bool))

    return run
