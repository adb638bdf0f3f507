"""Policies that read: an image and the words so far, or a question about it, as one feature vector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from visionrl.agents.networks.extractor import VisionExtractor
from visionrl.datasets.words import BOS, SPECIAL
from visionrl.models import Model, list_models, load_model, model_class
from visionrl.models.language.answerer import Answerer
from visionrl.models.language.captioner import Captioner

HELD = 512  # images of which something is kept, about
WORDS, QUESTION = "words", "question"  # entries of an observation that hold numbers of words


class WordsExtractor(BaseFeaturesExtractor):
    """A features extractor of Stable-Baselines3 that is a captioner without its last layer, or a question answerer.

    Of ``words``, those said so far, and an image it makes the vector from which a captioner chooses the next word; of
    a ``question`` and an image that from which an answerer chooses the answer. Other images go through a
    ``VisionExtractor``, other entries are joined as they are. Use it with ``net_arch=[]``: the policy's last layer then
    is the model's, and ``start_policy`` gives it its weights. Nothing is dropped. A trained model keeps its weights
    where PPO and A2C draw new ones, and the statistics of its BatchNorm, which the data of an agent would move.

    Args:
        observation_space: a Dict with "words" or "question", whole numbers (L,), and an image (C, H, W).
        model: a model's name, or a trained model or its folder, which is copied; its words must be the task's.
        image: the entry that the model sees; None is "image" or, without one, "seen".
        frozen: the trunk of the model does not learn; its maps of the last images are kept.
        options: of the model, where it is given by name; "width" and "backbone" among them.

    Raises:
        ValueError: the observation has no words or no such image, or the model does not fit them.
    """

    def __init__(
        self,
        observation_space: spaces.Dict,
        model: str | Path | Model = "show_attend_and_tell",
        image: str | None = None,
        frozen: bool = False,
        **options: Any,
    ) -> None:
        self.key = next((key for key in (WORDS, QUESTION) if key in observation_space.spaces), "")
        if not self.key:
            raise ValueError(f"observation_space must hold words or a question, got {[*observation_space]}")
        self.seen = image or next((key for key in ("image", "seen") if key in observation_space.spaces), "")
        if self.seen not in observation_space.spaces or not is_image_space(observation_space[self.seen]):
            raise ValueError(f"image must name an image of the observation, got {self.seen!r}")
        text: Any = observation_space[self.key]
        size, length = int(text.high.max()) + 1, text.shape[0]
        net = made(model, self.key, size, length, observation_space[self.seen].shape or (), options)
        others = {
            key: box for key, box in observation_space.items() if key not in (self.key, self.seen, "count")
        }
        pictures = {key: box for key, box in others.items() if is_image_space(box)}
        self.flat = [key for key in others if key not in pictures]
        joined = sum(int(np.prod(others[key].shape or ())) for key in self.flat)
        rest = VisionExtractor(spaces.Dict(pictures), features_dim=net.width) if pictures else None
        super().__init__(observation_space, net.width * (1 + bool(pictures)) + joined)
        self.model, self.rest, self.pictures = net, rest, [*pictures]
        self.held, self.maps = Held(), Held()
        self.version: tuple = ()
        self.trained, self.frozen = model not in list_models(), frozen and net.image is not None
        if self.frozen:
            net.image.trunk.freeze()
        elif self.trained and net.image is not None:
            net.image.trunk.unfreeze_last(len(net.image.trunk.stages))

    def apply(self, fn: Callable[[nn.Module], None]) -> Any:
        """As ``nn.Module.apply``, but without effect on a trained model."""
        if self.trained:
            return self if self.rest is None else self.rest.apply(fn)
        return super().apply(fn)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """(B, features_dim) of images in [0, 1] and numbers of words."""
        words, images = observations[self.key].long(), observations[self.seen]
        parts = [self.said(words, images) if self.key == WORDS else self.asked(words, images)]
        if self.rest is not None:
            parts.append(self.rest({key: observations[key] for key in self.pictures}))
        return torch.cat([*parts, *(observations[key].flatten(1) for key in self.flat)], dim=1)

    def said(self, words: Tensor, images: Tensor) -> Tensor:
        """(B, width) after the words so far, (B, L), 0 behind the last."""
        count = (words > 0).sum(1).clamp_max(words.shape[1] - 1)
        if torch.compiler.is_compiling():  # an exported graph has no place for what depends on the batch
            before = torch.cat([torch.full_like(words[:, :1], BOS), words[:, :-1]], dim=1)
            found = self.model.follow(self.model.begin(images), before)
            return found.gather(1, count[:, None, None].expand(-1, 1, found.shape[2]))[:, 0]
        state, which = self.begun(images)
        whole, row = sentences(which, words)
        before = torch.cat([torch.full_like(whole[:, :1], BOS), whole[:, 1:-1]], dim=1)
        before = before[:, : int(count.max()) + 1]
        return self.model.follow(tuple(part[whole[:, 0]] for part in state), before)[row, count]

    def begun(self, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The captioner's states of the different images of a batch, and for each of the batch which of them it is.

        A batch holds many moments of one sentence. While nothing learns, states are kept for the moments that follow.
        """
        first, which, sums = distinct(images)
        seen, keys = images[first], sums.tolist()
        if self.frozen:
            (seen,) = self.maps.of(keys, seen, lambda new: (self.model.image.trunk_map(new).half(),))
        if torch.is_grad_enabled() or self.training:
            return self.model.begin(seen), which
        known = [*self.model.parameters()]  # a copy has others, whose changes are counted anew
        version = sum(tensor._version for tensor in known), known[0].data_ptr(), images.device
        if version != self.version:
            self.version = version
            self.held.clear()
        return self.held.of(keys, seen, self.model.begin), which

    def asked(self, question: Tensor, images: Tensor) -> Tensor:
        """(B, width) of questions (B, L)."""
        return self.model.fuse(self.model.look(images), question)[0]


class Held(dict[float, tuple[Tensor, ...]]):
    """By a number of each image: the image itself, and behind it the parts of its encoding."""

    def of(
        self, keys: Sequence[float], images: Tensor, make: Callable[[Tensor], Iterable[Tensor]]
    ) -> tuple[Tensor, ...]:
        """Encodings of images, each part with one row an image; known images are not encoded again.

        Args:
            keys: B numbers, one an image, which another image may have had.
            images: (B, ...).
            make: encodes some of them, (N, ...).
        """
        if len(self) > HELD:
            self.clear()
        new = [k for k, key in enumerate(keys) if key not in self or not torch.equal(self[key][0], images[k])]
        if new:
            parts = tuple(make(images[new]))
            self.update({keys[k]: (images[k], *(part[row] for part in parts)) for row, k in enumerate(new)})
        return tuple(torch.stack(row) for row in zip(*(self[key][1:] for key in keys), strict=True))


def distinct(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The different images of a batch.

    Returns:
        (D,) int64, numbers of the first of each; (B,) int64, for each of the batch which of them it is; (D,) float64,
        a number of each, which another image may have too.
    """
    flat = images.detach().flatten(1)
    sums, which = torch.unique(flat.sum(1, dtype=torch.float64), return_inverse=True)
    rows = torch.arange(len(images), device=images.device)
    first = torch.full_like(rows, len(rows)).scatter_reduce(0, which, rows, "amin")[: len(sums)]
    if torch.equal(flat[first][which], flat):
        return first, which, sums
    return rows, rows, rows + 0.5  # two different images have one sum


def sentences(image: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """The sentences of a batch that are no beginning of another one about the same image.

    Args:
        image: (B,) int64, numbers of images.
        words: (B, L) int64, 0 behind the last.

    Returns:
        (S, 1 + L) int64, image and words of each; (B,) int64, of each of the batch the one that it begins.
    """
    rows, place = torch.unique(torch.cat([image[:, None], words], dim=1), dim=0, return_inverse=True)
    ahead, after = rows[:-1], rows[1:]  # sorted, so what goes on with a sentence comes next
    begins = (ahead[:, 0] == after[:, 0]) & ((ahead == after) | (ahead == 0))[:, 1:].all(1)
    last = torch.cat([~begins, torch.ones_like(place[:1], dtype=torch.bool)])
    number = last.flip(0).cumsum(0).flip(0)  # of the sentence, from the end
    return rows[last], (number.max() - number)[place]


def made(
    model: str | Path | Model,
    key: str,
    size: int,
    length: int,
    shape: tuple[int, ...],
    options: dict[str, Any],
) -> Any:
    """A model for words of a task, with weights of its own: by name, or a copy.

    Raises:
        ValueError: it is of another kind, size of vocabulary, length or shape of images.
    """
    kind: type = Captioner if key == WORDS else Answerer
    net: Any = model
    if model in list_models():
        check_kind(model_class(str(model)), kind, key)
        names = [f"w{number}" for number in range(size - len(SPECIAL))]  # the extractor knows numbers alone
        known = {"words": names, "length": length, "channels": shape[0], "side": shape[-1]}
        known |= {"backbone": "small", **({} if key == WORDS else {"answers": ["yes"]})}
        net = model_class(str(model)).of({**known, **options})
    elif options:
        raise ValueError(f"options must be left out for a trained model, got {', '.join(options)}")
    else:
        net = deepcopy(model) if isinstance(model, Model) else load_model(model)
        check_kind(type(net), kind, key)
    fits = (len(net.vocabulary), net.image.channels if net.image else shape[0])
    if fits != (size, shape[0]) or net.length < length:
        rule = f"model must know {size} words, images of {shape[0]} channels and {length} words at a time"
        raise ValueError(f"{rule}, got one of {fits[0]}, {fits[1]} and {net.length}")
    for layer in net.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return net


def check_kind(model: type[Model], kind: type, key: str) -> None:
    """Refuse a model of another kind.

    Raises:
        ValueError: it is.
    """
    if not issubclass(model, kind):
        raise ValueError(f"model must be a {kind.__name__.lower()} where {key} are seen, got {model.name}")


def start_policy(policy: Any, model: Captioner) -> None:
    """Give the last layer of a policy on ``WordsExtractor`` the weights of a captioner's, so that it speaks like it.

    Args:
        policy: an actor-critic policy with ``net_arch=[]``, whose actions are the captioner's words.
        model: the captioner that the extractor was given.

    Raises:
        ValueError: the policy has other layers or another number of actions.
    """
    last, out = policy.action_net, model.out
    if not isinstance(last, nn.Linear) or last.weight.shape != out.weight.shape:
        raise ValueError(
            f"policy must end in a layer of {tuple(out.weight.shape)}: give it net_arch=[] and the captioner's words"
        )
    with torch.no_grad():
        last.weight.copy_(out.weight)
        last.bias.copy_(out.bias)
        policy.value_net.weight.zero_()  # the expected reward of self-critical training is 0
        policy.value_net.bias.zero_()
