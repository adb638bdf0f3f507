"""What a user would do instead of an agent: optimise how alike the X-ray and renders of the CT are, from the same start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from visionrl.core import baseline
from visionrl.envs.registration.registration2d3d import Registration2D3D, State
from visionrl.metrics.similarity import ncc
from visionrl.ops.least_squares import ROUNDS, STILL
from visionrl.ops.transforms import move_pose, pose_in_reach

TASK = "Registration2D3D-v0"
UNIT = 5.0  # millimetres and degrees that the optimisers take for 1
CALLS = 1000  # renders at most
POWELL = {"maxfev": CALLS, "xtol": 1e-2, "ftol": 1e-5}

Run = Callable[[Registration2D3D, State], State]


@baseline(TASK, "identity", learns=False)
def identity(train: None) -> Run:
    """The start, as it is."""
    return lambda task, state: state


@baseline(TASK, "cross-correlation, Powell", learns=False)
def powell(train: None) -> Run:
    """Normalised cross-correlation of X-ray and renders, line by line (Powell, 1964)."""
    return optimiser("Powell", POWELL)


@baseline(TASK, "gradient correlation, Powell", learns=False)
def gradients(train: None) -> Run:
    """The same of their slopes along both axes, which cares less for contrast (Penney et al., 1998)."""
    return optimiser("Powell", POWELL, slopes)


@baseline(TASK, "cross-correlation, Nelder-Mead", learns=False)
def nelder_mead(train: None) -> Run:
    """The same by a simplex (Nelder & Mead, 1965) that begins with sides of 10 millimetres and degrees."""
    simplex = np.concatenate([np.zeros((1, 6)), 10 / UNIT * np.eye(6)])
    options = {"maxfev": CALLS, "xatol": 1e-2, "fatol": 1e-5, "initial_simplex": simplex}
    return optimiser("Nelder-Mead", options)


@baseline(TASK, "Gauss-Newton", learns=False)
def gauss_newton(train: None) -> Run:
    """Up to ten proposals of control "gauss_newton" at each scale, coarse first: what an agent that chooses among them must beat.

    Source: Lucas & Kanade (1981).
    """

    def run(task: Registration2D3D, state: State) -> State:
        for look in range(task.proposer.count):
            for _ in range(ROUNDS):
                motion = task.proposer.propose(state.image, state.xray, state.pose)[:, look, :6]
                pose = move_pose(state.pose, motion)
                if not pose_in_reach(pose)[0]:
                    break
                state = replace(state, pose=pose)
                if np.abs(motion).max() < STILL:
                    break
        return replace(state, finished=np.ones(1, bool))

    return run


def optimiser(method: str, options: dict, seen: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Run:
    """A method of ``scipy.optimize.minimize`` as one that solves an episode; ``seen`` is what is compared of pictures."""
    from scipy.optimize import minimize

    def run(task: Registration2D3D, state: State) -> State:
        xray = seen(state.xray[0])

        def placed(numbers: np.ndarray) -> np.ndarray:
            return move_pose(state.pose, UNIT * numbers[None])

        def cost(numbers: np.ndarray) -> float:
            return -correlation(seen(task.bank.thickness(state.image, placed(numbers))[0]), xray)

        found = minimize(cost, np.zeros(6), method=method, options=options).x
        return replace(state, pose=placed(found), finished=np.ones(1, bool))

    return run


def slopes(pictures: np.ndarray) -> np.ndarray:
    """(2 * views, size, size) float, Sobel's derivatives of pictures (views, size, size) along x and y."""
    return np.stack(
        [cv2.Sobel(part.astype(float), cv2.CV_64F, *way) for part in pictures for way in ((1, 0), (0, 1))]
    )


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Normalised cross-correlation of pictures (views, size, size), the mean over the views; 0 for a plain one."""
    a, b = (pictures.reshape(len(pictures), -1) for pictures in (first, second))
    return float(ncc(a, b, np.ones(a.shape, bool)).mean())
