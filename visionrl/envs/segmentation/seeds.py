"""Segmentation by seeds: the agent labels single pixels, a segmenter fills in the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import cv2
import numpy as np
from annotated_types import Gt, Interval

from visionrl.banks.masks import mask_bank
from visionrl.core import arguments, register
from visionrl.core.observables import Image, Vector
from visionrl.envs.edit import EditState
from visionrl.envs.segmentation.mask_edit import LARGEST, NEAR, MaskEdit
from visionrl.envs.segmentation.segmenters import SEGMENTERS, cell_pixels
from visionrl.envs.segmentation.user import first_clicks, given_clicks
from visionrl.metrics.segmentation import Clicks, OutlineScores
from visionrl.ops import Array, DeviceTable, one_hot, xp_of
from visionrl.ops.masks import depth, iou

STEEPNESS = 5.0  # k of the exponential reward (Song et al., 2018)
STRONG = 2  # cells from the object's edge: beyond, a label is known for certain
FAR = 0.7 * 255  # root mean square difference of two colours from which on they are not alike
SHOWN_RADIUS = 1.6  # of a seed in the observation, in 64ths of the side


@dataclass(frozen=True)
class State(EditState):
    """Seeds and the mask they make; B episodes.

    Attributes:
        cells: (B, K) int64, cells of the seeds in order, the first clicks first; -1 for none.
        signs: (B, K) int64, 1 on the object, -1 beside it.
        mask: (B, S, S) bool.
    """

    cells: Array
    signs: Array
    mask: Array


@register(
    "Segmentation-v0",
    max_steps=None,
    tags=("segmentation", "2d", "discrete", "interactive"),
    presets={
        "song2018": {"grid": 20, "seeds": 10, "beta": 90.0, "reward_type": "exponential", "strict": True},
        "user": {"first_clicks": 0, "stop": True, "until": 0.9, "seeds": 20},
        "similarity": {"similarity": True},
    },
    expert_success_rate=0.8,
)
@arguments
class Segmentation(MaskEdit[State]):
    """The agent places seeds, single pixels labelled "object" or "background"; a segmenter makes a mask of them.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``image`` (C, S, S) uint8; ``mask`` (1, S, S) uint8: 255 in the mask of the seeds so far; ``seeds`` (2, S, S) uint8: discs at the seeds on the object, and at those beside it; with ``similarity``, ``similarity`` (2, S, S) uint8: how alike each colour is to the nearest of theirs; ``step`` (1,): share of the seeds that are placed |
    | Action      | Discrete(2 * g * g), one more with ``stop``; see below |
    | Reward      | gain of the IoU with the object, or of (exp(5 IoU) - 1) / (exp(5) - 1); with ``strict``, -1 for a wrong label more than two cells inside or outside the object |
    | Ends        | after ``seeds`` seeds, at the action that stops, at an IoU of ``until`` |

    | Action | Meaning |
    |--------|---------|
    | the first g * g numbers | a seed on the object, in a cell of the grid, row by row |
    | the next g * g numbers | a seed beside the object, likewise |
    | the last number, with ``stop`` | stop |

    A user has clicked before: in the middle of the object, and far from it. A seed in a cell that has one, or beyond
    the image, changes nothing. ``info`` has ``iou``, ``dice``, ``seeds``, ``wrong_labels`` and ``is_success``, an IoU
    of 0.7 or more; tables have boundary F, HD95, ASSD and the numbers of clicks to an IoU of .85 and .90 as well. A
    label of a mask is one object, also where it is in several parts.

    Images are resized to a square of side S. The expert is the robot user of interactive segmentation: it clicks in
    the middle of the largest wrong region. It is no upper bound: a seed can gain more elsewhere. In files without
    labels, the clicks are the ``points`` of a sample whose names begin with "+" or "-"; without any, the middle of its
    box or of the image is taken for the object.

    Source: Song et al. (2018), "SeedNet: automatic seed generation with deep reinforcement learning for robust
    interactive segmentation", whose state leaves the seeds out; Grady (2006) for the random walker.
    """

    size: Annotated[int, Interval(ge=16, le=256)] = 64
    """Side S of the square that images are resized to, pixels."""
    grid: Annotated[int, Interval(ge=4, le=64)] = 20
    """Cells g along each side, at most S."""
    seeds: Annotated[int, Interval(ge=1, le=64)] = 10
    """Seeds that the agent places at most."""
    until: Annotated[float, Interval(gt=0, le=1)] | None = None
    """IoU from which an episode ends by itself; None never."""
    first_clicks: Literal[0, 1, 2] = 2
    """Clicks of the user: none, one on the object, or another beside it."""
    segmenter: Literal["random_walker", "grabcut", "watershed"] = "random_walker"
    """What makes a mask of seeds; only the random walker runs on torch, and 64 rows of it are fast."""
    beta: Annotated[float, Gt(0)] = 90.0
    """How much a difference of colours parts two pixels, for the random walker."""
    reward_type: Literal["gain", "exponential"] = "gain"
    """Gain of the IoU, or of an exponential of it, for which the last points count most."""
    strict: bool = False
    """Punish labels that are wrong for certain by -1."""
    smallest: Annotated[float, Interval(ge=0, lt=1)] = 0.03
    """Objects that fill less of the image are left out, as are those that fill more than 0.9 of it."""
    similarity: bool = False
    """Show how alike each pixel's colour is to those of the seeds on the object, and of those beside it."""
    channels: Literal[1, 3] | None = None
    """1 shows all images grey, 3 in RGB; None is RGB if an image of the split is."""

    primary_metric = ("iou", True)
    success: ClassVar[float] = 0.7
    by_hand: ClassVar[dict[str, Any]] = {"first_clicks": 0, "seeds": 64}

    def setup(self) -> None:
        if self.size < self.grid:
            raise ValueError(f"size must be >= grid, {self.grid}, got {self.size}")
        self.samples = self.load(classes=None)
        share = self.smallest, LARGEST
        self.use(mask_bank(self.samples, self.size, self.classes, share, self.channels, self.labelled))
        self.pixels = cell_pixels(self.size, self.grid)
        self.centres = DeviceTable(self.pixels)
        self.segment = SEGMENTERS[self.segmenter](self.bank, self.grid, self.beta)
        if self.segmenter != "random_walker":
            self.backends = ("numpy",)  # type: ignore[misc]
        self._place_clicks()
        self._first: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray, float]] = {}  # of items begun before
        self.choose(2 * self.grid**2, self.seeds)
        self.dataset_metrics = (OutlineScores(self.file_masks, NEAR), Clicks(self.scores, self.first_clicks))
        self.show(
            image=Image(self.bank.channels, self.size),
            mask=Image(1, self.size),
            seeds=Image(2, self.size),
            similarity=Image(2, self.size) if self.similarity else None,
            step=Vector(1, 0.0),
        )

    def _place_clicks(self) -> None:
        """The user's clicks of each item, and what is known of the cells."""
        items = range(self.items)
        if self.labelled:
            clicks = [first_clicks(self.bank, k, self.pixels)[: self.first_clicks] for k in items]
        else:
            clicks = [given_clicks(self.bank, self.samples, k, self.grid, self.first_clicks) for k in items]
        self.clicks, self.given = clicks, max(map(len, clicks), default=0)
        truth = self.bank.truth.array.reshape(self.items, -1)[:, self.pixels]
        inside = depth(self.bank.truth.array).reshape(self.items, -1)[:, self.pixels]
        away = [cv2.distanceTransform((~t).astype(np.uint8), cv2.DIST_L1, 3) for t in self.bank.truth.array]
        outside = np.stack(away).reshape(self.items, -1)[:, self.pixels]  # beyond the picture lies no object
        strong = STRONG * self.size / self.grid
        valid = self.bank.valid.array[self.bank.square.array].reshape(self.items, -1)[:, self.pixels]
        self.on_object, self.open_cells = DeviceTable(truth), DeviceTable(valid)
        self.certain = DeviceTable((inside > strong) | (outside > strong))
        row, column = np.divmod(np.arange(self.size**2), self.size)
        centres = np.stack(np.divmod(self.pixels, self.size), axis=1)
        gaps = np.hypot(*(np.stack([row, column], axis=1)[:, None] - centres[None]).transpose(2, 0, 1))
        near = gaps.min(axis=1) <= SHOWN_RADIUS * self.size / 64
        self.disc_of = DeviceTable(np.where(near, gaps.argmin(axis=1), len(self.pixels)))

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        if item not in self._first:
            cells, signs = np.full((2, self.given + self.seeds), -1)
            for k, (cell, sign) in enumerate(self.clicks[item]):
                cells[k], signs[k] = cell, sign
            mask = self.segment(np.array([item]), cells[None], signs[None])
            overlap = iou(mask, self.bank.truth.array[item, None])[0] if self.labelled else 0.0
            self._first[item] = cells, signs, mask[0], float(overlap)
        cells, signs, mask, overlap = self._first[item]
        return State(**self.fresh(item, overlap), cells=cells + 0, signs=signs + 0, mask=mask.copy())

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def edit(self, state: State, operator: Array) -> State:
        xp, count = xp_of(operator), self.grid**2
        cell, sign = operator % count, 1 - 2 * xp.astype(operator >= count, xp.int64)
        may = xp.take_along_axis(self._free(state), cell[:, None], axis=1)
        slot = (
            xp.arange(state.cells.shape[1], device=operator.device)[None, :]
            == (self.given + state.steps)[:, None]
        )
        new = slot & may
        cells = xp.where(new, cell[:, None], state.cells)
        signs = xp.where(new, sign[:, None], state.signs)
        return replace(state, cells=cells, signs=signs, mask=self.segment(state.image, cells, signs))

    def mask(self, state: State) -> Array:
        return state.mask

    def measure(self, state: State) -> Array:
        return iou(state.mask, self.bank.truth.rows(state.image))

    def potential(self, quality: Array) -> Array:
        if self.reward_type == "gain":
            return quality
        return (xp_of(quality).exp(STEEPNESS * quality) - 1) / (math.exp(STEEPNESS) - 1)

    def reward(self, before: State, action: Array, after: State) -> Array:
        gain = super().reward(before, action, after)
        if not self.strict:
            return gain
        xp, count = xp_of(gain), self.grid**2
        cell = xp.clip(action, 0, 2 * count - 1) % count
        inside, certain = (
            xp.take_along_axis(table.rows(before.image), cell[:, None], axis=1)[:, 0]
            for table in (self.on_object, self.certain)
        )
        wrong = certain & (inside == (action >= count)) & (action < 2 * count)
        return gain - xp.astype(wrong, gain.dtype)

    def _free(self, state: State) -> Array:
        """(B, g * g) bool, cells of the image without a seed."""
        xp = xp_of(state.cells)
        taken = xp.any(one_hot(state.cells, self.grid**2) > 0, axis=1)
        return self.open_cells.rows(state.image) & ~taken

    def action_mask(self, state: State) -> Array:
        xp, free = xp_of(state.cells), self._free(state)
        if self.stop:
            return xp.concat([free, free, xp.ones_like(free[:, :1])], axis=1)
        free = free | ~xp.any(free, axis=1)[:, None]  # where none is left, all are as useless
        return xp.concat([free, free], axis=1)

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.mask)
        marks = xp.astype(state.signs, xp.float32)[:, None, :] @ one_hot(state.cells, self.grid**2)
        marks = xp.concat([marks[:, 0, :], xp.zeros_like(marks[:, 0, :1])], axis=1)
        discs = xp.take(marks, self.disc_of.on(state.image), axis=1)
        shown = xp.stack([discs > 0, discs < 0], axis=1)
        image = self.bank.image(state.image)
        alike = self._similarity(image, state) if self.similarity else None
        return self.seen(
            image=image,
            mask=xp.astype(state.mask, xp.uint8) * 255,
            seeds=xp.astype(shown, xp.uint8) * 255,
            similarity=alike,
            step=xp.astype(state.steps, xp.float32)[:, None] / self.budget,
        )

    def _similarity(self, image: Array, state: State) -> Array:
        """(B, 2, S, S) uint8: 255 where a colour is that of a seed of the kind, 0 from ``FAR`` on and without a seed."""
        xp, kinds = xp_of(state.mask), []
        flat = xp.astype(
            xp.reshape(image, (*image.shape[:2], -1)), xp.float32
        )  # sums of whole numbers are exact
        used = state.cells >= 0
        cells = xp.reshape(xp.where(used, state.cells, xp.zeros_like(state.cells)), (-1,))
        at = xp.reshape(xp.take(self.centres.on(cells), cells, axis=0), (flat.shape[0], 1, -1))
        theirs = xp.take_along_axis(flat, xp.broadcast_to(at, (*flat.shape[:2], at.shape[2])), axis=2)
        squares = xp.sum(flat**2, axis=1)[:, None, :] + xp.sum(theirs**2, axis=1)[:, :, None]
        gaps = squares - 2 * xp.matmul(xp.matrix_transpose(theirs), flat)
        for sign in (1, -1):
            kind = used & (state.signs == sign)
            nearest = xp.min(xp.where(kind[:, :, None], gaps, xp.full_like(gaps, float("inf"))), axis=1)
            off = xp.sqrt(xp.clip(nearest, 0, flat.shape[1] * FAR**2) / flat.shape[1])  # root mean square
            kinds.append(xp.astype(xp.round(255 * (1 - off / FAR)), xp.uint8))
        return xp.reshape(xp.stack(kinds, axis=1), (-1, 2, self.size, self.size))

    def metrics(self, state: State) -> dict[str, Array]:
        xp, quality = xp_of(state.quality), self.latest(state)
        cells = state.cells[:, self.given :]
        placed = cells >= 0
        inside = xp.take_along_axis(
            self.on_object.rows(state.image), xp.where(placed, cells, xp.zeros_like(cells)), axis=1
        )
        wrong = placed & (inside != (state.signs[:, self.given :] > 0))
        return {
            "iou": quality,
            "dice": 2 * quality / (1 + quality),
            "seeds": state.steps + 0,
            "wrong_labels": xp.sum(xp.astype(wrong, xp.float64), axis=1),
            "is_success": quality >= self.success,
        }

    def _errors(self, state: State) -> Array:
        """(B, g * g) int64, 1 and the depth of the wrong region that a cell lies in; 0 where no seed may be."""
        xp = xp_of(state.mask)
        truth, known = self.bank.truth.rows(state.image), self.bank.known(state.image)
        wrong = (depth(truth & ~state.mask), depth(state.mask & ~truth & known))
        deepest = xp.reshape(xp.maximum(*wrong), (-1, self.size**2))
        score = xp.take(deepest, self.centres.on(state.image), axis=1) + 1
        return xp.where(self._free(state), score, xp.zeros_like(score))

    def expert(self, state: State) -> Array:
        xp, count, score = xp_of(state.mask), self.grid**2, self._errors(state)
        cell = xp.argmax(score, axis=1)
        inside = xp.take_along_axis(self.on_object.rows(state.image), cell[:, None], axis=1)[:, 0]
        action = cell + count * xp.astype(~inside, xp.int64)
        if not self.stop:
            return action
        return xp.where(xp.max(score, axis=1) > 1, action, xp.full_like(action, self.operators))

    def action_weights(self, state: State) -> Array:
        score, best = self._errors(state), one_hot(self.expert(state), self.operators + self.stop)
        xp = xp_of(score)
        deep = xp.astype(xp.where(score > 1, score - 1, xp.zeros_like(score)), xp.float64) ** 2
        inside = self.on_object.rows(state.image)
        parts = [xp.where(inside, deep, xp.zeros_like(deep)), xp.where(inside, xp.zeros_like(deep), deep)]
        if self.stop:
            parts.append(xp.zeros_like(deep[:, :1]))
        return xp.concat(parts, axis=1) + xp.astype(best, xp.float64)

    def good_actions(self, state: State) -> Array:
        return one_hot(self.expert(state), self.operators + self.stop) > 0

    # -- edge ------------------------------------------------------------------------------------------------------
    def marks(self, state: State) -> list[tuple[int, int]]:
        both = zip(state.cells.tolist(), state.signs.tolist(), strict=True)
        return [(self.pixels[cell], sign) for cell, sign in both if cell >= 0]

    def caption(self, state: State) -> str:
        overlap = f", IoU {state.quality[int(state.steps)]:.2f}" if self.labelled else ""
        return f"{int(state.steps)} seeds{overlap}"

    def click_action(self, state: State, place: np.ndarray, first_button: bool) -> int:
        item = int(state.image)
        sample = self.samples[self.bank.items[item][0]]
        at = np.asarray(place) * sample.image.shape[:0:-1] / self.bank.factor(item)
        column, row = np.clip((at * self.grid / self.size).astype(int), 0, self.grid - 1)
        return int(row * self.grid + column + (0 if first_button else self.grid**2))
