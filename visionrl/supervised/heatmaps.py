"""Supervised heat maps: a small U-Net finds every point of a shape in the image, as a row to compare agents with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import numpy as np
import torch
from annotated_types import Ge, Gt, Interval
from rich.console import Console
from torch import Tensor, nn

from visionrl.backbones import make_backbone
from visionrl.banks.shape_frames import ROOM
from visionrl.baselines.shapes import moved, picture_of
from visionrl.core import batch
from visionrl.core.registry import Run
from visionrl.envs.pose.shape import ShapePose, State, position_of
from visionrl.supervised.trainer import Trainer, TrainerConfig

CHUNK = 64  # images whose points are found at a time
REACH = 3  # standard deviations of the targets: how far from its peak a map is averaged


@dataclass(frozen=True, kw_only=True)
class HeatmapConfig(TrainerConfig):
    """One training run of a network of heat maps."""

    epochs: int = 130
    batch_size: int = 8
    lr: float = 5e-3
    patience: Annotated[int, Ge(1)] = 1000
    backbone: str = "unet"
    """Name of the network that reads the images; a linear layer on its map says where each point is."""
    width: Annotated[int, Ge(4)] = 12
    """Channels of the finest map of the U-Net, a multiple of 4."""
    spread: Annotated[float, Gt(0)] = 2.0
    """Standard deviation of the targets, pixels of the frame."""
    turn: Annotated[float, Interval(ge=0, le=45)] = 10.0
    """Training images are turned by up to so many degrees, either way."""
    grow: Annotated[float, Interval(ge=0, le=0.5)] = 0.1
    """Training images are made smaller or larger by up to this share, beside what the box at the start does."""
    contrast: Annotated[float, Interval(ge=0, le=1)] = 0.2
    """Brightness is multiplied and shifted by up to this share in training."""


class HeatmapNet(nn.Module):
    """A backbone, and a linear layer on each place of its map.

    Args:
        count: points.
        backbone: its name.
        options: of the backbone.
    """

    def __init__(self, count: int, backbone: str = "unet", **options: Any) -> None:
        super().__init__()
        self.backbone = make_backbone(backbone, 1, **options)
        self.head = nn.Conv2d(self.backbone.num_channels, count, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, J, h, w) of where each of J points is, from images (B, 1, H, W) in [0, 1]."""
        return self.head(self.backbone.forward_features(images))


class HeatmapTrainer(Trainer):
    """The training of a network of heat maps; the best weights have the least error on the validation split.

    The loss is the cross-entropy of each map, a distribution over places, with a Gaussian about the point. Each epoch
    shows each image once, from a box at the start that is drawn anew.

    Args:
        config: of the run.
        train: the task on its training split.
        val: on its validation split.
    """

    score_name = "score"
    config: HeatmapConfig
    model: HeatmapNet

    def __init__(self, config: HeatmapConfig, train: ShapePose, val: ShapePose) -> None:
        self.task, self.val = train, val
        self.pictures = [picture_of(train, item) for item in range(train.items)]
        self.rng = np.random.default_rng(config.seed)
        rows = [val.sample(np.random.default_rng(item), item) for item in range(val.items)]
        self.checked = [batch.stack([row]) for row in rows]
        options = {"width": config.width} if config.backbone == "unet" else {}
        model = HeatmapNet(len(train.names), config.backbone, **options)
        super().__init__(config, model.to(config.device), train.items)

    def loss(self, rows: Tensor) -> Tensor:
        """Cross-entropy of the maps of some images, changed at random."""
        seen, wanted = zip(*[self.changed(int(row)) for row in rows], strict=True)
        images = torch.from_numpy(np.stack(seen)[:, None]).to(self.config.device)
        places = torch.from_numpy(np.stack(wanted)).float().to(self.config.device)
        with self.autocast():
            logits = self.model(images)
        target = gaussians(places, logits.shape[-2:], images.shape[-1], self.config.spread)
        return -(target * logits.float().flatten(2).log_softmax(-1)).sum(-1).mean()

    def changed(self, item: int) -> tuple[np.ndarray, np.ndarray]:
        """A training image (side, side) in [0, 1] as seen from some box, and where its points are, (J, 2)."""
        config, rng = self.config, self.rng
        state = batch.stack([self.task.sample(rng, item)])
        turn = np.radians(config.turn) * rng.uniform(-1, 1)
        way = start_square(self.task, state, turn, np.exp(config.grow * rng.uniform(-1, 1)))
        gain, shift = 1 + config.contrast * rng.uniform(-1, 1, 2)
        image = (seen_through(self.pictures[item], way) * gain + shift - 1).clip(0, 1)
        return image.astype(np.float32), (np.asarray(state.truth)[0] - way[:, 2]) @ np.linalg.inv(
            way[:, :2]
        ).T

    def score(self) -> float:
        """1 - NME of the points found on the validation split."""
        found = find_points(self.model, self.val, self.checked, self.config.spread)
        gaps = [
            np.linalg.norm(places - state.truth[0], axis=1).mean() / float(state.norm[0])
            for places, state in zip(found, self.checked, strict=True)
        ]
        return 1 - float(np.mean(gaps))


def fit_heatmaps(
    train: ShapePose,
    val: ShapePose,
    config: HeatmapConfig | None = None,
    on_epoch: Callable[[str], None] = lambda line: None,
) -> Run:
    """A supervised U-Net that sees the square about the box at the start, and says at once where each point is.

    For ``ShapePose-v0``. It learns from the same points that agents are rewarded by; the point model is then fitted
    to what it finds, so that its shapes are those that an agent can reach.

    Args:
        train: the task on its training split.
        val: on its validation split, which chooses the epoch.
        config: of the training; None for the defaults.
        on_epoch: is given a line after each epoch.

    Returns:
        A function that solves an episode, see ``visionrl.agents.compare(..., methods=)``.
    """
    net, config = train_heatmaps(train, val, config, on_epoch), config or HeatmapConfig()
    return heatmap_policy(net, config.spread)


def train_heatmaps(
    train: ShapePose,
    val: ShapePose,
    config: HeatmapConfig | None = None,
    on_epoch: Callable[[str], None] = lambda line: None,
) -> HeatmapNet:
    """The network itself, see ``fit_heatmaps``."""
    config = config or HeatmapConfig()
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    work = HeatmapTrainer(config, train, val)
    for line in work.run(Console(quiet=True)):
        on_epoch(line)
    work.model.load_state_dict(work.best)
    return work.model.eval()


def heatmap_policy(net: HeatmapNet, spread: float) -> Run:
    """Episodes that end at once with the model fitted to the points of a network."""

    def run(task: ShapePose, state: State) -> State:
        found = find_points(net, task, [state], spread)[0]
        return moved(state, position_of(task, state, found))

    return run


def start_square(task: ShapePose, state: State, turn: float = 0.0, grow: float = 1.0) -> np.ndarray:
    """(2, 3), from the square about one episode's box at the start, as large as a frame, to its frame.

    The square is turned by some radians, and its content ``grow`` times as large.
    """
    box = task.points(state, np.zeros_like(np.asarray(state.position)))[0]
    low, high = box.min(axis=0), box.max(axis=0)
    scale = ROOM * float((high - low).max()) / task.side
    centre = (task.side - 1) / 2
    cosine, sine = np.cos(turn) * scale / grow, np.sin(turn) * scale / grow
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([linear, (low + high) / 2 - linear @ [centre, centre]])


def seen_through(picture: np.ndarray, way: np.ndarray) -> np.ndarray:
    """(side, side) float32 in [0, 1], what a square shows of a frame; its border is continued."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = picture.shape[::-1]
    return cv2.warpAffine(picture, way, size, flags=flags, borderMode=cv2.BORDER_REPLICATE) / np.float32(255)


def centres(length: int, side: int, like: Tensor) -> Tensor:
    """(length,), where the cells of a map lie along an axis, pixels of an image of a side."""
    cells = torch.arange(length, dtype=torch.float32, device=like.device)
    return (cells + 0.5) * (side / length) - 0.5


def gaussians(places: Tensor, size: tuple[int, ...], side: int, spread: float) -> Tensor:
    """(B, J, h * w), distributions over the cells of maps about places (B, J, 2), pixels of an image of a side.

    That of a place outside is at the cell nearest to it.
    """
    across = centres(size[1], side, places) - places[..., 0, None]
    down = centres(size[0], side, places) - places[..., 1, None]
    energy = -(down[..., :, None] ** 2 + across[..., None, :] ** 2) / (2 * spread**2)
    return energy.flatten(2).softmax(-1)


def read_out(logits: Tensor, side: int, spread: float) -> Tensor:
    """(B, J, 2) places, pixels: the mean of each map about its peak, three standard deviations to each side."""
    likely = logits.flatten(2).softmax(-1).view_as(logits)
    best = likely.flatten(2).argmax(-1)
    x, y = centres(logits.shape[3], side, logits), centres(logits.shape[2], side, logits)
    peak_x, peak_y = x[best % len(x)][..., None], y[best // len(x)][..., None]
    across, down = (x - peak_x).abs() <= REACH * spread, (y - peak_y).abs() <= REACH * spread
    near = likely * (down[..., :, None] & across[..., None, :])
    near = near / near.sum((2, 3), keepdim=True)
    return torch.stack([(near.sum(2) * x).sum(-1), (near.sum(3) * y).sum(-1)], -1)


@torch.no_grad()
def find_points(net: HeatmapNet, task: ShapePose, states: list[State], spread: float) -> list[np.ndarray]:
    """Where a network sees the points in each of some episodes: (J, 2) each, pixels of its frame."""
    net.eval()
    device, found = next(net.parameters()).device, []
    for first in range(0, len(states), CHUNK):
        some = states[first : first + CHUNK]
        ways = [start_square(task, state) for state in some]
        seen = [
            seen_through(picture_of(task, int(state.image[0])), way)
            for state, way in zip(some, ways, strict=True)
        ]
        logits = net(torch.from_numpy(np.stack(seen)[:, None]).to(device)).cpu()
        places = read_out(logits, task.side, spread).double().numpy()
        found += [one @ way[:, :2].T + way[:, 2] for one, way in zip(places, ways, strict=True)]
    return found
