"""Features of a frozen backbone in the place of images: made once a step, not again whenever a step is replayed."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from torch import Tensor, nn

from visionrl.agents.networks.extractor import build_backbone, is_volume_space
from visionrl.agents.networks.model_io import check_spaces
from visionrl.agents.sb3.recall import RECALLED, Recall, recalled_space, recalled_steps


class FeatureEncoder(nn.Module):
    """Replaces the images of observations by their features, (B, n) float32; all else stays as it is.

    Each image, or volume, goes through the frozen backbone alone; images of one shape share it. What an image's
    features are depends on the other rows of the call by rounding only.

    Args:
        observation_space: a Dict with one (C, H, W) or (C, D, H, W) uint8 image or more.
        backbone: name of a backbone, or a module from (B, C, H, W) in [0, 1] to a map or vectors, which is copied.
        pretrained: published weights; True or the name of a torchvision entry.
        weights: a file of weights instead.
        device: where the backbone lives; "auto" is CUDA where there is one.
        options: further arguments of ``visionrl.backbones.make_backbone``. For images below 64 pixels
            ``stem="imagenet"`` is some six times as fast as the small stem that they get by default.

    Attributes:
        read: the space of what it reads.
        space: the space of what it gives.

    Raises:
        ValueError: the observation holds no image.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        backbone: str | nn.Module = "resnet18",
        pretrained: bool | str = False,
        weights: str | Mapping[str, Tensor] | None = None,
        device: str = "auto",
        **options: Any,
    ) -> None:
        super().__init__()
        self.read = observation_space
        images = {k: s for k, s in observation_space.items() if is_image_space(s) or is_volume_space(s)}
        if not images:
            raise ValueError(f"observation_space must hold a (C, H, W) uint8 image, got {observation_space}")
        options = {**options, "pretrained": pretrained, "weights": weights, "frozen": True}
        self.owners = {k: next(o for o in images if images[o].shape == s.shape) for k, s in images.items()}
        nets = {
            key: build_backbone(backbone, [images[key].shape], options) for key in set(self.owners.values())
        }
        given = dict(observation_space.spaces)
        for key, owner in self.owners.items():
            given[key] = spaces.Box(-np.inf, np.inf, (nets[owner].num_features,), np.float32)
        self.space = spaces.Dict(given)
        self.nets = nn.ModuleDict(nets).eval().to(_device(device))
        for net in nets.values():
            if net.dims == 2:
                net.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward(self, observations: Mapping[str, Any]) -> dict[str, Any]:
        """The observations, arrays or tensors (B, ...), with features as arrays in the place of images."""
        found = dict(observations)
        for key, owner in self.owners.items():
            net: Any = self.nets[owner]
            images = torch.as_tensor(observations[key]).to(net.mean.device)
            if images.ndim == 4:
                images = images.contiguous(memory_format=torch.channels_last)
            found[key] = net(images).cpu().numpy()
        return found

    @property
    def bytes_per_transition(self) -> int:
        """Bytes that a replay buffer needs per transition: the observation before and the one after."""
        boxes = self.space.spaces.values()
        return 2 * sum(np.dtype(box.dtype).itemsize * prod(box.shape or ()) for box in boxes)


class CachedFeatures(VecEnvWrapper):
    """An environment of Stable-Baselines3 that shows a frozen backbone's features instead of images.

    Each image is encoded once, in the step that shows it, the last one of an episode too; buffers keep the
    features, and the agent needs no more than a ``MultiInputPolicy``. With ``resnet18`` (512 features) a replayed
    step of one 3 x 32 x 32 window takes 4,096 bytes instead of 6,144, of one 3 x 112 x 112 window 4,096 instead of
    75,264. ``evaluation.policies.cached_policy`` makes the trained agent a policy for ``evaluate``, which shows it
    images.

    Args:
        venv: the environment.
        backbone: as for ``FeatureEncoder``, or one that is made already.
        recall: T > 1 shows the features of the last T observations, as ``SB3VecEnv`` does; a step costs one encoding.
        options: the other arguments of ``FeatureEncoder``.

    Attributes:
        encoder: the ``FeatureEncoder``. Keep its ``state_dict()`` unless its weights come from a file.
        recall: the windows of features, or None.

    Raises:
        ValueError: the observation holds no image, or is a window of several.
    """

    def __init__(
        self, venv: VecEnv, backbone: str | nn.Module = "resnet18", recall: int = 1, **options: Any
    ) -> None:
        space = venv.observation_space
        if not isinstance(space, spaces.Dict):
            raise ValueError(f"venv must have a Dict observation space, got {space}")
        if recalled_steps(space) > 1:
            raise ValueError(
                "venv must show single observations to have its features cached: give recall to CachedFeatures"
            )
        if not isinstance(backbone, FeatureEncoder):
            backbone = FeatureEncoder(space, backbone, **options)
        self.encoder: FeatureEncoder = backbone
        check_spaces(self.encoder.read, space)
        self.recall = None if recall == 1 else Recall(recall)
        shown = self.encoder.space
        super().__init__(venv, shown if self.recall is None else recalled_space(shown, recall))

    def reset(self) -> Any:
        """Start all episodes: the first observations' features."""
        seen = self.encoder(self.venv.reset())
        return seen if self.recall is None else self.recall.begin(seen)

    def step_wait(self) -> Any:
        """Take the step; all rows, and last observations of those that ended, are encoded in one batch."""
        step: Any = self.venv.step_wait()
        obs, rewards, dones, infos = step
        ended = np.flatnonzero(dones).tolist()
        last: list[Any] = [infos[row]["terminal_observation"] for row in ended]
        seen = {key: np.concatenate([_array(obs[key]), *(_array(x[key])[None] for x in last)]) for key in obs}
        features = self.encoder(seen)
        for k, row in enumerate(ended, start=self.num_envs):
            end = {key: value[k] for key, value in features.items()}
            infos[row]["terminal_observation"] = end if self.recall is None else self.recall.last(row, end)
        now = {key: value[: self.num_envs] for key, value in features.items()}
        return now if self.recall is None else self.recall.add(now, dones), rewards, dones, infos


class FeatureHead(BaseFeaturesExtractor):
    """Layers of a ``VisionExtractor`` behind its backbones: concatenation of all entries, a linear layer, ReLU.

    Args:
        observation_space: a Dict of features and numbers.
        features_dim: length of the feature vector.
        activated: False leaves the ReLU out, for vectors that are to be compared.
    """

    def __init__(
        self, observation_space: spaces.Dict, features_dim: int = 256, activated: bool = True
    ) -> None:
        super().__init__(observation_space, features_dim)
        joined = sum(get_flattened_obs_dim(space) for space in observation_space.values())
        self.keys = list(observation_space)
        self.head = nn.Sequential(nn.Linear(joined, features_dim), nn.ReLU() if activated else nn.Identity())

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(B, features_dim) from (B, ...) each."""
        return self.head(torch.cat([observations[key].flatten(1) for key in self.keys], dim=1))


class OnImages:
    """An algorithm that learnt on features, shown images; all but what it sees is that of the algorithm.

    Args:
        model: the algorithm.
        encoder: that of the environment it learnt in.
    """

    def __init__(self, model: Any, encoder: FeatureEncoder) -> None:
        self.model, self.encoder = model, encoder
        steps = recalled_steps(model.observation_space)
        self.observation_space = encoder.read if steps == 1 else recalled_space(encoder.read, steps)
        self.policy = _PolicyOnImages(model.policy, encoder)

    def predict(self, observation: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As that of Stable-Baselines3, from images, one by one or with a leading axis."""
        key, box = next(iter(self.observation_space.items()))
        if observation[key].ndim > len(box.shape or ()):
            return self.model.predict(encoded(self.encoder, observation), *args, **kwargs)
        features = encoded(self.encoder, {key: np.asarray(x)[None] for key, x in observation.items()})
        return self.model.predict({key: value[0] for key, value in features.items()}, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)


class _PolicyOnImages:
    """The policy of an ``OnImages``."""

    def __init__(self, policy: Any, encoder: FeatureEncoder) -> None:
        self.learnt, self.encoder = policy, encoder

    def obs_to_tensor(self, observation: Mapping[str, Any]) -> Any:
        """Features as tensors, from images."""
        return self.learnt.obs_to_tensor(encoded(self.encoder, observation))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.learnt, name)


def encoded(encoder: FeatureEncoder, observations: Mapping[str, Any]) -> dict[str, Any]:
    """Features in the place of images, of observations (B, ...) or of windows (B, T, ...)."""
    if RECALLED not in observations:
        return encoder(observations)
    real = observations[RECALLED]
    flat = {key: x.reshape(-1, *x.shape[2:]) for key, x in observations.items() if key != RECALLED}
    found = {key: x.reshape(*real.shape, *x.shape[1:]) for key, x in encoder(flat).items()}
    return {**found, RECALLED: real}


def on_images(model: Any) -> Any:
    """A model that is shown images in any case: as it is, unless its environment is a ``CachedFeatures``."""
    encoder = getattr(model.get_env(), "encoder", None)
    return model if encoder is None else OnImages(model, encoder)


def _array(value: Any) -> np.ndarray:
    return value.cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _device(name: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
