"""``visionrl train-model``."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from visionrl.supervised.models import ModelConfig, train_model


@dataclass(frozen=True)
class TrainModel:
    """Train a model, such as a captioner or a few-shot network, on your data, test it, save it."""

    config: tyro.conf.OmitArgPrefixes[ModelConfig]

    def run(self) -> None:
        """Train, test, save."""
        train_model(self.config)
