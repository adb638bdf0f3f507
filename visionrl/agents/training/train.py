"""Training an agent: one function, from a config to a folder with the agent and its results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from rich.console import Console
from rich.progress import Progress
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

from visionrl.agents.evaluation.compare import compare
from visionrl.agents.evaluation.episodes import task_kwargs
from visionrl.agents.evaluation.policies import Policy, agent_policy, agent_rows
from visionrl.agents.evaluation.progress import doing
from visionrl.agents.imitation.cloning import clone
from visionrl.agents.imitation.scorer import Scorer, fit_scorer
from visionrl.agents.imitation.teacher import init_from_teacher
from visionrl.agents.networks.frozen_features import OnImages, on_images
from visionrl.agents.networks.model_io import copy_policy
from visionrl.agents.networks.team import TeamPolicy
from visionrl.agents.training.after_cloning import AfterCloning
from visionrl.agents.training.callback import RunCallback, Stopped
from visionrl.agents.training.checkpoint import last_checkpoint
from visionrl.agents.training.config import TrainConfig, describe_task, resolve
from visionrl.agents.training.curriculum import Curriculum
from visionrl.agents.training.lock import locked
from visionrl.agents.training.models import (
    build_model,
    check_before_loading,
    extractor_kwargs,
    fit_buffer,
    make_training_env,
)
from visionrl.agents.training.pairs import format_args, parse_args
from visionrl.agents.training.readers import starts_trained, with_words
from visionrl.agents.training.run_files import (
    check_folder,
    check_new,
    inherit,
    is_finished,
    plot_curve,
    read_json,
    write_config,
    write_json,
)
from visionrl.agents.training.saving import load_model, save_agent
from visionrl.core import Task, make_task
from visionrl.core.capabilities import MultiAgent, ResolvedArguments
from visionrl.reward_models.self_critical import self_critical_in


def train(config: TrainConfig, callbacks: Sequence[BaseCallback] = ()) -> Path:
    """Train an agent, choose the best by the validation split, compare it on the test split, save it all.

    The run's folder then holds

    * ``agent.zip``: the agent as Stable-Baselines3 saves it. Such files can carry code: load only your own;
    * ``policy.pt``: its parameters alone, for ``load_model``;
    * ``config.json``: the config that reproduces the run, the command, the versions;
    * ``splits.json``: the subjects of the three splits, which ``split_file`` takes too;
    * ``metrics.json``: the comparison on the test split; ``curve.csv`` and ``curve.png``: the validation
      split;
    * ``episode.gif``: an episode of the test split; ``ends.png``: how twelve of them end;
    * ``tensorboard/``: the logs;
    * ``checkpoint/``: from which ``resume=True`` continues, exactly on the CPU, after a crash, a kill, or
      with more ``timesteps``. It holds the replay buffer too (both observations of every step; below 1 GB
      unless ``buffer_size`` is given).

    Ctrl-C and SIGTERM stop after the present rollout, with a checkpoint.

    Args:
        config: of the run.
        callbacks: of Stable-Baselines3, such as its ``EvalCallback``, or Weights & Biases'; they take part in the
            learning, not in the cloning. One that stops it ends the run, which ``resume`` continues. What they remember
            is not in the checkpoint.

    Returns:
        The run's folder.

    Raises:
        ValueError: the folder holds a run already and ``resume`` is off, another process has it, or the config
            differs from that of the run to resume, or ``callbacks`` are none.
        OSError: the disk is full or read-only; the last checkpoint is whole.
        SystemExit: it was stopped by a signal; the code is 128 + its number (130 for Ctrl-C).
    """
    check_callbacks(callbacks)
    run, console = config.folder, Console()
    with ExitStack() as stack:
        if check_folder(config) is not None:
            stack.enter_context(locked(run))
        earlier = check_folder(config)
        torch.set_num_threads(config.threads)
        wanted = with_words(resolve(config)) if earlier is None else inherit(config, earlier)
        if earlier is not None and is_finished(run, wanted.timesteps or 0):
            console.print(f"{run} is finished; it goes on if it is given more timesteps")
            return run
        check_before_loading(wanted)
        console.print(describe_task(wanted), markup=False, highlight=False, soft_wrap=True)
        if wanted.frozen and not starts_trained(wanted):
            console.print(
                "the backbone is frozen with random weights: --pretrained or --weights gives it others"
            )
        with console.status("loading the data"):
            env = make_training_env(wanted)
        stack.callback(env.close)
        task = env.get_attr("task")[0]
        if earlier is None:
            wanted, subjects = resolve_env_args(wanted, task)
        else:
            check_subjects(run, task)
        check_expert(wanted, task)
        wanted = fit_buffer(wanted, env, given="buffer_size" in config.algo_kwargs)
        model = build_model(wanted, env)
        if wanted.teacher:
            start_from_teacher(model, wanted.teacher)
        if earlier is None:
            stack.enter_context(claimed(run))
            write_json(run / "splits.json", subjects)
        write_config(run, replace(wanted, resume=False), env.unwrapped.observation_space, env.action_space)
        model.set_logger(configure(str(run / "tensorboard"), ["tensorboard"]))
        callback = learn(model, wanted, run, console, callbacks)
        finish(model, wanted, run, callback, console)
    return run


def check_callbacks(callbacks: Sequence[BaseCallback]) -> None:
    """Refuse objects that are no callbacks of Stable-Baselines3.

    Raises:
        ValueError: one is of another type.
    """
    for one in callbacks:
        if not isinstance(one, BaseCallback):
            raise ValueError(
                f"callbacks must be of Stable-Baselines3's BaseCallback, got {type(one).__name__}"
            )


@contextmanager
def claimed(run: Path) -> Iterator[None]:
    """Make a new run's folder, and keep it from other processes.

    Raises:
        ValueError: another process has it, or began a run there in the meantime.
    """
    run.mkdir(parents=True, exist_ok=True)
    with locked(run):
        check_new(run)
        yield


def resolve_env_args(config: TrainConfig, task: Task) -> tuple[TrainConfig, dict[str, list[str]]]:
    """Write the arguments that the training split decided into the config, so that the other splits look the same.

    Returns:
        The config, and the subjects of each split.

    Raises:
        ValueError: the validation or test split cannot be had, or looks otherwise.
    """
    resolved = task.resolved_arguments if isinstance(task, ResolvedArguments) else {}
    decided = replace(config, env_args=format_args({**resolved, **parse_args(config.env_args)}))
    subjects = {"train": list(task.subjects)}
    for split in ("val", "test"):
        other = make_task(config.env, **task_kwargs({**task.evaluation, **decided.env_kwargs}, split))
        seen, subjects[split] = other.observation_space, list(other.subjects)
        if seen != task.observation_space:
            raise ValueError(f"observations of split {split!r} must be {task.observation_space}, got {seen}")
    return decided, subjects


def check_subjects(run: Path, task: Task) -> None:
    """Refuse to go on with other subjects than a run began with: those that test it may be among them.

    Raises:
        ValueError: names a subject that is new, or missing.
    """
    path = run / "splits.json"
    began = read_json(path).get("train") if path.is_file() else list(task.subjects)
    if not isinstance(began, list) or not all(isinstance(subject, str) for subject in began):
        raise ValueError(f"{path} must list the subjects of train by name")
    if changed := sorted(set(began) ^ set(task.subjects)):
        how = "new" if changed[0] in task.subjects else "missing"
        raise ValueError(f"subjects of the training split must be those of {path}, {changed[0]!r} is {how}")


def check_expert(config: TrainConfig, task: Task) -> None:
    """Refuse to imitate where the data do not say what is right.

    Raises:
        ValueError: names the argument.
    """
    for name in ("clone_steps", "demo_steps"):
        if (steps := getattr(config, name)) and not task.knows_truth:
            raise ValueError(f"{name} must be 0 on data without truth, where there is no expert, got {steps}")


def start_from_teacher(model: Any, teacher: str) -> None:
    """Initialize the agents of a team from a trained agent that looks for one target at a time.

    Raises:
        ValueError: there is no team, or the agent does not look for what a team's agent does.
    """
    if not isinstance(model.policy, TeamPolicy):
        raise ValueError("teacher must be None without communication, which makes the agents a team")
    single, config = load_model(teacher, "cpu")
    known = config.env_kwargs.get("target", [])
    task = model.get_env().get_attr("task")[0]
    names = task.agents if isinstance(task, MultiAgent) else ()
    if missing := [name for name in names if name not in known] or not names:
        raise ValueError(f"teacher must look for all that the team does, {teacher} lacks {missing}")
    init_from_teacher(model.policy, single.policy, [known.index(name) for name in names])


def learn(
    model: Any, config: TrainConfig, run: Path, console: Console, callbacks: Sequence[BaseCallback] = ()
) -> RunCallback:
    """Let the model learn, from the run's last checkpoint on if there is one.

    Raises:
        SystemExit: a signal stopped it.
    """
    callback = (CachedCallback if config.cache else RunCallback)(config, run)
    checkpoint = last_checkpoint(run)
    if config.demo_steps:
        model.demonstrate(config.demo_steps)  # the same when a run is resumed
    if checkpoint:
        callback.restore(checkpoint, model)
        console.print(f"resumed {run} at step {model.num_timesteps:,}")
    try:
        with callback.listening():
            if config.clone_steps and not checkpoint:
                clone_first(model, config, callback)
            continue_training(model, config, callback, callbacks)
            if callback.stop:  # asked to during the last evaluation, after which the checkpoint is written
                raise Stopped(callback.stop)
    except Stopped as stopped:
        console.print(
            f"stopped at step {model.num_timesteps:,}; the same command with --resume continues {run}"
        )
        raise SystemExit(128 + stopped.args[0]) from None
    return callback


def clone_first(model: Any, config: TrainConfig, callback: RunCallback) -> None:
    """Let the policy learn from the expert; evaluate it, and write the checkpoint of step 0.

    Raises:
        Stopped: a signal asked for it; cloning begins anew when the run is resumed.
    """
    bar = callback.bar
    steps = config.clone_steps or 0
    task = bar.add_task("cloning", total=steps)

    def show(done: int, loss: float) -> None:
        bar.update(task, completed=done, description=f"cloning, loss {loss:.3f}")
        if callback.stop:
            raise Stopped(callback.stop)

    if critic := self_critical_in(model.get_env()):
        critic.paused = True
    clone(
        model,
        steps,
        rate=config.clone_rate,
        repeats=config.clone_repeats,
        on_step=show,
        rerender=config.rerender,
        try_actions=config.clone_action_values is not False,
    )
    if critic:
        critic.paused = False
    continue_training(model, replace(config, timesteps=0), callback)
    bar.remove_task(bar.task_ids[-1])  # that of no steps
    if callback.stop:
        raise Stopped(callback.stop)


def continue_training(
    model: Any, config: TrainConfig, callback: RunCallback, others: Sequence[BaseCallback] = ()
) -> None:
    """Let the model learn until it has taken the config's steps."""
    steps, callbacks = config.timesteps or 0, [cast(BaseCallback, callback), *others]
    if config.clone_steps and (config.clone_kl or config.value_warmup):
        sizes = config.clone_kl or 0.0, config.clone_kl_end or 0.0, config.value_warmup or 0
        callbacks.append(AfterCloning(lambda: callback.clone or callback.parameters(), *sizes))
    if config.curriculum:
        curriculum = Curriculum(config.curriculum)
        curriculum.ease(model, steps)
        callbacks.append(curriculum)
    model.learn(max(steps - model.num_timesteps, 0), callback=callbacks, reset_num_timesteps=False)


class CachedCallback(RunCallback):
    """Evaluates an agent that learns on features by showing it images."""

    def init_callback(self, model: Any) -> None:
        """Take the model, behind the feature encoder of its environment."""
        super().init_callback(on_images(model))


def finish(model: Any, config: TrainConfig, run: Path, callback: RunCallback, console: Console) -> None:
    """Write the best agent and compare it on the test split, once."""
    from visionrl.agents.evaluation.record import gallery, record

    model.policy.load_state_dict(callback.best)
    scorer = score_reports(model, config, console) if config.scorer_steps else None
    save_agent(model, run, scorer)
    model = on_images(model)
    model.scorer = scorer
    plot_curve(run, callback.curve, callback.metric)
    agents = agent_rows(str(config.algo).upper(), model)
    before = clone_policy(model, callback.clone) if callback.best_row["timesteps"] else None
    if before is not None:
        agents = {"clone": before, **agents}
    console.print("comparing on the test split")
    with doing(console) as say:
        table = compare(
            config.env,
            agents,
            split="test",
            episodes=config.test_episodes,
            env_kwargs=config.env_kwargs,
            against="clone" if before else None,
            say=say,
        )
    best = {key: None if math.isnan(value) else value for key, value in callback.best_row.items()}
    record(config.env, agent_policy(model), run / "episode.gif", split="test", env_kwargs=config.env_kwargs)
    gallery(config.env, agent_policy(model), run / "ends.png", split="test", env_kwargs=config.env_kwargs)
    found = {"timesteps": model.num_timesteps, "validation": best, "test": table.to_dict()}
    write_json(run / "metrics.json", found)  # the last: a run with this file is finished
    table.print(brief=True)
    console.print(f"saved in {run}; metrics.json has every metric")


def clone_policy(model: Any, clone: dict[str, Any]) -> Policy | None:
    """The policy of a model, as ``on_images`` gives it, with the parameters of its clone; None without a clone."""
    if not clone:
        return None
    encoder = getattr(model, "encoder", None)
    learnt = model.model.policy if encoder is not None else model.policy
    policy = copy_policy(learnt)
    policy.load_state_dict(clone)
    alone = SimpleNamespace(policy=policy, predict=policy.predict, observation_space=policy.observation_space)
    return agent_policy(alone if encoder is None else OnImages(alone, encoder))


def score_reports(model: Any, config: TrainConfig, console: Console) -> Scorer:
    """A scorer for the agent, with a progress bar; Ctrl-C ends the run, and ``resume`` begins here again."""
    with Progress(console=console) as bar:
        task = bar.add_task("scorer", total=config.scorer_steps)
        return fit_scorer(
            model,
            config.scorer_steps,
            config.seed,
            rerender=config.rerender,
            on_step=lambda done, loss: bar.update(
                task, completed=done, description=f"scorer, loss {loss:.3f}"
            ),
            **extractor_kwargs(config),
        )
