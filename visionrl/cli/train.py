"""``visionrl train``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import tyro

from visionrl.agents.training.config import TrainConfig
from visionrl.core import entry_of


@dataclass(frozen=True)
class Train:
    """Train an agent, compare it with the baselines on the test split, save it."""

    config: tyro.conf.OmitArgPrefixes[TrainConfig]

    def run(self) -> None:
        """Train, compare, save."""
        from visionrl.agents.training.train import train

        train(replace(self.config, env=entry_of(self.config.env).id))
