"""Registration of images: shift, turn and stretch a moving image until it lies on a fixed one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from visionrl.banks.image_pairs import PairBank, pair_bank
from visionrl.core import check_choice, register
from visionrl.datasets import PairSample, load
from visionrl.envs.registration.base import Registration, State, check_axes, from_fixed
from visionrl.envs.registration.overlay import overlay
from visionrl.envs.registration.rules import Rules

DEFAULTS = {"rigid": "photo-pairs", "similarity": "photo-pairs-similarity", "affine": "photo-pairs-affine"}


@register(
    "Registration2D-v0",
    max_steps=150,
    tags=("registration", "2d", "discrete", "continuous"),
    presets={
        "liao2017": {"control": "unit", "ends": "close", "epsilon": 0.5},
        "bauer2021": {"control": "steps", "verdicts": (0.5, -0.1, -0.6)},
        "fits": {"control": "fits"},
    },
)
class Registration2D(Registration):
    """The agent moves one image over another until both show the same place at the same place.

    | Item        | Value |
    |-------------|-------|
    | Observation | ``window`` (scales * C * 2, w, w) uint8: at each scale, and for each colour, the fixed image about its middle, then the moving image as it lies on it now; black outside; with "fits" also ``fits`` (F * (k + 2),) float32: for each of F scales, one more than ``scales`` has, coarse first, the k numbers of the motion that least squares propose, in ``step``, and the shares of the variance that is explained without and with it |
    | Action      | 2k + 0 / 1 one more / less of number k of the map: shift x, shift y (1 pixel), turn (1 degree), with "similarity" a stretch (exp of 1 degree: 1.8 %), with "affine" two stretches and a shear; or "steps": 11 steps for each number at once; or "continuous"; or "fits": k numbers as in "continuous", then F: the proposal of the scale whose number is largest is made, if that is above 0, else the k |
    | Reward      | distance to the true map gained, a pixel counting as much as a degree, and 10 at an end within ``epsilon`` of it; or the gain in similarity, which asks for no truth |
    | Ends        | when the agent rests: it is for the 4th time in 20 steps where it was, to a quarter of a pixel or degree |

    A move is made in the grid of the fixed image, about its middle: a turn does not shift the middle. A move that would
    take the middle out of the field, or farther out, or shrink or stretch the image beyond a half or two, is not made. ``info`` has the target registration error ``tre_px``, the mean distance of the pair's points from where the
    map puts them, in pixels of the original moving image, and ``tre_start_px``; where all pairs have label maps, also ``dice``, labels together. An episode succeeds below 2 pixels.

    Args:
        data: None for the embedded photographs, "strewn-photo-pairs" for more of them to learn from, "scan-pairs" for
            two modalities, "pairs:FOLDER", or a sequence of ``PairSample``. A pair without a true map has the one that
            fits its points best, or the centroids of its labels.
        split: "train", "val" or "test".
        transform: "rigid", "similarity" or "affine".
        control: "unit": one number by +-1; "steps": every number by one of 11 steps, the largest 0.27 of half the
            field and of a radian; "continuous": every number by up to ``step``; "fits":
            this, or one of the motions that a Gauss-Newton step proposes at each scale.
        step: largest continuous move and proposal, pixels and degrees.
        reward: "truth", or what asks for none: "ncc" (cross-correlation), "mi" (mutual information), "dice" (of label
            maps), "inliers" (share of ORB's matches that the map agrees with, to 3 pixels), times 10.
        verdicts: rewards (better, same, worse) in place of the amount that was gained.
        start: "offset" begins a random map away from the truth, "own" where the pair says, or middle on middle.
        offset_px: largest random shift along each axis, pixels as held.
        offset_deg: largest random turn, degrees; stretches and shears are up to a third of it.
        ends: "rest", or "close": within ``epsilon`` of the truth, for training alone (``--train-args``).
        epsilon: distance to the true map that earns the 10, pixels and degrees; within twice of it the expert trusts
            proposals.
        radius: an episode succeeds below this error, pixels of the original moving image.
        window: side of the windows, pixels; even with "fits".
        scales: pixels of the image per pixel of a window, at each scale.
        max_side: pairs with a longer side than this are shrunk to it; None never.
        channels: 1 shows all images grey, 3 in RGB; None is RGB if an image of the split is.
        augment: episodes look at the fixed image from any direction and off its middle, and begin at any distance up
            to the offsets; for training alone (``--train-args``), against few pairs learnt by heart.
        dice_of: labels whose overlap ``info`` also has by itself, as ``dice_LABEL``, such as one organ among landmarks.
        loading: ``split_file``, ``split_ratios``, ``split_seed``; see ``visionrl.datasets.load``.

    Source: Liao et al. (2017) for "unit"; there six numbers, and the action of the largest value, until 0.5 is reached;
    Bauer et al. (2021), "ReAgent", for "steps" and the verdicts; there point clouds. Lucas & Kanade (1981), Baker &
    Matthews (2004) for the proposals of "fits"; that an agent chooses among them is of no paper.
    """

    axes: ClassVar[int] = 2
    unit: ClassVar[str] = "px"
    bank: PairBank

    def __init__(
        self,
        data: Any = None,
        split: str = "train",
        transform: Literal["rigid", "similarity", "affine"] = "rigid",
        control: Literal["unit", "steps", "continuous", "fits"] = "unit",
        step: float = 10.0,
        reward: Literal["truth", "ncc", "mi", "dice", "inliers"] = "truth",
        verdicts: Sequence[float] | None = None,
        start: Literal["offset", "own"] = "offset",
        offset_px: float = 30.0,
        offset_deg: float = 30.0,
        ends: Literal["rest", "close"] = "rest",
        epsilon: float = 1.0,
        radius: float = 2.0,
        window: int = 48,
        scales: Sequence[int] = (4, 2, 1),
        max_side: int | None = 256,
        channels: Literal[1, 3] | None = 1,
        augment: bool = False,
        dice_of: Sequence[int] = (),
        **loading: Any,
    ) -> None:
        check_choice("channels", channels, (1, 3, None))
        rules = Rules(
            transform=transform,
            control=control,
            step=step,
            reward=reward,
            verdicts=verdicts,
            start=start,
            offset=offset_px,
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
        check_axes(samples, 2, "Registration3D-v0")
        held = partial(pair_bank, samples, kind=transform, longest=max_side, channels=channels)
        self.set_up(samples, rules, held, max(scales) * window / 2)

    @property
    def resolved_arguments(self) -> dict[str, Any]:
        return {"channels": self.bank.channels}

    # -- edge ------------------------------------------------------------------------------------------------------
    def draw(self, state: State) -> np.ndarray:
        matrix = from_fixed(state.frame[None], state.pose[None])[0]
        return overlay(self.bank, int(state.pair), matrix)
