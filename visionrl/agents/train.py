"""Training an agent: one function, from a config to a folder with the agent and what it is worth."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from rich.console import Console
from sb3_contrib import QRDQN
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

from visionrl.agents.callback import RunCallback, Stopped
from visionrl.agents.checkpoint import last_checkpoint
from visionrl.agents.config import TrainConfig, check_same, format_args, parse_args, resolve
from visionrl.agents.evaluate import agent_policy, compare
from visionrl.agents.extractor import VisionExtractor
from visionrl.agents.run_files import plot_curve, read_config, write_config, write_json
from visionrl.agents.sb3_env import make_vec_env
from visionrl.core import Task, make_task

ALGORITHMS: Mapping[str, type[BaseAlgorithm]] = {"dqn": DQN, "ppo": PPO, "a2c": A2C, "qrdqn": QRDQN}
POLICY_ARGS = ("net_arch", "n_quantiles")  # of ``algo_args``, those that shape the policy's networks
REPLAY_BYTES = 1_000_000_000


def train(config: TrainConfig) -> Path:
    """Train an agent, choose the best by the validation split, compare it on the test split, save it all.

    The run's folder then holds

    * ``agent.zip``: the agent as Stable-Baselines3 saves it. Such files can carry code: load only your own;
    * ``policy.pt``: its parameters alone, for ``load_agent``;
    * ``config.json``: the config that reproduces the run, the command, the versions;
    * ``metrics.json``: the comparison on the test split; ``curve.csv`` and ``curve.png``: the validation
      split;
    * ``episode.gif``: an episode of the test split; ``tensorboard/``: the logs;
    * ``checkpoint/``: from which ``resume=True`` continues, exactly on the CPU, after a crash, a kill, or
      with more ``timesteps``. It holds the replay buffer too (both observations of every step; below 1 GB
      unless ``buffer_size`` is given).

    Ctrl-C and SIGTERM stop after the present rollout, with a checkpoint.

    Returns:
        The run's folder.

    Raises:
        ValueError: the folder holds a run already and ``resume`` is off, or the config differs from that of
            the run to resume.
        SystemExit: it was stopped by a signal; the code is 128 + its number (130 for Ctrl-C).
    """
    run, console = config.folder, Console()
    earlier = check_folder(config)
    torch.set_num_threads(config.threads)
    wanted = resolve(config) if earlier is None else inherit(config, earlier)
    if earlier is not None and finished(run, wanted.timesteps or 0):
        console.print(f"{run} is finished; it goes on if it is given more timesteps")
        return run
    env = make_vec_env(wanted.env, wanted.num_envs or 1, split="train", **wanted.env_kwargs)
    if earlier is None:
        wanted = settle(wanted, env.get_attr("task")[0])
    wanted = fit_buffer(wanted, env.observation_space, given="buffer_size" in config.algo_kwargs)
    model = build_model(wanted, env)
    run.mkdir(parents=True, exist_ok=True)
    write_config(run, replace(wanted, resume=False), env.observation_space, env.action_space)
    model.set_logger(configure(str(run / "tensorboard"), ["tensorboard"]))
    callback = learn(model, wanted, run, console)
    finish(model, wanted, run, callback, console)
    env.close()
    return run


def settle(config: TrainConfig, task: Task) -> TrainConfig:
    """The config with what the training split decided, so that the other splits are seen in the same way.

    Raises:
        ValueError: the validation or test split cannot be had, or looks otherwise.
    """
    settled = replace(config, env_args=format_args({**task.settled, **parse_args(config.env_args)}))
    for split in ("val", "test"):
        kwargs = {**task.evaluation, **settled.env_kwargs, "split": split}
        kwargs.pop("max_episode_steps", None)  # the environment's, not the task's
        seen = make_task(config.env, **kwargs).observation_space
        if seen != task.observation_space:
            raise ValueError(f"observations of split {split!r} must be {task.observation_space}, got {seen}")
    return settled


def learn(model: BaseAlgorithm, config: TrainConfig, run: Path, console: Console) -> RunCallback:
    """Let the model learn, from the run's last checkpoint on if there is one.

    Raises:
        SystemExit: a signal stopped it.
    """
    callback = RunCallback(config, run)
    if checkpoint := last_checkpoint(run):
        callback.restore(checkpoint, model)
        console.print(f"resumed {run} at step {model.num_timesteps:,}")
    try:
        with callback.listening():
            left = (config.timesteps or 0) - model.num_timesteps
            model.learn(max(left, 0), callback=callback, reset_num_timesteps=False)
            if callback.stop:  # asked to during the last evaluation, after which the checkpoint is written
                raise Stopped(callback.stop)
    except Stopped as stopped:
        console.print(
            f"stopped at step {model.num_timesteps:,}; the same command with --resume continues {run}"
        )
        raise SystemExit(128 + stopped.args[0]) from None
    return callback


def finish(model: Any, config: TrainConfig, run: Path, callback: RunCallback, console: Console) -> None:
    """Write the best agent and compare it on the test split, once."""
    from visionrl.agents.record import record

    model.policy.load_state_dict(callback.best)
    save_agent(model, run)
    plot_curve(run, callback.curve, callback.metric)
    agents = {config.algo.upper(): agent_policy(model)}
    console.print("comparing on the test split")
    table = compare(
        config.env, agents, split="test", episodes=config.test_episodes, env_kwargs=config.env_kwargs
    )
    best = {key: None if math.isnan(value) else value for key, value in callback.best_row.items()}
    write_json(
        run / "metrics.json", {"timesteps": model.num_timesteps, "validation": best, "test": table.to_dict()}
    )
    record(config.env, agent_policy(model), run / "episode.gif", split="test", env_kwargs=config.env_kwargs)
    table.print(brief=True)
    console.print(f"saved in {run}; metrics.json has every metric")


def check_folder(config: TrainConfig) -> TrainConfig | None:
    """The config of the run to resume, or None for a new one.

    Raises:
        ValueError: there is something in a new run's folder, or nothing to resume.
    """
    run = config.folder
    if config.resume:
        if not (run / "config.json").is_file():
            raise ValueError(f"resume needs a run to continue, and {run} holds none")
        return read_config(run)[0]
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise ValueError(
            f"{run} exists; continue it with --resume, or give the new run another --name or --seed"
        )
    return None


def finished(run: Path, timesteps: int) -> bool:
    """Whether a run has all its results after so many steps."""
    metrics = run / "metrics.json"
    return metrics.is_file() and json.loads(metrics.read_text())["timesteps"] >= timesteps


def inherit(config: TrainConfig, earlier: TrainConfig) -> TrainConfig:
    """The config of a resumed run: what is not given is as it was before.

    Raises:
        ValueError: something given is not; ``timesteps`` alone may grow.
    """
    names = ("num_envs", "timesteps", "eval_every", "eval_episodes")
    sizes = {name: getattr(config, name) or getattr(earlier, name) for name in names}
    env = {**parse_args(earlier.env_args), **parse_args(config.env_args)}
    algo = {**earlier.algo_kwargs, **config.algo_kwargs}
    wanted = replace(
        config, **sizes, env_args=format_args(env), algo_args=format_args(algo), presets=earlier.presets
    )
    check_same(wanted, earlier)
    return wanted


def fit_buffer(config: TrainConfig, space: spaces.Space, given: bool) -> TrainConfig:
    """The config with a replay buffer of at most 1 GB for both observations, unless its size was given."""
    if config.algo not in ("dqn", "qrdqn") or given:
        return config
    kwargs = config.algo_kwargs
    each = (
        2 * sum(box.dtype.itemsize * math.prod(box.shape) for box in getattr(space, "spaces", {}).values())
        + 20
    )
    size = min(kwargs.get("buffer_size", 100_000), REPLAY_BYTES // each)
    return replace(config, algo_args=format_args({**kwargs, "buffer_size": size}))


def build_model(config: TrainConfig, env: VecEnv) -> BaseAlgorithm:
    """The algorithm of a resolved config, untrained."""
    kwargs, policy_kwargs = model_kwargs(config)
    algorithm: Any = ALGORITHMS[config.algo]
    return algorithm(
        "MultiInputPolicy", env, policy_kwargs=policy_kwargs, seed=config.seed, device=config.device, **kwargs
    )


def model_kwargs(config: TrainConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the algorithm, and of its policy."""
    kwargs = config.algo_kwargs
    if isinstance(rate := kwargs.get("learning_rate"), str):
        kwargs["learning_rate"] = falling(rate)
    policy = {name: kwargs.pop(name) for name in POLICY_ARGS if name in kwargs}
    trunk = {
        "backbone": config.backbone,
        "features_dim": kwargs.pop("features_dim", 256),
        "pretrained": config.pretrained,
        "frozen": config.frozen,
        "weights": config.weights,
    }
    return kwargs, {**policy, "features_extractor_class": VisionExtractor, "features_extractor_kwargs": trunk}


def falling(rate: str) -> LinearSchedule:
    """The learning rate "linear 1e-3": from 1e-3 to 0 over the run.

    Raises:
        ValueError: it is written otherwise.
    """
    kind, _, start = rate.partition(" ")
    try:
        return LinearSchedule(float(start if kind == "linear" else "none"), 0.0, 1.0)
    except ValueError:
        raise ValueError(f"learning_rate must be a number or like 'linear 1e-3', got {rate!r}") from None


def save_agent(model: BaseAlgorithm, run: Path) -> None:
    """Write ``agent.zip`` and ``policy.pt``."""
    part = run / ".agent.part"
    with part.open("wb") as file:
        model.save(file)
    os.replace(part, run / "agent.zip")
    torch.save(model.policy.state_dict(), part)
    os.replace(part, run / "policy.pt")


def load_agent(run: str | Path, device: str = "auto") -> tuple[Any, TrainConfig]:
    """The agent of a run's folder, and the run's config.

    The model is built anew from ``config.json`` and gets the tensors of ``policy.pt``, which is read without
    pickle: a stranger's folder can be loaded this way. ``agent.zip`` can not: Stable-Baselines3 unpickles
    it, which runs whatever code its author put there, so call ``DQN.load`` and the like on your own files
    only.

    The model predicts; it has no environment, and nothing to go on learning from.

    Raises:
        FileNotFoundError: the folder holds no finished run.
        ValueError: ``config.json`` is not one of a run.
    """
    run = Path(run)
    config, observations, actions = read_config(run)
    state = torch.load(run / "policy.pt", map_location="cpu", weights_only=True)
    kwargs, policy_kwargs = model_kwargs(replace(config, pretrained=False, weights=None))
    if config.algo in ("dqn", "qrdqn"):
        kwargs["buffer_size"] = 1
    algorithm: Any = ALGORITHMS[config.algo]
    model = algorithm("MultiInputPolicy", None, device=device, _init_setup_model=False)
    model.__dict__.update(kwargs, policy_kwargs=policy_kwargs, seed=None, n_envs=1)
    model.observation_space, model.action_space = observations, actions
    model._setup_model()
    model.policy.load_state_dict(state)
    model.policy.set_training_mode(False)
    return model, config
