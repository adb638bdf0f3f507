"""A warm start for policies of pixels: training knows what every tool would gain at every pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visionrl.agents.imitation.targets import Fit
from visionrl.agents.policies.pixelwise import SHARPNESS
from visionrl.ops import to_numpy

BATCH = 4  # images
KEPT = 256  # images from which batches are drawn
AROUND = 15  # side of the square over which the size of gains is averaged, pixels
LEAST = 1e-3  # mean square of gains, over that of all images, that is added to it
CONSTANT = 0.1  # share of rows in which all pixels take one tool, drawn at random


def clone_pixels(
    model: Any,
    steps: int,
    rate: float | None,
    repeats: int | None = None,
    on_step: Callable[[int, float], None] = lambda done, loss: None,
) -> None:
    """Teach a ``PixelPolicy`` the task's ``gain_maps``, in the states that it visits itself.

    Logits are gains over a temperature, so the policy takes the tool that gains most where it is sure; the value of a
    pixel is what its policy gains on average. The learning rate falls to 0.

    Args:
        model: ``PixelPPO`` in an ``SB3VecEnv``; the episodes in it are left behind.
        steps: states to learn from, all rows together.
        rate: first learning rate; default the algorithm's.
        repeats: how often each state is learnt from, on average; default once.
        on_step: called after each step with the number of states met, and the last loss.
    """
    env, rng, policy = model.get_env(), np.random.default_rng(model.seed), model.policy
    venv, fit = env.unwrapped.venv, Fit(model, steps, rate, BATCH, repeats or 1)
    obs, done, squares = env.reset(), 0, 0.0
    count, tools = -(-KEPT // env.num_envs) * env.num_envs, policy.actor_head.out_channels
    seen = {key: np.zeros((count, *part.shape[1:]), part.dtype) for key, part in obs.items()}
    gains = np.zeros((count, tools, *model.action_space.shape), np.float16)

    def batch_loss() -> Tensor:
        drawn = rng.integers(min(done, count), size=BATCH)
        batch = {key: part[drawn] for key, part in seen.items()}
        return gain_loss(policy, batch, gains[drawn].astype(np.float32), (squares / done) ** 0.5 or 1.0)

    while done < steps:
        rows = slice(done % count, done % count + env.num_envs)
        gains[rows] = found = to_numpy(venv.task.gain_maps(venv.state))
        squares += float((found**2).mean()) * env.num_envs
        for key, part in obs.items():
            seen[key][rows] = part
        actions = policy.predict(obs, deterministic=bool(rng.random() < 0.5))[0]
        for row in np.flatnonzero(rng.random(env.num_envs) < CONSTANT):
            actions[row] = rng.integers(tools)
        obs, done = env.step(actions)[0], done + env.num_envs
        fit.catch_up(done, batch_loss)
        on_step(min(done, steps), fit.loss)
    model._last_obs = None  # learning begins with new episodes


def gain_loss(policy: Any, obs: dict[str, np.ndarray], gains: np.ndarray, scale: float) -> Tensor:
    """Squared errors of the gains over the image's best tool, and of what the policy gains on average, over the scale.

    Of a pixel, the gains of all tools share most of their noise: a difference of two says more than either. Where
    gains are large, around edges and while the noise is strong, they are noise for the most part and count less.

    Args:
        policy: a ``PixelPolicy``.
        obs: of B images.
        gains: (B, n, H, W).
        scale: root of their mean square, over many images.
    """
    logits, values = policy.maps(policy.obs_to_tensor(obs)[0])
    right = torch.as_tensor(gains, device=logits.device) / scale
    own = (logits.detach().softmax(dim=1) * right).sum(dim=1)
    best = right.mean(dim=(2, 3), keepdim=True).argmax(dim=1, keepdim=True)
    over = right - right.gather(1, best.expand(-1, -1, *right.shape[2:]))
    size = F.avg_pool2d((over**2).mean(dim=1, keepdim=True), AROUND, 1, AROUND // 2, count_include_pad=False)
    error = (logits / SHARPNESS - over) ** 2 / (size + LEAST).sqrt()
    return error.mean() + F.mse_loss(values / scale, own)
