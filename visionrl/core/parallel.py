"""Tasks of several agents as parallel environments of PettingZoo; needs the extra ``pettingzoo``."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils.seeding import np_random
from pettingzoo import ParallelEnv

from visionrl.core import batch
from visionrl.core.capabilities import MultiAgent, metrics_of
from visionrl.core.door import (
    check_engine,
    check_seed,
    checked_actions,
    checked_item,
    item_option,
    need_reset,
)
from visionrl.core.env import HOME, METADATA
from visionrl.core.registry import entry_of, make_task


class ParallelTaskEnv(ParallelEnv):
    """One episode of a ``MultiAgent`` task: each agent has its own observations, actions and rewards.

    An agent that has stopped leaves ``agents``; at the time limit all do. Its observation is its part of the task's,
    its reward its share. Every ``info`` holds the task's metrics.

    Args:
        task: id of the task.
        preset: name of a set of arguments: a paper's constants, or a smaller task.
        render_mode: None or "rgb_array".
        max_episode_steps: time limit; default the task's.
        kwargs: constructor arguments of the task.

    Attributes:
        possible_agents: names of all agents.
        agents: those that have not stopped.

    Raises:
        ValueError: the task has a single agent.
    """

    def __init__(
        self,
        task: str,
        preset: str | None = None,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_engine(render_mode, max_episode_steps)
        entry = entry_of(task)
        self.task: Any = make_task(entry.id, preset, **kwargs)
        if not isinstance(self.task, MultiAgent):
            raise ValueError(f"task must have several agents, got {entry.id}")
        name = entry.id.removeprefix("visionrl/")
        self.metadata = {**METADATA, "name": name}
        self.render_mode, self.limit = render_mode, max_episode_steps or entry.max_steps
        self.possible_agents = list(self.task.agents)
        self.agents: list[str] = []
        self.rng = np_random(None)[0]
        team, actions = len(self.possible_agents), self.task.action_space.nvec  # type: ignore[attr-defined]
        seen = self.task.observation_space
        self.observation_spaces = {
            agent: spaces.Dict({key: _part(box, team, number) for key, box in seen.items()})
            for number, agent in enumerate(self.possible_agents)
        }
        self.action_spaces = {
            agent: spaces.Discrete(int(count))
            for agent, count in zip(self.possible_agents, actions, strict=True)
        }

    def observation_space(self, agent: str) -> spaces.Space:
        """The observation space of an agent; always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space:
        """The action space of an agent; always the same object."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Start an episode; ``options={"item": i}`` starts from the task's i-th item."""
        check_seed(seed)
        if seed is not None:
            self.rng = np_random(seed)[0]
        item = checked_item(self.task.items, item_option(options), self.rng)
        self.state: Any = batch.stack([self.task.sample(self.rng, item)])
        self.agents, self.elapsed = list(self.possible_agents), 0
        return self._seen(), self._infos()

    def step(self, actions: dict[str, int]) -> tuple[dict, dict, dict, dict, dict]:
        """One action of every agent that has not stopped.

        Raises:
            ValueError: an agent has no action, or one that is not in its action space.
        """
        need_reset(self, "step")
        if missing := [agent for agent in self.agents if agent not in actions]:
            raise ValueError(f"actions must have one for each of {self.agents}, got none for {missing[0]!r}")
        taken = [actions.get(agent, 0) for agent in self.possible_agents]
        taken = checked_actions(taken, self.task.action_space, None, HOME)
        before, after = self.state, self.task.step(self.state, taken)
        self.state, self.elapsed = after, self.elapsed + 1
        late = self.limit is not None and self.elapsed >= self.limit
        stopped = self.task.agents_done(after)[0]
        known = self.task.labelled
        shares = self.task.agent_rewards(before, taken, after)[0] if known else np.zeros(len(stopped))
        seen, infos = self._seen(), self._infos()
        acting = [(self.possible_agents.index(agent), agent) for agent in self.agents]
        rewards = {agent: float(shares[number]) for number, agent in acting}
        ended = {agent: bool(stopped[number]) for number, agent in acting}
        cut = {agent: late and not ended[agent] for agent in self.agents}
        self.agents = [agent for agent in self.agents if not (ended[agent] or late)]
        return seen, rewards, ended, cut, infos

    def render(self) -> np.ndarray | None:
        """A picture, (H, W, 3) uint8 RGB, in mode "rgb_array"."""
        if self.render_mode != "rgb_array":
            return None
        need_reset(self, "render")
        return self.task.draw(batch.take(self.state, 0))

    def _seen(self) -> dict[str, dict[str, np.ndarray]]:
        whole = {key: value[0] for key, value in self.task.observe(self.state).items()}
        team = len(self.possible_agents)
        parts = {key: np.split(value, team) for key, value in whole.items()}
        places = [(self.possible_agents.index(agent), agent) for agent in self.agents]
        return {agent: {key: part[number] for key, part in parts.items()} for number, agent in places}

    def _infos(self) -> dict[str, dict[str, Any]]:
        metrics = {key: value[0].item() for key, value in metrics_of(self.task, self.state).items()}
        return {agent: dict(metrics) for agent in self.agents}


def _part(box: Any, team: int, number: int) -> spaces.Box:
    """The space of one agent's part of an observation."""
    low, high = (np.split(bound, team)[number] for bound in (box.low, box.high))
    return spaces.Box(low, high, dtype=box.dtype.type)
