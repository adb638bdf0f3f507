"""Models of language as the networks of training runs: by name, or trained ones from which a policy starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from gymnasium import spaces

from visionrl.agents.policies.words import QUESTION, WORDS, WordsExtractor, start_policy
from visionrl.agents.training.config import DEFAULTS, TrainConfig
from visionrl.agents.training.pairs import format_args, parse_args
from visionrl.agents.training.run_files import write_json
from visionrl.core import entry_of
from visionrl.core.arguments import hints_of
from visionrl.datasets.words import SPECIAL
from visionrl.models import Model, list_models, load_model, model_class
from visionrl.models._files import DESCRIPTION, read_description
from visionrl.models.language.captioner import Captioner

WITHOUT = ("memory", "cache", "stn", "attention", "weights", "communication", "fusion", "tiles")


def reader_of(config: TrainConfig) -> str | None:
    """The name or the folder of a resolved config's model; None for none."""
    return None if config.model in (None, "none") else config.model


def starts_trained(config: TrainConfig) -> bool:
    """Tell if a config's network has weights of its own: published ones, those of a file, or of a trained model."""
    return bool(config.pretrained or config.weights or reader_of(config) not in (None, *list_models()))


def check_reader(config: TrainConfig, space: spaces.Dict) -> None:
    """Refuse a model for a task without words, or beside options about another network.

    Raises:
        ValueError: names the field, the rule and the value.
    """
    if reader_of(config) is None:
        return
    if not {WORDS, QUESTION} & set(space.spaces):
        raise ValueError(f"model must be none for {config.env}, which shows no words, got {config.model!r}")
    for name in WITHOUT:
        if (value := getattr(config, name)) not in (None, False, "none", DEFAULTS.get(name)):
            raise ValueError(f"{name} must be left out with model {config.model!r}, got {value!r}")


def with_words(config: TrainConfig) -> TrainConfig:
    """The config whose task has the words, answers and images that its trained model knows, where none are given.

    Raises:
        ValueError: there is no such model.
    """
    if (reader := reader_of(config)) is None or reader in list_models():
        return config
    net: Any = load_model(reader)
    known = {"vocabulary": list(net.vocabulary.words[len(SPECIAL) :]), "max_words": net.length}
    if not isinstance(net, Captioner):
        known["answers_known"] = list(net.answers)
    if net.image is not None:
        known |= {"side": net.image.side, "channels": net.image.channels}
    own = hints_of(entry_of(config.env).task)  # a task without words is refused by check_reader
    given = {name: value for name, value in known.items() if name in own}
    return replace(config, env_args=format_args({**given, **parse_args(config.env_args)}))


def read_with(config: TrainConfig, policy_kwargs: dict[str, Any], net: Model | None = None) -> None:
    """Give a policy's arguments the extractor of a config's model; nothing where there is none.

    Args:
        config: of the run, resolved.
        policy_kwargs: changed in place.
        net: stands for the config's model, as it was when the agent was saved.
    """
    reader = reader_of(config)
    if reader is None:
        return
    given: dict[str, Any] = {"model": net or reader, "frozen": config.frozen}
    if net is None and reader in list_models():
        given |= {"backbone": config.backbone, "width": config.features_dim, "pretrained": config.pretrained}
    policy_kwargs |= {"features_extractor_class": WordsExtractor, "features_extractor_kwargs": given}
    policy_kwargs.setdefault("net_arch", [])


def start_from_reader(config: TrainConfig, model: Any) -> None:
    """Let a policy begin as the trained captioner of its config, if that is what reads for it."""
    reader = reader_of(config)
    if reader is not None and reader not in list_models():
        net = model.policy.features_extractor.model
        if isinstance(net, Captioner):
            start_policy(model.policy, net)


def save_reader(policy: Any, run: Path) -> None:
    """Describe the model of a policy in a run's folder, so that the agent needs no other folder."""
    extractor = getattr(policy, "features_extractor", None)
    if isinstance(extractor, WordsExtractor):
        write_json(run / DESCRIPTION, {"model": extractor.model.name, "options": extractor.model.options})


def saved_reader(run: Path) -> Model | None:
    """The model that ``save_reader`` described, with weights drawn at random; None without one.

    Raises:
        ValueError: the file is not one of ``save_reader``.
    """
    if not (run / DESCRIPTION).is_file():
        return None
    name, options = read_description(run)
    return model_class(name).of(options)
