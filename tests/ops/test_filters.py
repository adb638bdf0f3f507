"""The filters on OpenCV/NumPy and on torch agree with the plain reference, and do what filters are for."""

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from visionrl import ops
from visionrl.ops import filters, filters_torch, kernels
from visionrl.ops import reference_filters as reference

RNG = np.random.default_rng(3)
IMAGES = RNG.random((2, 3, 13, 17), np.float32)
IMAGES[1] = np.linspace(0, 1, 17, dtype=np.float32)
BOX = ((1 / 25,) * 5,) * 5
CASES = {
    "gaussian": ("convolve", (kernels.gaussian(1.5, 5),), 1e-5),
    "box": ("convolve", (BOX,), 1e-5),
    "wiener": ("convolve", (kernels.wiener(1.5, 0.01, 11),), 1e-4),
    "median 3": ("median", (3,), 0),
    "median 5": ("median", (5,), 0),
    "bilateral": ("bilateral", (5, 0.3, 2.0), 2e-3),
    "dct": ("dct_threshold", (0.2,), 1e-5),
}


@pytest.fixture(scope="module")
def photograph():
    """(1, 1, 96, 96) float32 in [0, 1]."""
    return data.camera()[100:196, 200:296].astype(np.float32)[None, None] / 255


def psnr(a, b):
    return -10 * np.log10(np.mean((np.asarray(a, float) - b) ** 2))


@pytest.mark.parametrize("name, values, gap", CASES.values(), ids=CASES.keys())
def test_opencv_and_torch_agree_with_the_reference(name, values, gap):
    want = np.stack([getattr(reference, name)(image, *values) for image in IMAGES])
    assert np.abs(want - IMAGES).max() > 0.05
    fast = getattr(filters, name)(IMAGES, *values)
    on_torch = getattr(filters_torch, name)(torch.from_numpy(IMAGES), *values)
    assert fast.dtype == np.float32 and on_torch.dtype == torch.float32
    np.testing.assert_allclose(fast, want, atol=gap + 1e-7)
    np.testing.assert_allclose(on_torch.numpy(), want, atol=(gap and 1e-4) or 1e-7)


@pytest.mark.parametrize("name, values, gap", CASES.values(), ids=CASES.keys())
def test_grey_images_keep_their_shape(name, values, gap):
    grey = IMAGES[:, :1]
    assert getattr(filters, name)(grey, *values).shape == grey.shape
    assert getattr(filters_torch, name)(torch.from_numpy(grey), *values).shape == grey.shape


def test_each_image_goes_through_its_own_filter():
    some = [lambda x: x + 1, lambda x: 2 * x]
    images, number = np.ones((4, 1, 8, 8), np.float32), np.array([1, -1, 0, 2])
    for given in (images, torch.from_numpy(images)):
        out = filters.filter_each(given, ops.like(number, given), some)
        np.testing.assert_array_equal(np.asarray(out)[:, 0, 0, 0], [2, 1, 2, 1])
    np.testing.assert_array_equal(images, 1)


@pytest.mark.parametrize("name, values, gap", CASES.values(), ids=CASES.keys())
def test_filters_run_where_torch_has_no_data(name, values, gap):
    images = torch.empty((2, 3, 13, 17), device="meta")
    assert getattr(filters, name)(images, *values).shape == images.shape


@pytest.mark.parametrize(
    "kernel", [kernels.gaussian(1.0), kernels.wiener(1.0, 0.02, 9), kernels.unsharp(1.0, 0.5)]
)
def test_kernels_keep_a_constant_image(kernel):
    flat = np.full((1, 1, 16, 16), 0.25, np.float32)
    np.testing.assert_allclose(filters.convolve(flat, kernel), flat, atol=1e-6)


def test_a_gaussian_kernel_is_that_of_opencv():
    line = cv2.getGaussianKernel(5, 1.5)
    np.testing.assert_allclose(kernels.gaussian(1.5, 5), line @ line.T, atol=1e-7)


def test_wiener_undoes_a_blur(photograph):
    blurred = filters.convolve(photograph, kernels.gaussian(1.5))
    sharp = filters.convolve(blurred, kernels.wiener(1.5, 0.003))
    inner = (..., slice(16, -16), slice(16, -16))
    assert psnr(sharp[inner], photograph[inner]) > psnr(blurred[inner], photograph[inner]) + 2


def test_dct_threshold_removes_noise_better_than_a_gaussian(photograph):
    noisy = photograph + RNG.normal(0, 25 / 255, photograph.shape).astype(np.float32)
    smooth = filters.convolve(noisy, kernels.gaussian(1.0))
    assert psnr(filters.dct_threshold(noisy, 3 * 25 / 255), photograph) > psnr(smooth, photograph) + 0.5


def test_unsharp_sharpens(photograph):
    blurred = filters.convolve(photograph, kernels.gaussian(1.0))
    assert psnr(filters.convolve(blurred, kernels.unsharp(1.0, 1.0)), photograph) > psnr(blurred, photograph)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("convolve", (kernels.gaussian(5.0),), "kernel must have an odd side of at most 15 pixels, got 31"),
        ("convolve", (((0.25,) * 2,) * 2,), "kernel must have an odd side of at most 15 pixels, got 2"),
        ("median", (4,), "size must have an odd side of at most 5 pixels, got 4"),
        ("median", (7,), "size must have an odd side of at most 5 pixels, got 7"),
    ],
)
@pytest.mark.parametrize("device", ["numpy", "meta"])
def test_filters_that_do_not_fit_are_refused(name, values, message, device):
    images = np.zeros((1, 1, 8, 8), np.float32)
    given = images if device == "numpy" else torch.empty(images.shape, device="meta")
    with pytest.raises(ValueError, match=message):
        getattr(filters, name)(given, *values)


def test_windows_larger_than_the_image_are_refused():
    with pytest.raises(ValueError, match="images must be at least 8 pixels wide and high"):
        filters.dct_threshold(np.zeros((1, 1, 7, 9), np.float32), 1.0)


def test_thresholds_together_are_those_one_by_one():
    together = filters.dct_thresholds(IMAGES, (0.05, 0.2))
    for found, threshold in zip(together, (0.05, 0.2), strict=True):
        np.testing.assert_array_equal(found, filters.dct_threshold(IMAGES, threshold))
    assert np.abs(together[0] - together[1]).max() > 0.01


def test_each_pixel_goes_through_its_own_filter():
    some = [lambda x: x + 1, lambda x: 2 * x]
    images, number = np.full((2, 1, 8, 8), 3, np.float32), np.full((2, 8, 8), 7)
    number[0, :4], number[1, :, 4:] = 0, 1
    want = np.where(number == 0, 4, np.where(number == 1, 6, 3))[:, None]
    for given in (images, torch.from_numpy(images)):
        found = filters.filter_pixels(given, ops.like(number, given), some)
        np.testing.assert_array_equal(np.asarray(found), want)
