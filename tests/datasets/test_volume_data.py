"""Volumes: the sample's rules, the embedded sets, deformations, and the bank that environments look at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from visionrl.banks.volumes import VolumeBank, block_mean, to_spacing, volume_bank
from visionrl.datasets import VolumeSample, load, validate
from visionrl.datasets.embedded import volumes
from visionrl.datasets.embedded.volumes import DeformedVolumes, centroids, chest_scan, mni_scan
from visionrl.ops.deform import (
    FAMILIES,
    Grid,
    ScanDeformation,
    exponential_mm,
    interpolate_vectors,
    random_flow,
    random_velocity_mm,
    sample_scan,
)

RNG = np.random.default_rng(3)
VOXELS = RNG.integers(0, 256, (1, 9, 11, 13), dtype=np.uint8)
GOOD = VolumeSample(VOXELS, (1.0, 2.0, 3.0), {"tip": (12.5, -0.5, 8.5)}, name="a")


def test_a_good_volume_comes_back_in_plain_form():
    checked = validate(replace(GOOD, name=""), 3)
    assert checked.volume is VOXELS and (checked.name, checked.subject) == ("3", "3")
    assert checked.spacing_mm.dtype == checked.points["tip"].dtype == np.float64


BAD = {
    r"volumes are \(1, D, H, W\) uint8 0-255, got float64": {"volume": VOXELS / 255},
    r"got uint8 of shape \(9, 11, 13\)": {"volume": VOXELS[0]},
    r"got uint8 of shape \(1, 0, 11, 13\)": {"volume": VOXELS[:, :0]},
    "a volume must be an array, got str": {"volume": "scan.nii"},
    r"spacing_mm must be \(x, y, z\), finite and > 0, got \(1, 0, 1\)": {"spacing_mm": (1, 0, 1)},
    r"spacing_mm must be \(x, y, z\), finite and > 0, got 2.0": {"spacing_mm": 2.0},
    "spacing_mm must be numbers, got 'thin'": {"spacing_mm": "thin"},
    r"point 'tip' must lie inside the volume of 13 x 11 x 9 voxels, got \[13.0, 1.0, 1.0\]": {
        "points": {"tip": (13, 1, 1)}
    },
    r"point 'tip' must be \(x, y, z\), got shape \(2,\)": {"points": {"tip": (1, 2)}},
    r"mask must be integers of shape \(9, 11, 13\), got int64 of shape \(13, 11, 9\)": {
        "mask": np.ones((13, 11, 9), int)
    },
    "mask must have a label > 0, got none": {"mask": np.zeros((9, 11, 13), int)},
}


@pytest.mark.parametrize(("message", "change"), BAD.items(), ids=range(len(BAD)))
def test_a_bad_volume_is_named_with_its_rule(message, change):
    with pytest.raises(ValueError, match=rf"^sample 1 \('bad'\).*{message}"):
        load([GOOD, replace(GOOD, name="bad", **change)], kind=VolumeSample)


def test_classes_keep_some_points():
    two = replace(GOOD, points={"tip": (1, 1, 1), "end": (2, 2, 2)})
    (kept,) = load([two], kind=VolumeSample, classes=["end"])
    assert set(kept.points) == {"end"}
    with pytest.raises(ValueError, match="classes must be names in the data set, got liver"):
        load([two], kind=VolumeSample, classes=["liver"])


# -- embedded sets ---------------------------------------------------------------------------------------------------
def test_the_template_is_small_and_its_points_are_where_anatomy_says():
    archive = Path(volumes.__file__).parent / "data" / "mni152_2mm.npz"
    assert archive.stat().st_size < 1_500_000
    scan = mni_scan()
    at = {
        name: point[::-1] for name, point in scan.points.items()
    }  # (x, y, z), to the left, the back, the head
    assert len(at) == 32 and scan.volume.shape == scan.labels.shape
    gap = (at["PC"] - at["AC"]) * 2
    np.testing.assert_allclose(gap, (0, 27.7, 2.7), atol=0.5)  # the commissures are 27 to 28 mm apart
    assert at["GENU"][1] < at["AC"][1] < at["SPLE"][1], "from front to back"
    assert at["PMJ"][2] < at["PC"][2] < at["RLVPC"][2], "from below to above"
    assert at["RMB"][0] < at["AC"][0] < at["LMB"][0], "from right to left"
    middle = (np.array(scan.volume.shape[::-1]) - 1) / 2
    assert abs(at["AC"][0] - middle[0]) < 1, "the template is symmetric"


def test_chest_points_are_the_centroids_of_whole_structures():
    scan = chest_scan()
    assert {"heart", "trachea", "liver", "sternum", "vertebrae_T8"} <= set(scan.points)
    assert not {"colon", "humerus_left", "rib_left_12"} & set(scan.points), (
        "cut off, or of less than 64 voxels"
    )
    label = next(k for k, name in scan.names.items() if name == "heart")
    np.testing.assert_allclose(scan.points["heart"], np.argwhere(scan.labels == label).mean(axis=0))


@pytest.mark.parametrize("scan", [chest_scan, mni_scan])
def test_subjects_keep_the_contract(scan):
    made = []
    for split, count in volumes.COUNTS.items():
        subjects = DeformedVolumes(scan, split)
        assert len(subjects) == count
        made.append(validate(subjects[1], 0, VolumeSample))
        assert made[-1].mask.shape == made[-1].volume.shape[1:] and len(made[-1].points) >= 30
    again = DeformedVolumes(scan, "test", count=2)[-1]
    assert np.array_equal(made[-1].volume, again.volume), "a subject depends on its number alone"
    assert len({sample.volume.shape for sample in made}) == 3, "sizes differ"
    assert len({tuple(sample.spacing_mm) for sample in made}) == 3, "spacings differ"


def test_labels_and_landmarks_go_with_the_voxels():
    sample = DeformedVolumes(chest_scan, "test")[0]
    found = centroids(sample.mask, sample.names, smallest=200)
    shared = [name for name in ("heart", "sternum", "vertebrae_T8", "spleen") if name in found]
    gaps = [np.linalg.norm((sample.points[n] - found[n]) * sample.spacing_mm) for n in shared]
    assert len(shared) == 4 and max(gaps) < 4, "the image of a centroid is nearly the centroid of the image"
    bone = sample.mask == next(k for k, name in sample.names.items() if name == "vertebrae_T8")
    lung = sample.mask == next(k for k, name in sample.names.items() if name == "lung_upper_lobe_left")
    assert sample.volume[0][bone].mean() > 2 * sample.volume[0][lung].mean()


def test_wrong_splits_counts_and_places_are_named():
    with pytest.raises(ValueError, match="split must be one of"):
        DeformedVolumes(chest_scan, "all")
    with pytest.raises(ValueError, match="count must be >= 1, got -1"):
        DeformedVolumes(chest_scan, count=-1)
    with pytest.raises(IndexError, match="index must be in"):
        DeformedVolumes(chest_scan)[24]


# -- deformations ----------------------------------------------------------------------------------------------------
SOURCE = Grid((40, 44, 36), np.array([4.0, 3.0, 5.0]))
TARGET = Grid((38, 47, 33), np.array([4.2, 2.9, 5.1]))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_nothing_folds_and_points_are_carried_to_where_they_show(family, seed):
    place = random_flow(np.random.default_rng(seed), family, SOURCE, 9.0)
    bent = ScanDeformation(SOURCE, TARGET, place(TARGET.nodes()))
    places = bent.everywhere().astype(float)
    slopes = np.stack([np.stack(np.gradient(part)) for part in places])  # (3, 3, D, H, W)
    assert np.linalg.det(np.moveaxis(slopes.reshape(3, 3, -1), -1, 0)).min() > 0.3
    inner = np.random.default_rng(0).uniform(4, np.array(TARGET.shape) - 5, (30, 3))
    shown = interpolate_vectors(np.moveaxis(places, 0, -1), inner.T).T
    np.testing.assert_allclose(bent.carry(shown), inner, atol=0.05)


def test_velocity_has_its_strength_and_its_families_differ():
    fields = [random_velocity_mm(np.random.default_rng(0), family, SOURCE, 7.0) for family in FAMILIES]
    for field in fields:
        np.testing.assert_allclose(np.sqrt((field**2).sum(-1).mean()), 7.0)
    assert all(np.abs(a - b).max() > 1 for a, b in zip(fields, fields[1:] + fields[:1], strict=True))
    with pytest.raises(ValueError, match="family must be one of noise, bumps, waves, got 'folds'"):
        random_velocity_mm(np.random.default_rng(0), "folds", SOURCE, 7.0)


def test_the_flow_of_a_constant_velocity_is_a_shift():
    shift = np.array([3.0, -2.0, 5.0])
    field = np.tile(shift, (21, 21, 21, 1))
    np.testing.assert_allclose(exponential_mm(field, SOURCE), field)


def test_flows_forth_and_back_cancel():
    field = random_velocity_mm(np.random.default_rng(1), "waves", SOURCE, 8.0)
    forth, back = exponential_mm(field, SOURCE), exponential_mm(-field, SOURCE)
    step = (np.array(SOURCE.shape) - 1) * SOURCE.spacing / 20
    index = np.indices((21, 21, 21)).astype(float)
    moved = index + np.moveaxis(forth / step, -1, 0)
    rest = forth + np.moveaxis(interpolate_vectors(back, moved), 0, -1)
    inside = ((moved > 1) & (moved < 19)).all(axis=0)
    assert np.abs(rest[inside]).max() < 0.12 * np.abs(forth[inside]).max()


def test_looking_up_whole_places_is_a_copy_and_outside_is_0():
    volume = RNG.uniform(1, 255, (6, 7, 8)).astype(np.float32)
    labels = RNG.integers(0, 4, (6, 7, 8))
    values, found = sample_scan(volume, labels, np.indices((6, 7, 8)).astype(np.float32))
    np.testing.assert_allclose(values, volume, rtol=1e-5)
    np.testing.assert_array_equal(found, labels)
    values, found = sample_scan(volume, labels, np.array([[-0.6, 2.0], [3.0, 7.2], [3.0, 3.0]], np.float32))
    assert not values.any() and not found.any()
    halfway, _ = sample_scan(volume, labels, np.array([[2.5], [3.0], [4.0]], np.float32))
    np.testing.assert_allclose(halfway, volume[2:4, 3, 4].mean(), rtol=1e-5)


# -- the bank --------------------------------------------------------------------------------------------------------
SHAPES = ((9, 11, 13), (16, 7, 10), (6, 20, 8))
SCALES = (3, 2, 1)


def plain_means(volume, scale):
    """(D, H, W) means of blocks, with loops."""
    small = np.zeros([n // scale for n in volume.shape])
    for cell in np.ndindex(small.shape):
        block = volume[tuple(slice(k * scale, (k + 1) * scale) for k in cell)]
        small[cell] = np.rint(np.float32(block.sum(dtype=int)) / np.float32(scale**3))
    return small


def plain_crop(small, position, scale, size):
    """What a window of a scale is, with loops: (size, size, size)."""
    centre = np.rint((np.asarray(position)[::-1] + 0.5) / scale - 0.5).astype(int)
    out = np.zeros((size, size, size), np.uint8)
    for place in np.ndindex(out.shape):
        cell = tuple(centre + place - size // 2)
        if all(0 <= k < n for k, n in zip(cell, small.shape, strict=True)):
            out[place] = small[cell]
    return out


@pytest.mark.parametrize("size", [5, 6])
def test_windows_agree_with_the_plain_rule_on_every_library(size):
    import array_api_strict as strict

    held = [RNG.integers(0, 256, (1, *shape), dtype=np.uint8) for shape in SHAPES]
    bank = VolumeBank(held, size, SCALES)
    index = RNG.integers(0, 3, (8, 1))
    sides = np.array(SHAPES)[:, ::-1]
    position = np.floor(RNG.uniform(0, 1, (8, 1, 3)) * sides[index])
    position[0], position[1] = 0, sides[index[1]] - 1  # corners
    level, shown = np.arange(3)[None], np.ones((8, 1), bool)
    got = bank.crop(index, position, level, shown)
    assert got.shape == (8, 3, size, size, size) and got.dtype == np.uint8
    means = [{s: plain_means(volume[0], s) for s in SCALES} for volume in held]
    pairs = zip(index, position, strict=True)
    want = [[plain_crop(means[i][s], p, s, size) for s in SCALES] for (i,), (p,) in pairs]
    np.testing.assert_array_equal(got, want)
    arrays = index, position, level, shown
    on_torch = bank.crop(*map(torch.from_numpy, arrays))
    np.testing.assert_array_equal(on_torch.numpy(), want)
    device = strict.Device("device1")
    on_strict = bank.crop(*(strict.asarray(a, device=device) for a in arrays))
    assert on_strict.device == device and on_strict.shape == got.shape
    on_meta = bank.crop(*(torch.asarray(a, device="meta") for a in arrays))
    assert on_meta.device.type == "meta" and on_meta.shape == got.shape


def test_windows_that_are_not_shown_are_black():
    bank = VolumeBank([np.full((1, 9, 9, 9), 7, np.uint8)], 5, (1,))
    at, shown = np.full((2, 3), 4.0), np.array([True, False])
    seen = bank.crop(np.zeros(2, int), at, np.zeros(2, int), shown)
    assert (seen[0] == 7).all() and not seen[1].any()


def test_a_volume_smaller_than_a_block_is_named():
    with pytest.raises(ValueError, match="volume 1 must have sides >= 3, the largest scale, got 2"):
        VolumeBank([np.zeros((1, 9, 9, 9), np.uint8), np.zeros((1, 9, 2, 9), np.uint8)], 5, (3,))


def test_block_means_are_rounded():
    volume = RNG.integers(0, 256, (7, 8, 9), dtype=np.uint8)
    want = volume[:6, :8, :8].reshape(3, 2, 4, 2, 4, 2).mean((1, 3, 5))
    assert np.abs(block_mean(volume, 2) - want).max() <= 0.5


def test_resampling_to_cubes_keeps_places_and_means():
    z, y, x = np.indices((10, 20, 30))
    ramp = (2 * z + 3 * y + 4 * x).astype(np.uint8)[None]
    cubes, factor = to_spacing(ramp, (1.0, 2.0, 4.0), 2.0)
    assert cubes.shape == (1, 20, 20, 15)
    np.testing.assert_allclose(factor, (2, 1, 0.5))
    at = (np.array([7, 10, 9]) + 0.5) * factor - 0.5  # voxel (7, 10, 9), in voxels of the original
    assert abs(float(cubes[0, 9, 10, 7]) - (4 * at[0] + 3 * at[1] + 2 * at[2])) <= 1
    same, ones = to_spacing(ramp, (1.0, 2.0, 4.0), None)
    assert same is ramp and (ones == 1).all()


def test_environments_over_the_same_volumes_share_them():
    samples = [validate(replace(GOOD, name=str(k)), k) for k in range(2)]
    first = volume_bank(samples, 5, (1,))
    assert volume_bank(samples, 5, (1,)) is first
    other = [replace(sample, spacing_mm=np.ones(3)) for sample in samples]
    assert volume_bank(other, 5, (1,)).spacings.tolist() == [[1, 1, 1]] * 2, (
        "another spacing, though the same voxels"
    )
    np.testing.assert_allclose(
        volume_bank(samples, 5, (1,), 1.5).spacings * [9, 15, 18], [[13, 22, 27]] * 2, rtol=0.01
    )
