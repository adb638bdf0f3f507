"""Recognition of actions by a recurrent layer over the frames of a clip, of which it gives one answer (many to one)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Interval
from torch import Tensor, nn
from torch.nn import functional as F

from visionrl.banks.frame_sets import frame_times
from visionrl.datasets import ClipSample
from visionrl.models._images import CHUNK, ImageEncoder, device_of, fit_images
from visionrl.models._model import Model, Split
from visionrl.models._registry import register_model

COUNTS = (1, 2, 3, 4)  # frames at equal distances with which a model is tested too
Positive = Annotated[int, Interval(ge=1, le=4096)]
Share = Annotated[float, Interval(ge=0, le=0.9)]


class ClipRecogniser(Model):
    """A recurrent layer over vectors of frames, each with its time; its last state tells the class.

    Training draws a number of frames for each step, so that the model can be used with any.

    Args:
        classes: names.
        frames: most frames of a clip that are looked at, at equal distances.
        cell: the recurrent layer.
        width: of its state.
        dropout: share of the frames' vectors and of the state that is left out in training.
        size: length of a frame's vector.

    Attributes:
        names: of the classes.
    """

    kind = ClipSample
    data = "motions"
    score_name = "accuracy"
    key: ClassVar[str]  # of the split, what frames are given as
    part: ClassVar[str]  # of a sample, what the model looks at

    def __init__(
        self,
        classes: Sequence[str],
        frames: Positive = 16,
        cell: Literal["gru", "lstm"] = "gru",
        width: Positive = 64,
        dropout: Share = 0.3,
        size: Positive = 64,
    ) -> None:
        super().__init__()
        if len(set(classes)) < 2 or len(set(classes)) != len(classes):
            raise ValueError(f"classes must be two or more, of different names, got {', '.join(classes)}")
        self.names, self.frames = list(classes), frames
        self.recurrent = {"gru": nn.GRU, "lstm": nn.LSTM}[cell](size + 1, width, batch_first=True)
        self.drop, self.head = nn.Dropout(dropout), nn.Linear(width, len(self.names))

    @abstractmethod
    def vectors(self, frames: Tensor) -> Tensor:
        """(B, K, size) of the frames of clips (B, K, ...)."""

    @abstractmethod
    def stacked(self, samples: Sequence[ClipSample], times: Sequence[np.ndarray]) -> Tensor:
        """(N, frames, ...), some frames of each clip."""

    @classmethod
    def for_samples(cls, samples: Sequence[Any], options: Mapping[str, Any]) -> Model:
        """A model for the classes of training clips, with some options given.

        Raises:
            ValueError: a clip has no label, or not what the model looks at.
        """
        cls.check_options(options)
        cls.check_samples(samples)
        if bare := [sample.name for sample in samples if not sample.label]:
            raise ValueError(f"samples must have label, {bare[0]!r} has none")
        return cls.of({"classes": sorted({s.label for s in samples}), **cls.options_for(samples), **options})

    @classmethod
    def check_samples(cls, samples: Sequence[ClipSample]) -> None:
        """Refuse clips without what the model looks at.

        Raises:
            ValueError: names the first.
        """
        if bare := [sample.name for sample in samples if getattr(sample, cls.part) is None]:
            raise ValueError(f"samples must have {cls.part} for {cls.name}, {bare[0]!r} has none")

    @classmethod
    @abstractmethod
    def options_for(cls, samples: Sequence[ClipSample]) -> dict[str, Any]:
        """Options that the training clips decide."""

    def encode(self, samples: Sequence[Any]) -> Split:
        """Frames of clips (N, frames, ...), and "labels" (N,) int64.

        Raises:
            ValueError: a clip has a label that no class has, or not what the model looks at.
        """
        self.check_samples(samples)
        for sample in samples:
            if sample.label not in self.names:
                listed = ", ".join(self.names)
                raise ValueError(f"label of {sample.name!r} must be one of {listed}, got {sample.label!r}")
        times = frame_times(np.array([len(sample) for sample in samples]), self.frames)
        labels = torch.tensor([self.names.index(sample.label) for sample in samples])
        return {self.key: self.stacked(samples, list(times)), "labels": labels}

    def logits(self, frames: Tensor, places: Tensor) -> Tensor:
        """(B, classes) of clips (B, frames, ...), of which the frames at some places (K,), in order, are looked at."""
        found = self.drop(self.vectors(frames[:, places]))
        when = (places / self.frames).to(found)[None, :, None].expand(len(found), -1, 1)
        states = self.recurrent(torch.cat([found, when], 2))[0]
        return self.head(self.drop(states[:, -1]))

    def loss(self, batch: Split) -> Tensor:
        """Cross-entropy with a number of frames at random, 1 to all."""
        count = int(torch.randint(1, self.frames + 1, ()))
        places = torch.randperm(self.frames)[:count].sort().values
        frames = batch[self.key]
        return F.cross_entropy(self.logits(frames, places.to(frames.device)), batch["labels"])

    @torch.no_grad()
    def evaluate(self, samples: Sequence[Any], split: Split) -> dict[str, float]:
        """Accuracy with all frames, and with 1 to 4 at equal distances."""
        self.eval()
        home, found = device_of(self), {}
        for count in (self.frames, *(k for k in COUNTS if k < self.frames)):
            places = ((torch.arange(count) + 0.5) * self.frames / count).long()
            said = torch.cat(
                [
                    self.logits(some.to(home), places.to(home)).argmax(1).cpu()
                    for some in split[self.key].split(CHUNK)
                ]
            )
            name = "accuracy" if count == self.frames else f"accuracy_{count}"
            found[name] = (said == split["labels"]).double().mean().item()
        return found


@register_model("frame_rnn")
class FrameRecogniser(ClipRecogniser):
    """A convolutional network sees each frame, a recurrent layer the frames in order (Donahue et al., 2015).

    Source: "Long-term recurrent convolutional networks for visual recognition and description", with a GRU by default.

    Args:
        backbone: name of the trunk.
        channels: of the frames.
        side: of the square frames in pixels; others are resized to it.
        options: see ``ClipRecogniser``.

    Attributes:
        image: the encoder; ``image.trunk`` is a backbone for agents.
    """

    key, part = "images", "frames"

    def __init__(
        self,
        classes: Sequence[str],
        backbone: str = "small",
        channels: Literal[1, 3] = 3,
        side: Annotated[int, Interval(ge=16, le=256)] = 40,
        size: Positive = 128,
        **options: Any,
    ) -> None:
        super().__init__(classes, size=size, **options)
        self.image = ImageEncoder(backbone, channels, side, 16)
        self.look = nn.Linear(self.image.grid_features, size)
        self.channels, self.side = channels, side

    @classmethod
    def options_for(cls, samples: Sequence[ClipSample]) -> dict[str, Any]:
        """The channels of the clips."""
        return {"channels": max(len(np.asarray(sample.frames[0])) for sample in samples)}  # type: ignore[index]

    def stacked(self, samples: Sequence[ClipSample], times: Sequence[np.ndarray]) -> Tensor:
        """(N, frames, C, S, S) uint8."""
        pictures = [
            np.asarray(sample.frames[k])  # type: ignore[index]
            for sample, own in zip(samples, times, strict=True)
            for k in own.tolist()
        ]
        return fit_images(pictures, self.channels, self.side).unflatten(0, (len(samples), self.frames))

    def vectors(self, frames: Tensor) -> Tensor:
        """(B, K, size) of frames (B, K, C, S, S) uint8."""
        found = self.look(self.image.grid(self.image(frames.flatten(0, 1)))).relu()
        return found.unflatten(0, frames.shape[:2])


@register_model("skeleton_rnn")
class SkeletonRecogniser(ClipRecogniser):
    """A recurrent layer over the joints of a body, or over whatever features clips bring, with how they change.

    Source: "Hierarchical recurrent neural network for skeleton based action recognition", Du, Wang & Wang, CVPR 2015,
    without their parts of the body.

    Args:
        inputs: numbers of a frame.
        noise: standard deviation of what is added to them in training, in their own.
        options: see ``ClipRecogniser``.
    """

    key = part = "features"

    def __init__(
        self,
        classes: Sequence[str],
        inputs: Positive,
        noise: Annotated[float, Interval(ge=0, le=10)] = 0.1,
        size: Positive = 64,
        **options: Any,
    ) -> None:
        super().__init__(classes, size=size, **options)
        self.norm = nn.BatchNorm1d(inputs)
        self.look = nn.Linear(2 * inputs, size)
        self.inputs, self.noise = inputs, noise

    @classmethod
    def options_for(cls, samples: Sequence[ClipSample]) -> dict[str, Any]:
        """The number of the clips' features."""
        return {"inputs": np.shape(samples[0].features)[1]}

    def stacked(self, samples: Sequence[ClipSample], times: Sequence[np.ndarray]) -> Tensor:
        """(N, frames, inputs) float32.

        Raises:
            ValueError: the frames of a clip have another number of features.
        """
        for sample in samples:
            if (count := np.shape(sample.features)[1]) != self.inputs:
                raise ValueError(f"features of {sample.name!r} must be {self.inputs} a frame, got {count}")
        rows = [np.asarray(s.features, np.float32)[own] for s, own in zip(samples, times, strict=True)]
        return torch.from_numpy(np.stack(rows))

    def vectors(self, frames: Tensor) -> Tensor:
        """(B, K, size) of features (B, K, inputs)."""
        plain = self.norm(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        if self.training:
            plain = plain + self.noise * torch.randn_like(plain)
        change = torch.diff(plain, dim=1, prepend=plain[:, :1])
        return self.look(torch.cat([plain, change], 2)).relu()
