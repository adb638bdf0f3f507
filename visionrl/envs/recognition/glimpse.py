"""Classification by glimpses: look at a few places of an image with a small retina, then say what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from visionrl import ops
from visionrl.banks.patches import patch_bank
from visionrl.core import Task, check_choice, register
from visionrl.datasets import ImageSample, load
from visionrl.datasets.classes import class_names, image_class
from visionrl.envs.recognition.mosaic import Mosaic
from visionrl.ops import Array, const, one_hot, xp_of
from visionrl.rendering import Canvas


@dataclass(frozen=True)
class State:
    """Where the agent has looked, and what it has said; B episodes.

    Attributes:
        image: (B,) int64, index into the bank.
        label: (B,) int64, number of the right class.
        goal: (B, 2) float64, (x, y) in pixels; the centre of the object's box, else of the image.
        size: (B, 2) float64, (width, height) of the image in pixels.
        trail: (B, glimpses, 2) float64, (x, y) of the glimpses in pixels, newest last; NaN before the first.
        looks: (B,) int64, glimpses taken.
        said: (B,) int64, number of the class said last; -1 before.
        finished: (B,) bool, whether that was the answer, or there is none because it looked once too often.
        chance: (B, glimpses, 2) float64, random (x, y) in pixels; the first glimpse, all of them if the gaze is random.
    """

    image: Array
    label: Array
    goal: Array
    size: Array
    trail: Array
    looks: Array
    said: Array
    finished: Array
    chance: Array


@register(
    "GlimpseClassification-v0",
    max_steps=20,
    tags=("recognition", "2d", "discrete", "continuous", "attention"),
    presets={
        "mnih2014": {
            "retina": 8,
            "scales": (1, 2, 4),
            "glimpses": 6,
            "control": "continuous",
            "memory": False,
        }
    },
)
class GlimpseClassification(Task[State]):
    """The agent sees an image only through a small retina: it chooses where to look, and says what the image shows.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C * scales, g, g) uint8: the retina, sharp in the middle, blurred around; ``position`` (2,) in [-1, 1]; ``glimpses`` one-hot: how many it has taken; with ``memory``, ``seen`` (C + 1, H, W) uint8: all glimpses laid where they were taken, and how sharp (255, 127, 63, ... and 0 for unseen); with control "continuous", ``said`` one-hot |
    | Action      | discrete: the first places * places look at a cell of the grid, row by row, the others say a class; continuous: (x, y) to look at next, then a score for each class |
    | Reward      | 1 for the right class at the end, 0 for a wrong one or none; less ``cost`` for each look |
    | Ends        | discrete: when it says a class, or wants one glimpse more than it may take; continuous: after the last glimpse, by the class with the highest score then |

    The first glimpse falls on a random place. ``info`` has ``accuracy`` (1 or 0), ``glimpses`` and, with ``tell``,
    ``label``, the right class, for agents that learn the classification by a differentiable loss.

    Args:
        data: None for the embedded digits, "cluttered-digits" for those in clutter, "imagefolder:PATH" or another
            "FORMAT:PATH", or a sequence of ``ImageSample``; ``labels`` must hold one name, the image's class.
        split: "train", "val" or "test".
        retina: side g of the retina, pixels.
        scales: whole pixels of the image per pixel of the retina, finest first.
        glimpses: how many it may take, the first among them.
        control: "discrete" or "continuous".
        places: sides of the grid of places, for discrete control.
        memory: show all glimpses so far; without it the agent needs a memory of its own.
        gaze: "random" looks at random places, whatever the agent asks for: what is the choice worth?
        cost: of each look after the first.
        tell: put the right class into ``info``.
        max_side: images with a longer side than this are shrunk to it; None never.
        classes: keeps only the images of these classes, and numbers the classes in this order.
        loading: ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Mnih et al. (2014), "Recurrent models of visual attention"; there control is continuous, the agent has a
    recurrent memory, and the class is learnt with its cross-entropy. The preset has the glimpses and the control. The
    paper's images of 28 x 28 are seen at one scale, ``scales=(1,)``; three go with 60 x 60 and a retina of 12.
    """

    primary_metric = ("accuracy", True)
    hidden = ("label", "goal")

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        retina: int = 8,
        scales: Sequence[int] = (1, 2, 4),
        glimpses: int = 6,
        control: Literal["discrete", "continuous"] = "discrete",
        places: int = 5,
        memory: bool = True,
        gaze: Literal["chosen", "random"] = "chosen",
        cost: float = 0.0,
        tell: bool = False,
        max_side: int | None = 128,
        classes: Sequence[str] | None = None,
        **loading: Any,
    ) -> None:
        check_choice("control", control, ("discrete", "continuous"))
        check_choice("gaze", gaze, ("chosen", "random"))
        for name, value in (("retina", retina), ("glimpses", glimpses), ("places", places)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if list(scales) != sorted(set(scales)) or not scales or scales[0] < 1:
            raise ValueError(f"scales must be whole numbers >= 1 that grow, got {tuple(scales)}")
        self.retina, self.scales, self.glimpses, self.memory = retina, tuple(scales), glimpses, memory
        self.discrete, self.cells = control == "discrete", _grid(places)
        self.random_gaze, self.cost, self.tell, self.max_side = gaze == "random", cost, tell, max_side
        self.names = class_names(data, "digits", classes, **loading)
        self.samples = load(data, kind=ImageSample, default="digits", split=split, classes=classes, **loading)
        self.items = len(self.samples)
        self.labels = [self.number_of(i, sample) for i, sample in enumerate(self.samples)]
        self.bank = patch_bank(self.samples, retina, self.scales, max_side)
        if memory:
            self.mosaic = Mosaic(self.samples, retina, self.scales, max_side, self.bank.channels)
        self.observation_space, self.action_space = self._spaces()

    def number_of(self, index: int, sample: ImageSample) -> int:
        """The number of a sample's class."""
        name = image_class(sample, index)
        if name not in self.names:
            raise ValueError(
                f"the class of sample {index} must be one of {', '.join(self.names)}, got {name!r}"
            )
        return self.names.index(name)

    def _spaces(self) -> tuple[spaces.Dict, spaces.Space]:
        """What is seen, and what can be done."""
        side, channels = self.retina, self.bank.channels
        keys: dict[str, spaces.Space] = {
            "window": spaces.Box(0, 255, (channels * len(self.scales), side, side), np.uint8),
            "position": spaces.Box(-1, 1, (2,), np.float32),
            "glimpses": spaces.Box(0, 1, (self.glimpses,), np.float32),
        }
        if self.memory:
            keys["seen"] = spaces.Box(0, 255, self.mosaic.shape, np.uint8)
        if not self.discrete:
            keys["said"] = spaces.Box(0, 1, (len(self.names),), np.float32)
            return spaces.Dict(keys), spaces.Box(-1, 1, (2 + len(self.names),), np.float32)
        return spaces.Dict(keys), spaces.Discrete(len(self.cells) + len(self.names))

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        size, boxes = self.bank.sizes[item], self.samples[item].boxes
        middle = size / 2 if boxes is None else (boxes[0, :2] + boxes[0, 2:]) / 2 / self.bank.factors[item]
        spots = np.array(self.cells)[rng.integers(0, len(self.cells), self.glimpses)]
        if not self.discrete:
            spots = rng.uniform(-1, 1, (self.glimpses, 2))
        chance = _to_pixels(spots, size)
        trail = np.full((self.glimpses, 2), np.nan)
        trail[-1] = chance[0]
        return State(
            image=np.int64(item),
            label=np.int64(self.labels[item]),
            goal=np.clip(middle - 0.5, 0, size - 1),
            size=size.copy(),
            trail=trail,
            looks=np.int64(1),
            said=np.int64(-1),
            finished=np.False_,
            chance=chance,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.trail)
        spot, said = self.meaning(state, action)
        may = state.looks < self.glimpses
        answers = said >= 0 if self.discrete else ~may
        looks = ~answers & may
        place = _to_pixels(spot, state.size)
        if self.random_gaze:
            turn = xp.minimum(state.looks, self.glimpses - 1)
            place = xp.sum(state.chance * self._at(turn, state.chance), axis=1)
        longer = xp.concat([state.trail[:, 1:, :], place[:, None, :]], axis=1)
        return replace(
            state,
            trail=xp.where(looks[:, None, None], longer, state.trail),
            looks=state.looks + xp.astype(looks, xp.int64),
            said=said,
            finished=answers | ~may,
        )

    def meaning(self, state: State, action: Array) -> tuple[Array, Array]:
        """Where an action looks, (B, 2) in [-1, 1], and the class that it says, (B,), or -1."""
        xp = xp_of(state.trail)
        if not self.discrete:
            spot = xp.astype(action[:, :2], xp.float64)
            return xp.clip(spot, -1, 1), xp.argmax(action[:, 2:], axis=-1)
        count = len(self.cells)
        spot = xp.take(const(self.cells, state.trail), xp.minimum(action, count - 1), axis=0)
        return spot, xp.where(action >= count, action - count, -1)

    def observe(self, state: State) -> dict[str, Array]:
        xp, rows = xp_of(state.trail), state.image.shape[0]
        here = state.trail[:, -1, :]
        levels = const(tuple(range(len(self.scales))), state.image)[None, :]
        crops = self.bank.crop(state.image[:, None], here[:, None, :], levels)
        obs = {
            "window": xp.reshape(crops, (rows, -1, *crops.shape[-2:])),
            "position": xp.astype(2 * (here + 0.5) / state.size - 1, xp.float32),
            "glimpses": one_hot(state.looks - 1, self.glimpses),
        }
        if self.memory:
            obs["seen"] = self.mosaic.picture(state.image, state.trail)
        if not self.discrete:
            obs["said"] = one_hot(state.said, len(self.names))
        return obs

    def reward(self, before: State, action: Array, after: State) -> Array:
        looked = xp_of(after.trail).astype(after.looks - before.looks, after.trail.dtype)
        return self.metrics(after)["accuracy"] - self.cost * looked

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.trail)
        right = state.finished & (state.said == state.label)
        found = {"accuracy": xp.astype(right, xp.float64), "is_success": right, "glimpses": state.looks + 0}
        return {**found, "label": state.label + 0} if self.tell else found

    def expert(self, state: State) -> Array:
        xp = xp_of(state.trail)
        if not self.discrete:
            spot = 2 * (state.goal + 0.5) / state.size - 1
            score = 2 * one_hot(state.label, len(self.names)) - 1
            return xp.concat([xp.astype(spot, xp.float32), score], axis=-1)
        cells = _to_pixels(const(self.cells, state.trail)[None, :, :], state.size[:, None, :])
        best = xp.argmin(ops.norm(cells - state.goal[:, None, :]), axis=-1)
        there = ops.every(xp.sum(cells * self._at(best, cells), axis=1) == state.trail[:, -1, :])
        return xp.where(there | (state.looks >= self.glimpses), state.label + len(self.cells), best)

    def _at(self, index: Array, like: Array) -> Array:
        """(B, N, 1), 1 at one place of the second axis of ``like``, else 0."""
        return xp_of(like).astype(one_hot(index, like.shape[1])[:, :, None], like.dtype)

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        canvas, factor = Canvas(self.samples[int(state.image)].image), self.bank.factors[int(state.image)]
        places = (state.trail[~np.isnan(state.trail[:, 0])] + 0.5) * factor
        for place in places:
            half = self.retina * self.scales[0] * factor / 2
            canvas.box([*(place - half), *(place + half)], "agent")
        for scale in self.scales:
            half = self.retina * scale * factor / 2
            canvas.box([*(places[-1] - half), *(places[-1] + half)], "look")
        canvas.path(places, "agent")
        said = self.names[int(state.said)] if state.said >= 0 else "?"
        canvas.text(f"glimpse {int(state.looks)}: says {said}, is {self.names[int(state.label)]}")
        return canvas.pixels


def _grid(side: int) -> tuple[tuple[float, float], ...]:
    """The middles of side x side cells, (x, y) in [-1, 1], row by row."""
    middles = [(2 * k + 1) / side - 1 for k in range(side)]
    return tuple((x, y) for y in middles for x in middles)


def _to_pixels(spot: Array, size: Array) -> Array:
    """(x, y) from [-1, 1], the image's edges, to pixels; no farther out than the centres of the outermost ones."""
    xp = xp_of(size)
    place = (spot + 1) / 2 * size - 0.5
    return xp.minimum(xp.maximum(place, xp.zeros_like(place)), size - 1)
