"""Restoration without learning: nothing at all, one chain of tools for all pictures, denoisers of the field."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from visionrl.core import baseline, batch
from visionrl.envs.enhancement.restoration import Restoration, State
from visionrl.metrics.image_quality import as_levels, psnr

Run = Callable[[Restoration, State], State]
PATCHES = 32  # on which methods are chosen
BEAM = 12  # chains that are continued
WEIGHTS = (0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.17)  # of total variation, images in [0, 1]
STRENGTHS = (3, 6, 10, 15, 20, 30)  # of non-local means


@baseline("Restoration-v0", "damaged picture", learns=False)
def identity(train: None) -> Run:
    """The picture as it is."""
    return lambda task, state: state


@baseline("Restoration-v0", "best fixed chain")
def best_fixed_chain(train: Restoration) -> Run:
    """The chain of tools that gains most on average over 32 training patches, by beam search."""
    start = training_patches(train)
    chains: dict[tuple[int, ...], State] = {(): start}
    best: tuple[int, ...] = ()
    best_db = float(train.measure(start).mean())
    for _ in range(train.steps):
        longer = {
            (*chain, k): train.edit(state, everywhere(train, k, PATCHES))
            for chain, state in chains.items()
            for k in range(train.operators)
        }
        scores = {chain: float(train.measure(state).mean()) for chain, state in longer.items()}
        order = sorted(scores, key=lambda chain: -scores[chain])
        if scores[order[0]] > best_db:
            best, best_db = order[0], scores[order[0]]
        chains = {chain: longer[chain] for chain in order[:BEAM]}

    def run(task: Restoration, state: State) -> State:
        for number in best:
            state = task.step(state, everywhere(task, number, len(state.image)))
        return state

    return run


@baseline("Restoration-v0", "non-local means")
def non_local_means(train: Restoration) -> Run:
    """Non-local means (Buades et al., 2005) by OpenCV, of the strength that is best over 32 training patches."""
    start = training_patches(train)
    scores = [
        float(psnr(denoised(start.now, h), train.patch(start.image, start.corner)).mean()) for h in STRENGTHS
    ]
    best = STRENGTHS[int(np.argmax(scores))]

    return lambda task, state: task.finish(state, now=denoised(state.now, best))


def everywhere(task: Restoration, number: int, count: int) -> np.ndarray:
    """(count, ...) int64, the action of one tool for whole patches."""
    return np.full((count, *(task.action_space.shape or ())), number)


@baseline("Restoration-v0", "total variation")
def total_variation(train: Restoration) -> Run:
    """Denoising by total variation (Chambolle, 2004) by scikit-image, of the weight best over 32 training patches."""
    start = training_patches(train)
    true = train.patch(start.image, start.corner)
    scores = [float(psnr(smoothed(start.now, weight), true).mean()) for weight in WEIGHTS]
    best = WEIGHTS[int(np.argmax(scores))]
    return lambda task, state: task.finish(state, now=smoothed(state.now, best))


def smoothed(images: np.ndarray, weight: float) -> np.ndarray:
    """Images (B, C, H, W) after denoising by total variation."""
    from skimage.restoration import denoise_tv_chambolle  # takes half a second to import

    found = [denoise_tv_chambolle(image / 255, weight=weight, channel_axis=0) for image in images]
    return 255 * np.stack(found).astype(np.float32)


def denoised(images: np.ndarray, strength: float) -> np.ndarray:
    """Images (B, C, H, W) after non-local means."""
    found = []
    for image in as_levels(images).astype(np.uint8):
        pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
        if len(image) == 3:  # OpenCV takes blue, green, red
            blue_first = np.ascontiguousarray(pixels[..., ::-1])
            smooth = cv2.fastNlMeansDenoisingColored(blue_first, None, strength, strength, 5, 15)[..., ::-1]
        else:
            smooth = cv2.fastNlMeansDenoising(pixels, None, strength, 5, 15)
        found.append(smooth.reshape(pixels.shape).transpose(2, 0, 1))
    return np.stack(found).astype(np.float32)


def training_patches(task: Restoration) -> State:
    """First states of 32 episodes of the training split."""
    rng = np.random.default_rng(0)
    return batch.stack([task.sample(rng, number % task.items) for number in range(PATCHES)])
