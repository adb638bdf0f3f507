"""Refinement of a rough mask between the clicks of a user: regions or pixels raise or lower their probability."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Gt, Interval
from gymnasium import spaces

from visionrl.banks.masks import mask_bank
from visionrl.banks.patches import shared
from visionrl.banks.superpixels import superpixels
from visionrl.core import arguments, batch, register
from visionrl.core.observables import Image, Vector
from visionrl.envs.edit import EditState
from visionrl.envs.segmentation.mask_edit import LARGEST, NEAR, MaskEdit
from visionrl.envs.segmentation.mask_features import as_bytes, likelihood, resemblance
from visionrl.envs.segmentation.rough import roughened, signed_distances, soft, with_rough_mask
from visionrl.envs.segmentation.user import signed_points
from visionrl.metrics.segmentation import OutlineScores, RoundScores
from visionrl.ops import Array, DeviceTable, const, xp_of
from visionrl.ops.masks import depth, iou
from visionrl.ops.regions import region_means

DELTAS = (0.0, -0.4, -0.2, -0.1, 0.1, 0.2, 0.4)  # of a probability, by each action
NUMBERS = 19  # that describe a region
REACH = 5.0  # pixels of 64, over which a click's hint falls to 1 / e
SMALLEST = 0.01  # probability of the truth, in the cross-entropy


@dataclass(frozen=True)
class State(EditState):
    """A mask that is refined; B episodes of R rounds. ``quality`` is the Dice.

    Attributes:
        likely: (B, S, S) float64, probability of the object.
        places: (B, R) int64, numbers of the pixels that the user clicked on, in order; -1 for none.
        signs: (B, R) int64, 1 on the object, -1 beside it.
    """

    likely: Array
    places: Array
    signs: Array


@register(
    "Refinement-v0",
    max_steps=None,
    tags=("segmentation", "2d", "interactive", "multi-agent"),
    presets={"liao2020": {"level": "pixels"}},
    expert_success_rate=0.8,
)
@arguments
class Refinement(MaskEdit[State]):
    """A rough mask is refined in rounds: a user clicks where it is wrong, then every region changes its probability.

    | Item        | Value |
    |-------------|-------|
    | Observation | level "regions": ``regions`` (19, g, g) uint8: of each region the probability and how sure it is, the intensity and how it resembles the object, clicks in it and near it, how it resembles what was clicked on, the same of its neighbours, its place and size. Level "pixels": ``image`` (C, S, S), ``likely`` (1, S, S), ``hints`` (2, S, S): nearness to clicks on the object and beside it, ``alike`` (1, S, S): how the colours resemble the object, all uint8. Both: ``step`` (1,): share of the rounds |
    | Action      | MultiDiscrete, one of 7 for each of g x g regions or S x S pixels; see below |
    | Reward      | gain of the cross-entropy, a map of the regions' or pixels'; the reward is its mean |
    | Ends        | after ``rounds`` rounds, or with a Dice of ``until`` |

    | Action | Meaning |
    |--------|---------|
    | 0 | keep the probability |
    | 1, 2, 3 | lower it, in all pixels of a region, by 0.4, 0.2, 0.1 |
    | 4, 5, 6 | raise it by 0.1, 0.2, 0.4 |

    Regions are g x g superpixels of a compact watershed, g being ``lattice``. In training the rough mask is the true
    one, shifted, too large or too small, with a wavy outline (``roughness``), drawn in each episode; the user is the
    robot of interactive segmentation, who clicks in the middle of the largest wrong region of what the mask is now,
    before each round. ``info`` has ``dice``, ``gain`` (of the Dice, since the start), ``iou`` and ``is_success``, a
    Dice of 0.8 or more; tables have ``dice_1``, ``dice_2``, ... after each round, boundary F, HD95 and ASSD as well.

    In files, the rough mask is the sample's mask, each of its labels an object; without one, the ellipse in its box, or
    in the middle of the image. Clicks are its ``points`` whose names begin with "+" or "-", one a round in their order.
    The expert knows the truth and moves each region or pixel towards it, the best that can be done.

    Source: Liao et al. (2020), "Iteratively-refined interactive 3D medical image segmentation with multi-agent
    reinforcement learning", where every voxel is an agent; Neubert & Protzel (2014) for the superpixels.
    """

    level: Literal["regions", "pixels"] = "regions"
    """What acts: superpixels, or every pixel."""
    size: Annotated[int, Interval(ge=16, le=256)] = 64
    """Side S of the square that images are resized to, pixels."""
    lattice: Annotated[int, Interval(ge=2, le=16)] = 8
    """Superpixels g along each side."""
    rounds: Annotated[int, Interval(ge=1, le=20)] = 5
    """Rounds, each a click and then an action of all."""
    until: Annotated[float, Interval(gt=0, le=1)] | None = 0.95
    """Dice from which an episode ends by itself; None never."""
    roughness: Annotated[float, Gt(0)] = 1.0
    """Strength of what is wrong with the rough masks."""
    smallest: Annotated[float, Interval(ge=0, lt=1)] = 0.03
    """Objects that fill less of the image are left out, as are those that fill more than 0.9 of it."""
    channels: Literal[1, 3] | None = None
    """1 shows all images grey, 3 in RGB; None is RGB if an image of the split is."""

    stop: bool = field(init=False, default=False)
    primary_metric = ("dice", True)
    success: ClassVar[float] = 0.8

    def setup(self) -> None:
        if self.size < 2 * self.lattice:
            raise ValueError(f"size must be >= 2 * lattice, {2 * self.lattice}, got {self.size}")
        self.samples = self.load(classes=None)
        if self.labelled:
            samples, share = self.samples, (self.smallest, LARGEST)
        else:
            samples, share = tuple(map(with_rough_mask, self.samples)), (0.0, 1.0)
        self.use(mask_bank(samples, self.size, self.classes, share, self.channels))
        self.parts = superpixels(self.bank, self.lattice)
        self.count = self.parts.count
        self.distances = shared(signed_distances, [self.bank.truth.array], self.bank)
        places, signs = np.full((2, self.items, self.rounds), -1)
        if not self.labelled:
            for item in range(self.items):
                for k, (place, sign) in enumerate(self.clicks_of(item)):
                    places[item, k], signs[item, k] = place, sign
        self.given = DeviceTable(places), DeviceTable(signs)
        self.grid = DeviceTable(np.indices((self.size, self.size)).reshape(2, -1).astype(np.float64))
        self.pixels = (self.lattice,) * 2 if self.level == "regions" else (self.size,) * 2
        space = spaces.MultiDiscrete(np.full(self.pixels, len(DELTAS)))
        self.choose(len(DELTAS), self.rounds, space)
        self.dataset_metrics = (OutlineScores(self.file_masks, NEAR), RoundScores(self.scores, "dice"))
        by_pixels = self.level == "pixels"
        maps = {"image": self.bank.channels, "likely": 1, "hints": 2, "alike": 1}
        self.show(
            regions=None if by_pixels else Image(NUMBERS, self.lattice),
            **{name: Image(channels, self.size) if by_pixels else None for name, channels in maps.items()},
            step=Vector(1, 0.0),
        )

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        known, distance = self.bank.known(np.array([item]))[0], self.distances.array[item]
        rough = roughened(distance, self.roughness, rng) if self.labelled else soft(distance)
        places, signs = np.full((2, self.rounds), -1)
        one = State(**self.fresh(item, np.nan), likely=rough * known, places=places, signs=signs)
        state = self.clicked(batch.stack([one]))
        if self.labelled:
            state.quality[0, 0] = self.measure(state)[0]
        return batch.take(state, 0)

    def clicks_of(self, item: int) -> list[tuple[int, int]]:
        """The pixels and signs of the clicks of a sample without labels, R at most."""
        sample, factor = self.samples[self.bank.items[item][0]], self.bank.factor(item)
        found = []
        for at, sign in signed_points(sample)[: self.rounds]:
            x, y = np.clip((at / factor).astype(int), 0, self.size - 1)
            found.append((int(y * self.size + x), sign))
        return found

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def mask(self, state: State) -> Array:
        """(B, S, S) bool, the mask now."""
        return (state.likely > 0.5) & self.bank.known(state.image)

    def measure(self, state: State) -> Array:
        overlap = iou(self.mask(state), self.bank.truth.rows(state.image))
        return 2 * overlap / (1 + overlap)

    def clicked(self, state: State) -> State:
        """The state with the click of the round that begins, where one does."""
        xp = xp_of(state.places)
        slot = xp.arange(self.rounds, device=state.places.device)[None, :] == state.steps[:, None]
        place, sign = self.robot(state) if self.labelled else self.user(state)
        return replace(
            state,
            places=xp.where(slot, place[:, None], state.places),
            signs=xp.where(slot, sign[:, None], state.signs),
        )

    def robot(self, state: State) -> tuple[Array, Array]:
        """(B,) pixel in the middle of the largest wrong region, -1 where there is none, and (B,) sign of the click."""
        xp, mask = xp_of(state.places), self.mask(state)
        truth, known = self.bank.truth.rows(state.image), self.bank.known(state.image)
        missed, extra = depth(truth & ~mask), depth(mask & ~truth & known)
        deep = xp.reshape(xp.maximum(missed, extra), (-1, self.size**2))
        place = xp.argmax(deep, axis=1)
        inside = xp.take_along_axis(xp.reshape(truth, (-1, self.size**2)), place[:, None], axis=1)[:, 0]
        none, one = xp.full_like(place, -1), xp.ones_like(place)
        return xp.where(xp.max(deep, axis=1) > 0, place, none), xp.where(inside, one, -one)

    def user(self, state: State) -> tuple[Array, Array]:
        """The clicks that the samples come with, as of ``robot``."""
        xp = xp_of(state.places)
        last = xp.minimum(state.steps, xp.full_like(state.steps, self.rounds - 1))[:, None]
        tables = (table.rows(state.image) for table in self.given)
        place, sign = (xp.take_along_axis(table, last, axis=1)[:, 0] for table in tables)
        return place, sign

    def changed(self, state: State, action: Array) -> Array:
        """(B, S, S) float64, the probabilities after an action of all regions or pixels."""
        xp = xp_of(state.likely)
        delta = xp.reshape(
            xp.take(const(DELTAS, state.likely), xp.reshape(action, (-1,))), (action.shape[0], -1)
        )
        if self.level == "regions":
            delta = xp.take_along_axis(delta, self.labels(state), axis=1)
        found = xp.clip(state.likely + xp.reshape(delta, state.likely.shape), 0.0, 1.0)
        return found * xp.astype(self.bank.known(state.image), found.dtype)

    def labels(self, state: State) -> Array:
        """(B, S * S) int64, the region of each pixel."""
        return self.parts.labels.rows(self.bank.square.rows(state.image))

    def edit(self, state: State, operator: Array) -> State:
        return replace(state, likely=self.changed(state, operator))

    def advance(self, state: State, changed: Array) -> State:
        return self.clicked(super().advance(state, changed))

    def cross_entropy(self, state: State, likely: Array) -> Array:
        """(B, M, H, W) float64, cross-entropies of M maps of probabilities (B, M, S, S), of the pixels or the regions."""
        xp = xp_of(likely)
        truth, known = self.bank.truth.rows(state.image), self.bank.known(state.image)
        right = xp.where(truth[:, None, ...], likely, 1 - likely)
        wrong = -xp.log(xp.clip(right, SMALLEST, 1.0)) * xp.astype(known, likely.dtype)[:, None, ...]
        if self.level == "pixels":
            return wrong
        flat = xp.reshape(wrong, (*likely.shape[:2], self.size**2))
        return xp.reshape(
            region_means(flat, self.labels(state), self.count), (*likely.shape[:2], *self.pixels)
        )

    def reward_map(self, before: State, action: Array, after: State) -> Array:
        both = xp_of(before.likely).stack([before.likely, after.likely], axis=1)
        wrong = self.cross_entropy(before, both)
        return wrong[:, 0, ...] - wrong[:, 1, ...]

    def reward(self, before: State, action: Array, after: State) -> Array:
        return xp_of(before.likely).mean(self.reward_map(before, action, after), axis=(1, 2))

    def gain_maps(self, state: State) -> Array:
        xp, shape = xp_of(state.likely), (state.likely.shape[0], *self.pixels)
        device = state.likely.device
        every = [self.changed(state, xp.full(shape, k, device=device)) for k in range(len(DELTAS))]
        wrong = self.cross_entropy(state, xp.stack([state.likely, *every], axis=1))
        return xp.astype(wrong[:, :1, ...] - wrong[:, 1:, ...], xp.float32)

    def metrics(self, state: State) -> dict[str, Array]:
        dice = self.latest(state)
        return {
            "dice": dice,
            "gain": dice - state.quality[:, 0],
            "iou": dice / (2 - dice),
            "is_success": dice >= self.success,
        }

    def expert(self, state: State) -> Array:
        return xp_of(state.likely).argmax(self.gain_maps(state), axis=1)

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.likely)
        step = xp.astype(state.steps, xp.float32)[:, None] / self.rounds
        if self.level == "regions":
            return self.seen(regions=as_bytes(self.described(state)), step=step)
        image = self.bank.image(state.image)
        fit = likelihood(xp.astype(image, xp.float32) / 255, self.mask(state))
        return self.seen(
            image=image + 0,
            likely=as_bytes(2 * state.likely - 1),
            hints=as_bytes(2 * self.hints(state) - 1),
            alike=as_bytes(fit),
            step=step,
        )

    def hints(self, state: State) -> Array:
        """(B, 2, S * S) float64 in [0, 1], how near a pixel is to a click on the object, and to one beside it."""
        xp, grid = xp_of(state.likely), self.grid.on(state.likely)
        at = xp.clip(state.places, 0, self.size**2 - 1)
        rows, columns = (xp.astype(some, xp.float64)[..., None] for some in (at // self.size, at % self.size))
        far = xp.sqrt((grid[0, ...] - rows) ** 2 + (grid[1, ...] - columns) ** 2)
        near = xp.exp(-far / (REACH * self.size / 64))
        kinds = [(state.places >= 0) & (state.signs == sign) for sign in (1, -1)]
        return xp.stack(
            [xp.max(near * xp.astype(kind, xp.float64)[..., None], axis=1) for kind in kinds], axis=1
        )

    def described(self, state: State) -> Array:
        """(B, NUMBERS, K) float64, what is known of each region, about in [-1, 1]."""
        xp, labels, square = xp_of(state.likely), self.labels(state), self.bank.square.rows(state.image)
        image = xp.astype(self.bank.image(state.image), xp.float32) / 255
        flat = (state.likely.shape[0], 1, self.size**2)
        likely = xp.reshape(state.likely, flat)
        grey = xp.reshape(xp.astype(xp.mean(image, axis=1), xp.float64), flat)
        fit = xp.reshape(xp.astype(likelihood(image, self.mask(state)), xp.float64), flat)
        maps = xp.concat([likely, likely * (1 - likely), grey, fit, self.hints(state)], axis=1)
        means = region_means(maps, labels, self.count)  # (B, 6, K)
        clicks, alike = resemblance(state.places, state.signs, labels, means[:, 2, :])
        own = xp.concat([means[:, :1, :], means[:, 3:4, :], clicks, alike], axis=1)
        beside = own @ xp.matrix_transpose(self.parts.neighbours.rows(square))
        place = xp.matrix_transpose(self.parts.about.rows(square))
        signed = [2 * means[:, :1, :] - 1, 8 * means[:, 1:2, :] - 1, 2 * means[:, 2:3, :] - 1]
        rest = [means[:, 3:, :], clicks, alike, beside, place[:, :2, :], place[:, 2:, :] - 1]
        return xp.concat([*signed, *rest], axis=1)

    # -- edge ------------------------------------------------------------------------------------------------------
    def marks(self, state: State) -> list[tuple[int, int]]:
        both = zip(state.places.tolist(), state.signs.tolist(), strict=True)
        return [(place, sign) for place, sign in both if place >= 0]

    def caption(self, state: State) -> str:
        score = f", Dice {state.quality[int(state.steps)]:.2f}" if self.labelled else ""
        return f"round {int(state.steps)}{score}"
