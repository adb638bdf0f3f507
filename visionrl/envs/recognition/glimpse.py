"""Classification by glimpses: look at a few places of an image with a small retina, then say what it shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Interval, MinLen

from visionrl.banks.mosaic import Mosaic
from visionrl.banks.patches import patch_bank
from visionrl.core import Task, arguments, register
from visionrl.core.observables import Image, OneHot, Vector
from visionrl.core.results import ImageClass
from visionrl.datasets import ImageSample
from visionrl.datasets.classes import class_names, class_numbers, of_classes
from visionrl.envs.recognition.controls import CONTROLS, row_at, to_pixels
from visionrl.ops import Array, xp_of
from visionrl.rendering import Canvas

MNIH = {"retina": 8, "scales": (1, 2, 4), "glimpses": 6, "control": "continuous", "memory": False}


@dataclass(frozen=True)
class State:
    """Positions of the glimpses and answers so far; B episodes.

    Attributes:
        image: (B,) int64, index into the bank.
        label: (B,) int64, number of the right class; -1 where there are no labels.
        goal: (B, 2) float64, (x, y) in pixels; the centre of the object's box, else of the image; NaN likewise.
        size: (B, 2) float64, (width, height) of the image in pixels.
        trail: (B, glimpses, 2) float64, (x, y) of the glimpses in pixels, newest last; NaN before the first.
        glimpses: (B,) int64, glimpses taken.
        answer: (B,) int64, number of the class of the last action; -1 where it was none.
        finished: (B,) bool, whether that was final, or there is none because the agent looked once too often.
        random_places: (B, glimpses, 2) float64, (x, y) in pixels; the first glimpse, all if the policy is random.
    """

    image: Array
    label: Array
    goal: Array
    size: Array
    trail: Array
    glimpses: Array
    answer: Array
    finished: Array
    random_places: Array


@register(
    "GlimpseClassification-v0",
    max_steps=20,
    tags=("recognition", "2d", "discrete", "continuous", "attention"),
    presets={"mnih2014": MNIH},
)
@arguments
class GlimpseClassification(Task[State]):
    """The agent sees an image only through a small retina: it chooses where to look, and says what the image shows.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C * scales, g, g) uint8: the retina, sharp in the middle, blurred around; ``position`` (2,) in [-1, 1]; ``glimpses`` one-hot: how many it has taken; with ``memory``, ``mosaic`` (C + 1, H, W) uint8: all glimpses laid where they were taken, and how sharp (255, 127, 63, ... and 0 for unseen); with control "continuous", ``answer`` one-hot |
    | Action      | Discrete(places * places + classes), or with control "continuous" Box(2 + classes); see below |
    | Reward      | 1 for the right class at the end, 0 for a wrong one or none; less ``glimpse_cost`` for each look |
    | Ends        | discrete: when it says a class, or wants one glimpse more than it may take; continuous: after the last glimpse, by the class with the highest score then |

    | Action | Meaning |
    |--------|---------|
    | the first places * places numbers | look at a cell of the grid, row by row |
    | the other numbers | say a class |
    | continuous (x, y, scores) | a place to look at next, in [-1, 1], and a score for each class |

    The first glimpse falls on a random place. ``info`` has ``accuracy`` (1 or 0), ``glimpses`` and, with
    ``expose_label``, ``label``, the right class. ``labels`` of a sample must hold one name, the image's class.

    Source: Mnih et al. (2014), "Recurrent models of visual attention"; their agent has a recurrent memory and learns
    the class by cross-entropy, with ``scales=(1,)`` for images of 28 x 28, three and a retina of 12 for 60 x 60.
    """

    retina: Annotated[int, Ge(1)] = 8
    """Side g of the retina, pixels."""
    scales: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1, 2, 4)
    """Whole pixels of the image per pixel of the retina, finest first."""
    glimpses: Annotated[int, Interval(ge=1, le=20)] = 6
    """Number of glimpses that the agent may take, the first among them."""
    control: Literal["discrete", "continuous"] = "discrete"
    """Look at cells of a grid and answer once, or look anywhere and score the classes at each step."""
    places: Annotated[int, Ge(1)] = 5
    """Cells along each side of the grid, for control "discrete"."""
    memory: bool = True
    """Show all glimpses so far; without it the agent needs a memory of its own."""
    gaze_policy: Literal["agent", "random"] = "agent"
    """Who chooses the places: the agent, or chance whatever the agent asks for, to measure what the choice is worth."""
    glimpse_cost: Annotated[float, Ge(0.0)] = 0.0
    """Cost of each look after the first."""
    expose_label: bool = False
    """Put the right class into ``info``, for agents that learn the classification by a differentiable loss."""
    max_side: Annotated[int, Ge(1)] | None = 128
    """Images with a longer side than this are shrunk to it, pixels; None never."""
    channels: Literal[1, 3] | None = None
    """1 shows all images grey, 3 in RGB; None is RGB if an image of the split is."""
    mosaic_side: Annotated[int, Ge(1)] | None = None
    """Side of the square ``mosaic``, pixels: larger images are shrunk to it, smaller ones padded. None is the longest
    side in the split."""

    sample_type, embedded = ImageSample, "digits"
    primary_metric = ("accuracy", True)
    hidden = ("label", "goal")

    def setup(self) -> None:
        if list(self.scales) != sorted(set(self.scales)):
            raise ValueError(f"scales must be whole numbers >= 1 that grow, got {self.scales}")
        self.load_samples()
        self.items = len(self.samples)
        limits = [side for side in (self.max_side, self.mosaic_side if self.memory else None) if side]
        retina = self.retina, self.scales, min(limits, default=None)
        self.bank = patch_bank(self.samples, *retina, self.channels)
        self.side = self.mosaic_side or int(self.bank.sizes.max())
        self.controller = CONTROLS[self.control](self.places, len(self.names))
        self.action_space = self.controller.space
        places = self.places**2
        self.answers = range(places, places + len(self.names)) if self.control == "discrete" else None
        self.show(
            window=Image(self.bank.channels * len(self.scales), self.retina),
            position=Vector(2),
            glimpses=OneHot(self.glimpses),
            mosaic=Mosaic.of(self.samples, *retina, self.bank.channels, self.side) if self.memory else None,
            answer=self.controller.answer_shown,
        )

    def load_samples(self) -> None:
        """Load the images and their classes, which without labels must be given."""
        if not self.labelled:
            if not self.classes:
                raise ValueError("classes must be given where data has no labels, got None")
            self.names, self.samples = class_names(None, classes=self.classes), self.load()
            self.labels = [-1] * len(self.samples)
            return
        splits = {name: getattr(self, name) for name in ("split_file", "split_ratios", "split_seed")}
        self.names = class_names(self.data, self.embedded, self.classes, **splits)
        self.samples = self.load(classes=None)
        if self.classes:
            self.samples = of_classes(self.samples, self.classes)
        self.labels = class_numbers(self.samples, self.names)

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {"classes": list(self.names), "channels": self.bank.channels}
        return {**found, "mosaic_side": self.side} if self.memory else found

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        size, boxes = self.bank.sizes[item], self.samples[item].boxes if self.labelled else None
        middle = size / 2 if boxes is None else (boxes[0, :2] + boxes[0, 2:]) / 2 / self.bank.factors[item]
        places = to_pixels(self.controller.random_places(rng, self.glimpses), size)
        return State(
            image=np.int64(item),
            label=np.int64(self.labels[item]),
            goal=np.clip(middle - 0.5, 0, size - 1) if self.labelled else np.full(2, np.nan),
            size=size.copy(),
            trail=np.concatenate([np.full((self.glimpses - 1, 2), np.nan), places[:1]]),
            glimpses=np.int64(1),
            answer=np.int64(-1),
            finished=np.False_,
            random_places=places,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp, may_look = xp_of(state.trail), state.glimpses < self.glimpses
        asked, answer = self.controller.motion(action, state.trail)
        ends = self.controller.ends(answer, may_look)
        looks = ~ends & may_look
        place = to_pixels(asked, state.size)
        if self.gaze_policy == "random":
            place = row_at(state.random_places, xp.minimum(state.glimpses, self.glimpses - 1))
        longer = xp.concat([state.trail[:, 1:, :], place[:, None, :]], axis=1)
        return replace(
            state,
            trail=xp.where(looks[:, None, None], longer, state.trail),
            glimpses=state.glimpses + xp.astype(looks, xp.int64),
            answer=answer,
            finished=state.finished | ends | ~may_look,
        )

    def observe(self, state: State) -> dict[str, Array]:
        here = state.trail[:, -1, :]
        return self.seen(
            window=self.bank.crop(state.image, here),
            position=2 * (here + 0.5) / state.size - 1,
            glimpses=state.glimpses - 1,
            mosaic=(state.image, state.trail),
            answer=state.answer,
        )

    def reward(self, before: State, action: Array, after: State) -> Array:
        looked = xp_of(after.trail).astype(after.glimpses - before.glimpses, after.trail.dtype)
        return self.metrics(after)["accuracy"] - self.glimpse_cost * looked

    def terminated(self, state: State) -> Array:
        return state.finished

    def metrics(self, state: State) -> dict[str, Array]:
        xp, right = xp_of(state.trail), state.finished & (state.answer == state.label)
        found = {
            "accuracy": xp.astype(right, xp.float64),
            "is_success": right,
            "glimpses": state.glimpses + 0,
        }
        return {**found, "label": state.label + 0} if self.expose_label else found

    def class_of(self, state: State) -> Array:
        return state.label + 0

    def expert(self, state: State) -> Array:
        here, may_look = state.trail[:, -1, :], state.glimpses < self.glimpses
        return self.controller.toward(state.goal, here, state.size, state.label, may_look)

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> ImageClass:
        places = state.trail[~np.isnan(state.trail[:, 0])]
        answered = bool(state.finished) and int(state.answer) >= 0
        label = self.names[int(state.answer)] if answered else None
        return ImageClass(label, (places + 0.5) * self.bank.factors[int(state.image)] - 0.5)

    def draw(self, state: State) -> np.ndarray:
        canvas, factor = Canvas(self.samples[int(state.image)].image), self.bank.factors[int(state.image)]
        places = (state.trail[~np.isnan(state.trail[:, 0])] + 0.5) * factor
        for place, scale, meaning in (
            *((place, self.scales[0], "agent") for place in places),
            *((places[-1], scale, "look") for scale in self.scales),
        ):
            half = self.retina * scale * factor / 2
            canvas.box([*(place - half), *(place + half)], meaning)
        canvas.path(places, "agent")
        said = self.names[int(state.answer)] if state.answer >= 0 else "?"
        truth = f", is {self.names[int(state.label)]}" if state.label >= 0 else ""
        canvas.text(f"glimpse {int(state.glimpses)}: says {said}{truth}")
        return canvas.pixels
