"""Statistics of spectra: noise, blur and JPEG show where they should, and all libraries agree."""

import cv2
import numpy as np
import pytest
from scipy.fft import dctn

from visionrl.ops.spectrum import BANDS, QUANTILES, band_quantiles, spectrum_size, spectrum_statistics


@pytest.fixture(scope="module")
def picture():
    """(3, 63, 64) float32: a smooth texture with an edge, in colours."""
    rng = np.random.default_rng(0)
    grey = cv2.GaussianBlur(rng.uniform(0, 255, (63, 64)).astype(np.float32), (0, 0), 1.5)
    grey[:, 30:] += 60
    return np.clip(np.stack([grey, grey * 0.8, 255 - grey]), 0, 255).astype(np.float32)


def bands(image):
    """(5, 9): quantiles of the bands of the mean of the channels."""
    return spectrum_statistics(image[None])[0, : len(QUANTILES) * BANDS].reshape(len(QUANTILES), BANDS)


def noisy(image, sigma):
    return np.clip(image + np.random.default_rng(1).normal(0, sigma, image.shape), 0, 255).astype(np.float32)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_length_and_the_type_are_as_said(picture, channels):
    found = spectrum_statistics(np.stack([picture[:channels]] * 2))
    assert found.shape == (2, spectrum_size(channels)) and found.dtype == np.float32
    assert np.array_equal(found[0], found[1])


def test_the_median_of_a_band_is_that_of_all_blocks_by_scipy(picture):
    grey = picture.mean(axis=0)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (8, 8))[::3, ::3]
    energy = dctn(windows, axes=(2, 3), norm="ortho") ** 2
    down, right = np.mgrid[:8, :8]
    second = np.rint(np.hypot(down, right)) == 2
    wanted = np.sort(np.log(energy[..., second].mean(axis=-1) + 0.1).ravel())
    found = band_quantiles(grey[None])[0].reshape(len(QUANTILES), BANDS)[2, 1]
    assert found == pytest.approx((wanted[round((len(wanted) - 1) / 2)] - 4) / 3, abs=1e-4)


def test_noise_fills_the_smoothest_places_and_blur_empties_the_richest(picture):
    plain = bands(picture)
    assert (bands(noisy(picture, 20))[0, 4:] > plain[0, 4:] + 0.5).all()
    blurred = np.stack([cv2.GaussianBlur(part, (0, 0), 2) for part in picture])
    assert (bands(blurred)[-1, 2:7] < plain[-1, 2:7] - 0.2).all()  # of the two highest nothing was there


def test_only_jpeg_makes_steps_at_multiples_of_eight_stand_out(picture):
    levels = noisy(picture, 10).astype(np.uint8).transpose(1, 2, 0)
    _, file = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, 10])
    read = cv2.imdecode(file, cv2.IMREAD_COLOR).transpose(2, 0, 1).astype(np.float32)
    first = spectrum_size(3) - 6
    assert (
        spectrum_statistics(read[None])[0, first]
        > 2 * spectrum_statistics(noisy(picture, 10)[None])[0, first]
    )


def test_black_white_and_a_chessboard_stay_finite_and_in_bounds():
    board = 255.0 * (np.indices((16, 16)).sum(axis=0) % 2)
    for image in (np.zeros((3, 16, 16)), np.full((3, 16, 16), 255.0), np.stack([board, 255 - board, board])):
        found = spectrum_statistics(image[None].astype(np.float32))
        assert np.isfinite(found).all() and found.min() >= -3 and found.max() <= 8


def test_torch_and_the_strict_library_agree_with_numpy(picture):
    import array_api_strict as strict
    import torch

    images = noisy(picture, 15)[None]
    wanted = spectrum_statistics(images)
    assert spectrum_statistics(torch.from_numpy(images)).numpy() == pytest.approx(wanted, abs=1e-4)
    assert np.asarray(spectrum_statistics(strict.asarray(images))) == pytest.approx(wanted, abs=1e-4)
    assert spectrum_statistics(torch.empty(2, 3, 63, 63, device="meta")).shape == (2, 96)
