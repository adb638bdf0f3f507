"""Baselines of rigid and affine registration, by intensity and by features.

Every method but ORB and the one by image moments begins at the episode's start. Images are used at the size at which
they are stored, as grey levels, volumes at their own resolution, and X-rays beside renderings of the CT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from visionrl.banks.image_pairs import middle, pixel_map
from visionrl.banks.pair_geometry import inner_grid
from visionrl.baselines.simple_itk import package, register_linear, to_image
from visionrl.core import baseline
from visionrl.core.registry import Run
from visionrl.envs.registration.align import Align, State
from visionrl.envs.registration.inliers import grey, matched
from visionrl.envs.registration.registration2d3d import Registration2D3D
from visionrl.envs.registration.registration2d3d import State as XrayState
from visionrl.metrics.similarity import ncc
from visionrl.ops import transforms
from visionrl.ops.least_squares import ROUNDS, STILL
from visionrl.ops.transforms import move_pose, pose_in_reach

IMAGES, VOLUMES, XRAYS = "Registration2D-v0", "Registration3D-v0", "Registration2D3D-v0"
SEED = 1
UNIT = 5.0  # millimetres and degrees that SciPy's optimisers take for 1
CALLS = 1000  # renders at most
POWELL = {"maxfev": CALLS, "xtol": 1e-2, "ftol": 1e-5}

Method = Callable[[np.ndarray, np.ndarray, np.ndarray, str], np.ndarray]
"""``method(fixed, moving, start, kind)``: grey images (H, W) uint8 and maps (2, 3) from pixels to pixels."""


# -- every task --------------------------------------------------------------------------------------------------------
@baseline(IMAGES, "identity", learns=False)
@baseline(VOLUMES, "identity", learns=False)
@baseline(XRAYS, "identity", learns=False)
def identity(train: None) -> Run:
    """The start, as it is."""
    return lambda task, state: state


Trial = Callable[[Any, Any, int], tuple[np.ndarray, bool, float]]
"""``trial(task, state, scale)``: the pose after a proposal, whether it is allowed, and how far it leads."""


def follow_proposals(trial: Trial) -> Run:
    """Up to ten proposals at each scale, coarse first: what an agent that chooses among them must beat."""

    def run(task: Any, state: Any) -> Any:
        for scale in range(task.proposer.count):
            for _ in range(ROUNDS):
                pose, allowed, length = trial(task, state, scale)
                if not allowed:
                    break
                state = replace(state, pose=pose)
                if length < STILL:
                    break
        return replace(state, finished=np.ones(1, bool))

    return run


# -- images and volumes ------------------------------------------------------------------------------------------------
@baseline(IMAGES, "ECC", learns=False)
def ecc(train: None) -> Run:
    """Enhanced correlation coefficient by gradient ascent (Evangelidis & Psarakis, 2008); a failure keeps the start."""
    return in_pixels(find_ecc)


@baseline(IMAGES, "ORB + RANSAC", learns=False)
def orb(train: None) -> Run:
    """The map on which most matched corners agree (Rublee et al., 2011); a failure keeps the start."""
    return in_pixels(find_orb)


@baseline(IMAGES, "phase correlation", learns=False)
def phase(train: None) -> Run:
    """The shift at the peak of the phase correlation (Kuglin & Hines, 1975); finds no turn."""
    return in_pixels(find_phase)


@baseline(IMAGES, "SimpleITK, mutual information", learns=False)
@baseline(VOLUMES, "SimpleITK, mutual information", learns=False)
def itk_mutual_information(train: None) -> Run:
    """Mattes' mutual information by gradient descent, at a quarter, a half and the whole resolution.

    Raises:
        ImportError: SimpleITK is missing.
    """
    return by_mutual_information(moments=False)


@baseline(VOLUMES, "SimpleITK, from the moments", learns=False)
def itk_moments(train: None) -> Run:
    """Mattes' mutual information, begun where the centres of mass lie on each other, whatever the episode's start.

    Raises:
        ImportError: SimpleITK is missing.
    """
    return by_mutual_information(moments=True)


@baseline(IMAGES, "Gauss-Newton", learns=False)
@baseline(VOLUMES, "Gauss-Newton", learns=False)
def gauss_newton(train: None) -> Run:
    """Up to ten proposals at each scale, the widest field first: what an agent that chooses among them must beat.

    Its fields and the largest of its motions are those of the environment's ``window``, ``scales`` and ``max_step``.

    Source: Lucas & Kanade (1981); Baker & Matthews (2004).
    """

    def trial(task: Align, state: State, scale: int) -> tuple[np.ndarray, bool, float]:
        proposer = task.proposer
        motion = proposer.propose(state.pair, state.view_transform, state.pose)[:, scale, : proposer.numbers]
        pose = transforms.move(state.pose, motion, task.transform)
        length = transforms.distance(pose, state.pose)[0]
        return pose, task.allowed(pose, state.pose)[0], length

    return follow_proposals(trial)


def by_mutual_information(moments: bool) -> Run:
    """SimpleITK as a method that solves an episode."""
    itk = package()

    def run(task: Align, state: State) -> State:
        pair = int(state.pair[0])
        if task.axes == 2:
            images, spacing = (
                [grey(some[pair]) for some in (task.bank.fixed, task.bank.moving)],
                np.ones((2, 2)),
            )
        else:
            sample = task.samples[pair]
            images, spacing = [sample.fixed[0], sample.moving[0]], sample.spacing_mm
        fixed, moving = (to_image(itk, *both) for both in zip(images, spacing, strict=True))
        found = register_linear(itk, fixed, moving, state.pose[0], task.transform, moments)
        return replace(state, pose=found[None], finished=np.ones(1, bool))

    return run


def in_pixels(method: Method) -> Run:
    """A method on two images as one that solves an episode."""

    def run(task: Align, state: State) -> State:
        pair = int(state.pair[0])
        fixed, moving = (images[pair] for images in (task.bank.fixed, task.bank.moving))
        start = pixel_map(state.pose[0], fixed, moving)
        found = method(grey(fixed), grey(moving), start, task.transform)
        shift = found[:, :2] @ middle(fixed) + found[:, 2] - middle(moving)
        inner = np.column_stack([found[:, :2], shift])
        return replace(state, pose=inner[None], finished=np.ones(1, bool))

    return run


def find_ecc(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray, kind: str) -> np.ndarray:
    """The map that OpenCV's ``findTransformECC`` finds."""
    motion = cv2.MOTION_EUCLIDEAN if kind == "rigid" else cv2.MOTION_AFFINE
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-5)
    try:
        _, found = cv2.findTransformECC(
            fixed, moving, start.astype(np.float32), motion, criteria, np.full_like(moving, 255), 5
        )
    except cv2.error as error:
        if error.code not in (cv2.Error.STS_NO_CONV, cv2.Error.STS_UNMATCHED_SIZES):
            raise
        return start
    return nearest_of_kind(found.astype(float), kind, fixed)


def find_orb(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray, kind: str) -> np.ndarray:
    """The map that OpenCV's ORB, mutual nearest neighbours, and RANSAC find."""
    source, goal = matched(fixed, moving)
    if len(source) < 3:
        return start
    cv2.setRNGSeed(SEED)
    estimate = cv2.estimateAffine2D if kind == "affine" else cv2.estimateAffinePartial2D
    found, inliers = estimate(source, goal, method=cv2.RANSAC, ransacReprojThreshold=3.0)
    if found is None or not np.isfinite(found).all():
        return start
    if kind == "rigid" and inliers.sum() >= 2:
        chosen = inliers.ravel().astype(bool)
        return transforms.fit(kind, source[chosen], goal[chosen])
    return found


def find_phase(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray, kind: str) -> np.ndarray:
    """The start, then the shift that scikit-image's ``phase_cross_correlation`` finds."""
    from skimage.registration import phase_cross_correlation

    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(moving, start, fixed.shape[::-1], flags=flags)
    (y, x), _, _ = phase_cross_correlation(fixed, seen, upsample_factor=10)
    return np.column_stack([start[:, :2], start[:, 2] - start[:, :2] @ (x, y)])


def nearest_of_kind(found: np.ndarray, kind: str, fixed: np.ndarray) -> np.ndarray:
    """The map of a kind that is nearest to an affine one over an image."""
    grid = inner_grid((1, *fixed.shape))
    return found if kind == "affine" else transforms.fit(kind, grid, grid @ found[:, :2].T + found[:, 2])


# -- X-rays ------------------------------------------------------------------------------------------------------------
@baseline(XRAYS, "cross-correlation, Powell", learns=False)
def powell(train: None) -> Run:
    """Normalised cross-correlation of X-ray and renders, line by line (Powell, 1964)."""
    return optimise("Powell", POWELL)


@baseline(XRAYS, "gradient correlation, Powell", learns=False)
def gradients(train: None) -> Run:
    """Cross-correlation of the slopes along both axes, which cares less for contrast (Penney et al., 1998)."""
    return optimise("Powell", POWELL, sobel)


@baseline(XRAYS, "cross-correlation, Nelder-Mead", learns=False)
def nelder_mead(train: None) -> Run:
    """Cross-correlation by a simplex (Nelder & Mead, 1965) that begins with sides of 10 millimetres and degrees."""
    simplex = np.concatenate([np.zeros((1, 6)), 10 / UNIT * np.eye(6)])
    options = {"maxfev": CALLS, "xatol": 1e-2, "fatol": 1e-5, "initial_simplex": simplex}
    return optimise("Nelder-Mead", options)


@baseline(XRAYS, "Gauss-Newton", learns=False)
def gauss_newton_xray(train: None) -> Run:
    """Up to ten proposals at each scale, coarse first: what an agent that chooses among them must beat.

    Source: Lucas & Kanade (1981).
    """

    def trial(task: Registration2D3D, state: XrayState, scale: int) -> tuple[np.ndarray, bool, float]:
        motion = task.proposer.propose(state.image, state.xray, state.pose)[:, scale, :6]
        pose = move_pose(state.pose, motion)
        return pose, pose_in_reach(pose)[0], np.abs(motion).max()

    return follow_proposals(trial)


def optimise(method: str, options: dict, compared: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Run:
    """A method of ``scipy.optimize.minimize`` as one that solves an episode.

    ``compared`` is what is compared of images (views, size, size).
    """
    from scipy.optimize import minimize

    def run(task: Registration2D3D, state: XrayState) -> XrayState:
        xray = compared(state.xray[0])

        def pose_of(numbers: np.ndarray) -> np.ndarray:
            return move_pose(state.pose, UNIT * numbers[None])

        def cost(numbers: np.ndarray) -> float:
            return -correlation(compared(task.bank.thickness(state.image, pose_of(numbers))[0]), xray)

        found = minimize(cost, np.zeros(6), method=method, options=options).x
        return replace(state, pose=pose_of(found), finished=np.ones(1, bool))

    return run


def sobel(pictures: np.ndarray) -> np.ndarray:
    """(2 * views, size, size) float, Sobel's derivatives of images (views, size, size) along x and y."""
    return np.stack(
        [cv2.Sobel(part.astype(float), cv2.CV_64F, *way) for part in pictures for way in ((1, 0), (0, 1))]
    )


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Normalised cross-correlation of images (views, size, size), the mean over the views; 0 for a plain one."""
    a, b = (pictures.reshape(len(pictures), -1) for pictures in (first, second))
    return float(ncc(a, b, np.ones(a.shape, bool)).mean())
