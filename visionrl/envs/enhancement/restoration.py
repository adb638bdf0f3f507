"""Restoration of damaged pictures: the agent chooses a filter, looks at the result, and chooses the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval

from visionrl.banks.patches import patch_bank
from visionrl.core import arguments, register
from visionrl.core.observables import Image, Observable, Vector
from visionrl.core.results import Picture, Tile
from visionrl.datasets import ImageSample
from visionrl.envs.edit import Edit, EditState
from visionrl.envs.enhancement.controls import Control, ImageControl, PixelControl
from visionrl.envs.enhancement.damage import Damage, Range
from visionrl.metrics.image_quality import ImageQuality, as_levels, psnr
from visionrl.ops import Array, xp_of
from visionrl.ops.spectrum import spectrum_size, spectrum_statistics
from visionrl.rendering import Canvas

MILD = {"blur": (0.0, 1.2), "noise": (0.0, 15.0), "quality": (60.0, 100.0)}
SEVERE = {"blur": (0.0, 3.0), "noise": (5.0, 50.0), "quality": (15.0, 80.0)}
SOFT_DB = 0.3  # a tool that gains so much less than the best has 1/e of its weight in cloning
YU = {"blur": (0.0, 5.0), "noise": (0.0, 50.0), "quality": (10.0, 100.0), "stop_when_worse": True}
FURUTA = {
    "control": "pixel",
    "patch_side": 70,
    "channels": 1,
    "steps": 5,
    "stop": False,
    "blur": (0.0, 0.0),
    "noise": (25.0, 25.0),
    "quality": None,
}


@dataclass(frozen=True)
class State(EditState):
    """Patches under repair; B episodes. ``quality`` is PSNR, decibels.

    Attributes:
        corner: (B, 2) int64, (x, y) of the patch's top left pixel in its image.
        now: (B, C, S, S) float32, the patch as it is now, grey levels.
        tools: (B, steps) int64, the tools used, newest last, -1 before the first; with control "pixel" (B, steps, S, S)
            int8, those of the pixels.
    """

    corner: Array
    now: Array
    tools: Array


@register(
    "Restoration-v0",
    max_steps=None,
    tags=("enhancement", "2d", "discrete"),
    presets={
        "mild": MILD,
        "severe": SEVERE,
        "yu2018": YU,
        "furuta2019": FURUTA,
        "statistics": {"observation": "statistics"},
    },
    expert_success_rate={
        None: 0.7,
        "statistics": 0.6,
        "mild": 0.5,
        "severe": 0.85,
        "yu2018": 0.8,
        "furuta2019": 0.95,
    },
)
@arguments
class Restoration(Edit[State]):
    """The agent sees a patch of a blurred, noisy and compressed picture, and repairs it by one filter after another.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, S, S) uint8: the patch as it is now; ``history``: the tools used, one-hot; with control "pixel" ``step``: the steps taken, one-hot, instead. With observation "statistics" not the window but (96,) float32, quantiles of the energy of its bands of frequency; (51,) of grey patches |
    | Action      | "image": Discrete(13), "pixel": MultiDiscrete, one of 9 for each of S x S pixels; see below |
    | Reward      | "image": gain of PSNR by this step, decibels; 0 for stopping. "pixel": 255 times the fall of the squared error by this step, of intensities in [0, 1]; a map, whose mean is the reward |
    | Ends        | after ``steps`` tools, or when the agent stops; with ``stop_when_worse`` also when the patch is worse than at the start |

    | Action | Meaning with control "image" |
    |--------|------------------------------|
    | 0 to 3 | denoise: set DCT coefficients below 3 times 10, 20, 35, 55 grey levels to 0 |
    | 4 to 7 | deblur: Wiener filter against a Gaussian blur of 0.8, 1.3, 2, 3 pixels |
    | 8      | bilateral filter of 5 pixels |
    | 9      | median of 3 x 3 |
    | 10     | smooth: Gaussian of 1 pixel |
    | 11     | sharpen: unsharp mask |
    | 12     | stop |

    | Action of a pixel | Meaning with control "pixel": its value comes from |
    |-------------------|------------------------------------------------------|
    | 0, 1, 2           | the image, one grey level darker, as it is, one brighter |
    | 3, 6              | Gaussian of 0.5 and 1.5 pixels, 5 x 5 |
    | 4, 7              | bilateral filter of 5 pixels; over intensities 0.1 and 1, over distances 5 pixels |
    | 5                 | median of 5 x 5 |
    | 8                 | mean of 5 x 5 |

    ``info`` has ``psnr_db`` and ``gain_db``; an episode succeeds with a gain of ``success_db``. Every photograph can be
    used: the damage is drawn in each episode, in the order blur, noise, JPEG. The expert takes the tool that gains most at
    once, which is not always the best plan; with control "pixel" it reads the noise itself off the truth, and no agent can
    do as well. On a file of one's own the picture is repaired tile by tile.

    With control "pixel" only the agent of ``algo="pixelppo"`` can learn the task (``visionrl.core.capabilities.PixelActions``).

    Source: Yu et al. (2018), "Crafting a toolchain for image restoration by deep reinforcement learning"; their tools
    are twelve small networks, these are twelve classical filters, and a recurrent network remembers the tools used.
    Furuta et al. (2019), "Fully convolutional network with multi-step reinforcement learning for image processing"
    (control "pixel"); here the noisy picture is rounded and clipped, as files are.
    """

    control: Literal["image", "pixel"] = "image"
    """One tool for the whole patch, or one for each pixel."""

    stop: bool = True
    """Adds a last action that ends the episode."""
    steps: Annotated[int, Interval(ge=1, le=10)] = 3
    """Number of tools that may be used."""
    patch_side: Annotated[int, Interval(ge=16, le=256)] = 63
    """Side S of the patch, pixels."""
    blur: Range = (0.0, 2.0)
    """Range of the standard deviation of the Gaussian blur, pixels."""
    noise: Range = (0.0, 30.0)
    """Range of the standard deviation of the Gaussian noise, grey levels."""
    quality: Range | None = (35.0, 100.0)
    """Range of JPEG's quality, 1 to 100; None for no JPEG."""
    stop_when_worse: bool = False
    """End the episode when the patch is worse than at its start."""
    success_db: Annotated[float, Ge(0.0)] = 0.5
    """Gain of PSNR from which an episode counts as a success, decibels."""
    channels: Literal[1, 3] = 3
    """1 restores grey pictures, and makes all others grey; 3 restores pictures in RGB."""

    observation: Literal["window", "statistics"] = "window"
    """What is seen of the patch: its pixels, or statistics of its spectrum, which tell damage from content."""

    sample_type, embedded = ImageSample, "photographs"
    primary_metric = ("gain_db", True)

    def setup(self) -> None:
        for name, low, high in (("blur", 0, 20), ("noise", 0, 255), ("quality", 1, 100)):
            if (value := getattr(self, name)) is not None:
                check_range(name, value, low, high)
        by_pixels = self.control == "pixel"
        if by_pixels and (self.stop or self.stop_when_worse):
            raise ValueError("stop and stop_when_worse must be False for control 'pixel', got True")
        if by_pixels and self.observation != "window":
            raise ValueError(f"observation must be 'window' for control 'pixel', got {self.observation!r}")
        self.samples = self.load()
        self.bank = patch_bank(self.samples, self.patch_side, (1,), None, self.channels)
        if (shortest := self.bank.sizes.min()) < self.patch_side:
            number = int(self.bank.sizes.min(axis=1).argmin())
            raise ValueError(
                f"patch_side must be <= the shorter side of {self.sample_names[number]}, {shortest:g} pixels, "
                f"got {self.patch_side}"
            )
        self.damage = Damage(self.blur, self.noise, self.quality)
        self.tiles = (
            []
            if self.labelled
            else [(item, corner) for item in range(len(self.samples)) for corner in self.corners(item)]
        )
        self.items = len(self.samples) if self.labelled else len(self.tiles)
        self.controller: Control = (
            PixelControl(self.steps, self.patch_side) if by_pixels else ImageControl(self.steps, self.stop)
        )
        self.choose(len(self.controller.names), self.steps, self.controller.space)
        if by_pixels:
            self.pixels = (self.patch_side, self.patch_side)
        self.dataset_metrics = (ImageQuality(self.last_pictures),)
        views: dict[str, Observable] = {
            "window": Image(self.channels, self.patch_side),
            "statistics": Vector(spectrum_size(self.channels), -3.0, 8.0),
        }
        self.show(**{self.observation: views[self.observation]}, **self.controller.shown)

    def corners(self, item: int) -> list[tuple[int, int]]:
        """Top left pixels (x, y) of tiles that cover an image and overlap by a quarter at least."""
        ends = [int(side) - self.patch_side for side in self.bank.sizes[item]]
        lines = [np.rint(np.linspace(0, end, 1 + -(-end * 4 // (3 * self.patch_side)))) for end in ends]
        return [(int(x), int(y)) for y in lines[1] for x in lines[0]]

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        if not self.labelled:
            item, corner = self.tiles[item]
        else:
            corner = tuple(rng.integers(0, self.bank.sizes[item] - self.patch_side + 1))
        place = np.asarray(corner, np.int64)
        clean = self.patch(np.array([item]), place[None])
        now = self.damage.on(clean[0], rng)[None] if self.labelled else clean
        return State(
            **self.fresh(item, float(psnr(now, clean)[0]) if self.labelled else np.nan),
            corner=place,
            now=now[0].astype(np.float32),
            tools=self.controller.blank,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def edit(self, state: State, operator: Array) -> State:
        tools = self.controller.record(state.tools, operator)
        return replace(state, now=self.controller.edit(state.now, operator), tools=tools)

    def measure(self, state: State) -> Array:
        return psnr(state.now, self.patch(state.image, state.corner))

    def step(self, state: State, action: Array) -> State:
        after = super().step(state, action)
        if not (self.stop_when_worse and self.labelled):
            return after
        worse = self.latest(after) < after.quality[:, 0]
        return replace(after, finished=after.finished | worse)

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.now)
        levels = as_levels(state.now)
        by_pixel = self.observation == "window"
        seen = xp.astype(levels, xp.uint8) if by_pixel else spectrum_statistics(levels)
        return self.seen(**{self.observation: seen}, **self.controller.seen(state.tools, state.steps))

    def metrics(self, state: State) -> dict[str, Array]:
        quality = self.latest(state)
        gain = quality - state.quality[:, 0]
        return {"psnr_db": quality, "gain_db": gain, "is_success": gain >= self.success_db}

    def action_gains(self, state: State) -> Array:
        """(B, n) float64, what each action would gain at once, decibels; a tool of pixels used on all of them."""
        xp, true = xp_of(state.now), self.patch(state.image, state.corner)
        now = psnr(state.now, true)
        images = self.controller.try_all(state.now)
        tried = [psnr(images[k, ...], true) for k in range(self.operators)]
        return xp.stack([*tried, now][: self.operators + self.stop], axis=-1) - now[:, None]

    def expert(self, state: State) -> Array:
        if self.control == "pixel":
            error = self.errors(self.controller.try_all(state.now), state)
            return xp_of(error).argmin(error, axis=0)
        gains = self.action_gains(state)
        return xp_of(gains).argmax(gains, axis=-1)

    def action_weights(self, state: State) -> Array:
        gains = self.action_gains(state)
        xp = xp_of(gains)
        return xp.exp((gains - xp.max(gains, axis=-1, keepdims=True)) / SOFT_DB)

    # -- middle: control "pixel" -----------------------------------------------------------------------------------
    def errors(self, images: Array, state: State) -> Array:
        """Squared errors of images (..., B, C, S, S) at each pixel, (..., B, S, S) float32, as the reward weighs them."""
        xp = xp_of(images)
        gap = (images - xp.astype(self.patch(state.image, state.corner), xp.float32)) / 255
        return 255 * xp.mean(gap * gap, axis=-3)

    def reward(self, before: State, action: Array, after: State) -> Array:
        if self.control == "image":
            return super().reward(before, action, after)
        return xp_of(action).mean(self.reward_map(before, action, after), axis=(1, 2))

    def reward_map(self, before: State, action: Array, after: State) -> Array:
        """(B, S, S) float64, see ``PixelActions``."""
        xp = xp_of(before.now)
        gain = self.errors(before.now, before) - self.errors(after.now, before)
        return xp.astype(gain, xp.float64)

    def gain_maps(self, state: State) -> Array:
        """(B, 9, S, S) float32: what each tool would gain by the end, were the best fixed sequence to go on."""
        xp = xp_of(state.now)
        ends = self.controller.follow_plan(self.controller.try_all(state.now), state.steps)
        gains = self.errors(state.now, state)[None, ...] - self.errors(ends, state)
        return xp.permute_dims(gains, (1, 0, 2, 3))

    def patch(self, image: Array, corner: Array) -> Array:
        """The true patches, (B, C, S, S) uint8."""
        xp = xp_of(corner)
        middle = xp.astype(corner + self.patch_side // 2, xp.float64)
        return self.bank.crop(image, middle)[:, 0, ...]

    def last_pictures(self, ends: State) -> tuple[np.ndarray, np.ndarray]:
        """The patches of last states as they became, and as they should be."""
        return ends.now, self.patch(ends.image, ends.corner)

    # -- edge ------------------------------------------------------------------------------------------------------
    def result(self, state: State) -> Picture:
        width, height = (int(side) for side in self.bank.sizes[int(state.image)])
        x, y = (int(value) for value in state.corner)
        now, start = as_levels(state.now).astype(np.uint8), self.patch(state.image[None], state.corner[None])
        stages = () if self.labelled else self.controller.replay(start.astype(np.float32), state.tools)
        kept = tuple(as_levels(stage[0]).astype(np.uint8) for stage in stages)
        tile = Tile(now, (x, y), **self.controller.tile_fields(state.tools), stages=kept)
        return Picture((width, height), (tile,))

    def draw(self, state: State) -> np.ndarray:
        words = ", ".join(self.controller.caption(state.tools)) or "damaged"
        if self.labelled:
            words += f": {state.quality[int(state.steps)]:.1f} dB"
        shown = [(as_levels(state.now).astype(np.uint8), words)]
        if self.labelled:
            shown.append((self.patch(state.image[None], state.corner[None])[0], "true picture"))
        if (tools := self.controller.map(state.tools)) is not None:
            shown.append((tools, "tools"))
        panels = [Canvas(image) for image, _ in shown]
        for panel, (_, words) in zip(panels, shown, strict=True):
            panel.text(words)
        return np.concatenate([panel.pixels for panel in panels], axis=1)


def check_range(name: str, value: Range, low: float, high: float) -> None:
    """Refuse a range that is not in order or leaves its bounds.

    Raises:
        ValueError: names the argument, the rule and the value.
    """
    if not low <= value[0] <= value[1] <= high:
        raise ValueError(f"{name} must be two numbers in order within [{low}, {high}], got {value}")
