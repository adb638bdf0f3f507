"""Pose of a point model without an agent: the mean shape, an active shape model, a cascade of regressions."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from visionrl.banks.shape_frames import cut_frame
from visionrl.core import baseline, batch
from visionrl.core.registry import Run
from visionrl.envs.pose.shape import ShapePose, State, position_of

TASK = "ShapePose-v0"
# Chosen on the validation split of the embedded chest X-rays.
PROFILE = 13  # side of the patches of gradients, pixels of the frame
SEARCH = (6, 4, 3, 3, 2, 2)  # how far each round looks about each point, pixels of the frame
STARTS = 12  # boxes of each training image, for the regressions
CASCADE = 5
CELLS = 6  # samples along a side of a point's patch, for the regressions
WIDE = (30.0, 22.0, 16.0, 12.0, 10.0)  # sides of these patches, pixels of the frame, in each stage
RIDGE = 0.03  # of the variance of the features


def picture_of(task: ShapePose, item: int) -> np.ndarray:
    """(side, side) float32, the frame of an image."""
    return cut_frame(task.samples[item].image, task.frames[item], task.side)[0].astype(np.float32)


def gradients_of(task: ShapePose, item: int) -> np.ndarray:
    """(2, side, side) float32, the gradients of a frame along x and y, slightly smoothed."""
    smooth = cv2.GaussianBlur(picture_of(task, item), (0, 0), 1.0)
    return np.stack([cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)])


def moved(state: State, position: np.ndarray) -> State:
    """The state of one episode at a position, at its end."""
    return replace(state, position=position[None], finished=np.ones(1, bool))


@baseline(TASK, "mean shape")
def mean_shape(train: ShapePose) -> Run:
    """The mean shape in the box at the start."""
    return lambda task, state: moved(state, np.asarray(state.position)[0])


@baseline(TASK, "mean shape in the true box")
def mean_shape_in_true_box(train: ShapePose) -> Run:
    """The mean shape in the box of the true points, which no method knows."""

    def run(task: ShapePose, state: State) -> State:
        if not task.labelled:
            raise ValueError(
                "images must have points for the mean shape in the true box, got images without labels"
            )
        truth, mean = state.truth[0], task.model.mean
        low, high = truth.min(axis=0), truth.max(axis=0)
        size = (high - low).max() / np.ptp(mean, axis=0).max()
        middle = (low + high) / 2 - (mean.min(axis=0) + mean.max(axis=0)) / 2 * size
        pose = [*(middle - state.middle[0]) / state.size[0], np.log(size / state.size[0])]
        position = np.zeros(len(task.reach))
        position[:3] = np.array(pose) / np.array(task.units[:3])
        return moved(state, position)

    return run


def sampled(maps: np.ndarray, places: np.ndarray, reach: int) -> np.ndarray:
    """Squares (J, C, 2 reach + 1, 2 reach + 1) of maps (C, H, W) about places (J, 2), bilinear."""
    grid = np.arange(-reach, reach + 1, dtype=np.float32)
    across = places[:, 0, None, None] + grid[None, None, :] + 0 * grid[None, :, None]
    down = places[:, 1, None, None] + grid[None, :, None] + 0 * grid[None, None, :]
    x, y = (part.reshape(len(places), -1).astype(np.float32) for part in (across, down))
    found = [cv2.remap(one, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for one in maps]
    return np.stack(found, axis=1).reshape(len(places), len(maps), len(grid), len(grid))


def normal(patches: np.ndarray) -> np.ndarray:
    """Patches (..., C, s, s) of gradients, divided by their mean length, as profiles of Cootes et al. are."""
    return np.asarray(patches / (np.abs(patches).mean(axis=(-3, -2, -1), keepdims=True) + 1e-3))


@baseline(TASK, "active shape model")
def active_shape_model(train: ShapePose) -> Run:
    """Each point goes to where the gradients about it are most like those in training; then the model is fitted.

    The gradients are of squares about the points, not of profiles across an outline, since points need not lie on one;
    the distance is Mahalanobis' with a variance for each pixel. Source: Cootes et al. (1995).
    """
    half, patches = PROFILE // 2, []
    for item in range(train.items):
        state = train.sample(np.random.default_rng(0), item)
        patches.append(normal(sampled(gradients_of(train, item), state.truth, half)))
    mean, spread = np.mean(patches, axis=0), np.var(patches, axis=0) + 0.05

    def run(task: ShapePose, state: State) -> State:
        maps, position = gradients_of(task, int(state.image[0])), np.asarray(state.position)[0]
        for reach in SEARCH:
            places = task.points(state, position[None])[0]
            wide = sampled(maps, places, half + reach)
            best, found = np.full(len(places), np.inf), places.copy()
            for row in range(2 * reach + 1):
                for column in range(2 * reach + 1):
                    part = wide[:, :, row : row + PROFILE, column : column + PROFILE]
                    cost = ((normal(part) - mean) ** 2 / spread).sum(axis=(1, 2, 3))
                    better = cost < best
                    best = np.where(better, cost, best)
                    found[better] = places[better] + [column - reach, row - reach]
            position = position_of(task, state, found)
        return moved(state, position)

    return run


def described(picture: np.ndarray, places: np.ndarray, side: float) -> np.ndarray:
    """(J * 36,), brightness about places (J, 2), each patch without its mean and of length 1."""
    line = (np.arange(CELLS) - (CELLS - 1) / 2) * side / CELLS
    across = (places[:, 0, None, None] + line[None, None, :] + 0 * line[None, :, None]).astype(np.float32)
    down = (places[:, 1, None, None] + line[None, :, None] + 0 * line[None, None, :]).astype(np.float32)
    smooth = cv2.blur(picture, (max(int(side / CELLS), 1),) * 2)
    found = cv2.remap(
        smooth,
        across.reshape(len(places), -1),
        down.reshape(len(places), -1),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    found = found - found.mean(axis=1, keepdims=True)
    return np.asarray(found / (np.linalg.norm(found, axis=1, keepdims=True) + 10.0)).ravel()


@baseline(TASK, "cascaded regression")
def cascaded_regression(train: ShapePose) -> Run:
    """Five linear regressions, one after the other, from what is seen about the points to how the pose should change.

    Source: Xiong & De la Torre (2013), "Supervised descent method", here for the parameters of the model.
    """
    pictures, rng = [picture_of(train, item) for item in range(train.items)], np.random.default_rng(0)
    states = [train.sample(rng, item) for item in range(train.items) for _ in range(STARTS)]
    rows = [batch.stack([state]) for state in states]
    wanted = np.array([position_of(train, row, row.truth[0]) for row in rows])
    position, steps = np.zeros_like(wanted), []
    for stage in range(CASCADE):
        seen = np.array(
            [
                described(pictures[int(row.image[0])], train.points(row, at[None])[0], WIDE[stage])
                for row, at in zip(rows, position, strict=True)
            ]
        )
        middle = seen.mean(axis=0)
        gap, rest = seen - middle, wanted - position
        kernel = gap @ gap.T
        ridge = RIDGE * np.trace(kernel) / len(kernel) * np.eye(len(kernel))
        weights = gap.T @ np.linalg.solve(kernel + ridge, rest - rest.mean(axis=0))
        steps.append((middle, weights, rest.mean(axis=0)))
        position = np.clip(position + gap @ weights + rest.mean(axis=0), -train.reach, train.reach)

    def run(task: ShapePose, state: State) -> State:
        picture, at = picture_of(task, int(state.image[0])), np.asarray(state.position)[0]
        for stage, (middle, weights, shift) in enumerate(steps):
            seen = described(picture, task.points(state, at[None])[0], WIDE[stage])
            at = np.clip(at + (seen - middle) @ weights + shift, -task.reach, task.reach)
        return moved(state, at)

    return run
