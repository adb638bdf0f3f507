"""What reinforcement learning adds to a clone: four tasks, one change of the recipe at a time.

    OMP_NUM_THREADS=1 python benchmarks/rl_after_cloning.py run --out rl-after-cloning.jsonl
    python benchmarks/rl_after_cloning.py table --out rl-after-cloning.jsonl

Each (task, seed) is cloned once, and every recipe begins with that clone. A run appends one line of JSON to the file,
and is left out when its line is there, so the study may be stopped and started at any time. A line has the gain over
the clone on the same test episodes, with its 95 % interval, of three agents: the last one ("last"), the best by the
mean of the validation split ("best"), and the one that the trainer keeps, which is the clone unless the paired interval
on the validation split is above 0 ("kept").
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before any library reads it

import numpy as np  # noqa: E402
import torch  # noqa: E402
from stable_baselines3.common.logger import Logger  # noqa: E402
from stable_baselines3.common.vec_env import VecEnvWrapper  # noqa: E402

from visionrl.agents import TrainConfig  # noqa: E402
from visionrl.agents.evaluation.episodes import Plan, evaluate_policy, prepare  # noqa: E402
from visionrl.agents.evaluation.paired import Score, paired_difference  # noqa: E402
from visionrl.agents.evaluation.policies import agent_policy  # noqa: E402
from visionrl.agents.imitation.cloning import clone, sync_target_networks  # noqa: E402
from visionrl.agents.training.callback import RunCallback  # noqa: E402
from visionrl.agents.training.config import resolve  # noqa: E402
from visionrl.agents.training.models import build_model, make_training_env  # noqa: E402
from visionrl.agents.training.train import continue_training  # noqa: E402
from visionrl.core.capabilities import compute_all  # noqa: E402

PPO = {
    "learning_rate": 5e-4,
    "gamma": 0.95,
    "gae_lambda": 0.9,
    "n_steps": 32,
    "batch_size": 256,
    "n_epochs": 4,
    "ent_coef": 0.01,
    "vf_coef": 0.5,
    "normalize_advantage": True,
}
DQN = {
    "learning_rate": 1e-3,
    "gamma": 0.5,
    "batch_size": 128,
    "buffer_size": 40_000,
    "learning_starts": 2_000,
    "train_freq": 4,
    "gradient_steps": 4,
    "target_update_interval": 1_000,
    "exploration_final_eps": 0.05,
}
# task -> fields of the config, arguments of the algorithm
TASKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "glimpse": (
        {"env": "GlimpseClassification-v0", "algo": "ppo", "num_envs": 32, "clone_steps": 4_000}
        | {"env_args": ("scales=[1]", "glimpses=4"), "timesteps": 8_192, "eval_episodes": 180},
        PPO,
    ),
    "detection": (
        {"env": "Detection-v0", "data": "coins", "algo": "dqn", "num_envs": 32, "clone_steps": 6_000}
        | {"env_args": ("window=32", "max_episode_steps=60"), "timesteps": 6_144, "eval_episodes": 12}
        | {"train_args": ("mode=training", "false_positive_cost=1.0", "max_episode_steps=40")},
        DQN | {"train_freq": 2},
    ),
    "tracking": (
        {"env": "Tracking-v0", "preset": "cpu", "algo": "ppo", "num_envs": 32, "clone_steps": 8_000}
        | {"timesteps": 8_192, "eval_episodes": 12},
        PPO | {"gamma": 0.5},
    ),
    "landmark": (
        {"env": "LandmarkLocalization-v0", "algo": "dqn", "num_envs": 32, "clone_steps": 8_000}
        | {"preset": "cpu", "timesteps": 6_144, "eval_episodes": 96},
        DQN,
    ),
}
CLONE_RATE, EVALUATIONS, WARMUP = 1e-3, 2, 4  # the warm-up is a fourth of the run
# recipe -> what changes; "rate" and "reward" are factors
COMMON: dict[str, dict[str, Any]] = {
    "as it was": {},
    "cloning goes on": {"longer": True},
    "KL 1": {"clone_kl": 1.0},
    "KL 0.1": {"clone_kl": 0.1},
    "value warm-up": {"value_warmup": True},
    "learning rate / 10": {"rate": 0.1},
    "KL 1, warm-up, rate / 10": {"clone_kl": 1.0, "value_warmup": True, "rate": 0.1},
    "KL 0.1, rate / 10": {"clone_kl": 0.1, "rate": 0.1},
    "KL 1, falling to 0": {"clone_kl": 1.0, "clone_kl_end": 0.0},
    "rewards x 0.1": {"reward": 0.1},
    "rewards x 10": {"reward": 10.0},
}
RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "ppo": COMMON
    | {
        "no entropy bonus": {"ent_coef": 0.0},
        "rollouts of a quarter": {"n_steps": 8},
        "batches of 64": {"batch_size": 64},
        "plain advantages": {"normalize_advantage": False},
        "value loss x 0.02": {"vf_coef": 0.01},
    },
    "dqn": COMMON
    | {
        "no exploration": {"exploration_final_eps": 0.0},
        "batches of 32": {"batch_size": 32},
        "target network x 5": {"target_update_interval": 5_000},
    },
}
# the recipes of which all seeds are run first
RANK = {"as it was": 0, "KL 0.1": 0, "KL 1": 0, "cloning goes on": 1, "KL 0.1, rate / 10": 2}


class ScaledRewards(VecEnvWrapper):
    """Rewards times a factor."""

    def __init__(self, venv: Any, factor: float) -> None:
        super().__init__(venv)
        self.factor = factor

    def reset(self) -> Any:
        """Start all episodes."""
        return self.venv.reset()

    def step_wait(self) -> Any:
        """Take the step."""
        obs, rewards, dones, infos = self.venv.step_wait()
        return obs, rewards * self.factor, dones, infos


class Watch(RunCallback):
    """Keeps the parameters of all evaluations, and writes no checkpoint."""

    def evaluate(self) -> None:
        """Evaluate on the validation split."""
        super().evaluate()
        self.seen = getattr(self, "seen", {}) | {self.model.num_timesteps: self.parameters()}

    def save(self) -> None:
        """Nothing: a run takes seconds."""
        self._saved = self.model.num_timesteps


def config_of(task: str, recipe: str, seed: int) -> tuple[TrainConfig, float]:
    """The resolved config of a run, and the factor of its rewards."""
    given, arguments = TASKS[task]
    change = dict(RECIPES[given["algo"]][recipe])
    scale, rate = change.pop("reward", 1.0), change.pop("rate", 1.0)
    change.pop("longer", None)
    fields: dict[str, Any] = {"clone_kl": change.pop("clone_kl", 0.0), "value_warmup": 0, "seed": seed}
    fields["clone_kl_end"] = change.pop("clone_kl_end", 1.0)
    if change.pop("value_warmup", False):
        fields["value_warmup"] = given["timesteps"] // WARMUP
    arguments = {**arguments, **change}
    arguments["learning_rate"] = arguments["learning_rate"] * rate
    pairs = tuple(f"{key}={json.dumps(value)}" for key, value in arguments.items())
    every = given["timesteps"] // EVALUATIONS
    whole = TrainConfig(
        **given,
        **fields,
        recipe="none",
        clone_rate=CLONE_RATE,
        eval_every=every,
        algo_args=pairs,
        device="cpu",
    )
    return resolve(whole), scale


def cloned_policy(task: str, seed: int, folder: Path) -> dict[str, torch.Tensor]:
    """Parameters of the clone that all recipes of a task and a seed begin with."""
    path = folder / f"{task}-{seed}.pt"
    if not path.is_file():
        config, _ = config_of(task, "as it was", seed)
        env = make_training_env(config)
        model = build_model(config, env)
        values = config.clone_action_values is not False
        clone(model, config.clone_steps or 0, rate=config.clone_rate, try_actions=values)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(model.policy.state_dict(), path)
        env.close()
    return torch.load(path, weights_only=True)


def run(task: str, recipe: str, seed: int, folder: Path) -> dict[str, Any]:
    """One run as a line of the file."""
    state, began = cloned_policy(task, seed, folder), time.process_time()
    config, scale = config_of(task, recipe, seed)
    env = make_training_env(config)
    model = build_model(config, ScaledRewards(env, scale) if scale != 1 else env)
    model.policy.load_state_dict(state)
    sync_target_networks(model)
    model.set_logger(Logger(None, []))
    longer = RECIPES[str(config.algo)][recipe].get("longer", False)
    with TemporaryDirectory() as scratch:
        callback = Watch(config, Path(scratch))
        continue_training(model, replace(config, timesteps=0), callback)
        if longer:
            clone_longer(model, config, callback)
        else:
            continue_training(model, config, callback)
    learnt = time.process_time() - began
    found = tested(model, config, callback)
    env.close()
    times = {"cpu_s": round(time.process_time() - began, 1), "learning_cpu_s": round(learnt, 1)}
    return {"task": task, "recipe": recipe, "seed": seed, **found, **times, "curve": callback.curve}


def clone_longer(model: Any, config: TrainConfig, callback: Watch) -> None:
    """In the place of learning by reward a clone of as many states more, made from the start."""
    steps, states = config.timesteps or 0, (config.clone_steps or 0) + (config.timesteps or 0)
    other = build_model(config, model.get_env())
    clone(other, states, rate=config.clone_rate, try_actions=config.clone_action_values is not False)
    model.policy.load_state_dict(other.policy.state_dict())
    model.num_timesteps = steps
    callback.evaluate()


def tested(model: Any, config: TrainConfig, callback: Watch) -> dict[str, Any]:
    """Test scores of the clone and of three agents, and their gains over the clone."""
    plan = prepare(config.env, "test", config.test_episodes, 0, 64, config.env_kwargs)
    metric, more = plan.task.primary_metric
    top = (max if more else min)(callback.curve, key=lambda row: row[metric])
    chosen = {"last": callback.curve[-1], "best": top, "kept": callback.best_row}
    scores: dict[int, Score] = {}
    for steps in {0, *(int(row["timesteps"]) for row in chosen.values())}:
        model.policy.load_state_dict(callback.seen[steps])
        result = evaluate_policy(plan, agent_policy(model))
        scores[steps] = Score.of(result, metric)
    found: dict[str, Any] = {"metric": metric, "more_is_better": more, "clone": level(plan, scores[0])}
    for name, row in chosen.items():
        gain = paired_difference(plan, scores[0], scores[int(row["timesteps"])])
        found[name] = {"steps": int(row["timesteps"]), "gain": gain.value, "low": gain.low, "high": gain.high}
    return found


def level(plan: Plan, score: Score) -> float:
    """The metric itself: the mean over episodes, or that of the whole data set."""
    if len(score.values):
        return float(np.mean(score.values))
    return float(compute_all(plan.task, score.records)[plan.task.primary_metric[0]])


def order(seeds: list[int]) -> list[tuple[str, str, int]]:
    """All runs, the most important first."""
    runs = [
        (task, recipe, seed, RANK.get(recipe, len(RANK)))
        for seed in seeds
        for task, (given, _) in TASKS.items()
        for recipe in RECIPES[given["algo"]]
    ]
    return [one[:3] for one in sorted(runs, key=lambda one: one[3])]


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The runs that are done."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def table(lines: list[dict[str, Any]]) -> str:
    """The gains over the clone, a table a task, in Markdown."""
    text = []
    for task, (given, _) in TASKS.items():
        rows = [line for line in lines if line["task"] == task]
        if not rows:
            continue
        clones = {line["seed"]: line["clone"] for line in rows}
        levels = ", ".join(f"{clones[seed]:.3f}" for seed in sorted(clones))
        text += [f"### {task}: {given['algo'].upper()}, {rows[0]['metric']}; the clones: {levels}", ""]
        text += [
            "| recipe | last agent, seed by seed | mean | best by validation | kept |",
            "|---|---|---|---|---|",
        ]
        for recipe in RECIPES[given["algo"]]:
            some = sorted((line for line in rows if line["recipe"] == recipe), key=lambda line: line["seed"])
            if some:
                text.append(f"| {recipe} | {' '.join(cell(line['last']) for line in some)} | {means(some)} |")
        text.append("")
    return "\n".join(text)


def cell(found: dict[str, float]) -> str:
    """A gain with its interval; bold where the interval leaves 0 out."""
    mark = "**" if found["low"] > 0 or found["high"] < 0 else ""
    return f"{mark}{found['gain']:+.3f}{mark} [{found['low']:+.3f}, {found['high']:+.3f}]"


def means(some: list[dict[str, Any]]) -> str:
    """Mean gains over the seeds of the three agents."""
    return " | ".join(
        f"{np.mean([line[name]['gain'] for line in some]):+.3f}" for name in ("last", "best", "kept")
    )


def main() -> None:
    """Run what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("do", choices=("run", "table"))
    parser.add_argument("--out", type=Path, default=Path("rl-after-cloning.jsonl"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", default=[], help="tasks")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no run after so many")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.do == "table":
        print(table(lines_of(asked.out)))
        return
    done = {(line["task"], line["recipe"], line["seed"]) for line in lines_of(asked.out)}
    began = time.monotonic()
    for one in order(asked.seeds):
        if one in done or (asked.only and one[0] not in asked.only):
            continue
        if time.monotonic() - began > 60 * asked.minutes:
            return
        line = run(*one, asked.out.with_suffix(".clones"))
        with asked.out.open("a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
