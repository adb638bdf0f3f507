"""Supervised segmentation: a small U-Net on what an agent sees at first, as a row to compare agents with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Interval
from gymnasium.utils.seeding import np_random
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.backbones import make_backbone
from visionrl.backbones._weights import write_tensors
from visionrl.core import batch
from visionrl.core.registry import Run
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
    backbone: str = "unet"
    """Name of the network that reads the images; a linear layer on its map says the mask."""
    recolour: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Strength of the random changes of colours in training, for data where colours say nothing by themselves; 0 is
    none."""


class MaskNet(nn.Module):
    """A backbone, and a linear layer on each place of its map.

    Args:
        in_channels: of the images.
        backbone: its name.

    Attributes:
        backbone: what an agent may begin with, ``TrainConfig.weights``.
    """

    def __init__(self, in_channels: int, backbone: str = "unet") -> None:
        super().__init__()
        self.backbone = make_backbone(backbone, in_channels)
        self.head = nn.Conv2d(self.backbone.num_channels, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 1, H, W) of images (B, C, H, W) in [0, 1]."""
        coarse = self.head(self.backbone.forward_features(images))
        return F.interpolate(coarse, images.shape[-2:], mode="bilinear", align_corners=False)


class SegmentationTrainer(Trainer):
    """The training of a network of masks; the best weights have the highest mean IoU on the validation split.

    The loss is cross-entropy and one minus the soft Dice. Training images are mirrored, turned by right angles, and
    recoloured if asked for.

    Args:
        config: of the run.
        train: images (N, C, S, S) uint8 and masks (N, S, S) bool of the training split.
        val: likewise of the validation split.
        colours: how many of the C channels are the colours of the image; the others are drawn masks.
    """

    score_name = "iou"
    config: SegmentationConfig
    model: MaskNet

    def __init__(
        self,
        config: SegmentationConfig,
        train: tuple[Tensor, Tensor],
        val: tuple[Tensor, Tensor],
        colours: int,
    ) -> None:
        self.train, self.val, self.colours = train, val, colours
        super().__init__(config, MaskNet(train[0].shape[1], config.backbone).to(config.device), len(train[0]))

    def loss(self, rows: Tensor) -> Tensor:
        """Cross-entropy and Dice loss of some images, changed at random."""
        images, masks = (some[rows] for some in self.train)
        kind = int(torch.randint(8, (1,), generator=self.chance))
        images, masks = (turned(some, kind).float() for some in (images, masks))
        shown = recoloured(images[:, : self.colours] / 255, self.config.recolour, self.chance)
        images = torch.cat([shown, images[:, self.colours :] / 255], dim=1).to(self.config.device)
        masks = masks.to(self.config.device)
        with self.autocast():
            logits = self.model(images)[:, 0]
            likely = logits.sigmoid()
            dice = 2 * (likely * masks).sum((1, 2)) / (likely.sum((1, 2)) + masks.sum((1, 2))).clamp_min(1)
            return F.binary_cross_entropy_with_logits(logits, masks) + (1 - dice).mean()

    def score(self) -> float:
        """Mean IoU on the validation split."""
        return float(iou(predict_masks(self.model, self.val[0]), self.val[1]).mean())


def fit_segmentation(
    train: Any,
    val: Any,
    config: SegmentationConfig | None = None,
    on_epoch: Callable[[str], None] = lambda line: None,
    weights: Path | None = None,
) -> Run:
    """A supervised U-Net of some 113,000 parameters that sees what the agent sees at first, and says the mask at once.

    For ``Segmentation-v0`` (the image and the user's clicks) and ``ContourSegmentation-v0`` (the window around the
    object). It learns from the same masks that agents are rewarded by.

    Args:
        train: the task on its training split.
        val: on its validation split, which chooses the epoch.
        config: of the training; None for 40 epochs of batches of 16.
        on_epoch: is given a line after each epoch.
        weights: file for the backbone's tensors, as agents take them (``TrainConfig.weights``); None for no file.

    Returns:
        A function that solves an episode, see ``visionrl.agents.compare(..., methods=)``.

    Raises:
        ValueError: the task has no masks.
    """
    config = config or SegmentationConfig()
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    colours = train.bank.channels
    work = SegmentationTrainer(config, first_observations(train), first_observations(val), colours)
    for line in work.run(Console(quiet=True)):
        on_epoch(line)
    work.model.load_state_dict(work.best)
    if weights is not None:
        write_tensors(weights, work.model.backbone.state_dict())
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


def recoloured(images: Tensor, strength: float, chance: torch.Generator) -> Tensor:
    """Images (B, C, S, S) in [0, 1] whose colours are exchanged, inverted, mixed, brightened and stretched at random.

    What is left is which colours are alike, and that is what tells an object from what is around it: objects of
    unknown photographs have other colours. With a strength of 0 they stay as they are.
    """
    if not strength:
        return images
    count, channels = images.shape[:2]
    order = torch.stack([torch.randperm(channels, generator=chance) for _ in range(count)])
    mix = torch.eye(channels)[order] * (
        1 - 2 * (torch.rand(count, channels, 1, generator=chance) < 0.3 * strength)
    )
    mix = mix + 0.25 * strength * torch.randn(count, channels, channels, generator=chance)
    gain = torch.exp(0.35 * strength * torch.randn(count, 1, 1, generator=chance))
    shift = 0.15 * strength * torch.randn(count, channels, 1, 1, generator=chance)
    contrast = torch.einsum("bij,bjhw->bihw", mix * gain, images - images.mean((2, 3), keepdim=True))
    return (0.5 + contrast + shift).clamp(0, 1)
