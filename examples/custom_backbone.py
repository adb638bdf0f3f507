"""Your own network in an agent of Stable-Baselines3, in two ways: registered by name, or handed over as a module.

    python examples/custom_backbone.py                   # under a minute on one core
    python examples/custom_backbone.py --timesteps 50000

The network may return a map (B, C, h, w) or vectors (B, n); it gets images (B, C, H, W) in [0, 1].
"""

from __future__ import annotations

import argparse

import torch
from stable_baselines3 import DQN
from torch import nn

from visionrl.agents import VisionExtractor, agent_policy, evaluate, make_vec_env
from visionrl.backbones import register_backbone

ENV = "visionrl/LandmarkLocalization-v0"


class MyNet(nn.Sequential):
    """Whatever you like; here two strided convolutions, to vectors."""

    def __init__(self, in_channels: int = 3) -> None:
        first, second = nn.Conv2d(in_channels, 16, 4, 4), nn.Conv2d(16, 32, 3, 2, 1)
        super().__init__(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten())


register_backbone(MyNet)  # one line: now "MyNet" is a name for make_backbone


def learn(backbone: str | nn.Module, timesteps: int) -> float:
    """Train a DQN agent on it; the mean distance to the landmark on images that it has not seen, pixels."""
    env = make_vec_env(ENV, 16, split="train", seed=0)
    trunk = {"features_extractor_class": VisionExtractor, "features_extractor_kwargs": {"backbone": backbone}}
    often = {"learning_starts": 500, "train_freq": 4, "gradient_steps": 4, "buffer_size": 10_000}
    model = DQN("MultiInputPolicy", env, 1e-3, gamma=0.5, policy_kwargs=trunk, device="cpu", seed=0, **often)
    model.learn(timesteps)
    return float(evaluate(ENV, agent_policy(model), split="val", episodes=16)["distance_px"].mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timesteps", type=int, default=3_000)
    steps = parser.parse_args().timesteps
    torch.set_num_threads(1)
    print(f"by name:   {learn('MyNet', steps):6.1f} px")
    print(f"as module: {learn(MyNet(3), steps):6.1f} px")  # the window has 3 channels, a view each
