"""Supervised segmentation: a small U-Net on what an agent sees at first, as a row to compare agents with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium.utils.seeding import np_random
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from visionrl.core import batch
from visionrl.core.registry import Run
from visionrl.layers.unet import UNet
from visionrl.ops import to_numpy
from visionrl.ops.masks import iou
from visionrl.supervised.trainer import Trainer, TrainerConfig

CHUNK = 64  # images that are segmented at a time


@dataclass(frozen=True, kw_only=True)
class SegmentationConfig(TrainerConfig):
    """One training run of a segmentation network."""

    epochs: int = 40
    batch_size: int = 16
    lr: float = 5e-3


class SegmentationTrainer(Trainer):
    """The training of a U-Net; the best weights are those of the highest mean IoU on the validation split.

    The loss is cross-entropy and one minus the soft Dice. Training images are mirrored and turned by right angles.

    Args:
        config: of the run.
        train: images (N, C, S, S) uint8 and masks (N, S, S) bool of the training split.
        val: likewise of the validation split.
    """

    score_name = "iou"

    def __init__(
        self, config: TrainerConfig, train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor]
    ) -> None:
        self.train, self.val = train, val
        super().__init__(config, UNet(train[0].shape[1]).to(config.device), len(train[0]))

    def loss(self, rows: Tensor) -> Tensor:
        """Cross-entropy and Dice loss of some images, mirrored and turned at random."""
        images, masks = (some[rows] for some in self.train)
        kind = int(torch.randint(8, (1,), generator=self.chance))
        images, masks = (turned(some, kind).float().to(self.config.device) for some in (images, masks))
        with self.autocast():
            logits = self.model(images / 255)[:, 0]
            likely = logits.sigmoid()
            dice = 2 * (likely * masks).sum((1, 2)) / (likely.sum((1, 2)) + masks.sum((1, 2))).clamp_min(1)
            return F.binary_cross_entropy_with_logits(logits, masks) + (1 - dice).mean()

    def score(self) -> float:
        """Mean IoU on the validation split."""
        return float(iou(predict_masks(self.model, self.val[0]), self.val[1]).mean())


def fit_segmentation(
    train: Any,
    val: Any,
    config: TrainerConfig | None = None,
    on_epoch: Callable[[str], None] = lambda line: None,
) -> Run:
    """A supervised U-Net of some 65,000 parameters that sees what the agent sees at first, and says the mask at once.

    For ``Segmentation-v0`` (the image and the user's clicks) and ``ContourSegmentation-v0`` (the window around the
    object). It learns from the same masks that agents are rewarded by.

    Args:
        train: the task on its training split.
        val: on its validation split, which chooses the epoch.
        config: of the training; None for 40 epochs of batches of 16.
        on_epoch: is given a line after each epoch.

    Returns:
        A function that solves an episode, see ``visionrl.agents.compare(..., methods=)``.

    Raises:
        ValueError: the task has no masks.
    """
    config = config or SegmentationConfig()
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    work = SegmentationTrainer(config, first_observations(train), first_observations(val))
    for line in work.run(Console(quiet=True)):
        on_epoch(line)
    work.model.load_state_dict(work.best)
    return segmentation_policy(work.model.eval())


def segmentation_policy(net: torch.nn.Module) -> Run:
    """Episodes that end at once with the mask of a network."""

    def run(task: Any, state: Any) -> Any:
        masks = predict_masks(net, torch.from_numpy(seen_images(task, state))).numpy()
        return with_mask(task, state, masks)

    return run


def first_observations(task: Any) -> tuple[Tensor, Tensor]:
    """First images of each item of a task, (N, C, S, S) uint8, and the true masks, (N, S, S) bool."""
    states = [task.sample(np_random(item)[0], item) for item in range(task.items)]
    state = batch.stack(states)
    return torch.from_numpy(seen_images(task, state)), torch.from_numpy(true_masks(task, state))


def seen_images(task: Any, state: Any) -> np.ndarray:
    """(B, C, S, S) uint8, the images of an observation that are as large as the true mask, one above the other."""
    side = true_masks(task, state).shape[-1]
    images = [to_numpy(value) for value in task.observe(state).values() if value.shape[-2:] == (side, side)]
    return np.concatenate(images, axis=1)


def true_masks(task: Any, state: Any) -> np.ndarray:
    """(B, S, S) bool, from the bank of a task.

    Raises:
        ValueError: the task has none.
    """
    table = getattr(task.bank, "truth", None) or getattr(task.bank, "masks", None)
    item = getattr(state, "object", getattr(state, "image", None))
    if table is None or item is None:
        raise ValueError(f"task must be one of masks, got {type(task).__name__}")
    return table.array[to_numpy(item)]


def with_mask(task: Any, state: Any, masks: np.ndarray) -> Any:
    """The last state of episodes that end with masks (B, S, S) bool."""
    quality_now = iou(masks, true_masks(task, state))
    finished = np.ones_like(state.finished)
    if not hasattr(state, "quality"):
        return replace(state, mask=masks, iou=quality_now, finished=finished)
    quality = state.quality.copy()
    quality[np.arange(len(masks)), state.steps] = quality_now
    return replace(state, mask=masks, quality=quality, finished=finished)


@torch.no_grad()
def predict_masks(net: torch.nn.Module, images: Tensor) -> Tensor:
    """(N, S, S) bool, where a network sees the object in images (N, C, S, S) uint8."""
    net.eval()
    device = next(net.parameters()).device
    return torch.cat([net(some.to(device) / 255)[:, 0].cpu() > 0 for some in images.split(CHUNK)])


def turned(images: Tensor, kind: int) -> Tensor:
    """Images (..., S, S) turned by ``kind % 4`` right angles, mirrored from 4 on."""
    some = torch.rot90(images, kind % 4, (-2, -1))
    return some.flip(-1) if kind >= 4 else some
