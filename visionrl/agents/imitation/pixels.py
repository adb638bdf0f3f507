"""A warm start for policies of pixels: training knows what every tool would gain at every pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from visionrl.ops import to_numpy

BATCH = 4  # images
KEPT = 256  # images from which batches are drawn
CONSTANT = 0.1  # share of rows in which all pixels take one tool, drawn at random
TEMPERATURE = 0.02  # of gains that are taken for logits


def clone_pixels(
    model: Any,
    steps: int,
    rate: float | None,
    on_step: Callable[[int, float], None] = lambda done, loss: None,
) -> None:
    """Teach a ``PixelPolicy`` the task's ``gain_maps``, in the states that it visits itself.

    Logits are gains over a temperature, so the policy takes the tool that gains most where it is sure; the value of a
    pixel is what its policy gains on average. The learning rate falls to 0.

    Args:
        model: ``PixelPPO`` in an ``SB3VecEnv``; the episodes in it are left behind.
        steps: states to learn from, all rows together; each is learnt from about once.
        rate: first learning rate; default the algorithm's.
        on_step: called after each step with the number of states met, and the last loss.
    """
    env, rng, policy = model.get_env(), np.random.default_rng(model.seed), model.policy
    venv, first = env.unwrapped.venv, model.lr_schedule(1.0) if rate is None else rate
    optimizer = torch.optim.Adam(policy.parameters(), first)
    obs, done, updates, loss = env.reset(), 0, 0, float("nan")
    count, tools = -(-KEPT // env.num_envs) * env.num_envs, policy.actor_head.out_channels
    seen = {key: np.zeros((count, *part.shape[1:]), part.dtype) for key, part in obs.items()}
    gains = np.zeros((count, tools, *model.action_space.shape), np.float16)
    while done < steps:
        rows = slice(done % count, done % count + env.num_envs)
        gains[rows] = to_numpy(venv.task.gain_maps(venv.state))
        for key, part in obs.items():
            seen[key][rows] = part
        actions = policy.predict(obs, deterministic=bool(rng.random() < 0.5))[0]
        for row in np.flatnonzero(rng.random(env.num_envs) < CONSTANT):
            actions[row] = rng.integers(tools)
        obs, done = env.step(actions)[0], done + env.num_envs
        policy.set_training_mode(True)
        for group in optimizer.param_groups:
            group["lr"] = first * max(1 - done / steps, 0.0)
        while updates * BATCH < done:
            drawn = rng.integers(min(done, count), size=BATCH)
            batch = {key: part[drawn] for key, part in seen.items()}
            error = gain_loss(policy, batch, gains[drawn].astype(np.float32))
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            updates, loss = updates + 1, error.item()
        policy.set_training_mode(False)
        on_step(min(done, steps), loss)
    model._last_obs = None  # learning begins with new episodes


def gain_loss(policy: Any, obs: dict[str, np.ndarray], gains: np.ndarray) -> Tensor:
    """Squared errors of gains, less their mean over the tools, and of the policy's mean gain, over their mean size."""
    logits, values = policy.maps(policy.obs_to_tensor(obs)[0])
    right = torch.as_tensor(gains, device=logits.device)
    own = (logits.detach().softmax(dim=1) * right).sum(dim=1)
    right = right - right.mean(dim=1, keepdim=True)
    return F.mse_loss(logits * TEMPERATURE, right) + F.mse_loss(values, own)
