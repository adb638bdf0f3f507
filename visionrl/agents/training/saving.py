"""A trained agent as files, and back; what strangers saved is read without pickle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gymnasium import Space
from stable_baselines3.common.base_class import BaseAlgorithm

from visionrl.agents.imitation.scorer import Scorer
from visionrl.agents.networks.device import check_device
from visionrl.agents.networks.frozen_features import OnImages, on_images
from visionrl.agents.sb3.recall import recalled_space
from visionrl.agents.shipped import CARD, HOME
from visionrl.agents.training.algo_args import check_algo_args
from visionrl.agents.training.algorithms import ENTROPY_TUNED, REPLAYING
from visionrl.agents.training.card import NO_LIMITS, card
from visionrl.agents.training.config import TrainConfig
from visionrl.agents.training.models import (
    algorithm_of,
    check_actions,
    check_backbone,
    extractor_kwargs,
    feature_encoder,
    model_kwargs,
    policy_of,
)
from visionrl.agents.training.readers import read_with, save_reader, saved_reader
from visionrl.agents.training.run_files import folder_of, read_config, read_json, write_json, write_text
from visionrl.backbones._loading import load_state, no_larger_than, read_state
from visionrl.backbones._weights import write_tensors
from visionrl.models._files import DESCRIPTION
from visionrl.rendering import replacing

ENCODER = "encoder."  # in front of a frozen backbone's tensors in ``policy.pt``
SCORER = "scorer."  # in front of a scorer's
TARGET = "_target."


def save_agent(model: BaseAlgorithm, run: Path, scorer: Scorer | None = None) -> None:
    """Write ``agent.zip`` and ``policy.pt``.

    The latter holds the scorer too, and the backbone of an agent that learnt on features.
    """
    with replacing(run / "agent.zip") as part, part.open("wb") as file:
        model.save(file)
    state = model.policy.state_dict()
    save_reader(model.policy, run)
    seen = on_images(model)
    if isinstance(seen, OnImages):
        state |= {f"{ENCODER}{key}": value for key, value in seen.encoder.state_dict().items()}
    if scorer:
        state |= {f"{SCORER}{key}": value for key, value in scorer.state_dict().items()}
    with replacing(run / "policy.pt") as part:
        write_tensors(part, state)


def load_model(run: str | Path, device: str = "auto") -> tuple[Any, TrainConfig]:
    """The agent of a run's folder, or of one of the names in ``visionrl.agents.shipped``, and the run's config.

    The model is built anew from ``config.json`` and gets the tensors of ``policy.pt``, which is read without
    pickle: a stranger's folder can be loaded this way. ``agent.zip`` can not: Stable-Baselines3 unpickles
    it, which runs whatever code its author put there, so call ``DQN.load`` and the like on your own files
    only.

    The model predicts; it has no environment, and nothing to go on learning from.

    Raises:
        FileNotFoundError: the folder holds no finished run.
        ValueError: ``config.json`` is not one of a run, or the device is not here.
    """
    check_device(device)
    run = folder_of(run)
    config, observations, actions = read_config(run)
    check_stranger(config, actions, run / "config.json")
    path = run / "policy.pt"
    if not path.is_file():
        raise FileNotFoundError(
            f"a finished run must have policy.pt, {run} has none; visionrl train with --resume finishes it"
        )
    state = read_state(path)
    bare = replace(config, pretrained=False, weights=None, device=device)
    with no_larger_than(state, path):
        if config.cache:
            encoder = feature_encoder(bare, observations)
            load_state(encoder, take_prefixed(state, ENCODER), path)
            shown = encoder.space if config.recall is None else recalled_space(encoder.space, config.recall)
            return OnImages(empty_model(bare, shown, actions, state, path), encoder), config
        scores = take_prefixed(state, SCORER)
        model = empty_model(bare, observations, actions, state, path)
        if scores:
            model.scorer = Scorer(observations, **extractor_kwargs(bare)).to(model.device).eval()
            load_state(model.scorer, scores, path)
    return model, config


def check_stranger(config: TrainConfig, actions: Space, path: Path) -> None:
    """Refuse the config of a run that cannot be one's, before anything is built from it.

    Raises:
        ValueError: names the file, the field, the rule and the value.
    """
    try:
        if config.algo is None or config.backbone is None:
            raise ValueError(f"algo and backbone must be given, got {config.algo} and {config.backbone}")
        check_backbone("backbone", config.backbone)
        check_algo_args(config, algorithm_of(config))
        check_actions(config.algo, actions)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def take_prefixed(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Remove the tensors with a prefix from the others; returns them by their names without it."""
    return {key.removeprefix(prefix): state.pop(key) for key in list(state) if key.startswith(prefix)}


def empty_model(
    config: TrainConfig, observations: Space, actions: Space, state: dict[str, Any], path: Path
) -> Any:
    """The algorithm of a config with the parameters of a policy, and without an environment.

    Raises:
        ValueError: the parameters, of the file ``path``, are not of this config.
    """
    kwargs, policy_kwargs = model_kwargs(config)
    read_with(config, policy_kwargs, saved_reader(path.parent))
    kwargs["buffer_size" if config.algo in REPLAYING else "n_steps"] = 1  # nothing is stored
    if config.algo in ENTROPY_TUNED:
        kwargs.setdefault("target_entropy", 0.0)  # "auto" would ask the environment
    model = algorithm_of(config)(
        policy_of(config, policy_kwargs, observations, actions),
        None,
        device=config.device,
        _init_setup_model=False,
    )
    model.__dict__.update(kwargs, policy_kwargs=policy_kwargs, seed=None, n_envs=1)
    model.observation_space, model.action_space = observations, actions
    model._setup_model()
    load_state(model.policy, fill_state_dict(state, model.policy.state_dict()), path)
    model.policy.set_training_mode(False)
    return model


def ship(
    run: str | Path, name: str, home: Path = HOME, *, summary: str = "", limits: Sequence[str] = ()
) -> Path:
    """Write a finished run as an agent to come with the library, with its card; returns its folder.

    Args:
        run: the run's folder; the card takes data, command, seed and figures from it.
        name: of the agent.
        home: the folder of all such agents.
        summary: what the agent does, a sentence; empty: the name of its task.
        limits: what it cannot do, a sentence each.
    """
    run, folder = Path(run), home / name
    about = read_json(run / "config.json")
    metrics = read_json(run / "metrics.json") if (run / "metrics.json").is_file() else None
    state = read_state(run / "policy.pt")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {**about, "config": {**about["config"], "name": name, "out": "runs"}})
    if (run / DESCRIPTION).is_file():
        write_json(folder / DESCRIPTION, read_json(run / DESCRIPTION))
    summary = summary or f"An agent of {about['config']['env']}."
    write_text(folder / CARD, card(name, about, metrics, summary, limits or NO_LIMITS))
    halves = {
        value.data_ptr(): value.half() if value.is_floating_point() else value for value in state.values()
    }
    kept = {key: halves[value.data_ptr()] for key, value in state.items() if TARGET not in key}
    with replacing(folder / "policy.pt") as part:  # what networks share is stored once
        write_tensors(part, kept)
    return folder


def fill_state_dict(state: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The tensors of a policy with those of its target networks, which begin as what they follow."""
    missing = {key: key.replace(TARGET, ".") for key in wanted if key not in state and TARGET in key}
    return {**state, **{key: state[twin] for key, twin in missing.items() if twin in state}}
