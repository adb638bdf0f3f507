"""Configuration of a training run: one dataclass, shared by the command line and ``config.json``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Interval, MinLen

from visionrl.agents.networks.device import check_device_name
from visionrl.agents.training.algorithms import (
    FREE_OF_CLONES,
    OF_CLONES,
    Algo,
    check_tools,
    drop_foreign,
    recall_of,
    table_of,
)
from visionrl.agents.training.pairs import ENGINE, TASK_FIELDS, check_env_args, format_args, parse_args
from visionrl.agents.training.recipe_tables import DECIDED, OF_THE_TASK, check_tables
from visionrl.core import did_you_mean, entry_of
from visionrl.core.arguments import check_arguments, hints_of

LARGEST_SEED = 2**32 - 1  # of NumPy's global generator, from which Stable-Baselines3 draws
ALGO, BACKBONE = "dqn", "small"  # where neither the user nor a recipe says another
DEFAULTS: Mapping[str, Any] = {
    "backbone": BACKBONE,
    "features_dim": 256,
    "fusion": "concat",
    "tiles": 1,
    "model": "none",
    "clone_steps": 0,
    "clone_action_values": True,
    "clone_kl": 0.0,
    "clone_kl_end": 1.0,
    "value_warmup": 0,
    "num_envs": 16,
    "timesteps": 100_000,
    "eval_episodes": 64,
}
AFTER_CLONING: Mapping[str, Any] = {"clone_kl": 0.1}  # where a run begins with cloning


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run.

    Fields that are None and arguments of the algorithm that are not given come from the recipe, else the defaults
    of the task and the algorithm.
    """

    env: str = "visionrl/LandmarkLocalization-v0"
    """Id of the task, with or without "visionrl/"."""
    preset: str | None = None
    """Name of a preset of the task, "none" for the task's own defaults; by default the recipe's choice."""
    recipe: Annotated[str, MinLen(1)] | None = None
    """TOML file of hyper-parameters for what is not given, "none" for none; by default the task's own
    (visionrl/agents/recipes)."""
    algo: Algo | None = None
    """Algorithm, by default the recipe's or dqn. sac, td3 and tqc are for continuous actions, dqn, ddqn (double DQN),
    qrdqn and maskableppo (which obeys action masks) for discrete ones; recurrentppo carries a memory along; pixelppo
    is for tasks in which every pixel acts."""
    backbone: str | None = None
    """Name of the network that reads the images, by default the recipe's or "small"."""
    model: str | None = None
    """In tasks of words: a captioner or an answerer that reads for the policy, by name or the folder of a trained one,
    from which the policy then starts; "none" for the backbone alone. By default the recipe's choice."""
    pretrained: bool = False
    """Start the backbone from its published ImageNet weights."""
    frozen: bool = False
    """Keep the backbone's weights and statistics as they are."""
    weights: str | None = None
    """A file of weights for the backbone."""
    stn: bool = False
    """Put a spatial transformer in front of the backbone."""
    attention: Literal["none", "soft", "self", "multihead", "hard"] = "none"
    """Attention that pools the backbone's map instead of the backbone's own pooling."""
    memory: Literal["none", "rnn", "lstm", "gru", "attention", "matching"] = "none"
    """Memory of the policy: a recurrent layer, or attention, over the last observations, see recall; or, in tasks that
    tell labels, a match of the image now with those that were labelled; of recurrentppo the layer that it carries
    along, by default an LSTM."""
    recall: Annotated[int, Interval(ge=2, le=64)] | None = None
    """Observations that a policy with memory reads at a time; 4 by default."""
    features_dim: Annotated[int, Interval(ge=1, le=65_536)] | None = None
    """Length of the vector of features that the policy gets, by default the recipe's or 256."""
    fusion: Literal["concat", "film"] | None = None
    """Fusion of numbers: "concat" beside their features, or "film", which scales and shifts them, by default
    the recipe's or "concat"."""
    tiles: Annotated[int, Interval(ge=1, le=16)] | None = None
    """Cut images into tiles x tiles parts that go through the backbone one by one, by default the recipe's or 1."""
    communication: Literal["none", "mean", "attention"] | None = None
    """In tasks of several agents: one network for all, and the messages between them; by default the recipe's."""
    teacher: str | None = None
    """In tasks of several agents: a trained agent that each of them starts as, a run's folder or a shipped agent."""
    cache: bool = False
    """Encode each image once, in the step that shows it, and replay its features; the backbone must be frozen."""
    rerender: bool = False
    """Store states in the replay buffer and in the memory of the cloning, and render observations when sampling."""
    guided: bool = False
    """Draw the random actions of dqn, ddqn and qrdqn from those that earn something at once."""
    clone_steps: Annotated[int, Ge(0)] | None = None
    """Steps in which the policy first learns from the expert; 0 is none. Exploration starts low afterwards. By default
    the recipe's number, but no more than the ``timesteps`` that are given."""
    clone_rate: Annotated[float, Interval(ge=0, le=1)] | None = None
    """First learning rate of the cloning, which falls to 0; by default the recipe's or the algorithm's."""
    clone_repeats: Annotated[int, Interval(ge=1, le=1000)] | None = None
    """How often the cloning learns from each state that it meets, on average; by default the recipe's or 8, and 1 for
    pixelppo, each of whose states says something of thousands of pixels."""
    clone_action_values: bool | None = None
    """Clone the returns of all actions, which are found by trying each, and not the expert's action alone, or what the
    task says of all actions (their weights, their gains at once); by default the recipe's choice or yes."""
    clone_kl: Annotated[float, Interval(ge=0, le=1000)] | None = None
    """Weight of the divergence of the policy from its clone in the loss of learning by reward; after cloning by default
    the recipe's or 0.1; 0 for trpo, recurrentppo and pixelppo. Its gradient is not clipped with the algorithm's own."""
    clone_kl_end: Annotated[float, Interval(ge=0, le=1)] | None = None
    """Share of that weight which is left at the end of the run, to which it falls linearly; by default the recipe's or
    1, a constant weight."""
    value_warmup: Annotated[int, Ge(0)] | None = None
    """Steps after cloning in which the policy stays as it is: a critic learns, or the replay buffer is filled; by
    default the recipe's or 0."""
    demo_steps: Annotated[int, Ge(0)] = 0
    """Steps of the expert that dqn keeps beside its own, and which must stay its best choice (DQfD); 0 is none."""
    self_critical: Literal["none", "greedy", "mean"] = "none"
    """Reward what an episode earns beyond one of the likeliest actions, or beyond four of drawn ones (SCST)."""
    curriculum: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Share of the run in which the difficulty of the starts rises from 0 to 1; 0 is full difficulty at once."""
    scorer_steps: Annotated[int, Ge(0)] = 0
    """Steps, after training, in which a second network learns how right a report is, to rank reports by; 0 is none."""
    num_envs: Annotated[int, Interval(ge=1, le=65_536)] | None = None
    """Episodes that run at a time."""
    device: str = "auto"
    """Where the networks live: "cpu", "cuda", or "auto"."""
    threads: Annotated[int, Interval(ge=1, le=1024)] = 1
    """CPU threads of torch. More pay for large backbones on idle cores; where cores are shared they cost dearly."""
    timesteps: Annotated[int, Ge(0)] | None = None
    """Steps of training, all episodes together, without the cloning; 0 is cloning alone."""
    seed: Annotated[int, Interval(ge=0, le=LARGEST_SEED)] = 0
    """Seed of everything."""
    data: str | None = None
    """Your own data, "FORMAT:PATH"; None for the embedded set."""
    classes: tuple[str, ...] = ()
    """Keep only the points or boxes of these names."""
    skip_bad: bool = False
    """Leave out samples that cannot be read, with a warning that counts and names them."""
    split_file: str | None = None
    """File that says which samples are for training, validation and test."""
    split_ratios: tuple[float, float, float] | None = None
    """Shares of training, validation and test, where the data come without a split."""
    env_args: tuple[str, ...] = ()
    """Further arguments of the task, each "name=value" with a JSON value or a word: window=45 shown_scales=stage."""
    train_args: tuple[str, ...] = ()
    """Arguments of the task in training alone, in the same form: augment=true. Evaluation does without them."""
    algo_args: tuple[str, ...] = ()
    """Further arguments of the algorithm, in the same form: learning_rate=1e-3 gamma=0.95."""
    eval_every: Annotated[int, Ge(1)] | None = None
    """Steps between evaluations on the validation split; a tenth of the run by default."""
    eval_episodes: Annotated[int, Ge(1)] | None = None
    """Episodes of each of these evaluations; 64 by default."""
    test_episodes: Annotated[int, Ge(1)] | None = None
    """Episodes of the evaluation on the test split at the end; None lets the task's data decide."""
    checkpoint_every: Annotated[int, Ge(1)] = 50_000
    """Steps between checkpoints."""
    out: Annotated[str, MinLen(1)] = "runs"
    """Folder of the runs."""
    name: Annotated[str, MinLen(1)] | None = None
    """Name of the run's own folder; made of task, preset, algorithm, backbone and seed by default."""
    resume: bool = False
    """Continue the run from its last checkpoint."""

    def __post_init__(self) -> None:
        """Refuse values that no run can have."""
        check_arguments(self)
        check_device_name(self.device)
        entry = entry_of(self.env)
        object.__setattr__(self, "env", entry.id)
        if self.preset not in (None, "none", *entry.presets):
            names = ", ".join(["none", *entry.presets])
            hint = did_you_mean(str(self.preset), entry.presets)
            raise ValueError(f"preset must be one of {names} for {entry.id}, got {self.preset!r}{hint}")
        options = {field.name for field in fields(self)} - TASK_FIELDS - set(ENGINE)
        for name in ("env_args", "train_args"):
            check_env_args(entry, name, getattr(self, name), options, ENGINE)
        parse_args(self.algo_args)
        check_tools(self)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        task, run = self.env.removeprefix("visionrl/"), resolve(self)
        switches = ("stn", "cache", "guided", "clone_steps", "demo_steps", "scorer_steps", "curriculum")
        used = [name.removesuffix("_steps") for name in switches if getattr(run, name)]
        used += [x for x in (self.self_critical, self.attention) if x != "none"]
        if run.memory != "none":
            used.append(f"{run.memory}{run.recall or ''}")
        names = (task, *filter(None, [run.preset]), str(run.algo), str(run.backbone), *used, f"s{self.seed}")
        return Path(self.out) / (self.name or "-".join(names))

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """Arguments of the environment, without the split."""
        given = {
            "preset": None if self.preset == "none" else self.preset,
            "data": self.data,
            "classes": self.classes,
            "skip_bad": self.skip_bad,
            "split_file": self.split_file,
            "split_ratios": self.split_ratios,
        }
        return {**{k: x for k, x in given.items() if x not in (None, (), False)}, **parse_args(self.env_args)}

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
            ValueError: there is a key that is no field, or a value that no run can have.
        """
        if not isinstance(plain, Mapping):
            raise ValueError(f"config must be an object, got {type(plain).__name__}")
        known = {field.name for field in fields(TrainConfig)}
        if unknown := sorted(set(plain) - known):
            raise ValueError(f"config must have only the fields of TrainConfig, got {', '.join(unknown)}")
        return TrainConfig(**plain)  # checks every value


def load_recipe(env_id: str, recipe: str | None = None) -> dict[str, Any]:
    """The tables of a recipe; empty where there is none.

    A recipe is a TOML file of hyper-parameters. At its top are ``algo``, the default ``preset`` and fields of
    ``TrainConfig`` for every algorithm (those in ``DECIDED``). The table of an algorithm, ``[dqn]``, has such fields,
    a ``preset``, and arguments of the algorithm; an algorithm without a table has that of its relative, see
    ``table_of``. ``[dqn.cloned]`` replaces what that
    table says where a run begins with cloning, ``[presets.NAME]`` where that preset is used. ``train_preset`` names a
    preset whose arguments hold in training too, ``train_episode_steps`` is the time limit of an episode there.

    Args:
        env_id: id of the task.
        recipe: a file, "none", or None for the task's own.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no TOML, or has another table.
    """
    if recipe == "none":
        return {}
    name = entry_of(env_id).id.removeprefix("visionrl/").rsplit("-v", 1)[0]
    path = Path(recipe) if recipe else files("visionrl.agents").joinpath("recipes", f"{name}.toml")
    if recipe is None and not path.is_file():
        return {}
    try:
        tables = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"recipe must be a TOML file, {path} is not: {error}") from None
    if unknown := sorted(set(tables) - {*OF_THE_TASK, "algo", "presets", *get_args(Algo), *DECIDED}):
        rule = "recipe must have only algorithms, presets and fields of TrainConfig"
        raise ValueError(f"{rule}, {path} has {unknown[0]!r}; arguments of a task are a preset's")
    check_tables(tables, entry_of(env_id), path, hints_of(TrainConfig))
    return tables


def resolve(config: TrainConfig) -> TrainConfig:
    """The config with everything written out that the recipe and the defaults decide; see ``load_recipe``.

    The recipe's ``train_preset`` and its cloning are made for the preset that it names, and hold for the task's own
    defaults too; another preset, a paper's constants, learns by reward alone and in the task that it is evaluated in.
    """
    tables = load_recipe(config.env, config.recipe)
    own = tables.get("presets", {})
    algo = config.algo or own.get(config.preset, {}).get("algo") or tables.get("algo", ALGO)
    table = {key: tables[key] for key in ("preset", *DECIDED) if key in tables}
    table = drop_foreign(algo, tables, {**table, **table_of(algo, tables)})
    after, usual = table.pop("cloned", {}), table.pop("preset", None)
    preset = config.preset or usual
    train = training_arguments(tables, config.env)
    if preset not in (usual, "none"):
        train = {}
        table.pop("clone_steps", None)
    table |= {key: value for key, value in own.get(preset, {}).items() if key != "algo"}
    if table.get("action_maps") == 0:  # a preset whose actions are no places
        del table["action_maps"]
    cloned = config.clone_steps or (config.clone_steps is None and table.get("clone_steps"))
    table = (table | after) if cloned else {key: table[key] for key in table if key not in OF_CLONES}
    table = drop_foreign(algo, tables, table)
    run = {key: table.pop(key) for key in DECIDED if key in table}
    after_cloning = AFTER_CLONING if cloned and algo not in FREE_OF_CLONES else {}
    decided = {**dict.fromkeys(DECIDED), **DEFAULTS, **after_cloning, **run}
    given = {key: value for key in DECIDED if (value := getattr(config, key)) is not None}
    chosen = {**decided, **given}
    if config.memory != "none":
        chosen["recall"] = config.recall or recall_of(algo)
        chosen["communication"] = config.communication
    choose_steps(config, chosen, decided["timesteps"])
    return replace(
        config,
        **chosen,
        algo=algo,
        preset=None if preset == "none" else preset,
        recipe="none",
        env_args=format_args(parse_args(config.env_args)),
        train_args=format_args({**train, **parse_args(config.train_args)}),
        algo_args=format_args({**table, **parse_args(config.algo_args)}),
    )


def training_arguments(tables: Mapping[str, Any], env_id: str) -> dict[str, Any]:
    """Arguments that a recipe gives the task in training: those of a preset, and the time limit."""
    train = dict(entry_of(env_id).presets[tables["train_preset"]]) if "train_preset" in tables else {}
    limit = {"max_episode_steps": tables.get("train_episode_steps")}
    return train | {key: value for key, value in limit.items() if value}


def choose_steps(config: TrainConfig, chosen: dict[str, Any], usual: int) -> None:
    """Write into what was chosen how long a run clones, how long it learns, and when it is evaluated.

    A short run stays short: a recipe clones no more steps than the timesteps given. A run without cloning learns. It
    is evaluated ten times, or as often as the recipe says, but four times at least; cloning alone may go on later.
    """
    if config.clone_steps is None and config.timesteps:
        chosen["clone_steps"] = min(chosen["clone_steps"], config.timesteps)
    if config.timesteps is None and not chosen["clone_steps"]:
        chosen["timesteps"] = chosen["timesteps"] or DEFAULTS["timesteps"]
    if config.eval_every is None:
        steps = chosen["timesteps"] or usual or DEFAULTS["timesteps"]
        rare = max(steps // (4 if chosen["eval_every"] else 10), 1)
        chosen["eval_every"] = min(chosen["eval_every"] or rare, rare)


def describe_task(config: TrainConfig) -> str:
    """The task of a resolved config, such as "visionrl/Detection-v0, preset small: window=48"."""
    text = f"{config.env}, "
    if config.preset:
        constants = entry_of(config.env).presets[config.preset]
        text += f"preset {config.preset}: {' '.join(format_args(constants))}"
    else:
        text += "no preset"
    for words, pairs in (("; with ", config.env_args), ("; in training also ", config.train_args)):
        short = (pair if len(pair) <= 200 else f"{pair[:197]}..." for pair in pairs)  # a vocabulary is long
        text += words + " ".join(short) if pairs else ""
    return text
