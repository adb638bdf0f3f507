"""What a user would pick instead of an agent: intensity-based and feature-based registration, from the same starts.

Every method but ORB begins at the episode's start; ORB needs none. All see the images as held, in grey.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from visionrl.banks.image_pairs import middle
from visionrl.banks.pair_geometry import inner_grid
from visionrl.baselines.mutual_information import find_itk, to_image
from visionrl.baselines.simple_itk import package
from visionrl.core import baseline
from visionrl.envs.registration.inliers import grey, matched
from visionrl.envs.registration.registration import Registration2D, State
from visionrl.ops.transforms import fit

TASK = "Registration2D-v0"
SEED = 1

Run = Callable[[Registration2D, State], State]
Method = Callable[[np.ndarray, np.ndarray, np.ndarray, str], np.ndarray]
"""``method(fixed, moving, start, kind)``: grey images (H, W) uint8 and maps (2, 3) from pixels to pixels."""


@baseline(TASK, "identity", learns=False)
def identity(train: None) -> Run:
    """The start, as it is."""
    return lambda task, state: state


@baseline(TASK, "ECC", learns=False)
def ecc(train: None) -> Run:
    """Enhanced correlation coefficient by gradient ascent (Evangelidis & Psarakis, 2008); a failure keeps the start."""
    return finder(find_ecc)


@baseline(TASK, "ORB + RANSAC", learns=False)
def orb(train: None) -> Run:
    """The map on which most matched corners agree (Rublee et al., 2011); a failure keeps the start."""
    return finder(find_orb)


@baseline(TASK, "phase correlation", learns=False)
def phase(train: None) -> Run:
    """The shift at the peak of the phase correlation (Kuglin & Hines, 1975); finds no turn."""
    return finder(find_phase)


@baseline(TASK, "SimpleITK, mutual information", learns=False)
def itk_mutual_information(train: None) -> Run:
    """Mattes' mutual information by gradient descent, at a quarter, a half and the whole resolution.

    Raises:
        ImportError: SimpleITK is missing.
    """
    itk = package()

    def run(task: Registration2D, state: State) -> State:
        pair, unit = int(state.pair[0]), np.ones(2)
        fixed, moving = (
            to_image(itk, grey(some[pair]), unit) for some in (task.bank.fixed, task.bank.moving)
        )
        found = find_itk(itk, fixed, moving, state.pose[0], task.transform)
        return replace(state, pose=found[None], finished=np.ones(1, bool))

    return run


def finder(method: Method) -> Run:
    """A method on two images as one that solves an episode."""

    def run(task: Registration2D, state: State) -> State:
        pair = int(state.pair[0])
        fixed, moving = (images[pair] for images in (task.bank.fixed, task.bank.moving))
        home, there = middle(fixed), middle(moving)
        pose = state.pose[0]
        start = np.column_stack([pose[:, :2], pose[:, 2] + there - pose[:, :2] @ home])
        found = method(grey(fixed), grey(moving), start, task.transform)
        inner = np.column_stack([found[:, :2], found[:, :2] @ home + found[:, 2] - there])
        return replace(state, pose=inner[None], finished=np.ones(1, bool))

    return run


def find_ecc(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray, kind: str) -> np.ndarray:
    """By OpenCV's ``findTransformECC``."""
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
    return of_kind(found.astype(float), kind, fixed)


def find_orb(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray, kind: str) -> np.ndarray:
    """By OpenCV's ORB, mutual nearest neighbours, and RANSAC."""
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
        return fit(kind, source[chosen], goal[chosen])
    return found


def find_phase(fixed: np.ndarray, moving: np.ndarray, start: np.ndarray, kind: str) -> np.ndarray:
    """By scikit-image's ``phase_cross_correlation``, after the start."""
    from skimage.registration import phase_cross_correlation

    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(moving, start, fixed.shape[::-1], flags=flags)
    (y, x), _, _ = phase_cross_correlation(fixed, seen, upsample_factor=10)
    return np.column_stack([start[:, :2], start[:, 2] - start[:, :2] @ (x, y)])


def of_kind(found: np.ndarray, kind: str, fixed: np.ndarray) -> np.ndarray:
    """The map of a kind that is nearest to an affine one over an image."""
    grid = inner_grid((1, *fixed.shape))
    return found if kind == "affine" else fit(kind, grid, grid @ found[:, :2].T + found[:, 2])
