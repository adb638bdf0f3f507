"""Algorithms of Stable-Baselines3, built from a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gymnasium import spaces
from sb3_contrib import QRDQN, TQC, TRPO, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import LinearSchedule, set_random_seed
from stable_baselines3.common.vec_env import VecEnv

from visionrl.agents.imitation.demonstrations import DoubleDQN, DQfD
from visionrl.agents.imitation.guided import guided
from visionrl.agents.networks.device import check_device
from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.agents.networks.frozen_features import CachedFeatures, FeatureEncoder, FeatureHead
from visionrl.agents.networks.numbers import NumbersExtractor, shows_images
from visionrl.agents.networks.team import TeamPolicy
from visionrl.agents.policies.action_map import MapPolicy, MaskableMapPolicy
from visionrl.agents.policies.candidates import (
    CandidateExtractor,
    candidate_policy,
    offers_candidates,
)
from visionrl.agents.policies.pixel_ppo import PixelPPO
from visionrl.agents.policies.pixelwise import PixelPolicy
from visionrl.agents.policies.recurrent import RecurrentPolicy
from visionrl.agents.policies.sequence import SequenceExtractor
from visionrl.agents.sb3.replay import StateRenderer, StateReplayBuffer, bytes_of
from visionrl.agents.sb3.vec_env import make_vec_env
from visionrl.agents.training.after_cloning import cloned
from visionrl.agents.training.algo_args import POLICY_ARGS, check_algo_args, start_of_schedule
from visionrl.agents.training.algorithms import EPSILON_GREEDY, REPLAYING
from visionrl.agents.training.config import ALGO, BACKBONE, DEFAULTS, TrainConfig
from visionrl.agents.training.curriculum import check_eased
from visionrl.agents.training.pairs import format_args
from visionrl.agents.training.readers import check_reader, read_with, start_from_reader
from visionrl.agents.training.run_files import folder_of, read_config
from visionrl.backbones import check_library_name, is_library_name, list_backbones
from visionrl.backbones._weights import read_weights
from visionrl.core import did_you_mean
from visionrl.core.capabilities import Reports, name_of, pixels_of
from visionrl.reward_models.self_critical import SelfCritical, self_critical_in

ALGORITHMS: Mapping[str, type[BaseAlgorithm]] = {
    "dqn": DQN,
    "ddqn": DoubleDQN,
    "qrdqn": QRDQN,
    "ppo": PPO,
    "a2c": A2C,
    "sac": SAC,
    "td3": TD3,
    "trpo": TRPO,
    "tqc": TQC,
    "maskableppo": MaskablePPO,
    "recurrentppo": RecurrentPPO,
    "pixelppo": PixelPPO,
}
DISCRETE = (spaces.Discrete,)
ANY = (spaces.Discrete, spaces.MultiDiscrete, spaces.Box)
FITS: Mapping[str, tuple[type[spaces.Space], ...]] = {
    "dqn": DISCRETE,
    "ddqn": DISCRETE,
    "qrdqn": DISCRETE,
    "ppo": ANY,
    "a2c": ANY,
    "sac": (spaces.Box,),
    "td3": (spaces.Box,),
    "trpo": ANY,
    "tqc": (spaces.Box,),
    "maskableppo": (spaces.Discrete, spaces.MultiDiscrete),
    "recurrentppo": ANY,
    "pixelppo": (),  # for maps of actions alone, see ``check_actions``
}
REPLAY_BYTES = 1_000_000_000
# options about images, about several observations, and about layers that the policy has itself
NOT_FOR_CANDIDATES = (
    *("backbone", "fusion", "communication", "cache", "memory", "stn", "attention"),
    *("frozen", "pretrained", "weights", "net_arch", "action_maps", "tiles"),
)
FOR_IMAGES = ("backbone", "fusion", "pretrained", "frozen", "weights", "stn", "attention", "tiles")
# which recipes decide; those that users alone decide are refused before the data are loaded, see ``check_tools``
NOT_FOR_PIXELS = ("backbone", "features_dim", "fusion", "tiles", "communication", "clone_action_values")


def check_before_loading(config: TrainConfig) -> None:
    """Refuse what a resolved config asks for and what is not there, before its data are loaded.

    Raises:
        ValueError: names the field, the rule and the value.
        FileNotFoundError: there are no such weights, or no such teacher.
    """
    check_device(config.device)
    check_backbone("backbone", BACKBONE if config.backbone is None else config.backbone)
    check_algo_args(config, algorithm_of(config))
    read_weights(config.weights)
    if config.pretrained and config.weights:
        raise ValueError("pretrained must be off with weights, a file of one's own")
    if config.cache and (config.tiles or 1) > 1:
        raise ValueError(f"tiles must be 1 with cache, which encodes whole images, got {config.tiles}")
    if config.teacher:
        read_config(folder_of(config.teacher))


def check_backbone(field: str, name: str) -> None:
    """Refuse the name of no backbone.

    Raises:
        ValueError: names the backbones, and the one that may be meant.
    """
    if is_library_name(name):
        return check_library_name(name, field)
    names = list_backbones()
    if name not in names:
        raise ValueError(
            f"{field} must be one of {', '.join(names)}, timm:NAME or torchvision:NAME, got {name!r}"
            + did_you_mean(name, names)
        )


def make_training_env(config: TrainConfig) -> VecEnv:
    """The environment in which a config's agent learns.

    Raises:
        ValueError: the task does not fit the algorithm or a training tool.
    """
    recall = config.recall or 1
    shown = 1 if config.cache else recall
    env = make_vec_env(config.env, config.num_envs or 1, split="train", recall=shown, **config.train_kwargs)
    check_actions(config.algo or ALGO, env.action_space)
    task = env.get_attr("task")[0]
    if config.curriculum:
        check_eased(task)
    if config.scorer_steps and not isinstance(task, Reports):
        raise ValueError(f"scorer_steps must be 0 for {config.env}, whose agents report nothing")
    if offers_candidates(task.observation_space, env.action_space):
        check_unused(config, NOT_FOR_CANDIDATES, "a task of candidates")
    elif not shows_images(task.observation_space):
        check_unused(config, (*FOR_IMAGES, "cache"), "a task that shows no images")
    if config.algo == "pixelppo":
        check_unused(config, NOT_FOR_PIXELS, "pixelppo, whose network is its own")
    check_reader(config, task.observation_space)
    if config.self_critical != "none":
        return SelfCritical(env, baseline=config.self_critical)
    if not config.cache:
        return env
    set_random_seed(config.seed)  # a backbone without weights is the same again when the run is resumed
    return CachedFeatures(env, feature_encoder(config, env.observation_space), recall)


def check_unused(config: TrainConfig, names: tuple[str, ...], what: str) -> None:
    """Refuse options that a policy has no use for.

    Raises:
        ValueError: names the first.
    """
    given = {**vars(config), **config.algo_kwargs}
    for name in names:
        if (value := given.get(name)) not in (None, False, "none", DEFAULTS.get(name)):
            raise ValueError(f"{name} must be left out for {what}, got {value!r}")


def feature_encoder(config: TrainConfig, space: spaces.Space) -> FeatureEncoder:
    """The frozen backbone of a config with ``cache``, for such images."""
    known = {"pretrained": config.pretrained, "weights": config.weights, "device": config.device}
    return FeatureEncoder(space, config.backbone or BACKBONE, **known)  # type: ignore[arg-type]


def build_model(config: TrainConfig, env: VecEnv) -> BaseAlgorithm:
    """The algorithm of a resolved config, untrained."""
    check_algo_args(config, algorithm_of(config))
    kwargs, policy_kwargs = model_kwargs(config)
    read_with(config, policy_kwargs)
    policy = policy_of(config, policy_kwargs, env.observation_space, env.action_space)
    again = config.rerender and config.algo in REPLAYING
    if again:
        kwargs["replay_buffer_class"] = StateReplayBuffer
    model = algorithm_of(config)(
        policy,
        env,
        policy_kwargs=policy_kwargs,
        seed=config.seed,
        device=config.device,
        **kwargs,
    )
    if again:
        model.replay_buffer.watch(env)
    start_from_reader(config, model)
    if critic := self_critical_in(env):
        critic.policy = model
    return model


def check_actions(algo: str, space: spaces.Space) -> None:
    """Refuse an algorithm that does not take actions of a space.

    Raises:
        ValueError: names the algorithms that do.
    """
    by_pixels = pixels_of(space) is not None
    if by_pixels and algo != "pixelppo":
        raise ValueError(f"algo must be pixelppo for actions in {name_of(space)}, got {algo!r}")
    if not by_pixels and not isinstance(space, FITS[algo]):
        fitting = [name for name, kinds in FITS.items() if isinstance(space, kinds)]
        raise ValueError(f"algo must be one of {', '.join(fitting)} for actions in {space}, got {algo!r}")


def algorithm_of(config: TrainConfig) -> Any:
    """The class of a config's algorithm, with the training tools that change how it works."""
    algorithm: Any = DQfD if config.demo_steps else ALGORITHMS[config.algo or ALGO]
    if config.value_warmup and config.clone_steps and config.algo in REPLAYING and not config.guided:
        algorithm = cloned(algorithm)
    return guided(algorithm) if config.guided else algorithm


def policy_of(
    config: TrainConfig, policy_kwargs: dict[str, Any], observations: spaces.Space, actions: spaces.Space
) -> Any:
    """The class of a policy: for agents that communicate, for actions that are places, for pixels that act, or SB3's.

    For candidates it is one that scores each, and ``policy_kwargs`` gets its extractor in the place of a backbone's;
    for observations without images one of numbers.

    Raises:
        ValueError: the algorithm has no policy for candidates.
    """
    if offers_candidates(observations, actions):
        policy_kwargs["features_extractor_class"] = CandidateExtractor
        policy_kwargs["features_extractor_kwargs"] = fields_given(config, "features_dim")
        return candidate_policy(str(config.algo))
    if config.algo == "pixelppo":
        return PixelPolicy
    if not shows_images(observations) and not config.cache:
        read_numbers(policy_kwargs)
    if config.algo == "recurrentppo":
        return RecurrentPolicy
    if "action_maps" in policy_kwargs:
        return MaskableMapPolicy if config.algo == "maskableppo" else MapPolicy
    return TeamPolicy if "communication" in policy_kwargs else "MultiInputPolicy"


def read_numbers(policy_kwargs: dict[str, Any]) -> None:
    """Give a policy's arguments the extractor of numbers, and leave out those for images."""
    if policy_kwargs["features_extractor_class"] is VisionExtractor:
        policy_kwargs["features_extractor_class"] = NumbersExtractor
    given = policy_kwargs["features_extractor_kwargs"]
    policy_kwargs["features_extractor_kwargs"] = {k: v for k, v in given.items() if k not in FOR_IMAGES}


def model_kwargs(config: TrainConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of the algorithm, and of its policy."""
    kwargs = config.algo_kwargs
    if isinstance(rate := kwargs.get("learning_rate"), str):
        kwargs["learning_rate"] = linear_schedule(rate)
    if config.clone_steps and config.algo in EPSILON_GREEDY:
        kwargs.setdefault("exploration_initial_eps", kwargs.get("exploration_final_eps", 0.05))
        if config.value_warmup:
            kwargs["learning_starts"] = config.value_warmup
    policy = {name: kwargs.pop(name) for name in POLICY_ARGS if name in kwargs}
    if config.algo == "pixelppo":
        return kwargs, policy
    remembers = config.recall is not None
    sees = FeatureHead if config.cache else VisionExtractor
    policy["features_extractor_class"] = SequenceExtractor if remembers else sees
    if config.communication:
        policy["communication"] = config.communication
    trunk = {} if config.cache else {**extractor_kwargs(config), **fields_given(config, "fusion", "tiles")}
    if config.algo == "recurrentppo":
        policy["cell"] = "lstm" if config.memory == "none" else config.memory
    if remembers:
        trunk |= {"kind": config.memory, "recall": config.recall}
    return kwargs, {**policy, "features_extractor_kwargs": {**fields_given(config, "features_dim"), **trunk}}


def extractor_kwargs(config: TrainConfig) -> dict[str, Any]:
    """The backbone of a config and its surroundings, as arguments of ``VisionExtractor``."""
    return fields_given(config, "backbone", "pretrained", "frozen", "weights", "stn", "attention")


def fields_given(config: TrainConfig, *names: str) -> dict[str, Any]:
    """Some fields of a config, those that are not None."""
    return {name: value for name in names if (value := getattr(config, name)) is not None}


def linear_schedule(rate: str) -> LinearSchedule:
    """Schedule of the learning rate "linear 1e-3": from 1e-3 to 0 over the run.

    Raises:
        ValueError: it is written otherwise.
    """
    return LinearSchedule(start_of_schedule(rate), 0.0, 1.0)


def fit_buffer(config: TrainConfig, env: VecEnv, given: bool) -> TrainConfig:
    """The config with a replay buffer of at most 1 GB for what it keeps of a step, unless its size was given."""
    if config.algo not in REPLAYING or given:
        return config
    kwargs = config.algo_kwargs
    kept = StateRenderer(env).bytes_per_state if config.rerender else 2 * bytes_of(env.observation_space)
    size = min(kwargs.get("buffer_size", 100_000), REPLAY_BYTES // (kept + 28))
    return replace(config, algo_args=format_args({**kwargs, "buffer_size": size}))
