"""Restoration of damaged pictures: the agent chooses a filter, looks at the result, and chooses the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Interval

from visionrl.banks.patches import patch_bank
from visionrl.core import arguments, register
from visionrl.core.observables import ActionHistory, Image, push
from visionrl.core.results import Picture, Tile
from visionrl.datasets import ImageSample
from visionrl.envs.edit import Edit, EditState
from visionrl.envs.enhancement.damage import Damage, Range
from visionrl.envs.enhancement.tools import NAMES, apply_tools, try_tools
from visionrl.metrics.image_quality import ImageQuality, as_levels, psnr
from visionrl.ops import Array, xp_of
from visionrl.rendering import Canvas

MILD = {"blur": (0.0, 1.2), "noise": (0.0, 15.0), "quality": (60.0, 100.0)}
SEVERE = {"blur": (0.0, 3.0), "noise": (5.0, 50.0), "quality": (15.0, 80.0)}
SOFT_DB = 0.3  # a tool that gains so much less than the best has 1/e of its weight in cloning
YU = {"blur": (0.0, 5.0), "noise": (0.0, 50.0), "quality": (10.0, 100.0), "stop_when_worse": True}


@dataclass(frozen=True)
class State(EditState):
    """Patches under repair; B episodes. ``quality`` is PSNR, decibels.

    Attributes:
        corner: (B, 2) int64, (x, y) of the patch's top left pixel in its image.
        now: (B, C, S, S) float32, the patch as it is now, grey levels.
        tools: (B, steps) int64, the tools used, newest last, -1 before the first.
    """

    corner: Array
    now: Array
    tools: Array


@register(
    "Restoration-v0",
    max_steps=None,
    tags=("enhancement", "2d", "discrete"),
    presets={"mild": MILD, "severe": SEVERE, "yu2018": YU},
    expert_success_rate={None: 0.7, "mild": 0.5, "severe": 0.85, "yu2018": 0.8},
)
@arguments
class Restoration(Edit[State]):
    """The agent sees a patch of a blurred, noisy and compressed picture, and repairs it by one filter after another.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (C, S, S) uint8: the patch as it is now; ``history``: the tools used, one-hot |
    | Action      | Discrete(13); see below |
    | Reward      | gain of PSNR by this step, decibels; 0 for stopping |
    | Ends        | after ``steps`` tools, or when the agent stops; with ``stop_when_worse`` also when the patch is worse than at the start |

    | Action | Meaning |
    |--------|---------|
    | 0 to 3 | denoise: set DCT coefficients below 3 times 10, 20, 35, 55 grey levels to 0 |
    | 4 to 7 | deblur: Wiener filter against a Gaussian blur of 0.8, 1.3, 2, 3 pixels |
    | 8      | bilateral filter of 5 pixels |
    | 9      | median of 3 x 3 |
    | 10     | smooth: Gaussian of 1 pixel |
    | 11     | sharpen: unsharp mask |
    | 12     | stop |

    ``info`` has ``psnr_db`` and ``gain_db``; an episode succeeds with a gain of ``success_db``. Every photograph can be
    used: the damage is drawn in each episode, in the order blur, noise, JPEG. The expert takes the tool that gains most at
    once, which is not always the best plan. On a file of one's own the picture is repaired tile by tile.

    Source: Yu et al. (2018), "Crafting a toolchain for image restoration by deep reinforcement learning"; their tools
    are twelve small networks, these are twelve classical filters, and a recurrent network remembers the tools used.
    """

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
    quality: Range = (35.0, 100.0)
    """Range of JPEG's quality, 1 to 100."""
    stop_when_worse: bool = False
    """End the episode when the patch is worse than at its start."""
    success_db: Annotated[float, Ge(0.0)] = 0.5
    """Gain of PSNR from which an episode counts as a success, decibels."""
    channels: Literal[1, 3] = 3
    """1 restores grey pictures, 3 pictures in RGB."""

    sample_type, embedded = ImageSample, "photographs"
    primary_metric = ("gain_db", True)

    def setup(self) -> None:
        for name, low, high in (("blur", 0, 20), ("noise", 0, 255), ("quality", 1, 100)):
            check_range(name, getattr(self, name), low, high)
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
        self.choose(len(NAMES), self.steps)
        self.history = ActionHistory(len(NAMES), self.steps)
        self.dataset_metrics = (ImageQuality(self.last_pictures),)
        self.show(window=Image(self.channels, self.patch_side), history=self.history)

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
            tools=self.history.blank,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def edit(self, state: State, operator: Array) -> State:
        return replace(state, now=apply_tools(state.now, operator), tools=push(state.tools, operator))

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
        return self.seen(window=xp.astype(as_levels(state.now), xp.uint8), history=state.tools)

    def metrics(self, state: State) -> dict[str, Array]:
        quality = self.latest(state)
        gain = quality - state.quality[:, 0]
        return {"psnr_db": quality, "gain_db": gain, "is_success": gain >= self.success_db}

    def gains(self, state: State) -> Array:
        """(B, 13) float64, what each action would gain at once, decibels."""
        xp, true = xp_of(state.now), self.patch(state.image, state.corner)
        now = psnr(state.now, true)
        tried = [psnr(image, true) for image in try_tools(state.now)]
        return xp.stack([*tried, now][: len(NAMES) + self.stop], axis=-1) - now[:, None]

    def good_actions(self, state: State) -> Array:
        gains = self.gains(state)
        return (gains > 0) | (gains == xp_of(gains).max(gains, axis=-1, keepdims=True))

    def expert(self, state: State) -> Array:
        gains = self.gains(state)
        return xp_of(gains).argmax(gains, axis=-1)

    def action_weights(self, state: State) -> Array:
        gains = self.gains(state)
        xp = xp_of(gains)
        return xp.exp((gains - xp.max(gains, axis=-1, keepdims=True)) / SOFT_DB)

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
        return Picture(
            (width, height), (Tile(as_levels(state.now).astype(np.uint8), (x, y), names_of(state.tools)),)
        )

    def draw(self, state: State) -> np.ndarray:
        now = Canvas(as_levels(state.now).astype(np.uint8))
        said = ", ".join(names_of(state.tools)) or "damaged"
        if not self.labelled:
            now.text(said)
            return now.pixels
        now.text(f"{said}: {state.quality[int(state.steps)]:.1f} dB")
        true = Canvas(self.patch(state.image[None], state.corner[None])[0])
        true.text("true picture")
        return np.concatenate([now.pixels, true.pixels], axis=1)


def names_of(tools: np.ndarray) -> tuple[str, ...]:
    """The names of the tools used, (steps,), the first first."""
    return tuple(NAMES[k] for k in tools.tolist() if k >= 0)


def check_range(name: str, value: Range, low: float, high: float) -> None:
    """Refuse a range that is not in order or leaves its bounds.

    Raises:
        ValueError: names the argument, the rule and the value.
    """
    if not low <= value[0] <= value[1] <= high:
        raise ValueError(f"{name} must be two numbers in order within [{low}, {high}], got {value}")
