"""Train a DQN agent on a vision task, and see what it is worth beside chance, a classical method and the expert.

    python examples/train_dqn.py                                     # landmarks in chest X-rays, a few minutes
    python examples/train_dqn.py --env visionrl/Tracking-v0          # another task
    python examples/train_dqn.py --backbone resnet18 --pretrained --frozen
    python examples/train_dqn.py --data csv:FOLDER --env-args window=48 --algo-args gamma=0.95
    python examples/train_dqn.py --resume                            # go on after Ctrl-C, a crash or a kill
    python examples/train_dqn.py --guided --clone-steps 20000        # learn from the expert first, see docs/training.md

Everything ends up in ``runs/<task>-dqn-<backbone>-s<seed>/``. Watch it with ``tensorboard --logdir runs``.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import torch
import tyro
from stable_baselines3 import DQN

from visionrl.agents import TrainConfig, VisionExtractor, agent_policy, evaluate, make_vec_env, train


def sketch(config: TrainConfig) -> None:
    """The essence: an environment, an algorithm with eyes, learning, a look at the result.

    Args:
        config: which task, backbone, seed and how many steps; the rest stands here.
    """
    # Small networks run fastest on one thread, above all where others use the machine too.
    torch.set_num_threads(config.threads)

    # 16 episodes at a time, stepped in one call. Row i is the environment gym.make gives, with seed `seed + i`.
    env = make_vec_env(config.env, 16, split="train", seed=config.seed, **config.env_kwargs)

    # The observation is a dictionary of images and numbers. SB3's MultiInputPolicy hands it to the extractor, which
    # sends each image through a backbone and joins the rest; DQN's value network sits on top.
    model = DQN(
        "MultiInputPolicy",
        env,
        policy_kwargs={
            "features_extractor_class": VisionExtractor,
            "features_extractor_kwargs": {
                "backbone": config.backbone or "small",
                "pretrained": config.pretrained,
                "frozen": config.frozen,
            },
        },
        learning_rate=1e-3,
        gamma=0.5,  # the rewards come at every step, so the agent need not look far ahead
        batch_size=128,
        buffer_size=10_000,  # SB3 keeps two observations a step in it, so images fill memory fast
        learning_starts=1_000,
        train_freq=4,  # 4 steps of 16 episodes, then
        gradient_steps=4,  # 4 updates of the network
        target_update_interval=1_000,
        exploration_fraction=0.2,  # from all actions by chance down to 1 in 20
        exploration_final_eps=0.05,
        device=config.device,
        seed=config.seed,
    )
    model.learn(config.timesteps or 20_000, progress_bar=True)

    # Images that the agent has never seen; never choose between agents by the test split.
    values = evaluate(config.env, agent_policy(model), split="val", episodes=64, env_kwargs=config.env_kwargs)
    for name, per_episode in values.items():
        print(f"{name:>16}: {per_episode.mean():.3f}")


def main(config: TrainConfig, sketch_only: bool = False) -> None:
    """Train a DQN agent on a vision task.

    Args:
        config: the run.
        sketch_only: no more than the essence, as written out in this file: nothing is saved.
    """
    if sketch_only:
        sketch(config)
        return
    # The same with all that a real run needs: hyper-parameters of the task, the best agent chosen on the validation
    # split, checkpoints, logs, and at the end one comparison on the test split.
    train(replace(config, algo=config.algo or "dqn"))


if __name__ == "__main__":
    try:
        tyro.cli(main, config=(tyro.conf.OmitArgPrefixes,))
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
