"""Films of where a policy attends: over its map of the image, and over what it remembers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from visionrl.agents.evaluation.policies import AgentPolicy
from visionrl.agents.evaluation.record import episode, write_film
from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.agents.policies.matching import MatchingMemory
from visionrl.agents.policies.sequence import AttentionMemory
from visionrl.core import batch
from visionrl.explain.saliency import overlay
from visionrl.ops import to_numpy

GAP, STRIP = 6, 40  # pixels: between the panels, height of the bars of what is remembered
BAR, DIM = (80, 180, 255), (60, 60, 60)


class AttentionStep(NamedTuple):
    """The attention of a policy in one step.

    Attributes:
        image: (C, H, W) uint8, its first image, or None.
        heat: (h, w), attention over the image's map, sums to 1, or None.
        weights: (T,), attention over the observations that it remembers, the newest last, or None.
    """

    image: np.ndarray | None
    heat: np.ndarray | None
    weights: np.ndarray | None


class AttentivePolicy:
    """A trained model as a policy for one episode, with notes of where it attends.

    Args:
        model: anything with SB3's ``predict``, whose extractor attends to places or to what it remembers.

    Attributes:
        notes: one for each step.

    Raises:
        ValueError: the model attends to nothing.
    """

    def __init__(self, model: Any) -> None:
        self.policy = AgentPolicy(model)
        parts = list(model.policy.modules())
        self.vision = next((m for m in parts if isinstance(m, VisionExtractor) and m.attentions), None)
        self.memory = next((m for m in parts if isinstance(m, AttentionMemory | MatchingMemory)), None)
        if self.vision is None and self.memory is None:
            raise ValueError(
                "agent must attend to be filmed, got one trained without --attention and --memory attention or matching"
            )
        self.notes: list[AttentionStep] = []

    def reset(self) -> None:
        """Forget; the next call is the first step."""
        self.policy.reset()
        self.notes.clear()

    def __call__(self, observations: Mapping[str, np.ndarray], task: Any, state: Any) -> Any:
        """Actions, as every ``Policy`` gives them, of a batch of one."""
        actions = self.policy(dict(observations), task, state)
        image = heat = weights = None
        if self.vision is not None:
            first, maps = next(iter(self.vision.attention_maps.items()))
            image = to_numpy(observations[first])[0]
            look: Any = self.vision.attentions[first]
            heat = look.heat(maps)[-1].cpu().numpy()  # the newest observation is the last
        if self.memory is not None:
            weights = self.memory.weights[0].cpu().numpy()
        if image is not None and image.ndim == 4 and heat is not None:  # a volume: middle slice, heat of all
            image, heat = image[:, image.shape[1] // 2], heat.sum(0)
        self.notes.append(AttentionStep(image, heat, weights))
        return actions


def attention_film(
    env_id: str,
    model: Any,
    path: Path,
    *,
    item: int = 0,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
) -> tuple[Path, list[AttentionStep]]:
    """Write an episode of the test split as a GIF: the task's picture, beside it where the policy attends.

    Over its image lies the attention to the places of its map, where it is above average; below it are bars of the
    attention to each observation that it remembers, the newest last.

    Args:
        env_id: id of the task.
        model: see ``AttentivePolicy``.
        path: the file.
        item: number of the task's item to start from.
        seed: of the first state.
        env_kwargs: constructor arguments of the task.

    Raises:
        ValueError: the model attends to nothing.
    """
    policy = AttentivePolicy(model)
    task, states = episode(
        env_id, policy, split="test", item=item, seed=seed, env_kwargs={**(env_kwargs or {})}
    )
    frames = [
        beside(task.draw(batch.each(state, lambda x: x[0])), shown)
        for state, shown in zip(states, policy.notes, strict=False)  # in the last state nothing is done
    ]
    return write_film(path, frames), policy.notes


def beside(frame: np.ndarray, shown: AttentionStep) -> np.ndarray:
    """A frame (H, W, 3) uint8 with a panel of the same height on its right: the policy's attention."""
    height = frame.shape[0]
    strip = 0 if shown.weights is None else min(STRIP, height // 4)
    if shown.image is None or shown.heat is None:
        panel = np.zeros((height - strip, height, 3), np.uint8)
    else:
        panel = heat_overlay(shown.image, shown.heat, height - strip)
    if shown.weights is not None:
        panel = np.concatenate([panel, bars(shown.weights, panel.shape[1], strip)])
    return np.concatenate([frame, np.full((height, GAP, 3), 255, np.uint8), panel], axis=1)


def heat_overlay(image: np.ndarray, heat: np.ndarray, height: int) -> np.ndarray:
    """An image (C, H, W) uint8 under attention (h, w), scaled to a height: (height, W', 3) uint8.

    Places get colour where they are attended to more than others on average.
    """
    width = max(round(height * image.shape[2] / image.shape[1]), 1)
    large = cv2.resize(np.moveaxis(image[:3], 0, -1), (width, height), interpolation=cv2.INTER_NEAREST)
    large = np.moveaxis(large.reshape(height, width, -1), -1, 0)
    more = np.clip(heat * heat.size - 1, 0, None)
    warm = (more / max(more.max(), 1)).astype(np.float32)
    warm = cv2.resize(warm, (width, height), interpolation=cv2.INTER_LINEAR)
    both = overlay(torch.as_tensor(np.ascontiguousarray(large))[None], torch.as_tensor(warm)[None])
    return np.moveaxis(both[0].numpy(), 0, -1)


def bars(weights: np.ndarray, width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8, a bar for each weight, full where it is 1."""
    picture = np.zeros((height, width, 3), np.uint8)
    edges = np.linspace(0, width, len(weights) + 1).round().astype(int)
    for weight, left, right in zip(weights, edges[:-1], edges[1:], strict=True):
        picture[:, left + 1 : right - 1] = DIM
        picture[height - round(height * float(weight)) :, left + 1 : right - 1] = BAR
    return picture
