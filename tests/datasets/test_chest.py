"""The embedded chest CT and the radiographs made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from visionrl.datasets.embedded import chest
from visionrl.datasets.embedded.chest import EDGE_MARGIN, IMAGE_SIZE, STRUCTURES, ChestXray, chest_ct

ARCHIVE = Path(chest.__file__).parent / "data" / "chest_ct_4mm.npz"


def projection_of(seed: int) -> chest.Projection:
    return chest.project(np.random.default_rng(seed))


def centroid(image: np.ndarray) -> np.ndarray:
    rows, columns = np.indices(image.shape)
    return np.array([(image * columns).sum(), (image * rows).sum()], np.float64) / image.sum(dtype=np.float64)


def test_archive_is_small_and_needs_no_pickle():
    assert ARCHIVE.stat().st_size < 1_200_000
    with np.load(ARCHIVE, allow_pickle=False) as archive:
        assert sorted(archive.files) == ["labels", "names", "spacing_mm", "volume"]
        assert archive["names"].dtype.kind == "U"
        assert archive["volume"].dtype == archive["labels"].dtype == np.uint8


def test_ct_arrays_share_a_grid_and_are_read_only():
    ct = chest_ct()
    assert ct.volume.shape == ct.labels.shape == (83, 90, 90)
    assert ct.volume.dtype == np.int16 and ct.volume.min() == -1024 and ct.volume.max() <= 1016
    assert ct.spacing_mm == (4.0, 4.0, 4.0)
    with pytest.raises(ValueError, match="read-only"):
        ct.volume[0, 0, 0] = 0
    with pytest.raises(ValueError, match="read-only"):
        ct.labels[0, 0, 0] = 0


def test_ct_axes_grow_towards_superior_posterior_left():
    ct = chest_ct()
    place = {
        name: np.argwhere(ct.labels == ct.names.index(name)).mean(axis=0) for name in (*STRUCTURES, "sternum")
    }
    assert place["vertebrae_T4"][0] > place["vertebrae_T8"][0] > place["vertebrae_T12"][0]
    assert place["vertebrae_T8"][1] > place["heart"][1] > place["sternum"][1]
    assert place["spleen"][2] > place["vertebrae_T12"][2] > place["liver"][2]


def test_ct_shows_tissue_where_the_labels_say():
    ct = chest_ct()
    mean = {name: ct.volume[ct.labels == ct.names.index(name)].mean() for name in STRUCTURES}
    assert all(mean[name] < -600 for name in STRUCTURES if name.startswith("lung"))
    assert all(mean[name] > 100 for name in STRUCTURES if name.startswith(("vertebrae", "rib")))
    assert all(0 < mean[name] < 400 for name in ("liver", "spleen", "heart"))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_samples_keep_the_contract(split):
    for sample in ChestXray(split, count=4):
        assert sample.image.shape == (1, IMAGE_SIZE, IMAGE_SIZE) and sample.image.dtype == np.uint8
        assert 2.0 <= sample.spacing_mm <= 2.6
        assert set(sample.points) <= set(STRUCTURES) and len(sample.points) >= 12
        for point in sample.points.values():
            assert point.shape == (2,) and point.dtype == np.float64
            assert np.all(point >= EDGE_MARGIN) and np.all(point <= IMAGE_SIZE - 1 - EDGE_MARGIN)


def test_a_structure_outside_the_image_is_left_out(monkeypatch):
    monkeypatch.setattr(chest, "EDGE_MARGIN", 70.0)
    points = ChestXray("train")[0].points
    assert 0 < len(points) < len(STRUCTURES)


def test_a_sample_depends_on_split_and_index_alone():
    forward, backward = ChestXray("train", count=3), ChestXray("train")
    first = [forward[i] for i in (0, 1, 2)]
    second = [backward[i] for i in (2, 1, 0)][::-1]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        assert a.name == b.name and a.spacing_mm == b.spacing_mm
        assert {k: tuple(v) for k, v in a.points.items()} == {k: tuple(v) for k, v in b.points.items()}


def test_no_two_samples_of_any_splits_are_alike():
    samples = [sample for split in ("train", "val", "test") for sample in ChestXray(split, count=5)]
    assert len({sample.image.tobytes() for sample in samples}) == 15
    assert len({sample.spacing_mm for sample in samples}) == 15
    assert len({sample.name for sample in samples}) == 15


@settings(max_examples=12, deadline=None)
@example(seed=79634027, name="trachea")  # reaches out at the top
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(STRUCTURES))
def test_landmark_is_the_centroid_of_its_structure_drawn_alone(seed, name):
    projection = projection_of(seed)
    point = chest.landmarks(projection)[name]
    drawn = chest.splat(projection, chest.structure_weights(name))
    frame = np.concatenate(
        [drawn[:3].ravel(), drawn[-3:].ravel(), drawn[:, :3].ravel(), drawn[:, -3:].ravel()]
    )
    if frame.max() == 0:  # the structure is wholly in the image
        np.testing.assert_allclose(centroid(drawn), point, atol=0.005)
    else:
        assert name.startswith(("rib", "lung", "liver", "spleen", "aorta", "trachea"))


def test_drawing_keeps_the_volume_of_a_structure():
    ct, projection = chest_ct(), projection_of(3)
    drawn = chest.splat(projection, chest.structure_weights("heart"))
    expected = (ct.labels == ct.names.index("heart")).sum() * np.prod(ct.spacing_mm)
    np.testing.assert_allclose(drawn.sum(dtype=np.float64) * projection.spacing_mm**2, expected, rtol=1e-4)


def test_an_undeformed_chest_is_projected_by_the_pinhole_formula(monkeypatch):
    """Expected: the heart's voxels through x * D / (D + forward), written out from the label map."""
    ct = chest_ct()
    z, y, x = (np.argwhere(ct.labels == ct.names.index("heart")) + 0.5).T
    z, y, x = (4 * z - 2 * 83, 4 * y - 2 * 90, 4 * x - 2 * 90)
    forward = -y
    expected = 79.5 + np.array([(x / (1 + forward / 1800)).mean(), (-z / (1 + forward / 1800)).mean()]) / 2.0
    middle = _Middle()
    projection = chest.project(middle)
    assert projection.spacing_mm == 2.0
    np.testing.assert_allclose(chest.landmarks(projection)["heart"], expected, atol=0.02)


class _Middle:
    """Stands for a generator that bends, scales, turns and moves nothing, at 2 mm a pixel."""

    def uniform(self, low, high, size=None):
        if size == (3, 1, 1, 1):
            return np.ones(size)
        return 2.0 if low == 2.0 else np.zeros(3)

    def normal(self, mean, deviation, size):
        return np.full(size, mean)


def test_head_is_up_and_the_left_is_on_the_viewers_right():
    for sample in ChestXray("train", count=8):
        p = sample.points
        assert p["heart"][0] > p["vertebrae_T8"][0]
        assert p["liver"][0] < p["vertebrae_T12"][0] < p["spleen"][0]
        assert p["lung_upper_lobe_right"][0] < p["trachea"][0] < p["lung_upper_lobe_left"][0]
        assert p["vertebrae_T4"][1] < p["vertebrae_T8"][1] < p["vertebrae_T12"][1]


def test_spine_is_bright_and_lungs_are_dark():
    for sample in ChestXray("val", count=6):
        image, p = sample.image[0].astype(float), sample.points
        patch = {k: image[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3].mean() for k, (x, y) in p.items()}
        lungs = max(patch["lung_upper_lobe_right"], patch["lung_upper_lobe_left"])
        assert patch["vertebrae_T10"] > lungs + 30
        assert patch["liver"] > lungs + 10


def test_images_use_the_range_of_grey():
    for sample in ChestXray("test", count=4):
        assert sample.image.min() == 0 and sample.image.max() == 255
        assert 30 < sample.image.std() < 110


def test_sequence_protocol():
    data = ChestXray("val")
    assert len(data) == 24 and len(ChestXray("train")) == 96 and len(ChestXray("test")) == 48
    assert [s.name for s in data[1:3]] == ["chest-val-1", "chest-val-2"]
    assert data[-1].name == "chest-val-23"
    for index in (24, -25):
        with pytest.raises(IndexError, match="index must be in"):
            data[index]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="split must be one of"):
        ChestXray("dev")
    with pytest.raises(ValueError, match="count must be >= 1, got -1"):
        ChestXray("train", count=-1)
