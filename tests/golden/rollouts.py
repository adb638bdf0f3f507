"""Rollouts of every task, preset and backend, as one number per quantity; see ``test_rollouts.py``.

    python tests/golden/rollouts.py            compare with the file, exactly, and name what differs
    python tests/golden/rollouts.py --write    write the file anew

Needed when a task's rules change on purpose; the commit says which and why.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

import visionrl  # noqa: F401  (registers the tasks)
from visionrl import ops
from visionrl.core import TASKS
from visionrl.core.vector_env import TaskVectorEnv

FILE = Path(__file__).with_name("rollouts.json")
ROWS, STEPS = 2, 100


def cases():
    """(id, preset or None, backend) of every rollout."""
    found = []
    for task_id, entry in sorted(TASKS.items()):
        for preset in (None, *entry.presets):
            found += [(task_id, preset, backend) for backend in entry.task.backends]
    return found


def name_of(task_id, preset, backend):
    return f"{task_id.removeprefix('visionrl/')} {preset or '-'} {backend}"


def rollout(task_id, preset, backend):
    """{quantity: (number, digest)} of 200 steps: a coin decides whether a row follows the expert or chance."""
    env = TaskVectorEnv(
        ROWS, task_id, preset=preset, backend=backend, max_episode_steps=TASKS[task_id].max_steps or 50
    )
    sums = {}
    obs, info = env.reset(seed=11)
    add(sums, "obs", obs)
    env.action_space.seed(11)
    coin = np.random.default_rng(11)
    for _ in range(STEPS):
        expert, chance = ops.to_numpy(env.task.expert(env.state)), env.action_space.sample()
        heads = (coin.random(ROWS) < 0.5).reshape(-1, *[1] * (expert.ndim - 1))
        action = np.where(heads, expert, chance).astype(chance.dtype)
        obs, reward, terminated, truncated, info = env.step(action)
        add(sums, "obs", obs)
        add(sums, "info", {key: info[key] for key in env.task.metrics(env.state)})
        flags = {"expert": expert, "reward": reward, "terminated": terminated, "truncated": truncated}
        add(sums, "step", flags)
    return {
        key: (float(f"{total:.12g}"), digest.hexdigest()[:10]) for key, (total, digest, _) in sums.items()
    }


def add(sums, group, values):
    """Take some arrays into the sums; each value has a weight of its own, by its place and its turn."""
    for key, value in values.items():
        array = np.ascontiguousarray(ops.to_numpy(value))
        total, digest, turn = sums.get(f"{group}.{key}", (0.0, hashlib.sha1(), 0))
        digest.update(array.tobytes())
        flat = np.nan_to_num(array.astype(float).ravel(), nan=-7.0, posinf=9.0, neginf=-9.0)
        weights = np.cos(np.arange(len(flat)) * 0.7 + turn) + 1.5
        sums[f"{group}.{key}"] = (total + float(weights @ flat) / max(len(flat), 1), digest, turn + 1)


def main():
    """Write the file, or compare with it exactly."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", default="", help="rollouts whose name contains this")
    args = parser.parse_args()
    held = json.loads(FILE.read_text()) if FILE.exists() else {}
    differ = 0
    for case in cases():
        name = name_of(*case)
        if args.only not in name:
            continue
        found = {key: list(pair) for key, pair in sorted(rollout(*case).items())}
        if args.write:
            held[name] = found
            print("wrote", name, flush=True)
            continue
        told = difference(held.get(name, {}), found)
        differ += bool(told)
        print(name, told or "as before", flush=True)
    if args.write:
        known = {name_of(*case) for case in cases()}
        lines = [f"{json.dumps(name)}: {json.dumps(held[name])}" for name in sorted(held) if name in known]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    sys.exit(differ > 0)


def difference(held, found):
    """What differs, in words; quantities whose name alone changed are told as such."""
    renamed = {}
    lost = {key: tuple(pair) for key, pair in held.items() if key not in found}
    told = []
    for key, pair in found.items():
        if key not in held:
            old = next((k for k, p in lost.items() if p[1] == pair[1]), None)
            told.append(f"{old} is now {key}" if old else f"{key} is new")
            renamed[old] = key
        elif held[key][1] != pair[1]:
            told.append(f"{key} differs ({held[key][0]} before, {pair[0]} now)")
    return "; ".join(told + [f"{key} is gone" for key in lost if key not in renamed])


if __name__ == "__main__":
    main()
