"""Train an agent to find objects, first after the expert, then by reward, and see what it is worth.

    python examples/train_detection.py                                        # five classes, embedded photographs
    python examples/train_detection.py --data voc:FOLDER --classes dog cat    # your own: voc:, coco: or yolo:
    python examples/train_detection.py --clone-steps 0                        # by reward alone, guided by the expert
    python examples/train_detection.py --timesteps 0                          # after the expert alone
    python examples/train_detection.py --resume                               # go on after Ctrl-C, a crash or a kill

It ends with one comparison on the test split: average precision (VOC and COCO), recall against the number of boxes
looked at, and boxes per detection, beside chance, two classical detectors and the expert. Everything ends up in
``runs/<task>-dqn-<backbone>-.../``, with pictures of what was found in ``ends.png``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import tyro

from visionrl.agents import TrainConfig, train


@dataclass(frozen=True, kw_only=True)
class DetectionConfig(TrainConfig):
    """One training run; see ``TrainConfig`` for what is not here."""

    env: str = "visionrl/Detection-v0"
    """Id of the task; visionrl/HierarchicalDetection-v0 is the other one."""
    guided: bool = True
    """Draw the random actions from those that earn something at once (Caicedo & Lazebnik, 2015)."""


def main(config: DetectionConfig) -> None:
    """Train an agent to find objects."""
    train(config)


if __name__ == "__main__":
    try:
        tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
