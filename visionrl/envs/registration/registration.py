"""Registration of images and of volumes: shift, turn and stretch the moving one until it lies on the fixed one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, MinLen

from visionrl.banks.image_pairs import pair_bank
from visionrl.banks.volume_pairs import check_sides, volume_pair_bank
from visionrl.core import arguments, register
from visionrl.envs.registration.align import Align, State, from_fixed
from visionrl.envs.registration.overlay import overlay, overlay3d
from visionrl.envs.registration.proposals import Bank

PRESETS: dict[str, dict[str, Any]] = {
    "liao2017": {"control": "unit", "stop_distance": 0.5},
    "bauer2021": {"control": "steps", "reward_type": "levels"},
    "gauss_newton": {"control": "gauss_newton"},
    "training": {"augment": True},
}


@register(
    "Registration2D-v0",
    max_steps=150,
    tags=("registration", "2d", "discrete", "continuous"),
    presets=PRESETS,
)
@arguments
class Registration2D(Align):
    """The agent moves one image over another until the images are aligned.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (scales * C * 2, w, w) uint8: at each scale, and for each colour, the fixed image about its middle, then the moving image as it lies on it now; black outside; with "gauss_newton" also ``proposals`` (F * (k + 2),) float32: for each of F scales, one more than ``scales`` has, coarse first, the k numbers of the motion that least squares propose, in ``max_step``, and the shares of the variance that is explained without and with it |
    | Action      | "unit": Discrete(2k), see below; "steps": MultiDiscrete, one of 11 steps for each of the k numbers at once; "continuous": Box(k,), up to ``max_step`` each; "gauss_newton": Box(k + F,), k numbers as in "continuous", then F: the proposal of the scale whose number is largest is made, if that is above 0, else the k |
    | Reward      | distance to the true map gained, a pixel counting as much as a degree, and 10 at an end within 1 of it; "levels": 0.5, -0.1 or -0.6 for a better, an equal or a worse map in place of the distance; or the gain in similarity, which asks for no truth |
    | Ends        | when the agent oscillates: the same pose 4 times in 20 steps, to a quarter of a pixel or degree; in training also within ``stop_distance`` of the truth instead |

    | Action | Meaning |
    |--------|---------|
    | 0 | increase x shift, by 1 pixel |
    | 1 | decrease x shift, by 1 pixel |
    | 2 | increase y shift, by 1 pixel |
    | 3 | decrease y shift, by 1 pixel |
    | 4 | increase turn from x to y, by 1 degree |
    | 5 | decrease turn from x to y, by 1 degree |

    Further actions: 6, 7: a stretch (exp of 1 degree: 1.8 %) with "similarity"; 6 to 11: two stretches and a shear
    with "affine".

    A move is made in the grid of the fixed image, about its middle: a turn does not shift the middle. A move that
    would take the middle out of the field, or farther out, or shrink or stretch the image beyond a half or two, is
    not made. ``info`` has the target registration error ``tre_px``, the mean distance of the pair's points from where
    the map puts them, in pixels of the original moving image, and ``tre_start_px``; where all pairs have label maps,
    also ``dice``, labels together. An episode succeeds below 2 pixels. Where a pair has neither points, a transform nor label
    maps, ``info`` has ``similarity`` and ``similarity_start`` alone, as the reward measures it: there is no success.

    Source: Liao et al. (2017) for "unit"; there six numbers, and the action of the largest value, until 0.5 is
    reached; Bauer et al. (2021), "ReAgent", for "steps" and the reward levels; there point clouds. Lucas & Kanade
    (1981), Baker & Matthews (2004) for the proposals of "gauss_newton"; that an agent chooses among them is of no
    paper.
    """

    max_side: Annotated[int, Ge(1)] | None = 256
    """Longest side of a pair, pixels; larger ones are shrunk to it, None never."""
    channels: Literal[1, 3] | None = 1
    """1 shows all images grey, 3 in RGB; None is RGB if an image of the split is."""

    axes, unit = 2, "px"
    samples_by_transform: ClassVar[dict[str, str]] = {
        "rigid": "photo-pairs",
        "similarity": "photo-pairs-similarity",
        "affine": "photo-pairs-affine",
    }

    def pixel_side(self) -> float:
        return 1.0

    def make_bank(self, scales: tuple[int, ...]) -> Bank:
        return pair_bank(self.samples, scales, self.transform, self.max_side, self.channels)

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        """The number of channels."""
        return {"channels": self.bank.channels}

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        matrix = from_fixed(state.view_transform[None], state.pose[None])[0]
        return overlay(self.bank, int(state.pair), matrix)


@register(
    "Registration3D-v0",
    max_steps=200,
    tags=("registration", "3d", "discrete", "continuous"),
    presets=PRESETS,
)
@arguments
class Registration3D(Align):
    """The agent moves one volume over another until the volumes are aligned.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (scales * 3 * 2, w, w) uint8: at each scale three cuts at right angles (axial, coronal, sagittal), each through the middle of the fixed volume, then through the moving one as it lies on it now; black outside; with "gauss_newton" also ``proposals`` (F * (k + 2),) float32: for each of F scales, one more than ``scales`` has, coarse first, the k numbers of the motion that least squares propose, in ``max_step``, and the shares of the variance that is explained without and with it |
    | Action      | "unit": Discrete(2k), see below; "steps": MultiDiscrete, one of 11 steps for each of the k numbers at once; "continuous": Box(k,), up to ``max_step`` each; "gauss_newton": Box(k + F,), k numbers as in "continuous", then F: the proposal of the scale whose number is largest is made, if that is above 0, else the k |
    | Reward      | distance to the true map gained, a millimetre counting as much as a degree, and 10 at an end within 1 of it; "levels": 0.5, -0.1 or -0.6 for a better, an equal or a worse map in place of the distance; or the gain in similarity, which asks for no truth |
    | Ends        | when the agent oscillates: the same pose 4 times in 20 steps, to a quarter of a millimetre or degree; in training also within ``stop_distance`` of the truth instead |

    | Action | Meaning |
    |--------|---------|
    | 0 | increase x shift, by 1 millimetre |
    | 1 | decrease x shift, by 1 millimetre |
    | 2 | increase y shift, by 1 millimetre |
    | 3 | decrease y shift, by 1 millimetre |
    | 4 | increase z shift, by 1 millimetre |
    | 5 | decrease z shift, by 1 millimetre |
    | 6 | increase turn about x, by 1 degree |
    | 7 | decrease turn about x, by 1 degree |
    | 8 | increase turn about y, by 1 degree |
    | 9 | decrease turn about y, by 1 degree |
    | 10 | increase turn about z, by 1 degree |
    | 11 | decrease turn about z, by 1 degree |

    Further actions: 12, 13: a stretch (exp of 1 degree: 1.8 %) with "similarity"; 12 to 23: three stretches and three
    shears with "affine".

    A move is made in the grid of the fixed volume, about its middle: a turn does not shift the middle. A move that
    would take the middle out of the field, or farther out, or shrink or stretch the volume beyond a half or two, is
    not made. ``info`` has the target registration error ``tre_mm``, the mean distance of the pair's points from where
    the map puts them, and ``tre_start_mm``; where all pairs have label maps, also ``dice``, labels together. An
    episode succeeds below 2 millimetres. Where a pair has neither points, a transform nor label maps, ``info`` has
    ``similarity`` and ``similarity_start`` alone, as the reward measures it: there is no success. Cuts have a tenth of the
    pixels of a cube of the same field.

    Source: Liao et al. (2017) for "unit"; there the network sees the difference of the volumes, and the action of the
    largest value, until 0.5 is reached; Bauer et al. (2021), "ReAgent", for "steps" and the reward levels; there
    point clouds. Lucas & Kanade (1981), Baker & Matthews (2004) for the proposals of "gauss_newton"; that an agent
    chooses among them is of no paper.
    """

    window: Annotated[int, Ge(16)] = 32
    scales: Annotated[Sequence[Annotated[int, Ge(1)]], MinLen(1)] = (2, 1)
    voxel_mm: Annotated[float, Ge(0.01)] = 3.0
    """Side of the cubic voxels held; the widest cut shows ``window * max(scales) * voxel_mm`` millimetres."""
    lattice: Annotated[int, Ge(4)] = 12
    """Places along each side of the fixed volume at which labels are compared."""

    axes, unit = 3, "mm"
    samples_by_transform: ClassVar[dict[str, str]] = {
        "rigid": "volume-pairs",
        "similarity": "volume-pairs-similarity",
        "affine": "volume-pairs-affine",
    }

    def pixel_side(self) -> float:
        return self.voxel_mm

    def make_bank(self, scales: tuple[int, ...]) -> Bank:
        check_sides(self.samples, max(self.scales) * self.voxel_mm)
        return volume_pair_bank(self.samples, scales, self.transform, self.voxel_mm, self.lattice)

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        pair = state.pair[None]
        moving = self.view(1, pair, from_fixed(state.view_transform[None], state.pose[None]))
        return overlay3d(self.fixed_windows.array[pair][0], moving[0])
