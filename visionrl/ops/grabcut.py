"""GrabCut on channel-first images; those who call it say where its labels come from: a box, seeds."""

from __future__ import annotations

import cv2
import numpy as np

from visionrl.ops.channels import rgb_last


def grabcut(image: np.ndarray, labels: np.ndarray, rounds: int) -> np.ndarray:
    """The object that models of its colours and of those around it tell apart (Rother, Kolmogorov & Blake, 2004).

    Args:
        image: (C, H, W) uint8, grey or RGB.
        labels: (H, W) uint8, OpenCV's: ``GC_FGD`` and ``GC_BGD`` where it is known, ``GC_PR_FGD`` and ``GC_PR_BGD``
            where it is guessed at first; there must be pixels of either side.
        rounds: how often the models and the mask are fitted in turn.

    Returns:
        (H, W) bool.
    """
    found = labels.copy()
    cv2.setRNGSeed(0)  # OpenCV draws the first clusters of its colour models
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(rgb_last(image), found, (0, 0, 1, 1), *models, rounds, cv2.GC_INIT_WITH_MASK)
    return np.isin(found, (cv2.GC_FGD, cv2.GC_PR_FGD))
