"""Arrays that are handed to an agent become bytes as the voxels and pixels of files do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visionrl.agents.prediction.agent import Agent
from visionrl.datasets import PairSample
from visionrl.datasets.unlabelled import read_unlabelled

VOXELS = np.random.default_rng(0).normal(40, 300, (6, 7, 8))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64])
def test_an_array_of_voxels_is_the_volume_of_the_file_that_holds_it(kind: Any, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    voxels = np.clip(VOXELS / 9, 0, 90).astype(kind) if kind is np.uint8 else VOXELS.astype(kind)
    lps = np.diag([-1.0, -1, 1, 1])  # so that the axes of the file are those of the sample
    nibabel.Nifti1Image(voxels.transpose(2, 1, 0), lps).to_filename(tmp_path / "a.nii")
    agent = Agent("LandmarkLocalization3D-v0", method=lambda *_: None)
    asked = agent.sample_of(voxels, spacing_mm=(1, 1, 1))
    assert np.array_equal(asked.volume, read_unlabelled(tmp_path / "a.nii", agent.sample_type).volume)
    assert asked.volume.dtype == np.uint8 and asked.volume.max() == 255


@pytest.mark.parametrize(
    "pixels",
    [
        np.array([[0, 20000], [65535, 300]], np.uint16),
        np.array([[False, True], [True, True]]),
        np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8),
    ],
)
def test_an_array_of_pixels_is_the_image_of_the_file_that_holds_it(pixels: Any, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(pixels).save(tmp_path / "a.png")
    agent = Agent("Detection-v0", method=lambda *_: None)
    assert np.array_equal(agent.sample_of(pixels).image, agent.sample_of(tmp_path / "a.png").image)


@pytest.mark.parametrize(
    ("pixels", "rule"),
    [
        (np.zeros((4, 4)), "images must be uint8 from 0 to 255, or of 16 bits, got an array of float64"),
        (np.full((4, 4), 900, np.uint16), "the array: 16-bit grey must fill its range"),
    ],
)
def test_an_array_that_would_be_refused_as_a_file_is_refused(pixels: np.ndarray, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Agent("Detection-v0", method=lambda *_: None).sample_of(pixels)


def test_sides_of_a_pair_are_images_or_volumes() -> None:
    agent = Agent("Registration3D-v0", method=lambda *_: None)
    pair = agent.sample_of(VOXELS, VOXELS[None], spacing_mm=np.ones((2, 3)))
    assert isinstance(pair, PairSample)
    assert np.array_equal(pair.fixed, pair.moving) and pair.fixed.shape == (1, 6, 7, 8)


def test_a_volume_of_two_axes_is_refused() -> None:
    agent = Agent("LandmarkLocalization3D-v0", method=lambda *_: None)
    with pytest.raises(
        ValueError, match=r"volumes must be \(D, H, W\) or \(1, D, H, W\), got shape \(4, 4\)"
    ):
        agent.sample_of(np.ones((4, 4)), spacing_mm=(1, 1, 1))
