"""The algorithms of the trainer by name: their groups, their tables in a recipe, and the tools that fit them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Algo = Literal[
    "dqn",
    "ddqn",
    "qrdqn",
    "ppo",
    "a2c",
    "sac",
    "td3",
    "trpo",
    "tqc",
    "maskableppo",
    "recurrentppo",
    "pixelppo",
]
EPSILON_GREEDY = ("dqn", "ddqn", "qrdqn")
ENTROPY_TUNED = ("sac", "tqc")  # whose coefficient of the entropy can be learnt
REPLAYING = (*EPSILON_GREEDY, *ENTROPY_TUNED, "td3")
OF_CLONES = ("clone_kl", "clone_kl_end", "value_warmup")  # options of learning after cloning
# algorithms that are not held near their clone, and why
FREE_OF_CLONES: Mapping[str, str] = {
    "trpo": "whose policy takes no gradient steps",
    "recurrentppo": "whose policy reads sequences",
    "pixelppo": "whose warm start is of gains and not of actions",
}
# which learn from whole episodes of their policy
SELF_CRITICAL = ("ppo", "a2c", "maskableppo", "recurrentppo")
# options about networks that a policy of pixels, whose network is its own, has no use for
NOT_FOR_PIXELS = (
    "memory",
    "recall",
    "rerender",
    "cache",
    "frozen",
    "pretrained",
    "weights",
    "stn",
    "attention",
)
RECALL = 4
RECURRENT = ("rnn", "lstm", "gru")
RELATIVES: Mapping[str, str] = {
    "ddqn": "dqn",
    "trpo": "ppo",
    "maskableppo": "ppo",
    "recurrentppo": "ppo",
    "tqc": "sac",
}
# what a relative's table may say and an algorithm does not have, or means otherwise
NOT_INHERITED: Mapping[str, tuple[str, ...]] = {
    "trpo": (
        "clip_range",
        "clip_range_vf",
        "n_epochs",
        "ent_coef",
        "vf_coef",
        "max_grad_norm",
        "target_kl",
        "learning_rate",
        *OF_CLONES,
    ),
    "maskableppo": ("use_sde", "sde_sample_freq", "log_std_init", "communication"),
    "recurrentppo": ("communication", "action_maps", *OF_CLONES),
}


def table_of(algo: str, tables: Mapping[str, Any]) -> Mapping[str, Any]:
    """The table of an algorithm in a recipe, or that of its relative.

    Double DQN has the table of DQN; TRPO, MaskablePPO and RecurrentPPO have that of PPO, TQC that of SAC.
    """
    return tables[algo] if algo in tables else tables.get(RELATIVES.get(algo, algo), {})


def drop_foreign(algo: str, tables: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """Take from a relative's table what an algorithm without one of its own understands.

    The learning rate of PPO is not TRPO's, which is that of its critic alone.
    """
    foreign = () if algo in tables else NOT_INHERITED.get(algo, ())
    return {key: value for key, value in table.items() if key not in foreign}


def recall_of(algo: str) -> int | None:
    """Observations that a policy with memory reads by default; None for an algorithm that carries a state along."""
    return None if algo == "recurrentppo" else RECALL


def check_memory(config: Any) -> None:
    """Refuse a memory that does not fit the algorithm or another tool.

    Raises:
        ValueError: names the field, the rule and the value.
    """
    if config.memory == "none":
        if config.recall is not None:
            raise ValueError(f"recall must be left out without memory, got {config.recall}")
        return
    if config.algo == "recurrentppo":
        if config.memory not in RECURRENT:
            raise ValueError(f"memory must be lstm, gru or rnn for recurrentppo, got {config.memory!r}")
        if config.recall is not None:
            rule = "recall must be left out for recurrentppo, which carries its memory along"
            raise ValueError(f"{rule}, got {config.recall}")
    if config.algo == "trpo" and config.memory in RECURRENT and config.device != "cpu":
        rule = "memory must be attention for trpo unless device is cpu: recurrent layers lack a second derivative"
        raise ValueError(f"{rule} on a GPU, got {config.memory!r}")
    for name in ("scorer_steps", "communication"):
        if value := getattr(config, name):
            rule = f"memory must be none with {name}, which is about single observations"
            raise ValueError(f"{rule}, got {config.memory!r} and {value}")


def check_tools(config: Any) -> None:
    """Refuse training tools that do not fit the algorithm, the backbone, or each other.

    Raises:
        ValueError: names the field, the rule and the value.
    """
    algo = config.algo
    for name in NOT_FOR_PIXELS if algo == "pixelppo" else ():
        if (value := getattr(config, name)) not in (None, False, "none"):
            raise ValueError(f"{name} must be left out for pixelppo, whose network is its own, got {value!r}")
    check_memory(config)
    if config.timesteps == 0 and config.clone_steps == 0:
        raise ValueError("timesteps must be >= 1 without clone_steps, got 0")
    if config.guided and algo not in (None, *EPSILON_GREEDY):
        rule = f"guided must be off for {algo}, which explores by its own policy"
        raise ValueError(f"{rule}; it is for {', '.join(EPSILON_GREEDY)}: choose by algo")
    if config.demo_steps and algo not in (None, "dqn", "ddqn"):
        raise ValueError(f"demo_steps must be 0 for {algo}, got {config.demo_steps}; it is for dqn")
    if config.scorer_steps and algo == "recurrentppo":
        rule = "scorer_steps must be 0 for recurrentppo, whose policy reads sequences"
        raise ValueError(f"{rule}, got {config.scorer_steps}")
    for name in ("clone_kl", "value_warmup"):
        if (value := getattr(config, name)) and algo in FREE_OF_CLONES:
            raise ValueError(f"{name} must be 0 for {algo}, {FREE_OF_CLONES[algo]}, got {value}")
        if value and config.clone_steps == 0:
            raise ValueError(f"{name} must be 0 without clone_steps, got {value}")
    if config.self_critical != "none" and algo not in (None, *SELF_CRITICAL):
        rule = f"self_critical must be none for {algo}, it is for {', '.join(SELF_CRITICAL)}"
        raise ValueError(f"{rule}, got {config.self_critical!r}")
    remembers = config.cache or (config.memory != "none" and algo != "recurrentppo")
    if config.self_critical != "none" and remembers:
        raise ValueError("self_critical must be none with cache and memory, which need what was seen before")
    if config.communication and algo in ("maskableppo", "recurrentppo"):
        raise ValueError(f"communication must be left out for {algo}; it is for ppo, a2c and trpo")
    if config.rerender and config.cache:
        raise ValueError("rerender must be off with cache, whose features no state gives back")
    if config.rerender and algo not in (None, *REPLAYING) and config.clone_steps == 0:
        raise ValueError(f"rerender must be off for {algo} without clone_steps: nothing is replayed")
    if config.cache and not config.frozen:
        raise ValueError("cache must be off where the backbone learns; add --frozen")
    if config.cache and config.scorer_steps:
        raise ValueError("cache must be off with scorer_steps, whose network needs the images")
    if config.cache and (config.stn or config.attention != "none"):
        raise ValueError("cache must be off with stn and attention, which need the images or their maps")
