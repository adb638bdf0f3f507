"""Registration of volumes: maps that can be worked out by hand, and what the cuts show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from visionrl.core import BASELINES, batch, make_task
from visionrl.datasets import PairSample
from visionrl.envs.registration.align import from_fixed
from visionrl.ops import transforms
from visionrl.ops.deform import interpolate_volume

ID = "visionrl/Registration3D-v0"
IDENTITY = np.eye(3, 4)
SIDE = 40
SPACING = np.array([3.0, 3.0, 3.0])


def blobs(seed=0, side=SIDE):
    """(D, H, W) float: smooth and without symmetry."""
    rng = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1)
    centres, widths = rng.uniform(0.2, 0.8, (12, 3)) * side, rng.uniform(2, 6, 12)
    waves = [
        k * np.exp(-((at - c) ** 2).sum(-1) / (2 * w * w))
        for k, c, w in zip(range(3, 15), centres, widths, strict=True)
    ]
    field = np.sum(waves, axis=0)
    return 255 * field / field.max()


def pair(numbers=(0, 0, 0, 0, 0, 0), kind="rigid", **kwargs):
    """A pair whose moving volume is the fixed one, moved by a map in millimetres about the middle."""
    matrix = transforms.to_matrix(np.array([numbers], float), kind, 3)[0]
    fixed, home = blobs(), (SIDE - 1) / 2
    voxels = np.column_stack([matrix[:, :3], matrix[:, 3] / 3 + home - matrix[:, :3] @ np.full(3, home)])
    back = np.linalg.inv(np.vstack([voxels, [0, 0, 0, 1]]))[:3]
    z, y, x = np.indices(fixed.shape)
    there = np.tensordot(back[:, :3], np.stack([x, y, z]), 1) + back[:, 3][:, None, None, None]
    moving = interpolate_volume(fixed, there[::-1])
    volumes = [np.rint(v).astype(np.uint8)[None] for v in (fixed, moving)]
    masks = [(v[0] > 60).astype(np.uint8) for v in volumes]
    plain = {"transform": voxels, "spacing_mm": np.stack([SPACING] * 2), "modalities": ("a", "a")}
    return PairSample(*volumes, fixed_mask=masks[0], moving_mask=masks[1], **(plain | kwargs))


def task(*pairs, **kwargs):
    return make_task(ID, data=list(pairs) or [pair()], window=24, **kwargs)


def start(made, pose=IDENTITY, item=0):
    state = batch.stack([made.sample(np.random.default_rng(0), item)])
    return replace(state, pose=np.array(pose, float)[None])


def test_unit_moves_are_millimetres_and_degrees():
    made = task(offset=(0.0, 0.0))
    for number in range(6):
        state = start(made)
        after = made.step(state, np.array([2 * number]))
        np.testing.assert_allclose(
            transforms.to_numbers(after.pose, "rigid")[0], np.eye(6)[number], atol=1e-12
        )
        assert float(made.reward(state, np.array([2 * number]), after)[0]) == pytest.approx(-1, abs=1e-4)
        back = made.step(after, np.array([2 * number + 1]))
        np.testing.assert_allclose(back.pose[0], IDENTITY, atol=1e-12)


@pytest.mark.parametrize("numbers", [(6.0, -9, 3, 0, 0, 0), (0, 0, 0, 10.0, -6, 12), (4.0, 3, -5, 8, 8, 8)])
def test_the_truth_brings_places_onto_each_other(numbers):
    made = task(pair(numbers))
    state = start(made)
    state = replace(state, pose=state.target)
    np.testing.assert_allclose(transforms.to_numbers(state.target, "rigid")[0], numbers, atol=1e-6)
    metrics = made.metrics(state)
    assert float(metrics["tre_mm"][0]) < 1e-6 and float(metrics["dice"][0]) > 0.93
    seen = made.observe(state)["window"][0].astype(float)
    off = made.observe(replace(state, pose=IDENTITY[None]))["window"][0].astype(float)
    assert seen.shape == (12, 24, 24)
    for k in range(6):  # pictures 2k and 2k + 1 belong together
        good, bad = (np.abs(some[2 * k] - some[2 * k + 1]).mean() for some in (seen, off))
        assert good < 4 and good < bad


def test_cuts_show_the_axes():
    volume = np.zeros((1, SIDE, SIDE, SIDE), np.uint8)
    middle = SIDE // 2
    volume[0, middle - 1 : middle + 1, middle - 1 : middle + 1, middle + 4 :] = 200  # to the left
    volume[0, middle + 4 :, middle - 1 : middle + 1, middle - 1 : middle + 1] = 100  # to the head
    made = task(
        PairSample(volume, volume, transform=IDENTITY, spacing_mm=np.stack([SPACING] * 2)), scales=(1,)
    )
    axial, coronal, sagittal = made.observe(start(made))["window"][0, ::2]
    assert axial[11, 20] == 200 and axial[20, 11] == 0
    assert coronal[11, 20] == 200 and coronal[3, 11] == 100 and coronal[20, 11] == 0
    assert sagittal[3, 11] == 100 and sagittal[11, 20] == 0


def test_volumes_of_other_spacings():
    coarse = pair()
    half = blobs()[::2, ::2, ::2]
    points = np.array([[10.0, 10, 10], [30, 12, 8], [14, 28, 20], [22, 9, 31]])
    sample = PairSample(
        coarse.fixed,
        np.rint(half).astype(np.uint8)[None],
        points,
        points / 2,
        spacing_mm=np.stack([SPACING, 2 * SPACING]),
    )
    made = task(sample)
    state = start(made)
    np.testing.assert_allclose(state.target[0][:, :3], np.eye(3), atol=1e-9)
    aside = replace(state, pose=transforms.move(state.target, np.array([[0, 0, 4.0, 0, 0, 0]]), "rigid"))
    assert float(made.metrics(aside)["tre_mm"][0]) == pytest.approx(4.0)
    assert "dice" not in made.metrics(state)


def test_label_maps_alone_say_how_a_pair_lies():
    shifted = pair((6.0, 0, -3, 0, 0, 0), transform=None)
    made = task(shifted, reward_type="dice")
    state = start(made)
    np.testing.assert_allclose(transforms.to_numbers(state.target, "rigid")[0], (6, 0, -3, 0, 0, 0), atol=0.6)
    lower, upper = (
        float(made.metrics(replace(state, pose=pose))["dice"][0]) for pose in (IDENTITY[None], state.target)
    )
    assert upper > 0.9 > lower
    state = replace(state, score=made.similarity(state.pair, state.view_transform, state.pose))
    after = made.step(state, np.array([0]))
    gained = float(made.reward(state, np.array([0]), after)[0])
    assert gained == pytest.approx(10 * float(after.score[0] - state.score[0]))
    with pytest.raises(ValueError, match="reward_type 'dice' needs label maps"):
        task(replace(pair(), fixed_mask=None), reward_type="dice")


def test_dice_of_single_labels():
    both = pair((6.0, 0, -3, 0, 0, 0))
    core = [mask + (volume[0] > 120) for mask, volume in zip(*_masks_and_volumes(both), strict=True)]
    made = task(replace(both, fixed_mask=core[0], moving_mask=core[1]), dice_of=[2])
    here = made.metrics(start(made))
    alone = [np.where(mask == 2, 2, 0) for mask in core]
    want = task(replace(both, fixed_mask=alone[0], moving_mask=alone[1]))
    assert here["dice_2"] == want.metrics(start(want))["dice"] != here["dice"]
    for bad in (both, replace(both, fixed_mask=None)):
        with pytest.raises(ValueError, match="dice_of must be labels of the split"):
            task(bad, dice_of=[2])


def _masks_and_volumes(both):
    return (both.fixed_mask, both.moving_mask), (both.fixed, both.moving)


@pytest.mark.parametrize("reward", ["ncc", "mi", "dice"])
def test_likeness_peaks_at_the_truth(reward):
    made = task(pair((5.0, -3, 4, 6, -4, 8)), reward_type=reward)
    state = start(made)
    best = float(made.similarity(state.pair, state.view_transform, state.target)[0])
    for change in np.vstack([9 * np.eye(6), -9 * np.eye(6)]):
        other = transforms.move(state.target, change[None], "rigid")
        assert best > float(made.similarity(state.pair, state.view_transform, other)[0])


def test_augmented_views_are_of_the_same_pair():
    plain, wild = (task(pair((5.0, -3, 4, 6, -4, 8)), augment=augment) for augment in (False, True))
    state = batch.stack([wild.sample(np.random.default_rng(seed), 0) for seed in range(4)])
    assert np.abs(state.view_transform - IDENTITY).max() > 0.05
    there = replace(state, pose=state.target)
    assert (wild.metrics(there)["tre_mm"] < 1e-6).all()
    np.testing.assert_allclose(
        from_fixed(state.view_transform, state.target)[1], start(plain).target[0], atol=1e-9
    )
    seen = wild.observe(there)["window"].astype(float)
    assert all(np.abs(seen[:, 2 * k] - seen[:, 2 * k + 1]).mean() < 5 for k in range(6))
    assert wild.evaluation["augment"] is False


@pytest.mark.parametrize("kind", transforms.KINDS)
@pytest.mark.parametrize("name", BASELINES[ID])
def test_classical_methods(name, kind):
    if name.startswith("SimpleITK"):
        pytest.importorskip("SimpleITK")
    made = task(pair((5.0, -3, 4, 6, -4, 8)), transform=kind)
    state = start(made)
    end = BASELINES[ID][name].fit(None)(made, state)
    if name == "identity":
        np.testing.assert_array_equal(end.pose, state.pose)
    else:
        assert float(made.metrics(end)["tre_mm"][0]) < 2.0 < float(made.metrics(state)["tre_mm"][0]) / 3


def test_the_picture():
    made = task()
    shown = made.draw(made.sample(np.random.default_rng(0), 0))
    assert shown.shape[1] == 3 * shown.shape[0] and shown.dtype == np.uint8


@pytest.mark.parametrize(
    ("kwargs", "rule"),
    [
        ({"voxel_mm": 0.0}, "voxel_mm must be"),
        ({"lattice": 1}, "lattice must be"),
        ({"offset": (-1.0, 30.0)}, "offset must be"),
        ({"scales": (40, 1)}, r"volumes must have sides >= 120 mm, the largest scale, got \[120"),
        ({"reward_type": "ssd"}, "reward_type must be one of"),
    ],
)
def test_arguments(kwargs, rule):
    small = replace(pair(), fixed=pair().fixed[:, 1:], fixed_mask=pair().fixed_mask[1:])
    with pytest.raises(ValueError, match=rule):
        task(small if "scales" in kwargs else pair(), **kwargs)


def test_pairs_of_another_dimension_are_refused():
    flat = PairSample(*[np.zeros((1, 20, 20), np.uint8)] * 2, transform=np.eye(2, 3), name="p")
    with pytest.raises(
        ValueError, match="pair 'p' must be of 3D images, got 2D ones; Registration2D-v0 is for those"
    ):
        task(flat)
    with pytest.raises(ValueError, match="must be of 2D images, got 3D ones; Registration3D-v0 is for those"):
        make_task("visionrl/Registration2D-v0", data=[pair()])
    mixed = replace(pair(), modalities=("ct", "mr"), name="x")
    with pytest.raises(
        ValueError, match="reward_type 'ncc' needs images of one modality, pair 'x' has ct and mr"
    ):
        task(mixed, reward_type="ncc")
