"""Pairs of volumes: the embedded set, the readers, and every rule that a pair must keep."""

from __future__ import annotations

import json

import numpy as np
import pytest

from visionrl.datasets import PairSample, clear_cache, load, validate
from visionrl.datasets.embedded.volume_pairs import VolumePairs

nibabel = pytest.importorskip("nibabel")

VOLUME = np.random.default_rng(0).integers(0, 256, (10, 12, 14), dtype=np.uint8)  # (i, j, k) of a file
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


@pytest.fixture(autouse=True)
def forget():
    clear_cache()


def save(file, values=VOLUME, affine=AFFINE):
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), file)


def write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def labels(shape=VOLUME.shape):
    some = np.zeros(shape, np.uint8)
    some[2:5, 3:7, 4:9] = 1
    return some


def read(folder, kind="pairs", **kwargs):
    return load(f"{kind}:{folder}", kind=PairSample, **({"split": "all"} | kwargs))


@pytest.mark.parametrize("multimodal", [False, True])
def test_embedded_pairs_fit_by_their_map(multimodal):
    for pair in VolumePairs(multimodal, "val", "affine", 2)[:2]:
        validate(pair, 0, PairSample)
        carried = pair.fixed_points @ pair.transform[:, :3].T + pair.transform[:, 3]
        gaps = np.linalg.norm((carried - pair.moving_points) * pair.spacing_mm[1], axis=1)
        assert gaps.mean() < 0.2 and np.median(gaps) < 0.15
        places = np.rint(pair.moving_points).astype(int)[:, ::-1]
        shown = pair.moving_mask[tuple(places.T)] > 0
        assert shown.mean() > 0.4
        assert (pair.modalities[0] == pair.modalities[1]) == (not multimodal)


def test_embedded_pairs_repeat_and_differ():
    first, again = (VolumePairs(False, "test")[1] for _ in range(2))
    np.testing.assert_array_equal(first.moving, again.moving)
    assert not np.array_equal(first.transform, VolumePairs(False, "val")[1].transform)
    with pytest.raises(ValueError, match="kind must be one of"):
        VolumePairs(False, "val", "bent")


def test_two_volumes_with_points_and_maps(tmp_path):
    for name in ("fixed", "moving"):
        save(tmp_path / "a" / f"{name}.nii.gz")
        save(tmp_path / "a" / f"{name}_label.nii.gz", labels())
        write(tmp_path / "a" / f"{name}.csv", "# voxel\nname,x,y,z\np,1,2,3\nq,4,5,6\nr,7,3,2\n")
    write(tmp_path / "a" / "start.txt", "1 0 0 1\n0 1 0 0\n0 0 1 -2\n")
    (pair,) = read(tmp_path)
    assert pair.name == "a" and pair.fixed.shape == (1, 14, 12, 10)
    np.testing.assert_allclose(pair.spacing_mm, [[2, 2, 3]] * 2)
    np.testing.assert_allclose(pair.fixed_points[0], (8, 9, 3))  # RAS: x and y are flipped towards LPS
    np.testing.assert_allclose(pair.start, [[1, 0, 0, -1], [0, 1, 0, 0], [0, 0, 1, -2]])
    assert pair.fixed[0, 3, 9, 8] == VOLUME[1, 2, 3] and pair.fixed_mask.sum() == 60


def test_maps_in_millimetres(tmp_path):
    save(tmp_path / "fixed.nii.gz")
    moved = AFFINE.copy()
    moved[:3, 3] = (4, -6, 9)
    save(tmp_path / "moving.nii.gz", affine=moved)
    write(tmp_path / "transform.txt", "# RAS\n1 0 0 4\n0 1 0 -6\n0 0 1 9\n0 0 0 1\n")
    (pair,) = read(tmp_path)
    np.testing.assert_allclose(pair.transform, np.eye(3, 4), atol=1e-9)
    write(tmp_path / "transform.txt", "# LPS\n1 0 0 -4\n0 1 0 6\n0 0 1 9\n")
    clear_cache()
    np.testing.assert_allclose(read(tmp_path)[0].transform, np.eye(3, 4), atol=1e-9)


def test_parallel_folders_and_stacked_labels(tmp_path):
    stacked = np.stack([labels(), np.roll(labels(), 4, 0)], axis=-1).astype(float)
    for name in ("one", "two"):
        for side in ("fixed", "moving"):
            save(tmp_path / f"{side}_images" / f"{name}.nii.gz")
            save(tmp_path / f"{side}_labels" / f"{name}.nii.gz", stacked if name == "one" else labels())
    one, two = read(tmp_path)
    assert (one.name, two.name) == ("one", "two") and one.fixed_points is None
    assert sorted(np.unique(one.fixed_mask)) == [0, 1, 2] and two.moving_mask.max() == 1
    (tmp_path / "moving_images" / "two.nii.gz").unlink()
    clear_cache()
    with pytest.raises(ValueError, match="must have files of the same names, got 'two' once"):
        read(tmp_path)


def test_a_table_of_volumes(tmp_path):
    save(tmp_path / "x.nii.gz")
    save(tmp_path / "y.nii")
    for name in "xy":
        save(tmp_path / f"{name}-l.nii.gz", labels())
    rows = "fixed,moving,fixed_mask,moving_mask,fixed_modality,moving_modality,subject\n"
    write(tmp_path / "pairs.csv", rows + "x.nii.gz,y.nii,x-l.nii.gz,y-l.nii.gz,mr,ct,s\n")
    (pair,) = read(tmp_path)
    assert (pair.name, pair.subject, pair.modalities) == ("y", "s", ("mr", "ct"))


def bad_affine(folder):
    save(folder / "moving.nii.gz")
    image = nibabel.load(folder / "moving.nii.gz")
    image.header["sform_code"] = image.header["qform_code"] = 0
    plain = nibabel.Nifti1Image(VOLUME, None, image.header)
    plain.header["sform_code"] = plain.header["qform_code"] = 0
    nibabel.save(plain, folder / "moving.nii.gz")


def zero_spacing(folder):
    (folder / "moving.nii.gz").unlink()
    save(folder / "moving.nii")
    content = bytearray((folder / "moving.nii").read_bytes())
    content[296:312] = bytes(16)  # srow_y
    (folder / "moving.nii").write_bytes(content)


BAD = {
    "dimension": ("must be of one dimension, got 3D fixed.nii.gz and 2D moving.png", None),
    "affine": ("moving.nii.gz must state its affine", bad_affine),
    "spacing": (r"moving.nii must have a spacing > 0 along each axis, got \[2.0, 0.0, 3.0\]", zero_spacing),
    "lengths": (
        "point files must have equal length, or name their points, got 2 and 1 points",
        lambda folder: (
            write(folder / "fixed.txt", "1 2 3\n4 5 6\n"),
            write(folder / "moving.txt", "1 2 3\n"),
        ),
    ),
    "alone": ("points must be given of both volumes", lambda folder: write(folder / "fixed.txt", "1 2 3\n")),
    "grid": (
        "moving_label.nii.gz must be on the grid of",
        lambda folder: save(folder / "moving_label.nii.gz", labels((10, 12, 13))),
    ),
    "place": (
        "moving_label.nii.gz must be on the grid of",
        lambda folder: save(folder / "moving_label.nii.gz", labels(), AFFINE * [[1], [1], [1.2], [1]]),
    ),
    "singular": (
        "start must not be singular",
        lambda folder: write(folder / "start.txt", "1 0 0 0\n2 0 0 0\n0 0 1 0\n"),
    ),
}


@pytest.mark.filterwarnings("ignore:the landmarks in")
@pytest.mark.parametrize("name", BAD)
def test_one_clear_error_each(tmp_path, name):
    rule, spoil = BAD[name]
    save(tmp_path / "fixed.nii.gz")
    if name == "dimension":
        import cv2

        cv2.imwrite(str(tmp_path / "moving.png"), VOLUME[0])
    else:
        save(tmp_path / "moving.nii.gz")
    if name not in ("nothing", "grid", "place", "lengths", "alone"):
        write(tmp_path / "transform.txt", "1 0 0 0\n0 1 0 0\n0 0 1 0\n")
    if name in ("grid", "place"):
        save(tmp_path / "fixed_label.nii.gz", labels())
    if spoil:
        spoil(tmp_path)
    with pytest.raises(ValueError, match=rule):
        read(tmp_path)


def learn2reg(folder, **lists):
    for number in range(3):
        for end in ("0000", "0001"):
            save(folder / "imagesTr" / f"X_000{number}_{end}.nii.gz")
            save(folder / "labelsTr" / f"X_000{number}_{end}.nii.gz", labels())
            write(
                folder / "landmarksTr" / f"X_000{number}_{end}.csv", "1.5,2.5,3.5\n4.0,5.0,6.0\n7.0,3.0,2.0\n"
            )
    rows = [
        {side: f"./imagesTr/X_000{k}_{end}.nii.gz" for side, end in (("fixed", "0000"), ("moving", "0001"))}
        for k in range(3)
    ]
    plain = {
        "modality": {"0": "MR", "1": "CT"},
        "training_paired_images": rows[:2],
        "registration_val": rows[2:],
    }
    write(folder / "X_dataset.json", json.dumps({**plain, **lists}))
    return folder / "X_dataset.json"


def test_learn2reg(tmp_path):
    file = learn2reg(tmp_path)
    first, _ = read(file, "learn2reg", split="train")
    assert first.name == "X_0000_0000-X_0000_0001" and first.subject == "X_0000"
    assert first.modalities == ("MR", "CT") and first.fixed_mask is not None
    np.testing.assert_allclose(first.moving_points[0], (7.5, 8.5, 3.5))
    assert [pair.name for pair in read(file, "learn2reg", split="val")] == ["X_0002_0000-X_0002_0001"]


def test_learn2reg_lists_that_name_files(tmp_path):
    image = {"image": "./imagesTr/X_0000_0000.nii.gz", "label": "./labelsTr/X_0001_0000.nii.gz"}
    file = learn2reg(tmp_path, training=[image])
    save(tmp_path / "labelsTr" / "X_0001_0000.nii.gz", np.roll(labels(), 2, 0))
    first, second = read(file, "learn2reg", split="train")
    np.testing.assert_array_equal(first.fixed_mask, second.fixed_mask)


@pytest.mark.parametrize(
    ("text", "rule"),
    [("{", "must be valid JSON"), ("[]", "must hold a JSON object"), ("{}", "it lists none")],
)
def test_bad_learn2reg(tmp_path, text, rule):
    write(tmp_path / "a.json", text)
    with pytest.raises(ValueError, match=rule):
        read(tmp_path / "a.json", "learn2reg")
    with pytest.raises(ValueError, match="must be the JSON file of a task, got the folder"):
        read(tmp_path, "learn2reg")


def test_real_prostates(shared_data):
    pairs = read(shared_data / "registration3d" / "prostate")
    assert len(pairs) == 15 and pairs[0].fixed.shape == (1, 41, 59, 44)
    assert all(pair.fixed_mask.any() and pair.moving_mask.any() for pair in pairs)
