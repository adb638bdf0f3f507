"""Pairs of images: the embedded sets, the reader of folders, and every rule that a pair must keep."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from visionrl.banks.pair_geometry import has_truth
from visionrl.datasets import PairSample, clear_cache, load, validate
from visionrl.datasets.embedded.cutouts import PHOTOGRAPHS
from visionrl.datasets.embedded.pairs import COUNTS, SIDE, Pairs, photo_scene, scan_scene, strewn_scene
from visionrl.datasets.readers.pair_files import read_map, read_points

IMAGE = np.random.default_rng(0).integers(0, 256, (1, 20, 30), dtype=np.uint8)
POINTS = [[2.0, 3.0], [25.0, 4.0], [8.0, 15.0]]
SHIFT = [[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]


@pytest.fixture(autouse=True)
def forget():
    clear_cache()


def correlation(pair):
    """Of the fixed image and the moving one brought onto it, well inside."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(pair.moving[0], np.asarray(pair.transform), (SIDE, SIDE), flags=flags)
    cut = (slice(40, -40), slice(40, -40))
    return np.corrcoef(pair.fixed[0][cut].ravel(), seen[cut].ravel())[0, 1]


@pytest.mark.parametrize("kind", ["rigid", "similarity", "affine"])
def test_photographs_fit_by_their_map(kind):
    for pair in [*Pairs(photo_scene, "p", "val", kind)[:4], *Pairs(strewn_scene, "s", "train", kind)[:4]]:
        validate(pair, 0, PairSample)
        assert correlation(pair) > 0.8
        carried = pair.fixed_points @ pair.transform[:, :2].T + pair.transform[:, 2]
        np.testing.assert_allclose(carried, pair.moving_points)
        stretch = np.linalg.svd(pair.transform[:, :2])[1]
        assert (np.ptp(stretch) < 1e-9) == (kind != "affine")
        assert (abs(stretch[0] - 1) < 1e-9) == (kind == "rigid")


def test_two_modalities_do_not_look_alike_but_inform():
    pairs = Pairs(scan_scene, "s", "val")[:8]
    assert {pair.modalities for pair in pairs} == {("t1", "tissue"), ("ct", "contrast")}
    for pair in pairs:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen = cv2.warpAffine(pair.moving[0], pair.transform, (SIDE, SIDE), flags=flags)
        off = cv2.warpAffine(
            pair.moving[0], np.add(pair.transform, [[0, 0, 9], [0, 0, 9]]), (SIDE, SIDE), flags=flags
        )
        assert information(pair.fixed[0], seen) > 1.15 * information(pair.fixed[0], off)


def information(a, b):
    """Mutual information of two pictures."""
    joint = np.histogram2d(a.ravel(), b.ravel(), 16)[0] / a.size
    alone = np.outer(joint.sum(1), joint.sum(0))
    seen = joint > 0
    return (joint[seen] * np.log(joint[seen] / alone[seen])).sum()


@pytest.mark.parametrize("scenes", [photo_scene, strewn_scene, scan_scene])
def test_items_repeat_and_splits_differ(scenes):
    first, again = (Pairs(scenes, "p", "train")[3] for _ in range(2))
    np.testing.assert_array_equal(first.moving, again.moving)
    np.testing.assert_array_equal(first.transform, again.transform)
    seen = {pair.fixed.tobytes() for split in COUNTS for pair in Pairs(scenes, "p", split, count=3)}
    assert len(seen) == 9


def test_no_pixel_is_in_two_splits(monkeypatch):
    from visionrl.datasets.embedded import pairs

    assert not set(PHOTOGRAPHS["train"]) & set(PHOTOGRAPHS["test"])
    for depth in (83, 91):
        blocks = [
            {pairs._slice_of(split, depth, np.random.default_rng(seed)) for seed in range(200)}
            for split in COUNTS
        ]
        for i, block in enumerate(blocks):
            for other in blocks[i + 1 :]:
                assert min(abs(a - b) for a in block for b in other) > 1


def test_sequence_rules():
    pairs = Pairs(photo_scene, "p", "test", count=2)
    assert (len(pairs), pairs[-1].name) == (2, "p-test-1")
    with pytest.raises(IndexError):
        pairs[2]
    for arguments, rule in (
        (("x",), "split must"),
        (("val", "bent"), "kind must"),
        (("val", "rigid", -1), "count must"),
    ):
        with pytest.raises(ValueError, match=rule):
            Pairs(photo_scene, "p", *arguments)


def test_embedded_by_name():
    found = load("scan-pairs-affine", kind=PairSample, split="val")
    assert len(found) == COUNTS["val"] and found[0].subject == found[0].name
    with pytest.raises(ValueError, match="left out for videos, pairs and texts"):
        load("scan-pairs", kind=PairSample, split="val", classes=["cat"])


@pytest.mark.slow
def test_strewn_pairs_are_more_for_training_and_the_same_for_the_rest():
    plain, strewn = (
        {split: load(name, kind=PairSample, split=split) for split in COUNTS}
        for name in ("photo-pairs", "strewn-photo-pairs")
    )
    assert len(strewn["train"]) == 384
    for split in ("val", "test"):
        assert len(strewn[split]) == len(plain[split])
        for one, other in zip(strewn[split][:3], plain[split][:3], strict=True):
            np.testing.assert_array_equal(one.fixed, other.fixed)
            np.testing.assert_array_equal(one.transform, other.transform)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"fixed": IMAGE[None]}, "must be of one dimension, got a 3D and a 2D image"),
        ({"moving": np.zeros((1, 4, 5, 6), np.uint8)}, "must be of one dimension, got a 2D and a 3D image"),
        ({"moving": IMAGE.astype(float)}, "moving: images are uint8"),
        ({"modalities": ("ct", "")}, "modalities must be two words"),
        ({"modalities": "ct"}, "modalities must be two words"),
        ({"spacing_mm": (1.0, 0.0)}, "spacing_mm must be two numbers"),
        ({"spacing_mm": 2.0}, "spacing_mm must be two numbers"),
        ({"moving_points": POINTS[:2]}, "must have the same points, got 3 and 2"),
        ({"moving_points": None}, "points must be given of both images, got none of moving"),
        ({"fixed_points": [[2.0, 3.0], [31.0, 3.0], [4.0, 4.0]]}, "fixed points must lie inside"),
        ({"fixed_points": [[np.nan, 3.0], [1.0, 3.0], [4.0, 4.0]]}, "points must be finite"),
        ({"fixed_points": [1.0, 2.0]}, r"points must be \(N, 2\)"),
        ({"fixed_mask": np.zeros((20, 31), int)}, r"fixed_mask: mask must be integers of shape \(20, 30\)"),
        ({"moving_mask": np.full((20, 30), -1)}, "moving_mask: mask must be >= 0"),
        ({"start": [[1, 2, 0], [2, 4, 0]]}, "start must not be singular"),
        ({"transform": [[-1, 0, 0], [0, 1, 0]]}, "transform must not be singular nor mirror"),
        ({"transform": np.eye(3)}, "transform must be 2 x 3 finite numbers"),
    ],
)
def test_rules(change, rule):
    good = {
        "fixed": IMAGE,
        "moving": IMAGE,
        "fixed_points": POINTS,
        "moving_points": POINTS,
        "transform": SHIFT,
    }
    validate(PairSample(**good), 0)
    with pytest.raises(ValueError, match=r"sample 4 \('4'\).*" + rule):
        validate(PairSample(**(good | change)), 4)


def write(path, text="", image=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if image is None:
        path.write_text(text)
    else:
        cv2.imwrite(str(path), image)


def two_images(folder, names=("a", "b")):
    for n, name in enumerate(names):
        write(folder / f"{name}.png", image=np.full((20, 30 + n, 3), 50 * n, np.uint8))
    return folder


def read(folder, **kwargs):
    return load(f"pairs:{folder}", kind=PairSample, split="all", **kwargs)


def test_folders_of_two_images(tmp_path):
    two_images(tmp_path / "one", ("fixed", "moving"))
    write(tmp_path / "one" / "transform.txt", "1 0 2\n0 1 -1\n0 0 1\n")
    write(tmp_path / "one" / "start.txt", "1,0,1\n0,1,0\n")
    two_images(tmp_path / "two" / "deep")
    write(tmp_path / "two" / "deep" / "a.txt", "1 2\n3 4\n")
    write(tmp_path / "two" / "deep" / "b.txt", "2 2\n4 4\n\n")
    one, two = read(tmp_path)
    assert (one.name, two.name) == ("one", "two/deep")
    assert (one.fixed.shape, one.moving.shape) == ((3, 20, 30), (3, 20, 31))
    np.testing.assert_array_equal(one.transform, SHIFT)
    np.testing.assert_array_equal(one.start, [[1, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(two.moving_points, [[2, 2], [4, 4]])


def test_points_with_names_are_matched_by_name(tmp_path):
    two_images(tmp_path)
    write(tmp_path / "a.csv", ",X,Y\n1,5,6\n2,7,8\n3,9,9\n")
    write(tmp_path / "b.csv", ",X,Y\n3,1,1\n1,2,2\n")
    (pair,) = read(tmp_path)
    np.testing.assert_array_equal(pair.fixed_points, [[5, 6], [9, 9]])
    np.testing.assert_array_equal(pair.moving_points, [[2, 2], [1, 1]])


def test_a_table(tmp_path):
    two_images(tmp_path / "images")
    write(tmp_path / "p.txt", "1 2\n3 4\n")
    write(
        tmp_path / "pairs.csv",
        "fixed,moving,fixed_points,moving_points,fixed_modality,moving_modality,fixed_spacing_mm,"
        "moving_spacing_mm,name,subject\nimages/a.png,images/b.png,p.txt,p.txt,ct,mr,0.5,1.5,first,ann\n"
        "images/b.png,images/a.png,p.txt,p.txt,,,,,second,bob\n",
    )
    first, second = read(tmp_path)
    assert (first.name, first.subject, first.modalities) == ("first", "ann", ("ct", "mr"))
    assert first.spacing_mm.tolist() == [0.5, 1.5]
    assert second.spacing_mm is None and second.subject == "bob"


def test_homographies(tmp_path):
    two_images(tmp_path / "wall", ("img1", "img2"))
    write(tmp_path / "wall" / "H1to2p", "1 0 2\n0 1 -1\n0 0 1\n")
    (pair,) = read(tmp_path)
    assert pair.name == "wall/1to2" and len(pair.fixed_points) > 60
    np.testing.assert_allclose(
        pair.moving_points - pair.fixed_points, np.tile([2.0, -1.0], (len(pair.fixed_points), 1))
    )


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        (
            {"a.txt": "1 2\n3 4\n", "b.txt": "1 2\n"},
            "point files must have equal length, or name their points, got 2 and 1",
        ),
        ({"a.txt": "1 2\n"}, "points must be given of both images, got none of moving"),
        ({"a.txt": "1 2\n", "b.txt": "1\n"}, "b.txt, line 1: must hold 2 numbers"),
        ({"a.txt": "1 2\n", "b.txt": "1 east\n"}, "b.txt, line 1: must hold numbers"),
        ({"a.csv": "n,x,y\n1,2,3\n", "b.csv": "n,x,y\n2,2,3\n"}, "point files must share a name"),
        (
            {"a.csv": "n,x,y\n1,2,3\n1,3,3\n", "b.csv": "n,x,y\n1,2,3\n"},
            "must name each point once, got '1' twice",
        ),
        ({"a.csv": "x\n1\n", "b.csv": "x\n2\n"}, "must have a header with x and y"),
        ({"transform.txt": "1 0 0\n"}, "must have 2 rows of 3 numbers"),
        ({"transform.txt": "1 0 0\n0 1 0\n.1 0 1\n"}, "must have 2 rows of 3 numbers"),
        ({"transform.txt": "1 0 0\n0 1 0\n", "start.txt": "0 0 1\n0 0 1\n"}, "start must not be singular"),
        ({"scan.nii.gz": ""}, "must hold two images, or pairs.csv, .* got 3 images"),
        ({"c.png": ""}, "must hold two images, or pairs.csv"),
        ({"pairs.csv": "left,right\na.png,b.png\n"}, "must have a header with fixed and moving"),
        ({"pairs.csv": "fixed,moving\n"}, "one row or more"),
        ({"pairs.csv": "fixed,moving\na.png\n"}, "line 2: must have 2 cells"),
        ({"pairs.csv": "fixed,moving\na.png,\n"}, "line 2: must name the moving image"),
        ({"pairs.csv": "fixed,moving,transform\na.png,b.png,t.txt\n"}, "transform file .*t.txt must exist"),
        ({"pairs.csv": "fixed,moving,fixed_spacing_mm\na.png,b.png,1\n"}, "must hold 2 numbers, got 1"),
        ({"pairs.csv": "fixed,moving\na.png,none.png\n"}, "none.png must exist"),
        ({"H1to3p": "1 0 0\n0 1 0\n0 0 1\n"}, "needs the images img1 and img3"),
    ],
)
def test_bad_folders(tmp_path, files, rule):
    two_images(tmp_path)
    for name, text in files.items():
        write(tmp_path / name, text)
    with pytest.raises(ValueError, match=rule):
        read(tmp_path)


def test_two_images_alone_are_a_pair_without_truth(tmp_path):
    two_images(tmp_path)
    (pair,) = read(tmp_path)
    assert not has_truth(pair)
    assert pair.fixed_points is None and pair.transform is None and pair.fixed_mask is None


def test_nothing_there(tmp_path):
    with pytest.raises(ValueError, match="found no sample"):
        read(tmp_path)
    for function in (read_points, read_map):
        with pytest.raises(ValueError, match="must exist"):
            function(tmp_path / "x.txt")


def test_two_stains_of_a_kidney(shared_data):
    (pair,) = read(shared_data / "registration2d" / "kidney")
    assert pair.fixed.shape == (3, 787, 1164) and pair.moving.shape == (3, 724, 1123)
    assert len(pair.fixed_points) == 69
    np.testing.assert_array_equal(pair.moving_points[0], [62, 290])


def test_graffiti(shared_data):
    pairs = read(shared_data / "registration2d" / "graf")
    assert [pair.name for pair in pairs] == [f"graf/1to{k}" for k in range(2, 7)]
    assert len(read(shared_data / "registration2d")) == 6
