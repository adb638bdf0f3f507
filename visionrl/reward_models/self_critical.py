"""Self-critical sequence training: a policy is rewarded for what it does better than itself."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from visionrl import ops
from visionrl.core import batch, check_choice
from visionrl.core.capabilities import MaskedActions, action_masks, rewards_of

COUNTS = ("alive", "fresh", "earned", "steps", "own")


class SelfCritical(VecEnvWrapper):
    """A batched environment that pays at an episode's end what it earned beyond a baseline of the policy.

    The baseline is played beside the episode, from the same first state, so that PPO, A2C, MaskablePPO and RecurrentPPO
    stay as they are: "greedy" is one episode of the likeliest actions (Rennie et al., 2017), "mean" the mean of
    ``samples`` episodes of drawn actions (Luo, 2020, "A better variant of self-critical sequence training"). A policy
    that acts as its baseline earns 0, so a value function has little to do: give it a small weight.

    All comes with the last step, whenever the task pays: with a discount of 1 each action is then judged by how much
    better the whole episode was. Were the task's rewards left where they are, late actions would be judged by what is
    still to come, less all that the baseline earns.

        venv = SelfCritical(make_vec_env("visionrl/CaptionGeneration-v0", 16, seed=0))
        venv.policy = model = MaskablePPO("MultiInputPolicy", venv, ..., vf_coef=0.1)

    In the info of a row that ended "episode" has the task's own return, "baseline_return" that of the baseline.

    It adds nothing while ``paused``, as when a policy is cloned.

    Args:
        venv: of ``make_vec_env``.
        policy: a model or policy of Stable-Baselines3; it may be set after the environment was given to the model.
        baseline: "greedy" or "mean".
        samples: number of episodes of "mean".

    Raises:
        ValueError: an unknown baseline, or fewer than one sample.
    """

    def __init__(
        self,
        venv: VecEnv,
        policy: Any = None,
        baseline: Literal["greedy", "mean"] = "greedy",
        samples: int = 4,
    ) -> None:
        super().__init__(venv)
        check_choice("baseline", baseline, ("greedy", "mean"))
        if samples < 1:
            raise ValueError(f"samples must be >= 1, got {samples}")
        self.policy, self.greedy, self.paused = policy, baseline == "greedy", False
        self.copies = 1 if self.greedy else samples
        (self.task, *_), (limit, *_) = venv.get_attr("task"), venv.get_attr("limit")
        self.limit = float(limit)
        rows = self.num_envs * self.copies
        self.alive, self.fresh = np.zeros(rows, bool), np.ones(rows, bool)
        self.earned, self.steps, self.own = np.zeros(rows), np.zeros(rows), np.zeros(self.num_envs)
        self.memory: tuple[np.ndarray, ...] | None = None
        self.state: Any = None

    def reset(self) -> Any:
        """Start all episodes and their baselines.

        Raises:
            ValueError: there is no policy yet.
        """
        if self.policy is None and not self.paused:
            raise ValueError("policy must be set before the environment is reset, got None")
        obs: Any = self.venv.reset()
        self.state, self.memory = None, None
        self._begin(np.arange(self.num_envs))
        return obs

    def step_wait(self) -> Any:
        """Take the step: observations, (B,) float32 rewards, (B,) bool dones, B infos."""
        step: Any = self.venv.step_wait()
        obs, rewards, dones, infos = step
        if self.paused:
            return step
        self._advance(np.flatnonzero(self.alive))
        self.own += rewards
        rewards, ended = np.zeros_like(rewards), np.flatnonzero(dones)
        if len(ended):
            played = self._copies_of(ended)
            while self.alive[played].any():  # the others go ahead, which they have to anyway
                self._advance(np.flatnonzero(self.alive))
            returns = self.earned.reshape(self.num_envs, self.copies).mean(axis=1)
            rewards[ended] = (self.own - returns)[ended]
            for row in ended.tolist():
                infos[row]["baseline_return"] = float(returns[row])
            self._begin(ended)
        return obs, rewards, dones, infos

    def snapshot(self) -> dict[str, np.ndarray]:
        """All that decides how the baselines go on, as plain arrays."""
        state = {f"state.{key}": ops.to_numpy(value).copy() for key, value in vars(self.state).items()}
        memory = {f"memory.{number}": part.copy() for number, part in enumerate(self.memory or ())}
        return {**state, **memory, **{name: getattr(self, name).copy() for name in COUNTS}}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Go on from a snapshot, in the episodes of which it was taken."""
        now = self.venv.get_attr("state")[0]
        home = next(iter(vars(now).values()))
        fields = {key: ops.like(snapshot[f"state.{key}"].copy(), home) for key in vars(now)}
        self.state = type(now)(**fields)
        for name in COUNTS:
            getattr(self, name)[:] = snapshot[name]
        parts = sorted(key for key in snapshot if key.startswith("memory."))
        self.memory = tuple(snapshot[key].copy() for key in parts) or None

    def _copies_of(self, rows: np.ndarray) -> np.ndarray:
        """Numbers of the baseline's episodes of some rows."""
        return (rows[:, None] * self.copies + np.arange(self.copies)).ravel()

    def _begin(self, rows: np.ndarray) -> None:
        """Start the baselines of some rows where the rows themselves start."""
        now, played = self.venv.get_attr("state")[0], self._copies_of(rows)
        index = ops.like(np.repeat(rows, self.copies), next(iter(vars(now).values())))
        start = batch.take(now, index)
        if self.state is None:
            self.state = start
        else:
            batch.put(self.state, ops.like(played, index), start)
        self.alive[played], self.fresh[played] = True, True
        self.earned[played], self.steps[played], self.own[rows] = 0, 0, 0

    def _advance(self, played: np.ndarray) -> None:
        """Take one step in some of the baseline's episodes."""
        if not len(played):
            return
        index = ops.like(played, next(iter(vars(self.state).values())))
        before = batch.take(self.state, index)
        actions = ops.like(self._act(before, played), index)
        after = self.task.step(before, actions)
        self.earned[played] += ops.to_numpy(rewards_of(self.task, before, actions, after))
        self.steps[played] += 1
        over = ops.to_numpy(self.task.terminated(after)) | (self.steps[played] >= self.limit)
        batch.put(self.state, index, after)
        self.alive[played], self.fresh[played] = ~over, False

    def _act(self, state: Any, played: np.ndarray) -> np.ndarray:
        """Actions of the policy, which remembers each episode apart from the others."""
        obs = {key: ops.to_numpy(value) for key, value in self.task.observe(state).items()}
        given: dict[str, Any] = {"deterministic": self.greedy}
        known = inspect.signature(self.policy.predict).parameters
        if "action_masks" in known and isinstance(self.task, MaskedActions):
            given["action_masks"] = ops.to_numpy(action_masks(self.task, state))
        if self.memory is not None:
            given["state"] = tuple(part[:, played] for part in self.memory)
        actions, memory = self.policy.predict(obs, episode_start=self.fresh[played], **given)
        if memory is not None:
            if self.memory is None:
                shapes = [(len(part), len(self.alive), *part.shape[2:]) for part in memory]
                self.memory = tuple(
                    np.zeros(shape, part.dtype) for shape, part in zip(shapes, memory, strict=True)
                )
            for held, part in zip(self.memory, memory, strict=True):
                held[:, played] = part
        return np.asarray(actions)


def self_critical_in(env: Any) -> SelfCritical | None:
    """The one among the wrappers of an environment; None without."""
    while env is not None and not isinstance(env, SelfCritical):
        env = vars(env).get("venv")
    return env
