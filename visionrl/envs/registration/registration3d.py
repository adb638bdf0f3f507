"""Registration of volumes: shift, turn and stretch a moving volume until it lies on a fixed one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from visionrl.banks.volume_pairs import VolumePairBank, check_sides, volume_pair_bank
from visionrl.core import check_range, register
from visionrl.datasets import PairSample, load
from visionrl.envs.registration.base import Registration, State, check_axes, from_fixed
from visionrl.envs.registration.overlay import overlay3d
from visionrl.envs.registration.rules import Rules

DEFAULTS = {
    "rigid": "volume-pairs",
    "similarity": "volume-pairs-similarity",
    "affine": "volume-pairs-affine",
}


@register(
    "Registration3D-v0",
    max_steps=200,
    tags=("registration", "3d", "discrete", "continuous"),
    presets={
        "liao2017": {"control": "unit", "ends": "close", "epsilon": 0.5},
        "bauer2021": {"control": "steps", "verdicts": (0.5, -0.1, -0.6)},
        "fits": {"control": "fits"},
    },
)
class Registration3D(Registration):
    """The agent moves one volume over another until both show the same place at the same place.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (scales * 3 * 2, w, w) uint8: at each scale three cuts at right angles (axial, coronal, sagittal), each through the middle of the fixed volume, then through the moving one as it lies on it now; black outside; with "fits" also ``fits`` (F * (k + 2),) float32: for each of F scales, one more than ``scales`` has, coarse first, the k numbers of the motion that least squares propose, in ``step``, and the shares of the variance that is explained without and with it |
    | Action      | 2k + 0 / 1 one more / less of number k of the map: shifts along x, y, z (1 millimetre), the three of a rotation vector (1 degree), with "similarity" a stretch (exp of 1 degree: 1.8 %), with "affine" three stretches and three shears; or "steps": 11 steps for each number at once; or "continuous"; or "fits": k numbers as in "continuous", then F: the proposal of the scale whose number is largest is made, if that is above 0, else the k |
    | Reward      | distance to the true map gained, a millimetre counting as much as a degree, and 10 at an end within ``epsilon`` of it; or the gain in similarity, which asks for no truth |
    | Ends        | when the agent rests: it is for the 4th time in 20 steps where it was, to a quarter of a millimetre or degree |

    A move is made in the grid of the fixed volume, about its middle: a turn does not shift the middle. A move that would
    take the middle out of the field, or farther out, or shrink or stretch the volume beyond a half or two, is not made. ``info`` has the target registration error ``tre_mm``, the mean distance of the pair's points from where the
    map puts them, and ``tre_start_mm``; where all pairs have label maps, also ``dice``, labels together. An episode
    succeeds below 2 millimetres. Cuts have a tenth of the pixels of a cube of the same field.

    Args:
        data: None for the embedded chest and brain, "volume-pairs-multimodal" for two modalities, "pairs:FOLDER",
            "learn2reg:FILE", or a sequence of ``PairSample``. A pair without a true map has the one that fits its points
            best, or the centroids of its labels (where those are few, a shift).
        split: "train", "val" or "test".
        transform: "rigid", "similarity" or "affine".
        control: "unit": one number by +-1; "steps": every number by one of 11 steps, the largest 0.27 of half the
            field and of a radian; "continuous": every number by up to ``step``; "fits":
            this, or one of the motions that a Gauss-Newton step proposes at each scale.
        step: largest continuous move and proposal, millimetres and degrees.
        reward: "truth", or what asks for none: "ncc" (cross-correlation), "mi" (mutual information), "dice" (of label
            maps), times 10.
        verdicts: rewards (better, same, worse) in place of the amount that was gained.
        start: "offset" begins a random map away from the truth, "own" where the pair says, or middle on middle.
        offset_mm: largest random shift along each axis.
        offset_deg: largest random turn about each axis, degrees; stretches and shears are up to a third of it.
        ends: "rest", or "close": within ``epsilon`` of the truth, for training alone (``--train-args``).
        epsilon: distance to the true map that earns the 10, millimetres and degrees; within twice of it the expert
            trusts proposals.
        radius: an episode succeeds below this error, millimetres.
        window: side of the cuts, pixels; even with "fits".
        scales: voxels held per pixel of a cut, at each scale.
        voxel_mm: side of the cubic voxels held. The widest cut shows ``window * max(scales) * voxel_mm`` millimetres.
        lattice: places along each side of the fixed volume at which labels are compared.
        augment: episodes look at the fixed volume off its middle and turned, and begin at any distance up to the
            offsets; for training alone (``--train-args``), against few pairs learnt by heart.
        dice_of: labels whose overlap ``info`` also has by itself, as ``dice_LABEL``, such as one organ among landmarks.
        loading: ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Liao et al. (2017) for "unit"; there the network sees the difference of the volumes, and the action of the
    largest value, until 0.5 is reached; Bauer et al. (2021), "ReAgent", for "steps" and the verdicts; there point clouds.
    Lucas & Kanade (1981), Baker & Matthews (2004) for the proposals of "fits"; that an agent chooses among them is of no
    paper.
    """

    axes: ClassVar[int] = 3
    unit: ClassVar[str] = "mm"
    bank: VolumePairBank

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        transform: Literal["rigid", "similarity", "affine"] = "rigid",
        control: Literal["unit", "steps", "continuous", "fits"] = "unit",
        step: float = 10.0,
        reward: Literal["truth", "ncc", "mi", "dice"] = "truth",
        verdicts: Sequence[float] | None = None,
        start: Literal["offset", "own"] = "offset",
        offset_mm: float = 30.0,
        offset_deg: float = 30.0,
        ends: Literal["rest", "close"] = "rest",
        epsilon: float = 1.0,
        radius: float = 2.0,
        window: int = 32,
        scales: Sequence[int] = (2, 1),
        voxel_mm: float = 3.0,
        lattice: int = 12,
        augment: bool = False,
        dice_of: Sequence[int] = (),
        **loading: Any,
    ) -> None:
        check_range("voxel_mm", voxel_mm, 0.01)
        check_range("lattice", lattice, 4)
        rules = Rules(
            transform=transform,
            control=control,
            step=step,
            reward=reward,
            verdicts=verdicts,
            start=start,
            offset=offset_mm,
            offset_deg=offset_deg,
            ends=ends,
            epsilon=epsilon,
            radius=radius,
            window=window,
            scales=scales,
            augment=augment,
            dice_of=tuple(dice_of),
        )
        rules.check(self.unit)
        samples = load(data, kind=PairSample, default=DEFAULTS[transform], split=split, **loading)
        check_axes(samples, 3, "Registration2D-v0")
        check_sides(samples, max(scales) * voxel_mm)
        held = partial(volume_pair_bank, samples, kind=transform, voxel_mm=float(voxel_mm), lattice=lattice)
        self.set_up(samples, rules, held, max(scales) * window / 2 * voxel_mm)

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        pair = state.pair[None]
        moving = self.view(1, pair, from_fixed(state.frame[None], state.pose[None]))
        return overlay3d(self.fixed_windows.array[pair][0], moving[0])
