"""``visionrl pretrain``."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from visionrl.cli.common import check_out
from visionrl.supervised.pretrain import PretrainConfig, pretrain


@dataclass(frozen=True)
class Pretrain:
    """Let a backbone learn from images without labels, by a pretext.

    It writes the weights for train --weights.
    """

    config: tyro.conf.OmitArgPrefixes[PretrainConfig]

    def run(self) -> None:
        """Train, write weights, picture and figures.

        Raises:
            NotADirectoryError: the weights cannot be written there.
        """
        check_out(self.config.out.parent)
        pretrain(self.config)
