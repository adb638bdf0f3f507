"""Policies to compare an agent with, and an agent as a policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.vector.utils import batch_space

from visionrl.agents.networks.model_io import action_scores, check_spaces, q_values_of, takes_masks
from visionrl.agents.sb3.recall import Recall, recalled_space, recalled_steps
from visionrl.core import Task
from visionrl.core.capabilities import Answers, Reports, action_masks
from visionrl.ops import to_numpy

Policy = Callable[[dict[str, np.ndarray], Task, Any], Any]
"""``policy(observations, task, state) -> actions``, all with the leading axis B; NumPy in, NumPy out.

One that remembers something between steps has the methods ``reset()``, called before every batch of first steps, and
``keep(rows)``, called when some rows, (B,) bool, go on and the others are over. One that can say how sure it is of what
it sees has ``confidence``, (B,) of the last call or None, by which tasks that report findings rank them
(``Task.report``).
"""


class RandomPolicy:
    """Actions by chance, each as likely as any other; ``seed`` makes a run repeatable."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.spaces: dict[int, Space] = {}
        self._count = 0
        self.reset()

    def reset(self) -> None:
        """The next call says how many rows there are."""
        self._left: np.ndarray | None = None

    def keep(self, rows: np.ndarray) -> None:
        """Go on with some rows; what the others would do is drawn all the same: none depends on another's end."""
        if self._left is not None:
            self._left = self._left[rows]

    def __call__(self, observations: dict[str, np.ndarray], task: Task, state: Any) -> Any:
        """Actions, as every ``Policy`` gives them."""
        rows = len(next(iter(observations.values())))
        if self._left is None or len(self._left) != rows:
            self._count, self._left = rows, np.arange(rows)
            if self._count not in self.spaces:
                self.spaces[self._count] = batch_space(task.action_space, self._count)
                self.spaces[self._count].seed(self.seed)
        return self.spaces[self._count].sample()[self._left]


def expert_policy(observations: dict[str, np.ndarray], task: Task, state: Any) -> Any:
    """The task's own expert, which looks at the truth: the upper bound."""
    return task.expert(state)


class AgentPolicy:
    """A trained Stable-Baselines3 model as a policy: it keeps a recurrent one's memory, and passes action masks.

    A model that learnt on windows of observations (``recall``) is shown such; of one that learnt on cached features
    each observation is encoded once.

    Args:
        model: anything with SB3's ``predict(observation, state, episode_start, deterministic)``.
        deterministic: the best action instead of a drawn one.

    Attributes:
        memory: what a recurrent model remembers, (layers, B, n) each, or None.
        weigh_answers: compute ``answer_probability``.
        answer_probability: (B,) of the last call: that of the likeliest answer among all answers, in tasks that have
            ``Answers``; None where the model has no probabilities.

    Raises:
        ValueError: the task shows something else than the model was trained on.
    """

    def __init__(self, model: Any, deterministic: bool = True) -> None:
        self.model, self.deterministic = model, deterministic
        self.encoder = getattr(model, "encoder", None)
        self.actor = model if self.encoder is None else model.model
        steps = recalled_steps(getattr(model, "observation_space", None))
        self.recall = Recall(steps) if steps > 1 else None
        self.confidence: np.ndarray | None = None
        self.weigh_answers = False
        self.answer_probability: np.ndarray | None = None
        self.reset()

    def reset(self) -> None:
        """Forget; the next call is the first step of every row."""
        self.memory: tuple[np.ndarray, ...] | None = None
        self._begins = True

    def keep(self, rows: np.ndarray) -> None:
        """Go on with some rows; what a model remembers is (layers, B, n) each, as Stable-Baselines3 has it."""
        if self.memory is not None:
            self.memory = tuple(part[:, rows] for part in self.memory)
        if self.recall is not None:
            self.recall.keep(rows)

    def __call__(self, observations: dict[str, np.ndarray], task: Task, state: Any) -> Any:
        """Actions, as every ``Policy`` gives them."""
        if self._begins:
            shown = task.observation_space
            shown = shown if self.recall is None else recalled_space(shown, self.recall.steps)
            check_spaces(self.model.observation_space, shown)
        if self.encoder is not None:
            observations = self.encoder(observations)
        if self.recall is not None:
            observations = (self.recall.begin if self._begins else self.recall.add)(observations)
        rows = len(next(iter(observations.values())))
        masks = {"action_masks": to_numpy(action_masks(task, state))} if takes_masks(self.model) else {}
        before = self.memory
        actions, self.memory = self.actor.predict(
            observations,
            state=before,
            episode_start=np.full(rows, self._begins),
            deterministic=self.deterministic,
            **masks,
        )
        self._begins = False
        report = task.report if isinstance(task, Reports) else None
        self.confidence = None if report is None else action_value(self.actor, observations, report, before)
        if self.weigh_answers and isinstance(task, Answers):
            self.answer_probability = answer_probability(self.actor, observations, task.answers)
        return actions


class ScoredPolicy:
    """A policy whose findings something else rates, such as ``reward_models.ClassifierConfidence``.

    So a task that reports findings (``Task.report``) ranks them by a classifier, as Caicedo & Lazebnik (2015) do.

    Args:
        policy: which acts.
        scorer: from observations to (B,), how sure it is that they show what is sought.
    """

    def __init__(self, policy: Policy, scorer: Callable[[dict[str, np.ndarray]], np.ndarray]) -> None:
        self.policy, self.scorer = policy, scorer
        self.confidence: np.ndarray | None = None

    def reset(self) -> None:
        """Forget; the next call is the first step of every row."""
        getattr(self.policy, "reset", lambda: None)()

    def keep(self, rows: np.ndarray) -> None:
        """Go on with some rows."""
        getattr(self.policy, "keep", lambda rows: None)(rows)

    def __call__(self, observations: dict[str, np.ndarray], task: Task, state: Any) -> Any:
        """Actions, as every ``Policy`` gives them."""
        self.confidence = np.asarray(self.scorer(observations), float)
        return self.policy(observations, task, state)


def action_value(
    model: Any, observations: dict[str, np.ndarray], action: int, memory: Any = None
) -> np.ndarray | None:
    """(B,) score that a model gives an action, see ``action_scores``; None where it has none.

    Q-values that were cloned from the expert's actions alone have no common scale.
    """
    import torch

    with torch.no_grad():
        scores = action_scores(model.policy, model.policy.obs_to_tensor(observations)[0], memory)
    return None if scores is None else scores[:, action].double().cpu().numpy()


def answer_probability(
    model: Any, observations: dict[str, np.ndarray], answers: range | None
) -> np.ndarray | None:
    """(B,) probability of the likeliest of some actions among these; None where a model has no probabilities."""
    import torch

    if answers is None or q_values_of(model.policy):
        return None
    with torch.no_grad():
        scores = action_scores(model.policy, model.policy.obs_to_tensor(observations)[0])
    if scores is None:
        return None
    return scores[:, list(answers)].double().softmax(dim=1).amax(dim=1).cpu().numpy()


def agent_policy(model: Any, deterministic: bool = True) -> Policy:
    """A trained Stable-Baselines3 model as a policy; the scorer of its run, if it has one, ranks its reports."""
    policy, scorer = AgentPolicy(model, deterministic), getattr(model, "scorer", None)
    return policy if scorer is None else ScoredPolicy(policy, scorer.rate)


def agent_rows(name: str, model: Any) -> dict[str, Policy]:
    """An agent's rows of a table: ranked by its own values, and by its scorer if it has one."""
    scored = agent_policy(model)
    if isinstance(scored, ScoredPolicy):
        return {name: scored.policy, f"{name}, scored": scored}
    return {name: scored}


def cached_policy(model: Any, encoder: Any, deterministic: bool = True) -> Policy:
    """An agent that learnt on features as a policy that is shown images, for ``evaluate`` and ``record``.

    Args:
        model: the trained algorithm.
        encoder: the ``FeatureEncoder`` of the environment it learnt in.
        deterministic: the best action instead of a drawn one.
    """
    from visionrl.agents.networks.frozen_features import OnImages

    return AgentPolicy(OnImages(model, encoder), deterministic)
