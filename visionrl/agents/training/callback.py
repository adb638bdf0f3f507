"""Callback of training: evaluation, checkpoints, the progress bar, and stopping when asked to."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from stable_baselines3.common.callbacks import BaseCallback

from visionrl.agents.evaluation.episodes import Plan, evaluate_policy, prepare
from visionrl.agents.evaluation.paired import Score, paired_difference
from visionrl.agents.evaluation.policies import agent_policy
from visionrl.agents.training.checkpoint import load_checkpoint, save_checkpoint
from visionrl.agents.training.config import TrainConfig
from visionrl.agents.training.run_files import write_curve
from visionrl.core import entry_of
from visionrl.core.capabilities import compute_all

SIDE_BY_SIDE = 64  # episodes of an evaluation at a time


class Stopped(Exception):
    """A signal asked the run to stop; its checkpoint is written. ``args[0]`` is the signal's number."""


class Watched:
    """A policy that calls a function before each step."""

    def __init__(self, policy: Any, before: Callable[[], None]) -> None:
        self.policy, self.before = policy, before

    def __getattr__(self, name: str) -> Any:
        """Attributes of the policy."""
        return getattr(self.policy, name)

    def __call__(self, *seen: Any) -> Any:
        """Actions of the policy."""
        self.before()
        return self.policy(*seen)


class Rate(ProgressColumn):
    """Steps per second, in the progress bar."""

    def render(self, task: Task) -> str:
        """As text."""
        return f"{task.finished_speed or task.speed or 0:,.0f} steps/s"


class RunCallback(BaseCallback):
    """Evaluates on the validation split, keeps the best agent, writes checkpoints.

    A run that begins with cloning keeps its clone until an agent is better by more than the interval of the paired
    difference: among several evaluations of few episodes, one is above the clone's by chance.

    All of it happens between rollouts, where a run can be cut and joined again.

    Args:
        config: the resolved config of the run.
        run: the run's folder.

    Attributes:
        curve: one row per evaluation: "timesteps", the means of the task's metrics, "train_return".
        best: the policy's parameters at the best evaluation.
        best_row: that evaluation's row of the curve.
        clone: the policy's parameters after cloning; empty in other runs.
        metric, more_is_better: the task's ``primary_metric``.
        stop: number of the signal that asked to stop, or None.
        due: an evaluation was broken off by a signal, and comes first when the run is resumed.
    """

    def __init__(self, config: TrainConfig, run: Path) -> None:
        super().__init__()
        self.config, self.run = config, run
        self.metric, self.more_is_better = entry_of(config.env).task.primary_metric
        self.curve: list[dict[str, float]] = []
        self.best: dict[str, Any] = {}
        self.best_row: dict[str, float] = {}
        self.clone: dict[str, Any] = {}
        self.clone_score: Score | None = None
        self.stop: int | None = None
        self.due = False
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(),
        )

    def init_callback(self, model: Any) -> None:
        """Take the model, and the metric of the task that it is trained on."""
        super().init_callback(model)
        self.metric, self.more_is_better = self.training_env.get_attr("task")[0].primary_metric

    def restore(self, checkpoint: Path, model: Any) -> None:
        """Bring the model, its environment and this record to where the checkpoint was written."""
        tensors, notes = load_checkpoint(checkpoint, model)
        self.best, self.curve, self.best_row = tensors.get("best", {}), notes["curve"], notes["best_row"]
        self.due = notes.get("due", False)
        self.clone = tensors.get("clone", {})
        if self.clone:
            self.clone_score = Score.from_tensors(tensors["clone_score"])

    def save(self) -> None:
        """Write a checkpoint."""
        notes = {"curve": self.curve, "best_row": self.best_row, "due": self.due}
        tensors = {"best": self.best}
        if self.clone_score is not None:
            tensors |= {"clone": self.clone, "clone_score": self.clone_score.to_tensors()}
        save_checkpoint(self.run, self.model, tensors, notes)
        self._saved = self.model.num_timesteps

    def evaluate(self) -> None:
        """Evaluate on the validation split; a signal breaks it off, and makes it ``due``."""
        self.due = True
        with suppress(Stopped):
            self.evaluate_whole()
            self.due = False

    def go_on(self) -> None:
        """Raise ``Stopped`` if a signal asked for it."""
        if self.stop:
            raise Stopped(self.stop)

    def evaluate_whole(self) -> None:
        """Evaluate on the validation split; keep the agent if it is the best so far.

        Raises:
            Stopped: a signal asked for it; nothing is changed.
        """
        config, steps = self.config, self.model.num_timesteps
        plan = prepare(config.env, "val", config.eval_episodes, 0, SIDE_BY_SIDE, config.env_kwargs)
        result = evaluate_policy(plan, Watched(agent_policy(self.model), self.go_on))
        means = {key: float(np.mean(value)) for key, value in result.values.items()}
        means |= compute_all(plan.task, result.records)
        returns = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        row = {
            "timesteps": steps,
            **means,
            "train_return": float(np.mean(returns)) if returns else float("nan"),
        }
        row |= self.gain_over_clone(plan, Score.of(result, self.metric))
        self.curve.append(row)
        better = not self.best_row or self._better(row[self.metric], self.best_row[self.metric])
        if (better and not row.get("gain_low", 1.0) <= 0) or len(self.curve) == 1:
            self.best_row, self.best = row, self.parameters()
        for key, mean in means.items():
            self.logger.record(f"val/{key}", mean)
        self.logger.dump(steps)
        write_curve(self.run, self.curve)
        best = " (best so far)" if row is self.best_row else ""
        if self.clone and len(self.curve) > 1:
            best = (
                f", {row['gain']:+.4g} [{row['gain_low']:+.4g}, {row['gain_high']:+.4g}] to the clone{best}"
            )
        self.bar.console.print(
            f"step {steps:,}: validation {self.metric} {row[self.metric]:.4g}{best}", highlight=False
        )

    def gain_over_clone(self, plan: Plan, score: Score) -> dict[str, float]:
        """The gain over the clone and its interval, of a run that has one; at its first evaluation it is the clone."""
        if self.config.clone_steps and not self.curve:
            self.clone, self.clone_score = self.parameters(), score
        if self.clone_score is None:
            return {}
        gain = paired_difference(plan, self.clone_score, score)
        return {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}

    def parameters(self) -> dict[str, Any]:
        """A copy of the policy's present parameters."""
        return {key: x.detach().cpu().clone() for key, x in self.model.policy.state_dict().items()}

    def _better(self, new: float, old: float) -> bool:
        return math.isnan(old) or (new > old if self.more_is_better else new < old)

    def _on_training_start(self) -> None:
        done, config = self.model.num_timesteps, self.config
        self._saved = done
        self._next_eval = done if self.due else next_multiple(done, config.eval_every or 1)
        self._task = self.bar.add_task("training", total=config.timesteps, completed=done)

    def _on_rollout_start(self) -> None:
        done, config = self.model.num_timesteps, self.config
        if done >= self._next_eval:
            self.evaluate()
            self._next_eval = next_multiple(done, config.eval_every or 1)
        if self.stop or done >= next_multiple(self._saved, config.checkpoint_every):
            self.save()
        if self.stop:
            raise Stopped(self.stop)

    def _on_step(self) -> bool:
        self.bar.update(self._task, completed=min(self.model.num_timesteps, self.config.timesteps or 0))
        return True

    def _on_training_end(self) -> None:
        if not self.curve or self.curve[-1]["timesteps"] != self.model.num_timesteps:
            self.evaluate()
        self.save()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Show the bar; Ctrl-C or SIGTERM stops the run after the present rollout, a second one at once."""

        def ask(number: int, frame: Any) -> None:
            if self.stop:
                raise KeyboardInterrupt
            self.stop = number
            self.bar.console.print(
                "stopping after this rollout; once more stops at once, without a checkpoint"
            )

        here = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if here else ()
        before = {number: signal.signal(number, ask) for number in numbers}
        try:
            with self.bar:
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def next_multiple(number: int, of: int) -> int:
    """The smallest multiple above a number."""
    return (number // of + 1) * of
