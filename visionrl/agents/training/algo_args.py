"""Rules for ``algo_args``: the arguments of the algorithms of Stable-Baselines3, with their kinds and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from inspect import signature
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt, Interval, Le

from visionrl.agents.training.algorithms import ENTROPY_TUNED, Algo
from visionrl.agents.training.config import DEFAULTS, TrainConfig
from visionrl.core import checked, did_you_mean

# of ``algo_args``, those that shape the policy's networks, and the algorithms that have them
POLICY_ARGS: Mapping[str, tuple[str, ...]] = {
    "net_arch": tuple(algo for algo in get_args(Algo) if algo != "pixelppo"),
    "action_maps": ("ppo", "a2c", "trpo", "maskableppo"),
    "n_quantiles": ("qrdqn", "tqc"),
    "n_critics": ("sac", "td3", "tqc"),
    "log_std_init": ("ppo", "a2c", "sac", "trpo", "tqc", "recurrentppo"),
    "lstm_hidden_size": ("recurrentppo",),
    "n_lstm_layers": ("recurrentppo",),
    "shared_lstm": ("recurrentppo",),
    "enable_critic_lstm": ("recurrentppo",),
    "width": ("pixelppo",),
}
# arguments of the algorithms that a run decides itself
DECIDED_BY_RUN = (
    "policy",
    "env",
    "policy_kwargs",
    "tensorboard_log",
    "verbose",
    "replay_buffer_class",
    "replay_buffer_kwargs",
    "rollout_buffer_class",
    "rollout_buffer_kwargs",
    "optimize_memory_usage",
    "action_noise",
    "monitor_wrapper",
    "support_multi_env",
    "supported_action_spaces",
    "_init_setup_model",
)
Share = Annotated[float, Interval(ge=0, le=1)]
NotNegative = Annotated[float, Ge(0)]
Count = Annotated[int, Interval(ge=1, le=1_000_000)]
Widths = tuple[Annotated[int, Interval(ge=1, le=65_536)], ...]
RULES: Mapping[str, Any] = {
    "learning_rate": Annotated[float, Gt(0)],
    "gamma": Share,
    "tau": Annotated[float, Interval(gt=0, le=1)],
    "gae_lambda": Share,
    "batch_size": Count,
    "buffer_size": Annotated[int, Interval(ge=1, le=1_000_000_000)],
    "learning_starts": Annotated[int, Ge(0)],
    "train_freq": Count | tuple[Count, Literal["step", "episode"]],
    "gradient_steps": Annotated[int, Interval(ge=-1, le=1_000_000)],
    "n_steps": Count,
    "n_epochs": Count,
    "target_update_interval": Annotated[int, Ge(1)],
    "exploration_fraction": Annotated[float, Interval(gt=0, le=1)],
    "exploration_initial_eps": Share,
    "exploration_final_eps": Share,
    "max_grad_norm": Annotated[float, Gt(0)] | None,
    "stats_window_size": Count,
    "clip_range": Annotated[float, Gt(0)],
    "clip_range_vf": Annotated[float, Gt(0)] | None,
    "normalize_advantage": bool,
    "ent_coef": NotNegative,
    "vf_coef": NotNegative,
    "target_kl": Annotated[float, Gt(0)] | None,
    "use_sde": bool,
    "use_sde_at_warmup": bool,
    "sde_sample_freq": Annotated[int, Ge(-1)],
    "rms_prop_eps": Annotated[float, Gt(0)],
    "use_rms_prop": bool,
    "policy_delay": Count,
    "target_policy_noise": NotNegative,
    "target_noise_clip": NotNegative,
    "target_entropy": float | Literal["auto"],
    "top_quantiles_to_drop_per_net": Annotated[int, Ge(0)],
    "cg_max_steps": Count,
    "cg_damping": NotNegative,
    "line_search_shrinking_factor": Annotated[float, Interval(gt=0, lt=1)],
    "line_search_max_iter": Count,
    "n_critic_updates": Count,
    "sub_sampling_factor": Count,
    "demo_share": Annotated[float, Interval(gt=0, lt=1)],
    "margin": NotNegative,
    "net_arch": Widths,
    "action_maps": Annotated[int, Interval(ge=1, le=64)],
    "n_quantiles": Annotated[int, Interval(ge=1, le=10_000)],
    "n_critics": Annotated[int, Interval(ge=1, le=100)],
    "log_std_init": Annotated[float, Le(20)],
    "lstm_hidden_size": Annotated[int, Interval(ge=1, le=65_536)],
    "n_lstm_layers": Annotated[int, Interval(ge=1, le=16)],
    "shared_lstm": bool,
    "enable_critic_lstm": bool,
    "width": Annotated[int, Interval(ge=1, le=1024)],
    "influence": Annotated[float, Interval(ge=0, le=20)],
}
CLIPPED = ("ppo", "maskableppo", "recurrentppo", "pixelppo")
ACTOR_CRITICS = (*CLIPPED, "a2c", "trpo")
LARGEST_NET = 2**28  # parameters between the layers of ``net_arch``


def check_algo_args(config: TrainConfig, algorithm: type) -> None:
    """Refuse arguments that an algorithm does not have, that a run decides itself, or of a wrong kind or size.

    Args:
        config: resolved.
        algorithm: its class.

    Raises:
        ValueError: names one, the rule and the value.
    """
    algo, given = str(config.algo), config.algo_kwargs
    known = arguments_of(algorithm) | {name for name, algos in POLICY_ARGS.items() if algo in algos}
    options = {field.name for field in fields(TrainConfig)}
    for name, value in sorted(given.items()):
        if name in options:
            option = name.replace("_", "-")
            raise ValueError(f"algo_args must not have {name}, an option of its own: --{option}")
        if name in DECIDED_BY_RUN:
            raise ValueError(f"algo_args must not have {name}, which the run decides")
        if name not in known:
            rule = f"algo_args must be arguments of {algorithm.__name__}, got {name!r}"
            raise ValueError(rule + (did_you_mean(name, known) or f"; it has {', '.join(sorted(known))}"))
        check_value(name, value, algo)
    if algo in (*CLIPPED, "trpo") and given.get("n_steps") == 1 and config.num_envs == 1:
        raise ValueError(f"n_steps must be >= 2 for {algo} where num_envs is 1, got 1")
    if algo in CLIPPED and given.get("batch_size") == 1:
        raise ValueError(f"batch_size must be >= 2 for {algo}, which normalizes advantages, got 1")
    if "action_maps" in given:
        check_action_maps({**vars(config), **given})
    if given.get("shared_lstm") and given.get("enable_critic_lstm", True):
        raise ValueError("shared_lstm must be false unless enable_critic_lstm is false, got true")


def check_action_maps(given: Mapping[str, Any]) -> None:
    """Refuse options that a policy of maps of actions has no use for, given the options of a run that has such.

    Raises:
        ValueError: names the first.
    """
    for name in ("net_arch", "communication", "memory", "cache", "stn", "attention", "tiles"):
        if (value := given.get(name)) not in (None, False, "none", DEFAULTS.get(name)):
            rule = f"{name} must be left out with action_maps of the recipe or of algo_args"
            raise ValueError(f"{rule}, got {value!r} and {given['action_maps']}")


def arguments_of(algorithm: type) -> set[str]:
    """Names of an algorithm's arguments that a config may give."""
    found: set[str] = set()
    for base in algorithm.__mro__:
        if "__init__" in vars(base):
            parameters = signature(base.__init__).parameters  # type: ignore[misc]
            found |= set(parameters)
            if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
                break  # nothing is handed on to the classes above
    off_policy = (
        {"n_steps"} if "buffer_size" in found else set()
    )  # its buffer of Dict observations takes one step
    return (found & set(RULES)) - set(POLICY_ARGS) - off_policy


def check_value(name: str, value: Any, algo: str) -> None:
    """Hold one argument against its rule.

    Raises:
        ValueError: names the argument, the rule and the value.
    """
    if name == "learning_rate" and isinstance(value, str):
        start_of_schedule(value)
    elif name == "ent_coef" and algo in ENTROPY_TUNED and isinstance(value, str):
        check_entropy(value)
    elif name == "net_arch" and isinstance(value, dict):
        check_branches(value, algo)
    else:
        checked(name, RULES[name], value)
        if name == "net_arch":
            check_size(value)


def start_of_schedule(rate: str) -> float:
    """The first learning rate of the schedule "linear 1e-3".

    Raises:
        ValueError: it is written otherwise.
    """
    kind, _, start = rate.partition(" ")
    try:
        found = float(start if kind == "linear" else "none")
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise ValueError(f"learning_rate must be a number > 0 or like 'linear 1e-3', got {rate!r}")
    return found


def check_entropy(value: str) -> None:
    """Refuse a coefficient of the entropy of SAC that is a word other than "auto" and "auto_0.1".

    Raises:
        ValueError: names the value.
    """
    word, sign, start = value.partition("_")
    try:
        right = word == "auto" and (not sign or 0 < float(start) < float("inf"))
    except ValueError:
        right = False
    if not right:
        raise ValueError(f"ent_coef must be a number >= 0, 'auto' or like 'auto_0.1' for sac, got {value!r}")


def check_branches(value: Mapping[str, Any], algo: str) -> None:
    """Refuse widths by branch, ``{"pi": [64], "vf": [64]}``, that an algorithm does not have.

    Raises:
        ValueError: names the branch.
    """
    branches = ("pi", "vf") if algo in ACTOR_CRITICS else ("pi", "qf")
    if algo not in (*ACTOR_CRITICS, "sac", "td3", "tqc"):
        raise ValueError(f"net_arch must be a list of widths for {algo}, got {value!r}")
    if wrong := sorted(set(value) - set(branches)):
        raise ValueError(f"net_arch must have branches {' and '.join(branches)} for {algo}, got {wrong[0]!r}")
    for branch, widths in value.items():
        checked(f"net_arch[{branch!r}]", Widths, widths)
        check_size(widths)


def check_size(widths: Any) -> None:
    """Refuse layers that nobody has the memory for.

    Raises:
        ValueError: names the limit.
    """
    if sum(a * b for a, b in pairwise(widths)) > LARGEST_NET:
        raise ValueError(f"net_arch must have at most {LARGEST_NET} parameters between layers, got {widths}")
