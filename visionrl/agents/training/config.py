"""What a training run is made of: one dataclass, which the command line and ``config.json`` both show."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from visionrl.agents.training.arguments import format_args, parse_args
from visionrl.core import check_choice, check_range, entry_of

Algo = Literal["dqn", "ddqn", "qrdqn", "ppo", "a2c", "sac", "td3"]
EPSILON_GREEDY = ("dqn", "ddqn", "qrdqn")
REPLAYING = (*EPSILON_GREEDY, "sac", "td3")
# by presets files, in the table of the algorithm
DECIDED = (
    "backbone",
    "clone_steps",
    "clone_rate",
    "num_envs",
    "timesteps",
    "eval_every",
    "eval_episodes",
)
ALGO, BACKBONE = "dqn", "small"  # where neither the user nor a presets file says another
DEFAULTS: Mapping[str, Any] = {
    "backbone": BACKBONE,
    "clone_steps": 0,
    "num_envs": 16,
    "timesteps": 100_000,
    "eval_episodes": 64,
}
POSITIVE = ("num_envs", "threads", "eval_every", "eval_episodes", "test_episodes", "checkpoint_every")


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    What is None, and every argument of the task and the algorithm that is not given, comes from the presets
    file of the task (``visionrl/agents/recipes/<task>.toml``), else from the defaults of the task and the
    algorithm.
    """

    env: str = "visionrl/LandmarkLocalization-v0"
    """Id of the task."""
    preset: str | None = None
    """Name of a paper whose constants the task uses."""
    algo: Algo | None = None
    """Algorithm, by default the presets' or dqn. sac and td3 are for actions in a box, dqn, ddqn and qrdqn for numbered
    ones; ddqn is double DQN."""
    backbone: str | None = None
    """Name of the network that reads the images, by default the presets' or "small"."""
    pretrained: bool = False
    """Start the backbone from its published ImageNet weights."""
    frozen: bool = False
    """Keep the backbone's weights and statistics as they are."""
    weights: str | None = None
    """A file of weights for the backbone."""
    stn: bool = False
    """Put a spatial transformer in front of the backbone."""
    attention: Literal["none", "soft", "self", "multihead", "hard"] = "none"
    """What pools the backbone's map instead of its own pooling."""
    cache: bool = False
    """Encode each image once, in the step that shows it, and replay its features; the backbone must be frozen."""
    rerender: bool = False
    """Keep states in the place of observations in the replay buffer and the memory of the cloning, and look again."""
    guided: bool = False
    """Draw the random actions of dqn, ddqn and qrdqn from those that earn something at once."""
    clone_steps: int | None = None
    """Steps in which the policy first learns after the expert; 0 is none. Less is done at random after it. By default
    what the presets say, but no more than the ``timesteps`` that are given."""
    clone_rate: float | None = None
    """First learning rate of the cloning, which falls to 0; the algorithm's by default."""
    demo_steps: int = 0
    """Steps of the expert that dqn keeps beside its own, and which must stay its best choice (DQfD); 0 is none."""
    curriculum: float = 0.0
    """Share of the run in which the difficulty of the starts rises from 0 to 1; 0 is full difficulty at once."""
    scorer_steps: int = 0
    """Steps, after training, in which a second network learns how right a report is, to rank reports by; 0 is none."""
    num_envs: int | None = None
    """Episodes that run at a time."""
    device: str = "auto"
    """Where the networks live: "cpu", "cuda", or "auto"."""
    threads: int = 1
    """CPU threads of torch. More pay for large backbones on idle cores; where cores are shared they cost dearly."""
    timesteps: int | None = None
    """Steps of training, all episodes together, without the cloning; 0 is cloning alone."""
    seed: int = 0
    """Seed of everything."""
    data: str | None = None
    """Your own data, "FORMAT:PATH"; None for the embedded set."""
    classes: tuple[str, ...] = ()
    """Keep only the points or boxes of these names."""
    split_file: str | None = None
    """File that says which samples are for training, validation and test."""
    split_ratios: tuple[float, float, float] | None = None
    """Shares of training, validation and test, where the data come without a split."""
    env_args: tuple[str, ...] = ()
    """Further arguments of the task, each "name=value" with a JSON value or a word: window=45 views=stage."""
    train_args: tuple[str, ...] = ()
    """Arguments of the task in training alone, in the same form: augment=true. Evaluation does without them."""
    algo_args: tuple[str, ...] = ()
    """Further arguments of the algorithm, in the same form: learning_rate=1e-3 gamma=0.95."""
    eval_every: int | None = None
    """Steps between evaluations on the validation split; a tenth of the run by default."""
    eval_episodes: int | None = None
    """Episodes of each of these evaluations; 64 by default."""
    test_episodes: int | None = None
    """Episodes of the evaluation on the test split at the end; None lets the task's data decide."""
    checkpoint_every: int = 50_000
    """Steps between checkpoints."""
    out: str = "runs"
    """Folder of the runs."""
    name: str | None = None
    """Name of the run's own folder; made of task, algorithm, backbone and seed by default."""
    resume: bool = False
    """Continue the run from its last checkpoint."""
    presets: bool = True
    """Take what is not given from the presets file of the task."""

    def __post_init__(self) -> None:
        if self.algo is not None:
            check_choice("algo", self.algo, get_args(Algo))
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", self.device):
            raise ValueError(f"device must be auto, cpu, cuda, cuda:N or mps, got {self.device!r}")
        entry_of(self.env)
        for pairs in (self.env_args, self.train_args, self.algo_args):
            parse_args(pairs)
        for name in POSITIVE:
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), 1)
        check_tools(self)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        task, run = entry_of(self.env).id.removeprefix("visionrl/"), resolve(self)
        switches = ("stn", "cache", "guided", "clone_steps", "demo_steps", "scorer_steps", "curriculum")
        used = [name.removesuffix("_steps") for name in switches if getattr(run, name)]
        if self.attention != "none":
            used.append(self.attention)
        return Path(self.out) / (
            self.name or "-".join([task, str(run.algo), str(run.backbone), *used, f"s{self.seed}"])
        )

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """Arguments of the environment, without the split."""
        given = {
            "preset": self.preset,
            "data": self.data,
            "classes": self.classes,
            "split_file": self.split_file,
            "split_ratios": self.split_ratios,
        }
        return {**{key: value for key, value in given.items() if value}, **parse_args(self.env_args)}

    @property
    def train_kwargs(self) -> dict[str, Any]:
        """Arguments of the environment in training, without the split."""
        return {**self.env_kwargs, **parse_args(self.train_args)}

    @property
    def algo_kwargs(self) -> dict[str, Any]:
        """Arguments of the algorithm."""
        return parse_args(self.algo_args)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> TrainConfig:
        """The config that ``to_dict`` (or JSON) describes.

        Raises:
            ValueError: there is a key that is no field.
        """
        known = {field.name for field in fields(TrainConfig)}
        if unknown := sorted(set(plain) - known):
            raise ValueError(f"config must have only the fields of TrainConfig, got {', '.join(unknown)}")
        lists: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in plain.items()
        }
        return TrainConfig(**lists)


def check_tools(config: TrainConfig) -> None:
    """Refuse training tools that do not fit the algorithm, the backbone, or each other.

    Raises:
        ValueError: names the field, the rule and the value.
    """
    for name in ("clone_steps", "demo_steps", "scorer_steps"):
        if getattr(config, name) is not None:
            check_range(name, getattr(config, name), 0)
    if config.clone_rate is not None:
        check_range("clone_rate", config.clone_rate, 0.0)
    check_range("curriculum", config.curriculum, 0.0, 1.0)
    check_choice("attention", config.attention, ("none", "soft", "self", "multihead", "hard"))
    if config.timesteps is not None:
        check_range("timesteps", config.timesteps, 1 if config.clone_steps == 0 else 0)
    if config.guided and config.algo not in (None, *EPSILON_GREEDY):
        rule = f"guided must be off for {config.algo}, which explores by its own policy"
        raise ValueError(f"{rule}; it is for {', '.join(EPSILON_GREEDY)}: choose by algo")
    if config.demo_steps and config.algo not in (None, "dqn", "ddqn"):
        raise ValueError(f"demo_steps must be 0 for {config.algo}, got {config.demo_steps}; it is for dqn")
    if config.rerender and config.cache:
        raise ValueError("rerender must be off with cache, whose features no state gives back")
    if config.rerender and config.algo not in (None, *REPLAYING) and config.clone_steps == 0:
        raise ValueError(f"rerender must be off for {config.algo} without clone_steps: nothing is replayed")
    if config.cache and not config.frozen:
        raise ValueError("cache must be off where the backbone learns; add --frozen")
    if config.cache and config.scorer_steps:
        raise ValueError("cache must be off with scorer_steps, whose network needs the images")
    if config.cache and (config.stn or config.attention != "none"):
        raise ValueError("cache must be off with stn and attention, which need the images or their maps")


def load_presets(env_id: str) -> dict[str, Any]:
    """The tables of a task's presets file; empty where there is none."""
    name = entry_of(env_id).id.removeprefix("visionrl/").rsplit("-v", 1)[0]
    path = files("visionrl.agents").joinpath("recipes", f"{name}.toml")
    return tomllib.loads(path.read_text()) if path.is_file() else {}


def resolve(config: TrainConfig) -> TrainConfig:
    """The config with everything written out that the presets file and the defaults decide.

    The file may name the task's algorithm. Its ``[env]`` and ``[train]`` tables belong to the task as it is by
    default, so a paper's constants (``preset``) replace them; so it is with ``[ALGO.env]``, arguments of the task for
    one algorithm alone, such as what its actions are; ``[ALGO.cloned]`` replaces what else the algorithm's table says
    where the run begins with cloning. Keys of an algorithm's table that are fields of the config fill
    what is None there. Double DQN has the table of DQN.
    """
    tables: dict[str, Any] = load_presets(config.env) if config.presets else {}
    name = config.algo or tables.get("algo", ALGO)
    env, train = ({} if config.preset else tables.get(key, {}) for key in ("env", "train"))
    algo = dict(tables.get("dqn" if name == "ddqn" else name, {}))
    own, after = algo.pop("env", {}), algo.pop("cloned", {})
    env |= {} if config.preset else own
    if config.preset:
        algo.pop("clone_steps", None)  # papers learn by reward
    if config.clone_steps or (config.clone_steps is None and algo.get("clone_steps")):
        algo |= after
    run = {key: algo.pop(key, None) for key in DECIDED}
    decided = {**DEFAULTS, **{key: value for key, value in run.items() if value is not None}}
    given = {key: getattr(config, key) for key in run if getattr(config, key) is not None}
    chosen: dict[str, Any] = {"eval_every": None, **decided, **given}
    settle_steps(config, chosen, decided["timesteps"])
    return replace(
        config,
        **chosen,
        algo=name,
        presets=False,
        env_args=format_args({**env, **parse_args(config.env_args)}),
        train_args=format_args({**train, **parse_args(config.train_args)}),
        algo_args=format_args({**algo, **parse_args(config.algo_args)}),
    )


def settle_steps(config: TrainConfig, chosen: dict[str, Any], usual: int) -> None:
    """Write into what was chosen how long a run clones, how long it learns, and when it is evaluated.

    A short run stays short: presets clone no more steps than the timesteps given. A run without cloning learns. It is
    evaluated ten times, or as often as the presets say, but four times at least; cloning alone may go on later.
    """
    if config.clone_steps is None and config.timesteps:
        chosen["clone_steps"] = min(chosen["clone_steps"], config.timesteps)
    if config.timesteps is None and not chosen["clone_steps"]:
        chosen["timesteps"] = chosen["timesteps"] or DEFAULTS["timesteps"]
    if config.eval_every is None:
        steps = chosen["timesteps"] or usual or DEFAULTS["timesteps"]
        rare = max(steps // (4 if chosen["eval_every"] else 10), 1)
        chosen["eval_every"] = min(chosen["eval_every"] or rare, rare)
