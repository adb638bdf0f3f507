"""A second network that says how right a report would be, for agents whose reports are ranked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.utils import set_random_seed
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.agents.imitation.cloning import Memory
from visionrl.agents.imitation.targets import BATCH, REPEATS, expert_actions, mixed_actions
from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.ops import to_numpy

RATE = 1e-3  # of the optimizer at first; it falls to 0
# shares of the actions that the agent takes, and that are random; the rest is the expert's
OWN, CHANCE = 0.5, 0.2


class Scorer(nn.Module):
    """From observations to how right a report would be; it sees all but the history, which tells of the searcher.

    Its numbers scale and shift what its images give ("film").

    Args:
        observation_space: what the agent sees.
        options: arguments of ``VisionExtractor``.
    """

    def __init__(self, observation_space: spaces.Dict, **options: Any) -> None:
        super().__init__()
        seen = {key: box for key, box in observation_space.items() if key != "history"}
        self.space = spaces.Dict(seen)
        self.trunk = VisionExtractor(self.space, fusion="film", **options)
        self.head = nn.Linear(self.trunk.features_dim, 1)

    def forward(self, observations: Mapping[str, np.ndarray]) -> Tensor:
        """Logits (B,) of observations (B, ...)."""
        device = self.head.weight.device
        seen = {key: torch.as_tensor(observations[key], device=device) for key in self.space}
        return self.head(self.trunk(preprocess_obs(seen, self.space)))[:, 0]

    @torch.no_grad()
    def rate(self, observations: Mapping[str, np.ndarray]) -> np.ndarray:
        """(B,) how sure it is, larger is surer; what ``ScoredPolicy`` asks for."""
        return self(observations).double().cpu().numpy()


def fit_scorer(
    model: Any,
    steps: int,
    seed: int = 0,
    *,
    rerender: bool = False,
    on_step: Callable[[int, float], None] = lambda done, loss: None,
    **options: Any,
) -> Scorer:
    """Train a scorer on the training split, in states that the agent, the expert and chance lead to.

    It learns ``detection_quality`` by cross-entropy. As Caicedo & Lazebnik (2015) score what their agent attended by a
    classifier, so that the agent need not be good at both. The same arguments give the same scorer.

    Args:
        model: an agent in an ``SB3VecEnv``; the episodes in it are left behind.
        steps: states to learn from, all rows together.
        seed: of everything.
        rerender: whether states are stored in the place of observations, which takes less memory.
        on_step: is told, after each step, how many states were met, and the last loss.
        options: arguments of the scorer's ``VisionExtractor``.
    """
    set_random_seed(seed)
    env, rng = model.get_env(), np.random.default_rng(seed)
    scorer = Scorer(env.observation_space, **options).to(model.device).train()
    optimizer = torch.optim.Adam((p for p in scorer.parameters() if p.requires_grad), RATE)
    memory = Memory(env, steps, rerender)
    env.seed(seed)
    obs, done, updates, loss = env.reset(), 0, 0, float("nan")
    while done < steps:
        venv = env.unwrapped.venv
        memory.add(obs, to_numpy(venv.task.detection_quality(venv.state)))
        obs = env.step(mixed_actions(model, obs, expert_actions(env), (OWN, CHANCE), rng))[0]
        done += env.num_envs
        optimizer.param_groups[0]["lr"] = RATE * max(1 - done / steps, 0.0)
        while updates * BATCH < done * REPEATS:
            loss, updates = update(scorer, optimizer, memory.draw(rng)), updates + 1
        on_step(min(done, steps), loss)
    return scorer.eval()


def update(
    scorer: Scorer, optimizer: torch.optim.Optimizer, batch: tuple[dict[str, np.ndarray], np.ndarray]
) -> float:
    """One step of the optimizer; the loss before it."""
    obs, quality = batch
    loss = F.binary_cross_entropy_with_logits(
        scorer(obs), torch.as_tensor(quality, device=scorer.head.weight.device)
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
