"""Pose in one image: the parameters of a point model, changed one at a time until its points lie where they should."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Interval, MinLen

from visionrl import ops
from visionrl.banks.shape_frames import ROOM, box_of, frame_bank, frame_of, true_shape
from visionrl.core import arguments, batch, register
from visionrl.core.observables import Image, OneHot, Vector
from visionrl.core.results import Points
from visionrl.datasets import ImageSample, choose
from visionrl.envs.fitted import FittedTask
from visionrl.envs.localization.walk import Walk, WalkState
from visionrl.ops import Array, const, xp_of
from visionrl.ops.point_model import PointModel, fit_point_model
from visionrl.rendering import Canvas

UNITS = (0.02,) * 4  # of x and y, in sizes of the shape at the start; of the logarithm of the size; radians
MODE_UNIT = 0.2  # standard deviations
REACH = (60.0, 60.0, 30.0, 40.0)  # units from the start
MODE_REACH = 15.0
AUC_AT = 0.08


@dataclass(frozen=True, kw_only=True)
class State(WalkState):
    """Parameters of the model, in units from the start, as ``position``; B episodes, J points.

    Places are pixels of the frame: the image, cut about the box and brought to one size.

    Attributes:
        middle: (B, 2) float64, where the shape's middle is at the start.
        size: (B,) float64, root mean square distance of the points from it, at the start.
        truth: (B, J, 2) float64, where the points are; NaN where unknown.
        norm: (B,) float64, the length that errors are divided by; NaN where unknown.
    """

    middle: Array
    size: Array
    truth: Array
    norm: Array


@register("ShapePose-v0", max_steps=300, tags=("pose", "localization", "2d", "discrete"))
@arguments
class ShapePose(Walk[State], FittedTask[State]):
    """The agent moves, turns, scales and bends a model of points until each lies on its landmark.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``windows`` (J, w, w) uint8: what lies around each point, at the stage's scale; ``pose`` (4 + modes,) in [-1, 1]: the parameters, shares of their reach; ``stage`` one-hot; ``history``: the last 10 actions, one-hot, newest last |
    | Action      | Discrete(2 * (4 + modes)): one parameter is raised or lowered by the stage's step size, see below |
    | Reward      | mean distance of the points to their landmarks gained, in hundredths of the length that errors are divided by; -1 for a move out of bounds, which is not made |
    | Ends        | when the agent comes to one pose for the 4th time within 20 steps at the finest stage; at coarser ones that starts the next stage from the mean of the last four poses |

    | Action | Meaning |
    |--------|---------|
    | 0, 1 | right, left: a step is 1/50 of the shape's size at the start (the root mean square distance of its points from their middle), times the stage's size |
    | 2, 3 | down, up, likewise |
    | 4, 5 | larger, smaller: 2 % |
    | 6, 7 | turn clockwise, counter-clockwise: 0.02 radians |
    | 8 + 2 m, 9 + 2 m | raise, lower mode m: 0.2 of its standard deviation |

    The model, a mean shape and its principal modes of variation, is fitted to the training split. An episode starts with the mean shape in
    the box of the true points, which is shifted and scaled at random, as that of a detector would be; without labels, in
    the box that the user gives, else where shapes are in the training images. The image is cut about that box, made grey,
    and brought to one size. ``info`` has ``nme``, the mean distance over ``normalizer``; ``auc``, the area under the share
    of images up to an ``nme`` of 0.08 (its mean over episodes is that of the set); ``pck``, the share of points within
    a tenth; an episode succeeds up to ``success_nme``.

    Source: Cootes et al. (1995), "Active shape models", for the model; the stages and how they end are those of
    landmark localization (Ghesu et al., 2016; Alansary et al., 2019).
    """

    target: Annotated[Sequence[str], MinLen(3)] | None = None
    """Names of the points, in their order; None takes those that all images of the training split have."""
    normalizer: tuple[str, str] | None = None
    """Two points whose distance errors are divided by, such as the outer corners of the eyes; None is the root of the
    area of the box about all points."""
    modes: Annotated[int, Interval(ge=0, le=20)] = 6
    """Most modes of variation; few training images have fewer."""
    window: Annotated[int, Ge(5)] = 15
    """Side of the windows, pixels of the frame."""
    side: Annotated[int, Interval(ge=32, le=512)] = 112
    """Side of the frame, pixels; it shows 1.7 times the longer side of the box."""
    step_sizes: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (5, 2, 1)
    """Step size of each stage, units of the parameters."""
    scales: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (2, 1, 1)
    """Pixels of the frame per pixel of a window, one a stage."""
    jitter: Annotated[float, Interval(ge=0.0, le=0.3)] = 0.1
    """How far the box at the start may be from the true one, and how much smaller or larger: shares of its sides."""
    success_nme: Annotated[float, Ge(0.0)] = 0.04
    """An episode succeeds up to this normalised mean error."""

    sample_type, embedded, primary_metric = ImageSample, "chest-xray", ("nme", False)
    box_prompt = True
    hidden = ("truth", "norm")

    def setup(self) -> None:
        if len(self.step_sizes) != len(self.scales):
            raise ValueError(
                f"scales must have one entry a step size ({len(self.step_sizes)}), got {len(self.scales)}"
            )
        training = self.training_samples()
        self.names = self.point_names(training)
        boxes = self.fit(self.complete(training))
        loaded = self.load()
        self.samples = self.complete(loaded) if self.labelled else loaded
        self.items = len(self.samples)
        self.frames = np.array([self.frame(sample, boxes.mean(axis=0)) for sample in self.samples])
        self.bank = frame_bank(self.samples, self.frames, self.side, self.window, tuple(self.scales))
        count = 4 + len(self.model.modes)
        eye = np.eye(count, dtype=int)
        self.moves = tuple(  # type: ignore[misc]
            tuple((sign * row).tolist()) for row in eye for sign in (1, -1)
        )
        self.strides = tuple((float(size),) for size in self.step_sizes)  # type: ignore[misc]
        self.reach = np.array([*REACH, *[MODE_REACH] * (count - 4)])
        self.units = tuple([*UNITS, *[MODE_UNIT] * (count - 4)])
        self.show(
            windows=Image(len(self.names), self.window),
            pose=Vector(count),
            stage=OneHot(len(self.step_sizes), unless_one=True),
            history=self.set_up_walk(),
        )

    def complete(self, samples: Sequence[ImageSample]) -> Sequence[ImageSample]:
        """The samples that have all points; a warning counts the others.

        Raises:
            ValueError: no sample has them all.
        """
        whole = [number for number, sample in enumerate(samples) if set(self.names) <= set(sample.points)]
        if not whole:
            raise ValueError(f"data must have images with all of {', '.join(self.names)}, got none")
        if len(whole) == len(samples):
            return samples
        warnings.warn(f"{len(samples) - len(whole)} images lack a point and are left out", stacklevel=4)
        return choose(samples, whole)

    def point_names(self, training: Sequence[ImageSample]) -> tuple[str, ...]:
        """The points' names, in order: the target, or those that all training images have.

        Raises:
            ValueError: there are none, one is named twice, or ``normalizer`` names another.
        """
        common = set(training[0].points).intersection(*(sample.points for sample in training))
        names = tuple(self.target or (name for name in training[0].points if name in common))
        if not names or len(set(names)) < len(names):
            raise ValueError(f"target must name points that all images have, each once, got {names!r:.200}")
        if lost := [name for name in self.normalizer or () if name not in names]:
            raise ValueError(f"normalizer must be two of the points, got {', '.join(lost)}")
        return names

    def fit(self, training: Sequence[ImageSample]) -> np.ndarray:
        """Fit the model; (N, 4) boxes (x0, y0, x1, y1) of the training shapes, in shares of the images' sides.

        Raises:
            ValueError: there are fewer than two shapes, or three points, or a shape's points are all at one place.
        """
        shapes = np.array([true_shape(sample, self.names) for sample in training])
        if len(shapes) < 2 or len(self.names) < 3:
            raise ValueError(
                f"training images must be two or more with three points or more, got {len(shapes)} "
                f"with {len(self.names)}"
            )
        if (np.ptp(shapes, axis=1).max(axis=1) <= 0).any():
            raise ValueError("points of a training image must not all be at one place")
        self.model: PointModel = fit_point_model(shapes, self.modes)
        sides = np.array([sample.image.shape[:0:-1] for sample in training])
        return np.concatenate([shapes.min(axis=1), shapes.max(axis=1)], axis=1) / np.tile(sides, 2)

    def frame(self, sample: ImageSample, usual: np.ndarray) -> np.ndarray:
        """The frame of an image, see ``banks.shape_frames``; ``usual`` is the box where nothing says it, shares of the sides."""
        box = box_of(sample, self.names, self.labelled)
        if box is None:
            box = usual * np.tile(sample.image.shape[:0:-1], 2)
        return frame_of(box, self.side)

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {**super().resolved_arguments, "target": list(self.names)}

    # -- edge: one episode -----------------------------------------------------------------------------------------
    def sample(self, rng: np.random.Generator, item: int) -> State:
        count = len(self.names)
        x, y, scale = self.frames[item]
        truth, norm = np.full((count, 2), np.nan), np.nan
        shift, factor = np.zeros(2), 1.0
        longest = self.side / ROOM
        if self.labelled:
            truth = (true_shape(self.samples[item], self.names) - [x, y]) / scale
            norm = self.length(truth)
            shift, grown = rng.uniform(-1, 1, 2) * self.jitter, rng.uniform(-1, 1) * self.jitter
            factor = float(np.exp(grown))
        low, high = self.model.mean.min(axis=0), self.model.mean.max(axis=0)
        size = longest * factor / (high - low).max()
        middle = (self.side - 1) / 2 + shift * longest - (low + high) / 2 * size
        return State(
            image=np.int64(item),
            low=-self.reach,
            high=self.reach,
            middle=middle,
            size=np.float64(size),
            truth=truth,
            norm=np.float64(norm),
            **self.first_walk(np.zeros(len(self.reach))),
        )

    def length(self, truth: np.ndarray) -> float:
        """The length that errors are divided by, of true places (J, 2).

        Raises:
            ValueError: it is 0.
        """
        if self.normalizer is None:
            found = float(np.sqrt(np.prod(np.maximum(np.ptp(truth, axis=0), 1e-6))))
        else:
            first, second = (truth[self.names.index(name)] for name in self.normalizer)
            found = float(np.linalg.norm(first - second))
        if found <= 0:
            raise ValueError(f"normalizer must be points that are apart, got {self.normalizer}")
        return found

    # -- middle: B episodes, array API -----------------------------------------------------------------------------
    def pose(self, state: State, position: Array) -> Array:
        """Poses (B, 4 + modes) of the model, pixels of the frame, of positions in units."""
        xp = xp_of(position)
        given = position * const(self.units, position)
        place = state.middle + given[:, :2] * state.size[:, None]
        return xp.concat([place, (given[:, 2] + xp.log(state.size))[:, None], given[:, 3:]], axis=1)

    def points(self, state: State, position: Array) -> Array:
        """(B, J, 2), where the points are, pixels of the frame."""
        return self.model.points(self.pose(state, position))

    def distance(self, state: State, position: Array) -> Array:
        """(B,), mean distance of the points to their landmarks, in lengths that errors are divided by."""
        gaps = ops.norm(self.points(state, position) - state.truth)
        return xp_of(gaps).mean(gaps, axis=1) / state.norm

    def observe(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.position)
        places = xp.clip(self.points(state, state.position), 0.0, self.side - 1.0)
        windows = self.bank.crop(state.image[:, None], places, state.stage[:, None])
        reach = const(tuple(self.reach.tolist()), state.position)
        return self.seen(
            windows=windows, pose=state.position / reach, stage=state.stage, history=state.actions
        )

    def reward(self, before: State, action: Array, after: State) -> Array:
        xp = xp_of(after.position)
        moved, inside = self.move(before, action)
        moved = xp.where(inside[:, None], moved, before.position)
        gain = 100 * (self.distance(before, before.position) - self.distance(before, moved))
        return xp.where(inside, gain, -xp.ones_like(gain))

    def metrics(self, state: State) -> dict[str, Array]:
        xp = xp_of(state.position)
        gaps = ops.norm(self.points(state, state.position) - state.truth) / state.norm[:, None]
        nme = xp.mean(gaps, axis=1)
        return {
            "nme": nme,
            "auc": xp.maximum(1 - nme / AUC_AT, xp.zeros_like(nme)),
            "pck": xp.mean(xp.astype(gaps <= 0.1, xp.float64), axis=1),
            "is_success": nme <= self.success_nme,
        }

    def expert(self, state: State) -> Array:
        return self.nearest_move(state, lambda position: self.distance(state, position))

    def action_gains(self, state: State) -> Array:
        """(B, n) float64, what each move earns at once."""
        xp = xp_of(state.position)
        now, gains = self.distance(state, state.position), []
        for action in range(len(self.moves)):
            moved, inside = self.move(state, xp.full_like(state.stage, action))
            gain = 100 * (now - self.distance(state, moved))
            gains.append(xp.where(inside, gain, -xp.ones_like(gain)))
        return xp.stack(gains, axis=-1)

    # -- edge ------------------------------------------------------------------------------------------------------
    def in_image(self, image: int, places: np.ndarray) -> np.ndarray:
        """Places of a frame, pixels of its image."""
        x, y, scale = self.frames[image]
        return np.asarray(places * scale + [x, y])

    def result(self, state: State) -> Points:
        row = batch.stack([state])
        places = self.in_image(int(state.image), self.points(row, row.position)[0])
        return Points({name: tuple(place) for name, place in zip(self.names, places.tolist(), strict=True)})

    def draw(self, state: State) -> np.ndarray:
        canvas = Canvas(self.samples[int(state.image)].image)
        row = batch.stack([state])
        number = int(state.image)
        if self.labelled:
            for place in self.in_image(number, state.truth):
                canvas.dot(place + 0.5, "truth")
        for place in self.in_image(number, self.points(row, row.position)[0]):
            canvas.dot(place + 0.5, "agent")
        if self.labelled:
            canvas.text(f"{100 * float(self.distance(row, row.position)[0]):.1f} %")
        return canvas.pixels


def position_of(task: ShapePose, state: State, shape: np.ndarray) -> np.ndarray:
    """The position (n,), not in whole units, of one episode whose model is fitted to places (J, 2) of the frame."""
    pose = task.model.fit(shape)
    middle, size = np.asarray(state.middle)[0], float(np.asarray(state.size)[0])
    found = np.array([*(pose[:2] - middle) / size, pose[2] - np.log(size), *pose[3:]]) / np.array(task.units)
    return np.clip(found, -task.reach, task.reach)
