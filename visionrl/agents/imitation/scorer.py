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

from visionrl.agents.imitation.cloning import BATCH, REPEATS, Memory, expert_actions, mixed_actions
from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.agents.training.config import TrainConfig
from visionrl.ops import to_numpy

RATE = 1e-3  # of the optimizer at first; it falls to 0
OWN, CHANCE = (
    0.5,
    0.2,
)  # shares of the actions that the agent takes, and that are random; the rest is the expert's


class Scorer(nn.Module):
    """From observations to how right a report would be; it sees all but the history, which tells of the searcher.

    Args:
        observation_space: what the agent sees.
        options: arguments of ``VisionExtractor``.
    """

    def __init__(self, observation_space: spaces.Dict, **options: Any) -> None:
        super().__init__()
        seen = {key: box for key, box in observation_space.items() if key != "history"}
        self.space = spaces.Dict(seen)
        self.trunk = VisionExtractor(self.space, **options)
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


def new_scorer(config: TrainConfig, observation_space: spaces.Dict) -> Scorer:
    """A scorer with the backbone of a config, whose numbers scale and shift what its images give."""
    names = ("backbone", "pretrained", "frozen", "weights", "stn", "attention")
    options = {name: value for name in names if (value := getattr(config, name)) is not None}
    return Scorer(observation_space, fusion="film", **options)


def fit_scorer(
    model: Any, config: TrainConfig, on_step: Callable[[int, float], None] = lambda done, loss: None
) -> Scorer:
    """Train a scorer on the training split, in states that the agent, the expert and chance lead to.

    It learns ``detection_quality`` by cross-entropy. As Caicedo & Lazebnik (2015) score what their agent attended by a
    classifier, so that the agent need not be good at both. The same config gives the same scorer.

    Args:
        model: an agent in an ``SB3VecEnv``; the episodes in it are left behind.
        config: of its run; ``scorer_steps`` says how many states.
        on_step: is told, after each step, how many states were met, and the last loss.
    """
    set_random_seed(config.seed)
    env, rng, steps = model.get_env(), np.random.default_rng(config.seed), config.scorer_steps
    scorer = new_scorer(config, env.observation_space).to(model.device).train()
    optimizer = torch.optim.Adam((p for p in scorer.parameters() if p.requires_grad), RATE)
    memory = Memory(env, steps, config.rerender)
    env.seed(config.seed)
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
    obs, merit = batch
    loss = F.binary_cross_entropy_with_logits(
        scorer(obs), torch.as_tensor(merit, device=scorer.head.weight.device)
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
