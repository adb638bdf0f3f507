"""Regions of a pool: where they are, what they sum up, and how a segmenter is scored."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from visionrl.banks.regions import PixelSample, RegionBank, cells, density, pixel_features
from visionrl.datasets import ImageSample


def noise(high: int, wide: int, seed: int = 0, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (channels, high, wide), dtype=np.uint8)


def halves(high: int = 20, wide: int = 33) -> ImageSample:
    """An image whose right half is of class 1 and bright."""
    image, mask = noise(high, wide) // 4, np.zeros((high, wide), int)
    mask[:, wide // 2 :] = 1
    image[0, :, wide // 2 :] += 150
    return ImageSample(image, mask=mask, name="halves")


def test_regions_cover_the_image_once_and_none_is_smaller_than_asked():
    boxes = cells(33, 20, 8)
    seen = np.zeros((20, 33), int)
    for x0, y0, x1, y1 in boxes:
        seen[y0:y1, x0:x1] += 1
        assert min(x1 - x0, y1 - y0) >= 8
    assert (seen == 1).all() and len(boxes) == 4 * 2


def test_sums_of_all_regions_are_those_of_the_whole_image():
    sample = halves()
    bank = RegionBank([sample], (0, 1), 2, 8, None, False)
    flat = pixel_features(sample.image, False).reshape(-1, 18)
    one_hot = np.eye(2)[sample.mask.ravel()]
    np.testing.assert_allclose(bank.gram.array.sum(axis=0), flat.T @ flat, atol=1e-9)
    np.testing.assert_allclose(bank.moment.array.sum(axis=0), flat.T @ one_hot, atol=1e-9)
    np.testing.assert_allclose(bank.count.array.sum(axis=0), one_hot.sum(axis=0))
    assert bank.known.array.all() and len(bank) == 8


def test_an_image_without_a_mask_is_of_regions_without_labels():
    bank = RegionBank([halves(), ImageSample(noise(16, 16))], (0, 1), 2, 8, None, False)
    assert bank.known.array.tolist() == [True] * 8 + [False] * 4
    assert (bank.moment.array[8:] == 0).all() and (bank.gram.array[8:, 0, 0] == 64).all()
    assert bank.image.array.tolist() == [0] * 8 + [1] * 4


def test_a_large_image_is_shrunk_and_its_regions_are_told_in_its_own_pixels():
    bank = RegionBank([ImageSample(noise(40, 80))], (0,), 1, 10, 40, False)
    assert len(bank) == 4 * 2
    assert bank.boxes[0].tolist() == [0, 0, 20, 20] and bank.boxes[-1].tolist() == [60, 20, 80, 40]


def test_a_region_larger_than_the_image_is_refused_by_name():
    with pytest.raises(
        ValueError, match="region must be <= the shorter side of image 'halves', 20 pixels, got 21"
    ):
        RegionBank([halves()], (0, 1), 2, 21, None, False)


def test_colour_adds_two_features_and_grey_images_have_none_of_it():
    assert pixel_features(noise(9, 9, channels=3), True).shape == (9, 9, 20)
    grey = pixel_features(noise(9, 9), True)
    assert (grey[..., -2:] == 0).all() and grey.shape == (9, 9, 20)


def test_features_are_finite_and_bounded_for_black_and_for_noise():
    for image in (np.zeros((1, 12, 12), np.uint8), noise(12, 12)):
        features = pixel_features(image, False)
        assert np.isfinite(features).all() and np.abs(features).max() < 4


def test_the_score_is_that_of_a_confusion_matrix_counted_by_hand():
    sample = halves()
    scored = PixelSample([sample], (0, 1), 2, None, False, 10_000)
    flat = pixel_features(sample.image, False).reshape(-1, 18)
    weights = np.linalg.lstsq(flat, np.eye(2)[sample.mask.ravel()], rcond=None)[0]
    said, truth = (flat @ weights).argmax(axis=1), sample.mask.ravel()
    ious = [((said == k) & (truth == k)).sum() / ((said == k) | (truth == k)).sum() for k in (0, 1)]
    np.testing.assert_allclose(
        scored.mean_iou(np.stack([weights, 0 * weights])), [np.mean(ious), 0.5 * (truth == 0).mean()]
    )


def test_how_common_a_region_is_needs_no_memory_for_all_pairs():
    means = np.repeat(np.random.default_rng(0).random((2, 20)), [900, 100], axis=0)
    tracemalloc.start()
    found = density(means)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found[:900] == 1).all() and 0.1 < found[900] < 0.5 and len(found) == 1000
    assert most < 4e6  # of all pairs and features there are 160 MB
