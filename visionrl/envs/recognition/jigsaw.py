"""Jigsaw puzzles: swap the tiles of an image until each lies in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Interval
from gymnasium import spaces

from visionrl.banks.patches import patch_bank
from visionrl.banks.squares import squeezed
from visionrl.core import arguments, batch, register
from visionrl.core.observables import Image
from visionrl.core.results import Picture, Tile
from visionrl.datasets import ImageSample
from visionrl.envs.recognition.puzzle_picture import cells_of, joined_cells, puzzle_picture
from visionrl.envs.select import Select, Selection
from visionrl.ops import Array, DeviceTable, xp_of

SMALLEST = 4  # side of a tile of a user's picture, pixels


@dataclass(frozen=True)
class State(Selection):
    """Places of the tiles; B puzzles of n places, numbered in reading order. ``taken`` are the swaps, -1 beyond.

    Attributes:
        image: (B,) int64, index into the bank.
        corner: (B, n, 2) int64, (x, y) of the top left pixel of each tile in the image as it is held.
        order: (B, n) int64, the tile at each place; tile k belongs at place k.
        finished: (B,) bool, whether the agent said that it is done, or has no swap left.
    """

    image: Array
    corner: Array
    order: Array
    finished: Array


@register(
    "JigsawPuzzle-v0",
    max_steps=64,
    tags=("recognition", "2d", "discrete", "selection"),
    presets={"four": {"grid": 2, "swaps": 6}, "touching": {"gap": 0}},
)
@arguments
class JigsawPuzzle(Select[State]):
    """The agent puts the shuffled tiles of an image in order, by swapping two at a time, and says when it is done.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``image`` (C, grid * tile, grid * tile) uint8: the tiles as they lie |
    | Action      | Discrete(n (n - 1) / 2 + 1) for n = grid * grid places, see below |
    | Reward      | gain of the share of tiles that lie in their place, less ``swap_cost`` a swap |
    | Ends        | when the agent is done, or after ``swaps`` swaps |

    | Action | Meaning |
    |--------|---------|
    | all but the last | swap the tiles of two places: (0, 1), (0, 2), ..., (1, 2), ...; 36 pairs of 9; masked is the swap before |
    | the last | done |

    Between tiles there is a gap, as in the pretext of Noroozi & Favaro (2016, "Unsupervised learning of visual
    representations by solving jigsaw puzzles"): a tile is a random part of its cell, so that edges do not continue each
    other, and what the tiles show must be understood. With ``gap=0`` edges nearly solve the puzzle. ``info`` has
    ``tiles``, the share in place, and ``swaps``. An episode is a success if all are in place at its end. The expert
    puts the first wrong tile right, which takes as few swaps as possible.

    Used on a new picture, the task takes it for the puzzle: cut into grid * grid tiles as it is, which the agent orders.
    """

    grid: Annotated[int, Interval(ge=2, le=3)] = 3
    """Tiles along each side."""
    tile: Annotated[int, Interval(ge=8, le=128)] = 24
    """Side of a tile, pixels."""
    gap: Annotated[int, Interval(ge=0, le=64)] = 8
    """Mean gap between two tiles, pixels: a tile lies anywhere in a cell that is so much larger."""
    swaps: Annotated[int, Interval(ge=1, le=62)] = 16
    """Most swaps of an episode."""
    swap_cost: Annotated[float, Ge(0.0)] = 0.01
    """Cost of a swap."""
    max_side: Annotated[int, Ge(16)] | None = 224
    """Images with a longer side than this are shrunk to it, pixels; None never."""
    channels: Literal[1, 3] | None = None
    """1 shows all images grey, 3 in RGB; None is RGB if an image of the split is."""

    sample_type, embedded = ImageSample, "objects"
    primary_metric = ("tiles", True)
    by_hand: ClassVar[Mapping[str, Any]] = {"swaps": 62}
    click_help: ClassVar[str] = (
        "left click swaps a tile with the one to its right, right click with the one below"
    )

    def setup(self) -> None:
        self.places = self.grid**2
        self.pairs = np.array(list(combinations(range(self.places), 2)))
        self.number = np.zeros((self.places, self.places), np.int64)
        self.number[tuple(self.pairs.T)] = self.number[tuple(self.pairs.T[::-1])] = np.arange(len(self.pairs))
        self.places_of, self.swap_of = DeviceTable(self.pairs), DeviceTable(self.number.ravel())
        self.originals = self.load(classes=None)
        whole = self.grid * self.tile
        self.samples = self.originals if self.labelled else tuple(map(self.as_puzzle, self.originals))
        self.items = len(self.samples)
        self.bank = patch_bank(
            self.samples, self.tile, (1,), self.max_side if self.labelled else None, self.channels
        )
        least = self.grid * (self.tile + self.gap) if self.labelled else whole
        if small := [k for k, size in enumerate(self.bank.sizes) if min(size) < least]:
            width, height = (int(side) for side in self.bank.sizes[small[0]])
            raise ValueError(
                f"images must be at least {least} x {least} pixels for {self.grid} x {self.grid} cells of "
                f"{self.tile + self.gap}, {self.samples[small[0]].name!r} has {width} x {height}"
            )
        self.action_space = spaces.Discrete(len(self.pairs) + 1)
        self.show(image=Image(self.bank.channels, whole))

    def as_puzzle(self, sample: ImageSample) -> ImageSample:
        """A user's picture with each of its tiles squeezed to a square.

        Raises:
            ValueError: it is too small.
        """
        if min(sample.image.shape[1:]) < SMALLEST * self.grid:
            raise ValueError(
                f"a picture must have {self.grid} x {self.grid} tiles of {SMALLEST} pixels or more, {sample.name!r} has "
                f"{sample.image.shape[2]} x {sample.image.shape[1]} pixels"
            )
        cells = [squeezed(cell, self.tile) for cell in cells_of(sample.image, self.grid)]
        return replace(
            sample, image=joined_cells(cells, self.grid), boxes=None, labels=(), points={}, mask=None
        )

    @property
    def longest(self) -> int:
        """Most swaps of an episode, T."""
        return self.swaps

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        cell = self.tile + self.gap * self.labelled
        grid = np.stack(np.meshgrid(*[np.arange(self.grid)] * 2), axis=-1).reshape(-1, 2)
        order = np.arange(self.places)
        origin = shift = np.zeros(2, np.int64)
        if self.labelled:
            room = self.bank.sizes[item].astype(int) - self.grid * cell
            origin, shift = rng.integers(0, room + 1), rng.integers(0, self.gap + 1, grid.shape)
            while (order == np.arange(self.places)).all():
                order = rng.permutation(self.places)
        return State(
            taken=np.full(self.longest, -1),
            step=np.int64(0),
            image=np.int64(item),
            corner=origin + grid * cell + shift,
            order=order,
            finished=np.False_,
        )

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def step(self, state: State, action: Array) -> State:
        xp = xp_of(state.order)
        action = xp.astype(action, xp.int64)
        done = (action >= len(self.pairs)) | state.finished
        pair = self.places_of.rows(xp.where(done, xp.zeros_like(action), action))
        first, second = pair[:, :1], pair[:, 1:]
        place = xp.arange(self.places, device=state.order.device)[None, :]
        source = xp.where(place == first, second, xp.where(place == second, first, place))
        order = xp.where(done[:, None], state.order, xp.take_along_axis(state.order, source, axis=1))
        count = state.step + xp.astype(~done, xp.int64)
        taken = xp.where(done[:, None], state.taken, self.take(state, action))
        return replace(state, taken=taken, step=count, order=order, finished=done | (count >= self.longest))

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.order)
        corner = xp.take_along_axis(state.corner, xp.stack([state.order] * 2, axis=2), axis=1)
        index = xp.broadcast_to(state.image[:, None], state.order.shape)
        tiles = self.bank.crop(index, xp.astype(corner + self.tile // 2, xp.float64))
        parts = xp.reshape(tiles, (-1, self.grid, self.grid, self.bank.channels, self.tile, self.tile))
        return self.seen(image=xp.permute_dims(parts, (0, 3, 1, 4, 2, 5)))

    def in_place(self, state: State) -> Array:
        """(B, n) bool, places that hold their tile."""
        return state.order == xp_of(state.order).arange(self.places, device=state.order.device)[None, :]

    def share(self, state: State) -> Array:
        """(B,) float64, share of the tiles that lie in their place."""
        xp = xp_of(state.order)
        return xp.mean(xp.astype(self.in_place(state), xp.float64), axis=1)

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(after.order)
        swapped = xp.astype(after.step - before.step, xp.float64)
        return self.share(after) - self.share(before) - self.swap_cost * swapped

    def terminated(self, state: State) -> Array:
        return state.finished

    def action_mask(self, state: State) -> Array:
        """(B, pairs + 1) bool, False for the last swap, which would be undone."""
        xp = xp_of(state.order)
        before = xp.clip(state.step - 1, 0, None)[:, None]
        last = xp.take_along_axis(state.taken, before, axis=1)
        return xp.arange(len(self.pairs) + 1, device=state.order.device)[None, :] != last

    def metrics(self, state: State) -> dict[str, Array]:
        share = self.share(state)
        return {"tiles": share, "is_success": share > 1 - 1e-9, "swaps": state.step + 0}

    def expert(self, state: State) -> Array:
        xp = xp_of(state.order)
        wrong = ~self.in_place(state)
        first = xp.argmax(xp.astype(wrong, xp.int64), axis=1)
        where = xp.argmax(xp.astype(state.order == first[:, None], xp.int64), axis=1)
        swap = self.swap_of.rows(first * self.places + where)
        return xp.where(xp.any(wrong, axis=1), swap, xp.full_like(swap, len(self.pairs)))

    # -- edge ------------------------------------------------------------------------------------------------------
    def click_action(self, state: State, place: np.ndarray, first_button: bool) -> int:
        """Swap the tile that was clicked with the one to its right, by the second button with the one below."""
        column, row = np.clip((np.asarray(place) * self.grid).astype(int), 0, self.grid - 1).tolist()
        other = (row, (column + 1) % self.grid) if first_button else ((row + 1) % self.grid, column)
        return int(self.number[row * self.grid + column, other[0] * self.grid + other[1]])

    def result(self, state: State) -> Picture:
        original = self.originals[int(state.image)].image
        cells = cells_of(original, self.grid)
        order, stages = np.arange(self.places), [joined_cells(cells, self.grid)]
        names = []
        for swap in state.taken[: int(state.step)].tolist():
            first, second = self.pairs[swap].tolist()
            order[[first, second]] = order[[second, first]]
            stages.append(joined_cells([cells[k] for k in order], self.grid))
            names.append(f"swap {first + 1} and {second + 1}")
        last = joined_cells([cells[k] for k in state.order.tolist()], self.grid)
        whole = Tile(last, (0, 0), tuple(names), stages=tuple(stages))
        return Picture(last.shape[:0:-1], (whole,), "solved")

    def draw(self, state: State) -> np.ndarray:
        row = batch.stack([state])
        tiles = self.observe(row)["image"][0]
        swapped = self.pairs[int(state.taken[int(state.step) - 1])] if state.step else ()
        right = self.in_place(row)[0] if self.labelled else np.zeros(self.places, bool)
        return puzzle_picture(tiles, self.grid, right, swapped)
