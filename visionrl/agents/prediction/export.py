"""A trained agent as an ONNX file: observations in, the action out, without this library and without torch.

An agent that remembers takes the window of its last observations, or what it remembers, and gives that anew.
"""

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
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.sac.policies import SACPolicy
from torch import Tensor, nn

from visionrl.agents.networks.model_io import q_values_of, takes_masks
from visionrl.agents.policies.pixelwise import PixelPolicy
from visionrl.agents.sb3.recall import RECALLED, recalled_steps
from visionrl.rendering import replacing

NEEDED = ("onnx", "onnxscript")
EXAMPLES = 2  # rows of the observations that the network is traced on
MASKS, FORBIDDEN = "action_masks", -1e8  # name of the input, and the logit of what it forbids
HANDED_ON = 10  # steps in which a recurrent policy is compared


class Acting(nn.Module):
    """From observations to the agent's best actions, everything between included.

    Args:
        model: of Stable-Baselines3, or ``OnImages``.

    Attributes:
        states: names of what a recurrent policy carries along, (layers, B, n) each, of which it gives the next.
    """

    low: Tensor
    high: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.policy: Any = getattr(model.policy, "learnt", model.policy)
        self.encoder: Any = getattr(model, "encoder", None)
        layer = getattr(self.policy, "lstm_actor", None)
        self.states = (
            () if layer is None else ("hidden", "cell") if isinstance(layer, nn.LSTM) else ("hidden",)
        )
        self.space = space = model.action_space
        low, high = (space.low, space.high) if isinstance(space, spaces.Box) else (np.zeros(1), np.ones(1))
        self.register_buffer("low", torch.as_tensor(low))
        self.register_buffer("high", torch.as_tensor(high))

    def forward(self, observations: dict[str, Tensor], states: dict[str, Tensor] | None = None) -> Any:
        """Actions (B, ...): int64 numbers, or float32 in the bounds of the action space; behind them the states."""
        seen = dict(observations)
        masks = seen.pop(MASKS, None)
        for key, owner in (self.encoder.owners if self.encoder is not None else {}).items():
            images, lead = seen[key], seen[key].ndim - len(self.encoder.read[key].shape)
            found = self.encoder.nets[owner](images.flatten(0, lead - 1))
            seen[key] = found.view(*images.shape[:lead], -1)
        if isinstance(self.policy, PixelPolicy):
            return self.policy.maps(seen)[0].argmax(dim=1)
        if states:
            return self.carried(seen, states)
        if values := q_values_of(self.policy):
            return values(seen).argmax(dim=1)
        raw = self.raw(seen)
        return self.chosen(raw if masks is None else raw.masked_fill(~masks, FORBIDDEN))

    def carried(self, seen: dict[str, Tensor], states: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Actions of a recurrent policy, and its next states."""
        policy = self.policy
        features: Any = BasePolicy.extract_features(policy, seen, policy.pi_features_extractor)
        before = [states[name] for name in self.states]
        found, after = policy.lstm_actor(features[None], (before[0], before[-1]))
        latent = policy.mlp_extractor.forward_actor(found[0])
        raw = policy.action_net(latent)
        return self.chosen(raw.tanh() if policy.squash_output else raw), *after[: len(self.states)]

    def chosen(self, found: Tensor) -> Tensor:
        """The best actions of logits, or of means."""
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
        if hasattr(policy, "action_net"):
            features: Any = BasePolicy.extract_features(policy, observations, policy.pi_features_extractor)
            found = policy.action_net(policy.mlp_extractor.forward_actor(features))
            return found.tanh() if getattr(policy, "squash_output", False) else found
        if isinstance(policy, SACPolicy | TQCPolicy):
            return policy.actor.get_action_dist_params(observations)[0].tanh()
        return policy.actor(observations)


def export_onnx(model: Any, path: Path, about: Mapping[str, str] | None = None) -> Path:
    """Write an agent's policy, with its features extractor, as ONNX.

    Inputs are the keys of the observation space, images uint8, with a first axis of any length B; the output is
    ``action``, (B, ...), as ``model.predict(observations, deterministic=True)`` gives it. A policy that reads a window
    takes the last T observations, (B, T, ...), and ``recalled``, (B, T) float32, 1 for those of the running episode,
    the newest last. A recurrent policy takes ``hidden`` too, an LSTM also ``cell``, (layers, B, n) float32, zeros at an
    episode's start, and gives ``next_hidden`` and ``next_cell``. A policy that obeys masks takes ``action_masks``,
    (B, n) bool, True for allowed actions.

    Args:
        model: the algorithm, such as ``visionrl.load_agent(RUN).model``.
        path: of the file.
        about: words for the file's metadata.

    Raises:
        ValueError: a package is missing.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ValueError(f'export needs {" and ".join(missing)}: pip install "visionrl[export]"')
    acting = Acting(model).eval().cpu()
    example = {key: torch.as_tensor(x) for key, x in observations_of(model, EXAMPLES, 0).items()}
    rows = torch.export.Dim("rows", min=1)
    given: dict[str, Any] = {"observations": example}
    shapes: dict[str, Any] = {"observations": {key: {0: rows} for key in example}}
    if acting.states:
        given["states"] = {key: torch.as_tensor(x) for key, x in blank_states(model, EXAMPLES).items()}
        shapes["states"] = {key: {1: rows} for key in acting.states}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own future
        program: Any = torch.onnx.export(
            acting,
            kwargs=given,
            input_names=[*example, *acting.states],
            output_names=["action", *(f"next_{name}" for name in acting.states)],
            dynamic_shapes=shapes,
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
    """Random observations of a model's space, (rows, ...) each, with ``action_masks`` where it obeys them."""
    rng = np.random.default_rng(seed)
    found, boxes = {}, dict[str, Any](model.observation_space.spaces)
    for key, box in boxes.items():
        shape = (rows, *box.shape)
        if np.issubdtype(box.dtype, np.integer):
            found[key] = rng.integers(box.low, box.high, shape, box.dtype, endpoint=True)
        else:
            found[key] = rng.uniform(box.low, box.high, shape).astype(box.dtype)
    if (steps := recalled_steps(model.observation_space)) > 1:
        begins = rng.integers(steps, size=(rows, 1))
        found[RECALLED] = (np.arange(steps) >= begins).astype(np.float32)
    if takes_masks(model):
        parts = np.atleast_1d(getattr(model.action_space, "nvec", getattr(model.action_space, "n", 0)))
        masks = [rng.random((rows, n)) < 0.5 for n in parts]
        for mask in masks:
            mask[np.arange(rows), rng.integers(mask.shape[1], size=rows)] = True
        found[MASKS] = np.concatenate(masks, axis=1)
    return found


def best_actions(model: Any, seen: Mapping[str, np.ndarray], state: Any = None) -> tuple[np.ndarray, Any]:
    """The model's own actions on ``observations_of``, and its next recurrent state."""
    masks = {MASKS: seen[MASKS]} if MASKS in seen else {}
    known = {key: value for key, value in seen.items() if key != MASKS}
    return model.predict(known, state=state, deterministic=True, **masks)


def blank_states(model: Any, rows: int) -> dict[str, np.ndarray]:
    """Recurrent states at an episode's start by name: zeros, (layers, rows, n); none of other policies."""
    names = Acting(model).states
    layers, _, size = getattr(model.policy, "lstm_hidden_state_shape", (0, 0, 0))
    return {name: np.zeros((layers, rows, size), np.float32) for name in names}


def agreement(model: Any, path: Path, rows: int = 100, seed: int = 0) -> float:
    """Share of random observations in which ONNX Runtime gives the model's own action, 1e-4 apart at most.

    The state of a recurrent policy is handed on ten times, so that it sees ten times as many observations.

    Raises:
        ImportError: ONNX Runtime is not installed.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    states, own, same = blank_states(model, rows), None, []
    for step in range(HANDED_ON if states else 1):
        seen = {**observations_of(model, rows, seed + step), **states}
        found = session.run(None, {one.name: seen[one.name] for one in session.get_inputs()})
        wanted, own = best_actions(model, {k: x for k, x in seen.items() if k not in states}, own)
        same.append(np.isclose(found[0], wanted, atol=1e-4).reshape(rows, -1).all(axis=1))
        states = dict(zip(states, found[1:], strict=True))
    return float(np.mean(same))
