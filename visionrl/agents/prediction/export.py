"""A trained agent as an ONNX file: observations in, the action out, without this library and without torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.tqc.policies import TQCPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.sac.policies import SACPolicy
from torch import Tensor, nn

from visionrl.agents.networks.frozen_features import OnImages
from visionrl.agents.networks.model_io import q_values_of, takes_masks
from visionrl.agents.sb3.recall import recalled_steps
from visionrl.rendering import replacing

NEEDED = ("onnx", "onnxscript")
EXAMPLES = 2  # rows of the observations that the network is traced on


class Acting(nn.Module):
    """From observations to the agent's best actions, everything between included.

    Args:
        model: of Stable-Baselines3, or ``OnImages``.

    Raises:
        ValueError: the policy remembers what it saw.
    """

    low: Tensor
    high: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.policy: Any = model.policy
        self.encoder: Any = getattr(model, "encoder", None)
        if hasattr(self.policy, "lstm_actor"):
            raise ValueError("agent must have a policy without memory to be exported, got a recurrent one")
        if takes_masks(model):
            raise ValueError(
                "agent must choose among all actions to be exported, got one that heeds action masks"
            )
        if (steps := recalled_steps(model.observation_space)) > 1:
            raise ValueError(
                f"agent must have a policy without memory to be exported, got one of {steps} observations"
            )
        self.space = space = model.action_space
        low, high = (space.low, space.high) if isinstance(space, spaces.Box) else (np.zeros(1), np.ones(1))
        self.register_buffer("low", torch.as_tensor(low))
        self.register_buffer("high", torch.as_tensor(high))

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Actions (B, ...): int64 numbers, or float32 in the bounds of the action space."""
        seen = dict(observations)
        for key, owner in (self.encoder.owners if self.encoder is not None else {}).items():
            seen[key] = self.encoder.nets[owner](seen[key])
        if values := q_values_of(self.policy):
            return values(seen).argmax(dim=1)
        found = self.raw(seen)
        if isinstance(self.space, spaces.Discrete):
            return found.argmax(dim=1)
        if isinstance(self.space, spaces.MultiDiscrete):
            each = found.split(self.space.nvec.tolist(), dim=1)
            return torch.stack([logits.argmax(dim=1) for logits in each], dim=1)
        if self.policy.squash_output:
            found = self.low + 0.5 * (found + 1.0) * (self.high - self.low)
        return torch.minimum(torch.maximum(found, self.low), self.high)

    def raw(self, observations: dict[str, Tensor]) -> Tensor:
        """Logits of the actions, or their means, without the distributions, which cannot be traced."""
        policy = self.policy
        if isinstance(policy, ActorCriticPolicy):
            features: Any = policy.extract_features(observations, policy.pi_features_extractor)
            found = policy.action_net(policy.mlp_extractor.forward_actor(features))
            return found.tanh() if policy.squash_output else found
        if isinstance(policy, SACPolicy | TQCPolicy):
            return policy.actor.get_action_dist_params(observations)[0].tanh()
        return policy.actor(observations)


def export_onnx(model: Any, path: Path, about: Mapping[str, str] | None = None) -> Path:
    """Write an agent's policy, with its features extractor, as ONNX.

    Inputs are the keys of the observation space, images uint8, with a first axis of any length B; the output is
    ``action``, (B, ...), as ``model.predict(observations, deterministic=True)`` gives it.

    Args:
        model: the algorithm, such as ``visionrl.load_agent(RUN).model``.
        path: of the file.
        about: words for the file's metadata.

    Raises:
        ValueError: a package is missing, or the policy remembers what it saw.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ValueError(f'export needs {" and ".join(missing)}: pip install "visionrl[export]"')
    acting = Acting(model).eval().cpu()
    example = {key: torch.as_tensor(x) for key, x in observations_of(model, EXAMPLES, 0).items()}
    rows = torch.export.Dim("rows", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own future
        program: Any = torch.onnx.export(
            acting,
            kwargs={"observations": example},
            input_names=list(example),
            output_names=["action"],
            dynamic_shapes={"observations": {key: {0: rows} for key in example}},
            dynamo=True,
            verbose=False,
        )
    proto = program.model_proto
    for key, value in (about or {}).items():
        proto.metadata_props.add(key=key, value=value)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(proto.SerializeToString())
    return path


def observations_of(model: Any, rows: int, seed: int) -> dict[str, np.ndarray]:
    """Random observations of a model's space, (rows, ...) each."""
    space = model.encoder.read if isinstance(model, OnImages) else model.observation_space
    rng = np.random.default_rng(seed)
    found, boxes = {}, dict[str, Any](space.spaces)
    for key, box in boxes.items():
        shape = (rows, *box.shape)
        if np.issubdtype(box.dtype, np.integer):
            found[key] = rng.integers(box.low, box.high, shape, box.dtype, endpoint=True)
        else:
            found[key] = rng.uniform(box.low, box.high, shape).astype(box.dtype)
    return found


def agreement(model: Any, path: Path, rows: int = 100, seed: int = 0) -> float:
    """Share of random observations in which ONNX Runtime gives the model's own action, 1e-4 apart at most.

    Raises:
        ImportError: ONNX Runtime is not installed.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    seen = observations_of(model, rows, seed)
    found = session.run(None, {one.name: seen[one.name] for one in session.get_inputs()})[0]
    wanted, _ = model.predict(seen, deterministic=True)
    return float(np.isclose(found, wanted, atol=1e-4).reshape(rows, -1).all(axis=1).mean())
