"""What every task must keep to, as checks that anyone can run on a task of their own.

    from visionrl.core.conformance import check
    check("visionrl/LandmarkLocalization-v0")

Every check takes an id and the task's constructor arguments, and raises ``AssertionError`` with the rule that is
broken. ``CHECKS`` lists them by name, for a test to loop over. Needs ``array-api-strict`` and torch.
"""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from visionrl import ops
from visionrl.core import batch
from visionrl.core.capabilities import MaskedActions, Reports, good_actions
from visionrl.core.registry import entry_of
from visionrl.core.vector_env import TaskVectorEnv

ROWS = 4
STEPS = 120


def check(task_id: str, **kwargs: Any) -> None:
    """Run every check on a registered task; ``kwargs`` go to its constructor."""
    for run in CHECKS.values():
        run(task_id, **kwargs)


def check_spec(task_id: str, **kwargs: Any) -> None:
    """The registered spec survives JSON and pickle, and builds the environment again."""
    env: Any = gym.make(task_id, **kwargs)
    spec = env.unwrapped.spec
    for copy in (EnvSpec.from_json(spec.to_json()), pickle.loads(pickle.dumps(spec))):
        again: Any = copy.make()
        _require(again.unwrapped.spec.id == task_id, f"the spec of {task_id} must rebuild it")
        again.close()
    json.loads(spec.to_json())


def check_docstring(task_id: str, **kwargs: Any) -> None:
    """The class says what it is, and has the table Observation, Action, Reward, Ends."""
    text = entry_of(task_id).task.__doc__ or ""
    for row in ("Observation", "Action", "Reward", "Ends"):
        _require(f"| {row} " in text, f"the docstring of {task_id} must have a table row {row!r}")


def check_gymnasium(task_id: str, **kwargs: Any) -> None:
    """Gymnasium's ``check_env`` passes, with no warning."""
    env = gym.make(task_id, render_mode="rgb_array", **kwargs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    env.close()


def check_seeds(task_id: str, **kwargs: Any) -> None:
    """One seed gives one episode, two seeds give two."""
    env = gym.make(task_id, **kwargs)
    first, again, other = (env.reset(seed=s)[0] for s in (3, 3, 4))
    _require(_equal(first, again), "one seed must give one first observation")
    _require(not _equal(first, other), "two seeds must give two first observations")


def check_rows_replay_single(
    task_id: str, backend: str = "numpy", device: str = "cpu", **kwargs: Any
) -> None:
    """Row i of the vector environment is the single environment seeded s + i, step by step.

    Half the actions are the expert's, half are chance, so that episodes end at different times and a restart that
    disturbs its neighbours is seen.
    """
    seed = 11
    make: dict[str, Any] = {"vectorization_mode": "vector_entry_point", "backend": backend, "device": device}
    venv: Any = gym.make_vec(task_id, ROWS, **make, **kwargs)
    singles = [gym.make(task_id, **kwargs) for _ in range(ROWS)]
    obs, _ = venv.reset(seed=seed)
    solo = [env.reset(seed=seed + i)[0] for i, env in enumerate(singles)]
    venv.action_space.seed(seed)
    coin, restarts = np.random.default_rng(seed), 0
    for _ in range(10 * STEPS):
        _compare_rows(obs, solo)
        actions = _mixed(venv.task, venv.state, venv.action_space.sample(), coin.random(ROWS) < 0.5)
        obs, reward, terminated, truncated, info = venv.step(actions)
        over = ops.to_numpy(terminated) | ops.to_numpy(truncated)
        for i, env in enumerate(singles):
            solo[i], r, t, u, told = env.step(actions[i])
            _require(
                bool(terminated[i]) == t and bool(truncated[i]) == u, f"row {i} must end when its single does"
            )
            _close(float(reward[i]), r, "reward")
            source = info["final_info"] if t or u else info
            for key, value in told.items():
                _close(float(source[key][i]), value, key)
            if t or u:
                _compare_rows({k: np.stack([ops.to_numpy(info["final_obs"][i][k])]) for k in obs}, [solo[i]])
                solo[i], _ = env.reset()
        restarts += bool(over.any() and not over.all())
        if restarts >= 3:
            return
    raise AssertionError("a restart beside a running episode must happen, none did")


def check_rows_replay_on_torch(task_id: str, **kwargs: Any) -> None:
    """The same on torch, on the CPU."""
    if "torch" in entry_of(task_id).task.backends:
        check_rows_replay_single(task_id, backend="torch", **kwargs)


def check_array_api(task_id: str, **kwargs: Any) -> None:
    """The middle keeps to the array API standard: array-api-strict, on its second device, gives what NumPy gives."""
    if "torch" not in entry_of(task_id).task.backends:
        return
    import array_api_strict as strict

    device = strict.Device("device1")
    for task, state, action in _moments(task_id, kwargs):
        there = batch.each(state, lambda x: strict.asarray(x, device=device))
        act = strict.asarray(action, device=device)
        _same_everywhere(_middle(task, state, action), _middle(task, there, act), device)


def check_no_device_leak(task_id: str, **kwargs: Any) -> None:
    """The middle runs on torch's meta device, which refuses any mix with the CPU."""
    if "torch" not in entry_of(task_id).task.backends:
        return
    import torch

    task, state, action = _moments(task_id, kwargs)[0]
    there = batch.each(state, lambda x: torch.asarray(x, device="meta"))
    for name, value in _middle(task, there, torch.asarray(action, device="meta")).items():
        _require(
            value.device.type == "meta",
            f"{name} must stay on the device of the state, it is on {value.device}",
        )


def check_state_untouched(task_id: str, **kwargs: Any) -> None:
    """No method of the middle writes into the state or the action, and no two fields of a state share memory."""
    for task, state, action in _moments(task_id, kwargs):
        kept, act = batch.each(state, np.copy), action.copy()
        _middle(task, state, action)
        after = task.step(state, action)
        _require(
            _equal(vars(kept), vars(state)),
            "step, observe, reward and the rest must not write into the state",
        )
        _require(bool((act == action).all()), "step must not write into the action")
        fields = list(vars(after).items())
        for i, (a, x) in enumerate(fields):
            for b, y in fields[i + 1 :]:
                _require(not np.shares_memory(x, y), f"fields {a} and {b} must not share memory")


def check_rows_independent(task_id: str, **kwargs: Any) -> None:
    """A subset of the rows gives the subset of the results: nothing leaks from episode to episode."""
    rows = [2, 0]
    for task, state, action in _moments(task_id, kwargs):
        some = _middle(task, batch.take(state, rows), action[rows])
        for name, value in _middle(task, state, action).items():
            _close(some[name], value[rows], f"{name} must not mix rows")


def check_observations(task_id: str, **kwargs: Any) -> None:
    """Observations lie inside their space, are finite, change, and are never arrays of the state."""
    seen: dict[str, set[bytes]] = {}
    for task, state, _ in _moments(task_id, kwargs):
        obs, info = task.observe(state), task.metrics(state)
        _require(
            set(obs) == set(task.observation_space), "observe must give the keys of the observation space"
        )
        for key, value in obs.items():
            space: Any = task.observation_space[key]
            _require(value.dtype == space.dtype, f"{key} must be {space.dtype}, got {value.dtype}")
            _require(all(space.contains(row) for row in value), f"{key} must lie inside its space")
            _require(bool(np.isfinite(value).all()), f"{key} must be finite")
            seen.setdefault(key, set()).update(row.tobytes() for row in value)
        for key, value in {**obs, **info}.items():
            for field, held in vars(state).items():
                _require(
                    not np.shares_memory(value, held), f"{key} must not share memory with the state's {field}"
                )
        _require("is_success" in info, "metrics must have is_success")
    for key, values in seen.items():
        _require(len(values) > 1, f"{key} must not be constant")


def check_expert(task_id: str, episodes: int = 64, **kwargs: Any) -> None:
    """The expert solves its stated share of episodes and earns more than chance by three standard errors."""
    good, solved = _play(task_id, kwargs, episodes, expert=True)
    bad, _ = _play(task_id, kwargs, episodes, expert=False)
    reach = entry_of(task_id).expert_rate(kwargs.get("preset"))
    _require(
        solved.mean() >= reach,
        f"the expert must solve >= {reach:.0%} of the episodes, it solves {solved.mean():.0%}",
    )
    more, error = (good - bad).mean(), (good - bad).std() / np.sqrt(episodes)
    _require(
        more > 3 * error, f"the expert must earn more than chance, it earns {more:.2f} +- {error:.2f} more"
    )


CHECKS: dict[str, Callable[..., None]] = {
    run.__name__.removeprefix("check_"): run
    for run in (
        check_spec,
        check_docstring,
        check_gymnasium,
        check_seeds,
        check_rows_replay_single,
        check_rows_replay_on_torch,
        check_array_api,
        check_no_device_leak,
        check_state_untouched,
        check_rows_independent,
        check_observations,
        check_expert,
    )
}


def _require(condition: bool, rule: str) -> None:
    if not condition:
        raise AssertionError(rule)


def _close(got: Any, wanted: Any, name: str) -> None:
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6, err_msg=name)


def _equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(np.array_equal(a[key], b[key], equal_nan=a[key].dtype.kind == "f") for key in a)


def _mixed(task: Any, state: Any, random: np.ndarray, by_expert: np.ndarray) -> np.ndarray:
    """The expert's action in some rows, a random one in the others."""
    expert = ops.to_numpy(task.expert(state))
    return np.where(by_expert.reshape(-1, *[1] * (expert.ndim - 1)), expert, random).astype(random.dtype)


def _moments(task_id: str, kwargs: dict) -> list[tuple[Any, Any, np.ndarray]]:
    """Some (task, state of B rows, action) on the way through episodes."""
    env = TaskVectorEnv(ROWS, task_id, max_episode_steps=entry_of(task_id).max_steps, **kwargs)
    env.reset(seed=5)
    env.action_space.seed(5)
    coin, kept = np.random.default_rng(5), []
    for t in range(STEPS):
        action = _mixed(env.task, env.state, env.action_space.sample(), coin.random(ROWS) < 0.5)
        if t % 11 == 0:
            kept.append((env.task, batch.each(env.state, np.copy), action))
        env.step(action)
    return kept


def _middle(task: Any, state: Any, action: Any) -> dict[str, Any]:
    """All that the middle of a task computes, by name."""
    after = task.step(state, action)
    out = {f"state.{key}": value for key, value in vars(after).items()}
    out |= {f"obs.{key}": value for key, value in task.observe(after).items()}
    out |= {f"metric.{key}": value for key, value in task.metrics(after).items()}
    out["reward"], out["terminated"] = task.reward(state, action, after), task.terminated(after)
    out["expert"] = task.expert(state)
    if isinstance(task.action_space, spaces.Discrete):
        out["good_actions"] = good_actions(task, state)
    for name in _further(task):
        out[name] = getattr(task, name)(state)
    return out


def _further(task: Any) -> list[str]:
    """What a task says of a state beyond what every task must."""
    found = []
    found += ["action_mask"] if isinstance(task, MaskedActions) else []
    return found + (["detection_quality"] if isinstance(task, Reports) else [])


def _same_everywhere(here: dict[str, np.ndarray], there: dict[str, Any], device: Any) -> None:
    for name, value in there.items():
        _require(
            value.device == device, f"{name} must stay on the device of the state, it is on {value.device}"
        )
        got = ops.to_numpy(value)
        _require(
            got.dtype == here[name].dtype, f"{name} must be {here[name].dtype} everywhere, got {got.dtype}"
        )
        _close(got, here[name], name)


def _compare_rows(obs: dict[str, Any], singles: list[dict[str, np.ndarray]]) -> None:
    """Rows of a batch against single observations: images within one grey level, the rest within rounding."""
    for key, value in obs.items():
        for row, single in zip(ops.to_numpy(value), singles, strict=True):
            if row.dtype == np.uint8:
                gap = np.abs(row.astype(int) - single[key]).max()
                _require(
                    gap <= 1, f"{key} must be the single environment's to one grey level, it is off by {gap}"
                )
            else:
                _close(row, single[key], key)


def _play(task_id: str, kwargs: dict, episodes: int, *, expert: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return and success of episodes, a row each; steps are not observed, and rows leave when they are over."""
    env = TaskVectorEnv(episodes, task_id, max_episode_steps=entry_of(task_id).max_steps, **kwargs)
    env.reset(seed=0)
    env.action_space.seed(0)
    task, state, rows = env.task, env.state, np.arange(episodes)
    total, success, left = np.zeros(episodes), np.zeros(episodes, bool), env.limit
    while len(rows):
        action = task.expert(state) if expert else env.action_space.sample()[rows]
        after, left = task.step(state, action), left - 1
        total[rows] += task.reward(state, action, after)
        over = task.terminated(after) if left else np.ones(len(rows), bool)
        if over.any():
            success[rows[over]] = task.metrics(batch.take(after, over))["is_success"]
            rows, after = rows[~over], batch.take(after, ~over)
        state = after
    return total, success
