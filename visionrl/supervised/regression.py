"""Supervised regression of landmarks: a network predicts the offset to a landmark from an agent's windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium.utils.seeding import np_random
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.core import batch
from visionrl.core.registry import Run

BATCH = 128
LOOKS = 2  # at each stage
HIDDEN = 64


class Regressor(nn.Module):
    """``VisionExtractor`` and two layers that regress the offset to the landmark, in steps of the stage.

    Args:
        space: of the observations.
        axes: 2 for images, 3 for volumes.
        features: arguments of ``VisionExtractor``.
    """

    def __init__(self, space: Any, axes: int, **features: Any) -> None:
        super().__init__()
        self.flat = {key for key, box in space.items() if len(box.shape) == 3}
        self.look = VisionExtractor(space, **features)
        self.way = nn.Sequential(
            nn.Linear(self.look.features_dim, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, axes)
        )

    def forward(self, seen: dict[str, np.ndarray]) -> Tensor:
        """(B, axes) from observations of a task, with images and volumes from 0 to 255."""
        given = {key: torch.as_tensor(value).float() for key, value in seen.items()}
        return self.way(self.look({k: x / 255 if k in self.flat else x for k, x in given.items()}))


def fit_regression(
    train: Any,
    updates: int = 2500,
    seed: int = 0,
    rate: float = 1e-3,
    on_update: Callable[[int, float], None] = lambda done, loss: None,
    **features: Any,
) -> Run:
    """A supervised network of an agent's size, on an agent's windows, as a row to compare agents with.

    For ``LandmarkLocalization-v0`` and ``LandmarkLocalization3D-v0``. It learns, at every stage, the way to the
    landmark: at the first from where episodes start, at the others from places around the landmark, spread by the
    step size of the stage before. Then it looks twice at each stage and goes where it says, so it needs 6 windows
    where an agent needs some 25. The loss is Huber's, the learning rate falls to 0.

    Args:
        train: the task on its training split.
        updates: steps of the optimizer, each on 128 places.
        seed: of everything.
        rate: learning rate at first.
        on_update: is told, after each step, its number and the loss.
        features: arguments of ``VisionExtractor``.

    Returns:
        A function that solves an episode, see ``visionrl.agents.compare(..., methods=)``.
    """
    torch.manual_seed(seed)
    rng = np_random(seed)[0]
    axes = draw(train, rng, 1)[1].shape[1]
    net = Regressor(train.observation_space, axes, **features)
    optimizer = torch.optim.Adam(net.parameters(), rate)
    for done in range(updates):
        optimizer.param_groups[0]["lr"] = rate * (1 - done / updates)
        state, way = draw(train, rng, BATCH)
        loss = F.smooth_l1_loss(net(train.observe(state)), torch.as_tensor(way).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        on_update(done + 1, loss.item())
    return regression_policy(net.eval())


def regression_policy(net: Regressor) -> Run:
    """Greedy localization that moves by the offsets a network predicts."""

    @torch.no_grad()
    def run(task: Any, state: Any) -> Any:
        for stage, step in enumerate(task.step_sizes):
            for _ in range(LOOKS):
                state = move_to(state, np.rint(state.position), np.full_like(state.stage, stage))
                way = net(task.observe(state)).double().numpy()
                state = move_to(state, state.position + way * step, state.stage)
        return replace(state, finished=np.ones_like(state.finished))

    return run


def draw(task: Any, rng: np.random.Generator, count: int) -> tuple[Any, np.ndarray]:
    """Training states, and the offset to the landmark in each, (count, axes), in steps of its stage."""
    items = rng.integers(task.items, size=count).tolist()
    state = batch.stack([task.sample(rng, item) for item in items])
    stage = rng.integers(len(task.step_sizes), size=count)
    steps = np.array(task.step_sizes, float)
    spread = rng.normal(size=state.position.shape) * steps[np.maximum(stage - 1, 0)][:, None]
    place = np.where(stage[:, None] > 0, np.rint(state.landmark + spread), state.position)
    state = move_to(state, place, stage)
    return state, (state.landmark - state.position) / steps[stage][:, None]


def move_to(state: Any, place: np.ndarray, stage: np.ndarray) -> Any:
    """Move a state to a position, clipped to the image or volume, without its trail."""
    least, most = state.low, state.high
    place = np.clip(place, least, most)
    trail = np.full_like(state.trail, np.nan)
    trail[:, -1] = place
    return replace(state, position=place, stage=stage, trail=trail)
