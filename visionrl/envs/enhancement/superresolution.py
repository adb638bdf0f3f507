"""Super-resolution under a budget: which patches of an enlarged picture are worth the costly network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import hypot
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Interval

from visionrl.banks.enlarged import COSTS, DEEP, NUMBERS, TOOLS, enlarged_bank
from visionrl.core import arguments, register
from visionrl.core.observables import Vector
from visionrl.core.results import Picture, Tile
from visionrl.datasets import ImageSample
from visionrl.envs.edit import Edit, EditState
from visionrl.metrics.image_quality import PictureQuality, psnr_of
from visionrl.ops import Array, DeviceTable, const, one_hot, xp_of
from visionrl.rendering import Canvas

FEATURES = NUMBERS + 2 * len(TOOLS) + 3  # of a candidate
NEAR_DB = 0.05  # of the costly network everywhere
SHADES = ((90, 90, 90), (80, 180, 255), (46, 204, 113), (250, 220, 70), (255, 80, 60))  # of the tools


@dataclass(frozen=True)
class State(EditState):
    """A window of patches, row by row, and the tool of each; B episodes.

    ``quality`` is PSNR of the luma of the whole picture, decibels, if the patches beyond the window stay as at first.

    Attributes:
        corner: (B, 2) int64, column and row of the window's first patch in its picture.
        patches: (B, g * g) int64, numbers of the patches in the bank; its last row where the picture has none.
        tools: (B, g * g) int64.
        spent: (B,) float64, cost of the tools used so far, in calls of the costly one.
    """

    corner: Array
    patches: Array
    tools: Array
    spent: Array


@register(
    "SuperResolution-v0",
    max_steps=None,
    tags=("enhancement", "2d", "discrete"),
    presets={"x2": {"scale": 2}, "x4": {"scale": 4}, "tools": {"tools": TOOLS, "start": "bicubic"}},
    expert_success_rate={None: 0.7, "x2": 0.7, "x4": 0.5, "tools": 0.7},
)
@arguments
class SuperResolution(Edit[State]):
    """The agent chooses which patches of an enlarged picture are made anew by a better and dearer tool, until it stops.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``candidates`` (n, 27): of each patch and tool what the patch looks like, the tool, the tool it has, the tool's cost, whether there is such a patch, and last whether it is the end; ``context`` (3,): share of the budget that is spent, the mean of the picture's gradients and corrections |
    | Action      | Discrete(n), n = g * g + 1 for one tool; see below |
    | Reward      | gain of the picture's PSNR, decibels, times the number of its patches, less ``price`` times the tool's cost |
    | Ends        | when the budget is spent, when the agent stops or no action is left, after g * g actions |

    | Action | Meaning |
    |--------|---------|
    | the first g * g numbers | give a patch, row by row, the first of ``tools`` |
    | the next g * g numbers, ... | the second, ... |
    | the last number | stop |

    Tools are "bicubic" (cost 0), "sharpen", an unsharp mask of that (0.005), "back-projection", which changes it until
    it shrinks to the small picture (0.05), "espcn", a network of 3 layers (0.1), and "deep", one of 10 layers (1).
    A tool works on the patch as the small picture has it, whatever was there before. At first each patch is as
    ``start`` makes it, which costs nothing. Small pictures are the true ones shrunk by a cubic kernel as wide as it
    must be against aliases, in whole grey levels. PSNR is that of the luma, Y of BT.601, in whole grey levels, without
    ``scale`` pixels at the border of the picture; a tool changes the luma alone, colours are bicubic.

    A window is a part of a picture, and what it gains counts for the picture: so hard windows are worth more calls than
    easy ones. ``info`` has, of the window, ``psnr_db``, ``gain_db``, ``behind_db``: how far it is behind the costly
    network on every patch, ``calls``: the share of the patches that got it, and ``cost``: the share of its cost
    everywhere; and ``net_gain_db``: what the actions earned a patch. An episode succeeds if it earns more than the
    costly network everywhere, with a picture that is not worse by 0.05 dB (were all its windows like this one). Tables
    have the PSNR of whole pictures.
    The expert knows every tool's error and takes what earns most at once, nearly the best plan, as patches do not
    depend on one another. In files of one's own, which are enlarged, the costly network runs only
    where it was chosen.

    Source: Yu et al. (2021), "Path-Restore: learning network path selection for image restoration", and Kong et al.
    (2021), "ClassSR: a general framework to accelerate super-resolution networks by data characteristic"; Shi et al.
    (2016) for the networks' last layer, Irani & Peleg (1991) for back-projection.
    """

    stop: bool = True
    """Adds a last action that ends the episode."""
    scale: Literal[2, 3, 4] = 3
    """How many times as wide and high the picture becomes."""
    start: Literal["bicubic", "back-projection", "espcn"] = "espcn"
    """What all patches are made by at first; "espcn" is the network of 3 layers."""
    tools: Sequence[str] = ("deep",)
    """Tools that the agent may use."""
    grid: Annotated[int, Interval(ge=2, le=12)] = 6
    """Patches g along each side of a window, in which an episode takes place."""
    patch: Annotated[int, Interval(ge=4, le=64)] = 8
    """Least side of a patch, pixels of the small picture."""
    budget_share: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """Budget of a window, as a share of what the costly network on every patch costs."""
    price: Annotated[float, Ge(0)] = 0.5
    """Price of a call of the costly network, decibels of a patch; cheaper tools cost their part of it."""
    cover: bool = False
    """True takes windows that cover each picture once, as evaluation does; False draws a place in each episode."""

    sample_type, embedded = ImageSample, "photographs"
    primary_metric = ("net_gain_db", True)
    evaluation: ClassVar[Mapping[str, Any]] = {"cover": True}

    def setup(self) -> None:
        self.offered = tuple(TOOLS.index(tool) for tool in self.tools if tool in TOOLS)
        if not self.tools or len(set(self.offered)) < len(self.tools):
            raise ValueError(f"tools must be some of {', '.join(TOOLS)}, each once, got {self.tools!r}")
        if tuple(self.tools) == (self.start,):
            raise ValueError(f"tools must have another one than start, {self.start!r}, got {self.tools!r}")
        self.samples = self.load()
        self.bank = enlarged_bank(self.samples, self.scale, self.patch, self.labelled)
        self.windows = [(k, corner) for k in range(len(self.samples)) for corner in self.corners(k)]
        self.covers = self.cover or not self.labelled
        self.items = len(self.windows) if self.covers else len(self.samples)
        self.cells = self.grid**2
        parts = list(zip(self.bank.first.tolist(), self.bank.shapes.prod(axis=1).tolist(), strict=True))
        at_first = self.bank.errors.array[:, TOOLS.index(self.start)]
        self.whole = DeviceTable(  # of each picture: squared errors at first, pixels that count, patches
            np.array(
                [(at_first[a : a + n].sum(), self.bank.pixels.array[a : a + n].sum(), n) for a, n in parts]
            )
        )
        shown = self.bank.about.array[:, [0, 2]]  # gradients and corrections
        self.typical = DeviceTable(np.stack([shown[a : a + n].mean(axis=0) for a, n in parts]))
        self.choose(len(self.offered) * self.cells, self.cells)
        self.dataset_metrics = (PictureQuality(self.sums),)
        self.show(candidates=Vector((self.operators + self.stop, FEATURES), -3, 3), context=Vector(3, -3, 3))

    def corners(self, image: int) -> list[tuple[int, int, int, int]]:
        """Windows that cover a picture once: first column and row, columns and rows; those in the middle come first."""
        rows, columns = (
            np.linspace(0, count, -(-count // self.grid) + 1).astype(int).tolist()
            for count in self.bank.shapes[image]
        )
        found = [
            (x, y, across - x, down - y) for y, down in pairwise(rows) for x, across in pairwise(columns)
        ]
        middle = columns[-1] / 2, rows[-1] / 2
        return sorted(found, key=lambda w: hypot(w[0] + w[2] / 2 - middle[0], w[1] + w[3] / 2 - middle[1]))

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        if self.covers:
            image, (x, y, wide, high) = self.windows[item]
        else:
            image, (rows, columns) = item, self.bank.shapes[item]
            high, wide = min(rows, self.grid), min(columns, self.grid)
            y, x = int(rng.integers(rows - high + 1)), int(rng.integers(columns - wide + 1))
        patches = np.full((self.grid, self.grid), len(self.bank.boxes))
        place = np.add.outer(np.arange(y, y + high) * self.bank.shapes[image][1], np.arange(x, x + wide))
        patches[:high, :wide] = self.bank.first[image] + place
        tools = np.full(self.cells, TOOLS.index(self.start))
        state = State(
            **self.fresh(image, np.nan),
            corner=np.array([x, y]),
            patches=patches.ravel(),
            tools=tools,
            spent=np.float64(0),
        )
        if self.labelled:
            wrong, pixels, _ = self.whole.array[image]
            state.quality[0] = psnr_of(wrong, pixels)
        return state

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def edit(self, state: State, operator: Array) -> State:
        xp, numbers = xp_of(operator), const(self.offered, state.tools)
        tool = xp.take(numbers, operator // self.cells)
        place = xp.arange(self.cells, device=operator.device)[None, :] == (operator % self.cells)[:, None]
        new = place & self.there(state) & (state.tools != tool[:, None])
        cost = xp.take(const(COSTS, state.spent), tool) * xp.astype(xp.any(new, axis=1), xp.float64)
        return replace(state, tools=xp.where(new, tool[:, None], state.tools), spent=state.spent + cost)

    def there(self, state: State) -> Array:
        """(B, g * g) bool, where the picture has a patch."""
        return state.patches < len(self.bank.boxes)

    def count(self, state: State) -> Array:
        """(B,) float64, patches of the window."""
        xp = xp_of(state.patches)
        return xp.sum(xp.astype(self.there(state), xp.float64), axis=1)

    def measure(self, state: State) -> Array:
        return self.picture_psnr(state, self.wrong_by(state.patches, state.tools))

    def picture_psnr(self, state: State, wrong: Array) -> Array:
        """(B, ...) float64, PSNR of the pictures whose windows have sums of squared errors (B, ...)."""
        xp = xp_of(wrong)
        whole = self.whole.rows(state.image)
        at_first = self.wrong_by(state.patches, xp.full_like(state.tools, TOOLS.index(self.start)))
        beyond, pixels = whole[:, 0] - at_first, whole[:, 1]
        shape = (-1, *[1] * (wrong.ndim - 1))
        return psnr_of(xp.reshape(beyond, shape) + wrong, xp.reshape(pixels, shape) + 0 * wrong)

    def wrong_by(self, patches: Array, tools: Array) -> Array:
        """(B,) float64, squared errors of windows whose patches are made by some tools."""
        xp, errors = xp_of(tools), self.rows(self.bank.errors, patches)
        return xp.sum(errors * xp.astype(one_hot(tools, len(TOOLS)), xp.float64), axis=(1, 2))

    def rows(self, table: Any, patches: Array) -> Array:
        """Rows (B, g * g, ...) of a table of the bank."""
        found = table.rows(xp_of(patches).reshape(patches, (-1,)))
        return xp_of(patches).reshape(found, (*patches.shape, *found.shape[1:]))

    def step(self, state: State, action: Array) -> State:
        after = super().step(state, action)
        over = after.spent > self.allowed(state) - 1e-9
        if not self.stop:
            over = over | ~xp_of(over).any(self.action_mask(after), axis=1)
        return replace(after, finished=after.finished | over)

    def allowed(self, state: State) -> Array:
        """(B,) float64, the budget in calls of the costly tool."""
        return self.budget_share * self.count(state)

    def action_mask(self, state: State) -> Array:
        xp = xp_of(state.tools)
        free = [self.there(state) & (state.tools != tool) for tool in self.offered]
        free.append(xp.ones_like(free[0][:, :1]))
        return xp.concat(free, axis=1)[:, : self.operators + self.stop]

    def observe(self, state: State) -> dict[str, Array]:
        xp, about = xp_of(state.tools), self.rows(self.bank.about, state.patches)
        there = xp.astype(self.there(state), xp.float32)[..., None]
        own, costs = one_hot(state.tools, len(TOOLS)) * there, const(COSTS, about)
        rows = []
        for number in self.offered:
            tool = one_hot(xp.full_like(state.tools, number), len(TOOLS)) * there
            rows.append(xp.concat([about, tool, own, there * costs[number], there, 0 * there], axis=-1))
        end = xp.concat([0 * rows[0][:, :1, :-1], 0 * there[:, :1, :] + 1], axis=-1)
        candidates = xp.concat([*rows, end], axis=1)[:, : self.operators + self.stop, :]
        spent = xp.astype(state.spent / self.allowed(state), xp.float32)[:, None]
        context = xp.concat([spent, self.typical.rows(state.image)], axis=1)
        return self.seen(candidates=xp.clip(candidates, -3.0, 3.0), context=xp.clip(context, -3.0, 3.0))

    def reward(self, before: State, action: Array, after: State) -> Array:
        gain = super().reward(before, action, after) * self.whole.rows(before.image)[:, 2]
        return gain - self.price * (after.spent - before.spent)

    def metrics(self, state: State) -> dict[str, Array]:
        xp, count, patches = xp_of(state.quality), self.count(state), self.whole.rows(state.image)[:, 2]
        first, deep = (xp.full_like(state.tools, tool) for tool in (TOOLS.index(self.start), DEEP))
        wrong = [self.wrong_by(state.patches, tools) for tools in (first, state.tools, deep)]
        pixels = xp.sum(self.rows(self.bank.pixels, state.patches), axis=1)
        before, now, best = (psnr_of(some, pixels) for some in wrong)
        dear = xp.astype((state.tools == DEEP) & self.there(state), xp.float64)
        gains = [
            (self.picture_psnr(state, some) - state.quality[:, 0]) * patches / count for some in wrong[1:]
        ]
        net, cost = gains[0] - self.price * state.spent / count, COSTS[DEEP] * self.price
        return {
            "psnr_db": now,
            "gain_db": now - before,
            "behind_db": best - now,
            "calls": xp.sum(dear, axis=1) / count,
            "cost": state.spent / count,
            "net_gain_db": net,
            "is_success": (gains[0] >= gains[1] - NEAR_DB) & (net > gains[1] - cost),
        }

    def gains(self, state: State) -> Array:
        """(B, n) float64, what each action earns at once; of what may not be done, nothing."""
        xp, errors = xp_of(state.tools), self.rows(self.bank.errors, state.patches)
        now = xp.sum(errors * xp.astype(one_hot(state.tools, len(TOOLS)), xp.float64), axis=2)
        total, costs, patches = xp.sum(now, axis=1), const(COSTS, now), self.whole.rows(state.image)[:, 2:]
        quality = self.picture_psnr(state, total)[:, None]
        found = []
        for number in self.offered:
            gain = self.picture_psnr(state, total[:, None] - now + errors[:, :, number]) - quality
            changes = self.there(state) & (state.tools != number)
            earned = patches * gain - self.price * costs[number]
            found.append(xp.where(changes, earned, xp.zeros_like(earned)))
        found.append(xp.zeros_like(found[0][:, :1]))
        return xp.concat(found, axis=1)[:, : self.operators + self.stop]

    def expert(self, state: State) -> Array:
        xp, gains = xp_of(state.tools), self.gains(state)
        gains = xp.where(self.action_mask(state), gains, xp.full_like(gains, -xp.inf))
        return xp.argmax(gains, axis=1)

    def good_actions(self, state: State) -> Array:
        gains = self.gains(state)
        return (gains > 0) | (one_hot(self.expert(state), self.operators + self.stop) > 0)

    def action_weights(self, state: State) -> Array:
        xp, gains = xp_of(state.tools), self.gains(state)
        best = xp.max(gains, axis=1)[:, None]
        good = xp.where(gains > 0, gains, xp.zeros_like(gains)) / xp.where(best > 0, best, xp.ones_like(best))
        return good**2 + xp.astype(one_hot(self.expert(state), self.operators + self.stop), xp.float64)

    # -- edge ------------------------------------------------------------------------------------------------------
    def sums(self, ends: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The picture of each of N last states, its squared errors and the pixels that count, (N,) each."""
        errors = self.bank.errors.array[ends.patches]
        wrong = np.take_along_axis(errors, ends.tools[..., None], axis=2).sum(axis=(1, 2))
        return ends.image, wrong, self.bank.pixels.array[ends.patches].sum(axis=1)

    def result(self, state: State) -> Picture:
        high, wide = self.bank.enlargement(int(state.image)).shape
        return Picture((wide, high), tuple(self.tiles(state)), "enlarged")

    def tiles(self, state: State) -> list[Tile]:
        """The patches of a window, each by its tool."""
        one, found = self.bank.enlargement(int(state.image)), []
        for number, tool in zip(state.patches.tolist(), state.tools.tolist(), strict=True):
            if number < len(self.bank.boxes):
                x0, y0, x1, y1 = self.bank.boxes[number].tolist()
                pixels = one.coloured(TOOLS[tool], slice(y0, y1), slice(x0, x1))
                found.append(Tile(pixels, (x0, y0), (TOOLS[tool],)))
        return found

    def draw(self, state: State) -> np.ndarray:
        tiles, origin = self.tiles(state), self.bank.boxes[state.patches[0]][:2]
        wide, high = np.max([np.add(tile.corner, tile.image.shape[:0:-1]) for tile in tiles], axis=0) - origin
        pixels = np.zeros((len(tiles[0].image), high, wide), np.uint8)
        marks = np.zeros((3, high, wide), np.uint8)
        for tile in tiles:
            (x, y), (down, across) = np.subtract(tile.corner, origin), tile.image.shape[1:]
            pixels[:, y : y + down, x : x + across] = tile.image
            shade = np.array(SHADES[TOOLS.index(tile.operators[0])], np.uint8)
            marks[:, y : y + down - 1, x : x + across - 1] = shade[:, None, None]
        made, chosen = Canvas(pixels), Canvas(marks)
        count = (state.patches < len(self.bank.boxes)).sum()
        decibels = f": picture {state.quality[int(state.steps)]:.2f} dB" if self.labelled else ""
        made.text(f"enlarged {self.scale} times{decibels}")
        chosen.text(f"red: deep, yellow: shallow; cost {float(state.spent) / count:.2f}")
        return np.concatenate([made.pixels, chosen.pixels], axis=1)
