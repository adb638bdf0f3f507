"""Painting: strokes of a brush, one after another, until the canvas looks like the picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Interval

from visionrl.banks.patches import colored
from visionrl.banks.pictures import picture_bank
from visionrl.banks.squares import squeezed
from visionrl.core import arguments, batch, register
from visionrl.core.observables import Image, Vector
from visionrl.core.results import StrokePainting
from visionrl.datasets import ImageSample
from visionrl.datasets.readers.files import read_image
from visionrl.envs.edit import Edit, EditState
from visionrl.envs.enhancement.brush import Brush, Colors, ContinuousBrush, DiscreteBrush, candidate_strokes
from visionrl.metrics.image_quality import ImageQuality, as_levels, psnr
from visionrl.ops import Array, DeviceTable, one_hot, xp_of
from visionrl.ops.strokes import GEOMETRY, fitted_color, paint, stroke_coverage, stroke_lines
from visionrl.ops.wasserstein import sliced_quantiles, sliced_wasserstein
from visionrl.rendering import Canvas

CROP = 0.4  # least side of the square that is painted, of the shorter side of its picture
SUCCESS = 0.2  # of the first squared error
SOFT = 0.1  # a stroke that gains such a share less than the best has 1/e of its weight in cloning
LEAST = 1e-6  # gain of a stroke, as a share of the first error
HUANG = {"side": 128, "control": "continuous", "stroke": "bezier", "color": "chosen", "bundle": 5}


@dataclass(frozen=True)
class State(EditState):
    """Canvases and what is to be seen on them; B episodes. ``quality`` is the share of the first error that is gone.

    Attributes:
        target: (B, C, S, S) uint8, the picture.
        canvas: (B, C, S, S) float32, grey levels.
        strokes: (B, steps * bundle, 10 + C) float64, see ``visionrl.ops.strokes.stroke_lines``, then the colour in
            [0, 1]; NaN beyond those painted.
    """

    target: Array
    canvas: Array
    strokes: Array


@register(
    "Painting-v0",
    max_steps=None,
    tags=("enhancement", "2d", "discrete"),
    presets={
        "huang2019": HUANG,
        "continuous": {"control": "continuous"},
        "chosen": {"control": "continuous", "color": "chosen"},
    },
    expert_success_rate=0.95,
)
@arguments
class Painting(Edit[State]):
    """The agent paints a picture on a black canvas, stroke by stroke; each stroke covers what lies below it.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``canvas`` and ``target`` (C, S, S) uint8; ``left`` (1,): share of the steps that are left |
    | Action      | "discrete": Discrete(3456); "continuous": numbers in [-1, 1], ``bundle`` times those of a stroke; see below |
    | Reward      | fall of the squared error between canvas and picture by this step, as a share of the error of the black canvas |
    | Ends        | after ``steps`` steps, or from a ``quality`` of ``until`` |

    | Action with control "discrete" | Meaning |
    |--------------------------------|---------|
    | 1152 s + 144 a + 12 y + x      | a straight stroke of size s (large, medium, small) in direction 22.5 a degrees, its middle in column x and row y of 12 x 12 places |

    | Numbers of a stroke with control "continuous" | Meaning, from -1 to 1 |
    |-----------------------------------------------|-----------------------|
    | "capsule": 6                                   | x and y of one end and of the other, from the left or upper edge to the right or lower; radius, 0.01 to 0.3 of the side; opacity, 0 to 1 |
    | "bezier": 10                                   | x and y of the first, the middle and the last control point; radius at both ends, opacity at both ends, likewise |
    | C more with color "chosen"                     | red, green, blue, or grey, 0 to 1 |

    With color "fitted" a stroke has the colour that takes away most of the squared error, which has a closed form. With a
    ``style`` strokes have one of the 16 colours that are typical of that picture, and the reward also pays for colours
    distributed as there: the squared error is mixed with the sliced Wasserstein distance of the colours of canvas and
    style, each as a share of its start. ``visionrl.reward_models.GramDistance`` rewards its forms.

    ``info`` has ``l2``: the squared error as a share of that of the black canvas, ``psnr_db``, ``strokes`` and, with a
    style, ``style_distance``. An episode succeeds with an ``l2`` of 0.2 or less. A picture that is black is done. The
    expert tries all strokes of control "discrete", in small pictures, and takes the best; it does not plan.
    Pictures of the training split are turned by quarters, and their channels swapped, by chance.
    In files of one's own the whole picture is painted, squeezed to a square; the strokes are written as a drawing.

    Source: Huang, Heng & Zhou (2019), "Learning to paint with model-based deep reinforcement learning" (preset
    ``huang2019``: curves of chosen colours, five a step). There the reward is that of a discriminator, and strokes are
    painted by a network, so that gradients go through them; here it is their squared error, and strokes are exact.
    """

    control: Literal["discrete", "continuous"] = "discrete"
    """One of 3,456 strokes, or any."""
    stroke: Literal["capsule", "bezier"] = "capsule"
    """Straight strokes, or curves; control "discrete" has straight ones."""
    color: Literal["fitted", "chosen"] = "fitted"
    """Colours that fit best, or those of the action."""
    side: Literal[32, 64, 128, 256] = 64
    """Side S of the canvas, pixels."""
    steps: Annotated[int, Interval(ge=1, le=500)] = 40
    """Number of steps."""
    bundle: Annotated[int, Interval(ge=1, le=10)] = 1
    """Strokes of a step."""
    style: str | None = None
    """Picture file whose colours are painted with."""
    style_weight: Annotated[float, Interval(ge=0, le=1)] = 0.3
    """Weight of the distance from the style's colours in the reward; with a ``style``."""
    style_network: str | None = None
    """File of MobileNetV2's weights for the row "Gatys et al."; None draws them by chance. With a ``style``."""
    crop: bool = True
    """Paint a random square part of the picture in each episode; False paints the whole picture, squeezed."""
    channels: Literal[1, 3] = 3
    """1 paints grey pictures, and makes all others grey; 3 paints in RGB."""

    sample_type, embedded = ImageSample, "photographs"
    primary_metric = ("l2", False)
    needs_truth: ClassVar[bool] = False

    def setup(self) -> None:
        if self.stop:
            raise ValueError("stop must be False, got True")
        if self.control == "discrete":
            for name, wanted in (("color", "fitted"), ("stroke", "capsule"), ("bundle", 1)):
                if (value := getattr(self, name)) != wanted:
                    raise ValueError(f"{name} must be {wanted!r} for control 'discrete', got {value!r}")
        if self.style is not None and self.color == "chosen":
            raise ValueError("color must be 'fitted' with a style, got 'chosen'")
        if (network := self.style_network) is not None and self.style is None:
            raise ValueError(f"style_network must be None without a style, got {network!r}")
        if network is not None and not Path(network).expanduser().is_file():
            raise FileNotFoundError(f"style_network must be a file of weights, got {network!r}")
        self.samples = self.load()
        self.items, self.bank = len(self.samples), picture_bank(self.samples, self.channels)
        style = None if self.style is None else read_image(Path(self.style))
        self.colors = Colors(style, self.channels)
        if style is not None:
            self.style_picture = middle_square(style, self.channels, self.side)
            self.quantiles = DeviceTable(sliced_quantiles(self.colors.pixels, self.side**2))
        self.candidates = candidate_strokes()
        if self.control == "discrete":
            self.action_gains, self.action_weights = self.gains, self.weights
        curved, chosen = self.stroke == "bezier", self.channels if self.color == "chosen" else 0
        self.brush: Brush = (
            DiscreteBrush(self.candidates)
            if self.control == "discrete"
            else ContinuousBrush(curved, self.bundle, chosen)
        )
        self.choose(len(self.candidates.strokes.array), self.steps, self.brush.space)
        self.dataset_metrics = (ImageQuality(self.last_pictures),)
        picture = Image(self.channels, self.side)
        self.show(canvas=picture, target=picture, left=Vector(1, 0, 1))

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        if self.crop and self.labelled:
            size = self.bank.images[item].shape[1:]
            length = int(rng.integers(max(1, round(CROP * min(size))), min(size) + 1))
            y, x = (int(rng.integers(0, whole - length + 1)) for whole in size)
            target = self.bank.part(item, (x, y), length, self.side)
        else:
            target = self.bank.whole(item, self.side)
        if self.split == "train" and self.labelled:
            turned = np.rot90(target, int(rng.integers(4)), (1, 2))[rng.permutation(self.channels)]
            target = np.ascontiguousarray(turned)
        done = 1.0 if self.style is None else 1 - self.style_weight  # of a black picture
        return State(
            **self.fresh(item, 0.0 if target.any() else done),
            target=target,
            canvas=np.zeros(target.shape, np.float32),
            strokes=np.full((self.steps * self.bundle, GEOMETRY + self.channels), np.nan),
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.steps)
        return self.advance(self.edit(state, action), xp.ones_like(state.finished))

    def edit(self, state: State, operator: Array) -> State:
        strokes, first = self.brush.strokes(operator, self.channels), state.steps * self.bundle
        for number in range(self.bundle):
            state = self.paint_stroke(state, strokes[:, number, :], first + number, self.color == "fitted")
        return state

    def paint_stroke(self, state: State, stroke: Array, number: Array, fitted: bool) -> State:
        """The state with one stroke more on its canvas.

        Args:
            state: B episodes.
            stroke: (B, 10 + C) float64; what is beyond 10 is not looked at where the colour is fitted.
            number: (B,) int64, of the stroke in its episode.
            fitted: it has the colour that fits best.
        """
        xp, cover = xp_of(stroke), self.coverage(stroke)
        color = self.best_color(state, cover) if fitted else xp.astype(255 * stroke[:, GEOMETRY:], xp.float32)
        row = xp.concat([stroke[:, :GEOMETRY], xp.astype(color, xp.float64) / 255], axis=1)
        place = xp.arange(self.steps * self.bundle, device=stroke.device)[None, :] == number[:, None]
        strokes = xp.where(place[:, :, None], row[:, None, :], state.strokes)
        return replace(state, canvas=paint(state.canvas, cover, color), strokes=strokes)

    def best_color(self, state: State, cover: Array) -> Array:
        """(B, C) float32, the colour of the brush, grey levels, in which strokes that cover (B, S, S) fit best."""
        return self.colors.nearest(fitted_color(self.levels(state), state.canvas, cover))

    def coverage(self, stroke: Array) -> Array:
        """(B, S, S) float32, how far strokes (B, 10 or more) cover each pixel."""
        return stroke_coverage(*stroke_lines(stroke, self.side, self.brush.segments), (self.side, self.side))

    def levels(self, state: State) -> Array:
        """(B, C, S, S) float32, the pictures."""
        xp = xp_of(state.target)
        return xp.astype(state.target, xp.float32)

    def l2(self, state: State) -> Array:
        """(B,) float64, the squared error as a share of that of a black canvas; 0 where the picture is black."""
        xp, target = xp_of(state.canvas), self.levels(state)
        gap = target - state.canvas
        now, start = (xp.astype(xp.sum(x * x, axis=(1, 2, 3)), xp.float64) for x in (gap, target))
        black = start == 0
        return xp.where(black, xp.zeros_like(now), now / xp.where(black, xp.ones_like(start), start))

    def measure(self, state: State) -> Array:
        xp, error = xp_of(state.canvas), self.l2(state)
        if self.style is None:
            return 1 - error
        start = sliced_wasserstein(xp.zeros_like(state.canvas), self.quantiles.on(state.canvas))
        far = self.style_distance(state) / xp.where(start > 0, start, xp.ones_like(start))
        return 1 - (1 - self.style_weight) * error - self.style_weight * far

    def style_distance(self, state: State) -> Array:
        """(B,) float64, mean squared sliced Wasserstein distance of the colours of canvas and style, grey levels."""
        return sliced_wasserstein(state.canvas, self.quantiles.on(state.canvas))

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.canvas)
        left = 1 - xp.astype(state.steps, xp.float32) / self.steps
        canvas = xp.astype(as_levels(state.canvas), xp.uint8)
        return self.seen(canvas=canvas, target=xp.asarray(state.target, copy=True), left=left[:, None])

    def metrics(self, state: State) -> dict[str, Array]:
        xp, error = xp_of(state.canvas), self.l2(state)
        found = {
            "l2": error,
            "psnr_db": psnr(state.canvas, state.target),
            "strokes": xp.sum(xp.astype(~xp.isnan(state.strokes[:, :, 0]), xp.float64), axis=1),
            "is_success": error <= SUCCESS,
        }
        if self.style is not None:
            found["style_distance"] = self.style_distance(state)
        return found

    def gains(self, state: State) -> Array:
        """(B, 3456) float64, what each stroke of control "discrete" gains, as a share of the first error; estimated."""
        xp, target = xp_of(state.canvas), self.levels(state)
        start = xp.astype(xp.sum(target * target, axis=(1, 2, 3)), xp.float64)
        gains = self.candidates.gains(target, state.canvas, self.colors)
        return gains / xp.where(start > 0, start, xp.ones_like(start))[:, None]

    def weights(self, state: State) -> Array:
        """(B, 3456) float64, 1 for the stroke that gains most, less for others; see ``WeighedActions``."""
        gains = self.gains(state)
        xp = xp_of(gains)
        best = xp.max(gains, axis=1, keepdims=True)
        return xp.exp((gains - best) / (SOFT * xp.clip(best, LEAST, None)))

    def good_actions(self, state: State) -> Array:
        gains = self.gains(state)
        xp = xp_of(gains)
        best = one_hot(xp.argmax(gains, axis=1), self.operators) > 0
        return (gains > 0.5 * xp.max(gains, axis=1, keepdims=True)) | best

    def expert(self, state: State) -> Array:
        xp, found, first = xp_of(state.canvas), [], state.steps * self.bundle
        for number in range(self.bundle):
            index = xp.argmax(self.gains(state), axis=1)
            rows = self.candidates.strokes.rows(index)
            color = xp.astype(self.best_color(state, self.coverage(rows)), xp.float64) / 255
            found.append(xp.concat([rows, color], axis=1))
            if number + 1 < self.bundle:
                state = self.paint_stroke(state, rows, first + number, True)
        return self.brush.action(xp.stack(found, axis=1), index)

    # -- edge ------------------------------------------------------------------------------------------------------
    def last_pictures(self, ends: State) -> tuple[np.ndarray, np.ndarray]:
        """The canvases of last states, and the pictures."""
        return ends.canvas, ends.target

    def result(self, state: State) -> StrokePainting:
        height, width = self.samples[int(state.image)].image.shape[1:]
        strokes = state.strokes[~np.isnan(state.strokes[:, 0])]
        canvas = None if len(strokes) or not state.steps else as_levels(state.canvas).astype(np.uint8)
        return StrokePainting((width, height), strokes, self.brush.segments, canvas)

    def draw(self, state: State) -> np.ndarray:
        strokes = int((~np.isnan(state.strokes[:, 0])).sum())
        error = float(self.l2(batch.stack([state]))[0])
        panels = [Canvas(as_levels(state.canvas).astype(np.uint8)), Canvas(state.target)]
        for panel, text in zip(
            panels, (f"{strokes} strokes: {100 * (1 - error):.0f} %", "picture"), strict=True
        ):
            panel.text(text)
        return np.concatenate([panel.pixels for panel in panels], axis=1)


def middle_square(picture: np.ndarray, channels: int, side: int) -> np.ndarray:
    """(channels, side, side) uint8, the largest square in the middle of a picture (C, H, W)."""
    size = picture.shape[1:]
    y, x = ((whole - min(size)) // 2 for whole in size)
    return squeezed(colored(picture, channels)[:, y : y + min(size), x : x + min(size)], side)
