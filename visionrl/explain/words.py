"""A picture of where a model looked, word by word."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from visionrl.explain.saliency import overlay

PANEL, LONGEST = 160, 640  # shorter side of the image in a panel, and most of the longer one, pixels
LABEL = 24  # height of the line below it
GAP = 6
ACROSS = 6  # panels in a row


def attention_sheet(image: np.ndarray, maps: np.ndarray, words: Sequence[str]) -> np.ndarray:
    """(H, W, 3) uint8 RGB: the image, and then once for each word with the map of attention over it.

    Args:
        image: (C, H', W') uint8, of any size.
        maps: (K, h, w) at least 0, one a word; each is shown with its own highest value as full.
        words: K of them.

    Raises:
        ValueError: there are not as many maps as words.
    """
    if len(maps) != len(words):
        raise ValueError(f"maps must be one a word, got {len(maps)} for {len(words)} words")
    scale = min(PANEL / min(image.shape[1:]), LONGEST / max(image.shape[1:]))
    size = [max(round(side * scale), 1) for side in image.shape[1:]]
    shown = F.interpolate(torch.from_numpy(np.array(image))[None].float() / 255, size, mode="bilinear")
    shown = shown.clamp(0, 1)
    heat = F.interpolate(torch.from_numpy(np.array(maps, np.float32))[:, None], size, mode="bicubic")
    heat = heat[:, 0].clamp_min(0)
    heat = heat / heat.amax((1, 2), keepdim=True).clamp_min(1e-12)
    laid = [overlay(shown, torch.zeros(1, *size)), *(overlay(shown, one[None], 0.65) for one in heat)]
    panels = [
        _labelled(x[0].permute(1, 2, 0).numpy(), word) for x, word in zip(laid, ("", *words), strict=True)
    ]
    across = min(ACROSS, len(panels))
    blank = np.full_like(panels[0], 255)
    panels += [blank] * (-len(panels) % across)
    rows = [_beside(panels[start : start + across], 1) for start in range(0, len(panels), across)]
    return _beside(rows, 0)


def _labelled(picture: np.ndarray, word: str) -> np.ndarray:
    """A picture with a word below it, made smaller where it is long."""
    line = np.full((LABEL, picture.shape[1], 3), 255, np.uint8)
    (width, _), _ = cv2.getTextSize(word or " ", cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)
    size = 0.55 * min(1.0, (picture.shape[1] - 4) / max(width, 1))
    (width, _), _ = cv2.getTextSize(word or " ", cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    place = ((picture.shape[1] - width) // 2, LABEL - 8)
    cv2.putText(line, word, place, cv2.FONT_HERSHEY_SIMPLEX, size, (20, 20, 20), 1, cv2.LINE_AA)
    return np.concatenate([picture, line])


def _beside(pictures: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Pictures in a line with white gaps between them."""
    shape = list(pictures[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, 255, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(parts, axis)
