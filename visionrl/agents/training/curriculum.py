"""Curriculum: episodes start easily at first, and with their full difficulty later."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from visionrl.core import Task
from visionrl.core.capabilities import Curriculum as EasierStarts


class Curriculum(BaseCallback):
    """Raises the difficulty of a task's starts from 0 to 1, in proportion to the steps taken.

    It is a function of the steps alone, so a resumed run goes on with the difficulty that it had. New episodes get
    it; those of evaluations, which have their own task, are always of full difficulty. Source: Bengio et al. (2009),
    "Curriculum learning".

    Call ``ease`` before ``learn``, whose first episodes start before any callback is asked.

    Args:
        share: of the run, in (0, 1], after which the difficulty is 1.

    Raises:
        ValueError: the share is out of range; in ``ease``: the task offers no easier starts.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], got {share}")
        self.share = share

    def ease(self, model: Any, total: int) -> None:
        """Set the difficulty that belongs to the model's steps, of so many in total."""
        task: Any = model.get_env().unwrapped.venv.task
        check_eased(task)
        task.difficulty = min(1.0, model.num_timesteps / (self.share * max(total, 1)))

    def _on_step(self) -> bool:
        self.ease(self.model, self.model._total_timesteps)
        return True


def check_eased(task: Task) -> None:
    """Refuse a task without easier starts.

    Raises:
        ValueError: it is such a one.
    """
    if not isinstance(task, EasierStarts):
        raise ValueError(f"curriculum must be 0 for {type(task).__name__}, which has no easier starts")
