"""PSNR and SSIM agree with scikit-image, and know their empty cases."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from visionrl.metrics.image_quality import psnr, ssim

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 256, (3, 3, 24, 30), dtype=np.uint8)
NOISY = TRUTH + RNG.normal(0, 9, TRUTH.shape).astype(np.float32)


def test_psnr_is_that_of_scikit_image_on_whole_grey_levels():
    levels = np.clip(np.rint(NOISY), 0, 255).astype(np.uint8)
    want = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(TRUTH, levels, strict=True)]
    np.testing.assert_allclose(psnr(NOISY, TRUTH), want, rtol=1e-6)


def test_equal_pictures_have_a_hundred_decibels():
    np.testing.assert_array_equal(psnr(TRUTH, TRUTH + np.float32(0.3)), 100.0)


def test_ssim_is_one_for_equal_pictures_and_falls_with_noise():
    assert ssim(TRUTH[0], TRUTH[0]) == pytest.approx(1)
    assert ssim(NOISY[0], TRUTH[0]) < ssim(TRUTH[0] + 2.0, TRUTH[0])


def test_ssim_needs_eleven_pixels():
    with pytest.raises(ValueError, match="at least 11 pixels wide and high for SSIM, got"):
        ssim(TRUTH[0, :, :10], TRUTH[0, :, :10])
