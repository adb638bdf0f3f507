"""What the proposals of least squares come to without an agent: Gauss-Newton alignment, coarse to fine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from visionrl.core import baseline
from visionrl.core.registry import Run
from visionrl.envs.registration.align import Align, State
from visionrl.envs.registration.deformable import Deformable
from visionrl.envs.registration.deformable import State as Bent
from visionrl.ops import transforms
from visionrl.ops.least_squares import ROUNDS, STILL


@baseline("Registration2D-v0", "Gauss-Newton", learns=False)
@baseline("Registration3D-v0", "Gauss-Newton", learns=False)
def gauss_newton(train: Any) -> Run:
    """Up to ten proposals at each scale, the widest field first: what an agent that chooses among them must beat.

    Its fields and the largest of its motions are those of the environment's ``window``, ``scales`` and ``max_step``.

    Source: Lucas & Kanade (1981); Baker & Matthews (2004).
    """

    def run(task: Align, state: State) -> State:
        proposer = task.proposer
        for look in range(proposer.count):
            for _ in range(ROUNDS):
                motion = proposer.propose(state.pair, state.view_transform, state.pose)[
                    :, look, : proposer.numbers
                ]
                pose = transforms.move(state.pose, motion, task.transform)
                if not task.allowed(pose, state.pose)[0]:
                    break
                near = transforms.distance(pose, state.pose)[0] < STILL
                state = replace(state, pose=pose)
                if near:
                    break
        return replace(state, finished=np.ones(1, bool))

    return run


@baseline("DeformableRegistration2D-v0", "Gauss-Newton", learns=False)
@baseline("DeformableRegistration3D-v0", "Gauss-Newton", learns=False)
def gauss_newton_bending(train: Any) -> Run:
    """Each control point once, in the task's order, by the proposal that leaves the smallest share unexplained, good or not.

    Source: Lucas & Kanade (1981); Rueckert et al. (1999) for the splines.
    """

    def run(task: Deformable, state: Bent) -> Bent:
        while not task.terminated(state)[0]:
            fits = task.found(state)[0]
            before, after = 1 - fits[:, -2], 1 - fits[:, -1]
            best = np.argmin(after / np.maximum(before, 1e-6))
            moved = state.field + task.bump(state, fits[None, best, : task.axes])
            state = task.bent(state, moved, state.visit + 1)
        return state

    return run
