"""What ``visionrl explain`` is told; the work is in ``explained``, which loads torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

Method = Literal["grad-cam", "deconv", "occlusion"]


@dataclass(frozen=True, kw_only=True)
class Explain:
    """Write a picture of where an agent, a classifier or a backbone looks: the image, the heat map, both.

    An agent is explained by the Q-value of the action that it chooses (of PPO and A2C: its log-probability), a
    classifier by the class that it chooses, a backbone without a classifier by its strongest feature.
    """

    subject: tyro.conf.Positional[str]
    """Folder of an agent's or a classifier's run, or the name of a backbone."""
    image: Path | None = None
    """The image. An agent sees it resized to its window; without one it sees the first state of an episode."""
    method: Method = "grad-cam"
    """Gradients at a layer; the strongest activation, projected back (chains such as VGG); a square that hides."""
    layer: str | None = None
    """Stage of the backbone; default the last."""
    target: int | None = None
    """Number of the action, class or feature, for deconv of the channel; default what the network chooses."""
    weights: Path | None = None
    """File of weights for the backbone."""
    pretrained: bool = False
    """Give the backbone its published weights."""
    size: int | None = None
    """Shorter side, pixels, at which a backbone (default 224) or a classifier (as trained) sees the image."""
    item: int = 0
    """Number of the item of the test split that an agent's episode starts from."""
    seed: int = 0
    """Seed of the agent's first state, and of weights that are not given."""
    out: Path | None = None
    """The file, a PNG; default explain-<method>.png in the run's folder, or <backbone>-<method>.png."""

    def run(self) -> None:
        """Write the picture, say what it explains."""
        from visionrl.cli.explained import explain

        path, words = explain(self)
        print(f"{words}\nwrote {path}")
