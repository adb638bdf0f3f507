"""Agents that name or ask for new classes, against rules, on the same streams: one JSON line a row.

    visionrl train-model --model prototypical --data instances --options shot=2 way=24 query=3
    python benchmarks/one_shot.py --weights runs/RUN/model.pt rules matching:0 matching:1 gru/ppo:0 none/ppo:0

Every policy sees the frozen trunk's features (``visionrl train --weights FILE --frozen --cache``), is cloned (DQN from
what each action earns at once, others from the expert), and then learns by reward. Two streams of every class of the
test split; CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import torch

from visionrl.agents.imitation.cloning import clone
from visionrl.agents.networks.frozen_features import CachedFeatures, FeatureEncoder
from visionrl.agents.sb3.vec_env import make_vec_env
from visionrl.agents.training.after_cloning import AfterCloning
from visionrl.agents.training.config import TrainConfig, resolve
from visionrl.agents.training.models import build_model, make_training_env
from visionrl.baselines.one_shot import always_ask, blurred, prototype_rule
from visionrl.core import batch, make_task

ID = "visionrl/ActiveOneShot-v0"
STREAMS = 2  # of each class
CARRIED = ("lstm", "gru")  # by RecurrentPPO


def starts(task: Any) -> list[Any]:
    """First states: some streams of every class."""
    rngs = [np.random.default_rng((7, item, k)) for item in range(task.items) for k in range(STREAMS)]
    return [task.sample(rng, number // STREAMS) for number, rng in enumerate(rngs)]


def row(task: Any, name: str, taken: np.ndarray, firsts: Any, **more: Any) -> dict[str, Any]:
    """The metrics of all streams with a 95 % interval of the points, bootstrapped over classes."""
    ends = batch.each(firsts, np.copy)
    ends.taken[:], ends.step[:] = taken, task.longest
    found = {key: float(np.mean(value)) for key, value in task.metrics(ends).items()}
    found |= task.dataset_metrics[0].compute(task.dataset_metrics[0].record(ends))
    points = task.metrics(ends)["points"].reshape(-1, STREAMS).mean(axis=1)
    drawn = np.random.default_rng(0).choice(points, (2000, len(points))).mean(axis=1)
    interval = np.percentile(drawn, (2.5, 97.5)).tolist()
    rounded = {key: round(value, 4) for key, value in found.items()}
    return {"row": name, **rounded, "interval": [round(one, 3) for one in interval], **more}


def acted(model: Any, encoder: FeatureEncoder, firsts: Any, recall: int, split: str) -> np.ndarray:
    """(B, T) the likeliest actions of a policy from some first states."""
    env: Any = CachedFeatures(make_vec_env(ID, len(firsts.step), split=split), encoder, recall)
    env.reset()
    inner = env.venv.venv
    inner.state = batch.each(firsts, np.copy)
    seen = encoder(inner.task.observe(inner.state))
    seen = seen if env.recall is None else env.recall.begin(seen)
    memory, begun, taken = None, np.ones(len(firsts.step), bool), []
    for _ in range(inner.task.longest):
        actions, memory = model.predict(seen, memory, begun, deterministic=True)
        taken.append(actions)
        seen, _, dones, _ = env.step(actions)
        begun = np.zeros_like(dones)
    return np.stack(taken, axis=1)


def agent(
    memory: str, algo: Any, seed: int, weights: str, clone_steps: int, timesteps: int, split: str
) -> None:
    """Clone and train one policy; print a row for the clone and one for the agent."""
    torch.set_num_threads(1)
    carried = memory in CARRIED
    extra: dict[str, Any] = {} if memory == "none" else {"memory": memory}
    if memory != "none" and not carried:
        extra["recall"] = 30
    algo = "recurrentppo" if carried else algo
    given: dict[str, Any] = {"clone_steps": clone_steps, "timesteps": timesteps, "seed": seed, **extra}
    if carried:
        given["algo_args"] = ("lstm_hidden_size=128",)
    config = resolve(TrainConfig(env=ID, algo=algo, weights=weights, frozen=True, cache=True, **given))
    began = time.process_time()
    env: Any = make_training_env(config)
    model: Any = build_model(config, env)
    loaded = time.process_time() - began
    clone(model, clone_steps, rate=config.clone_rate, try_actions=bool(config.clone_action_values))
    spent = time.process_time() - began - loaded
    report(model, env, f"{memory}, clone ({algo})", seed, spent, split)
    began = time.process_time()
    if timesteps:
        warm = (
            []
            if algo != "ppo"
            else [AfterCloning(model.policy.state_dict, 0.0, 0.0, config.value_warmup or 0)]
        )
        model.learn(timesteps, callback=warm)
        report(model, env, f"{memory}, {algo}", seed, spent + time.process_time() - began, split)


def report(model: Any, env: Any, name: str, seed: int, seconds: float, split: str) -> None:
    """Print the row of a policy; it is the last one of its run, not chosen among several."""
    task: Any = make_task(ID, split=split)
    firsts = batch.stack(starts(task))
    taken = acted(model, env.encoder, firsts, env.recall.steps if env.recall else 1, split)
    print(json.dumps(row(task, name, taken, firsts, seed=seed, cpu_s=round(seconds))), flush=True)


def rules(weights: str, split: str) -> None:
    """Print the rows of chance, of the rules and of the expert."""
    train: Any = make_task(ID)
    encoder = FeatureEncoder(train.observation_space, "conv4", weights=weights)
    held: dict[int, np.ndarray] = {}

    def trunk(task: Any, numbers: np.ndarray) -> np.ndarray:
        """Features of images, of length 1."""
        if id(task) not in held:
            parts = np.array_split(np.arange(len(task.samples)), len(task.samples) // 500 + 1)
            found = np.concatenate([encoder({"window": task.bank.rows(part)})["window"] for part in parts])
            held[id(task)] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return held[id(task)][numbers].astype(float)

    known = {
        "always ask": always_ask(None),
        "prototypes, pixels": prototype_rule(train, blurred),
        "prototypes, trunk": prototype_rule(train, trunk),
    }
    task: Any = make_task(ID, split=split)
    singles = starts(task)
    firsts, rng = batch.stack(singles), np.random.default_rng(0)
    taken = {"random": rng.integers(0, task.ways + 1, firsts.taken.shape), "expert": expert(task, firsts)}
    for name, run in known.items():
        taken[name] = np.concatenate([run(task, batch.stack([one])).taken for one in singles])
    for name, actions in taken.items():
        print(json.dumps(row(task, name, actions, firsts)), flush=True)


def expert(task: Any, state: Any) -> np.ndarray:
    """(B, T) actions of the expert."""
    while not task.terminated(state).all():
        state = task.step(state, task.expert(state))
    return state.taken


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", help='"rules", or MEMORY/ALGO:SEED, such as matching/ppo:0')
    parser.add_argument("--weights", required=True, help="file of the trunk's weights, conv4")
    parser.add_argument("--clone-steps", type=int, default=30_000)
    parser.add_argument("--timesteps", type=int, default=40_000)
    parser.add_argument("--split", default="test", help="whose streams are played")
    args = parser.parse_args()
    for part in args.parts:
        if part == "rules":
            rules(args.weights, args.split)
        else:
            policy, _, seed = part.partition(":")
            memory, _, algo = policy.partition("/")
            agent(
                memory,
                algo or "dqn",
                int(seed or 0),
                args.weights,
                args.clone_steps,
                args.timesteps,
                args.split,
            )


if __name__ == "__main__":
    main()
