"""Features of every block of an image by the first stages of a network."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.envs.test_anomaly import SMALL, parts
from visionrl.backbones import make_backbone
from visionrl.backbones.dense import dense_features
from visionrl.core import make_task


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights by chance."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mobilenet.pt"
    torch.save(make_backbone("mobilenet_v2", 3).state_dict(), path)
    return path


def test_each_block_has_the_maps_of_three_stages(weights: Path) -> None:
    describe = dense_features(weights)
    image = np.random.default_rng(0).integers(0, 256, (3, 64, 96), dtype=np.uint8)
    found = describe(image, 8)
    assert found.shape == (8, 12, 24 + 32 + 96) and found.dtype == np.float32 and np.isfinite(found).all()
    changed = image.copy()
    changed[:, :8, :8] = 0
    gap = np.abs(describe(changed, 8) - found).max(axis=-1)
    assert gap[0, 0] > 0 and gap[0, 0] > gap[-1, -1]
    assert describe(image[:1], 8).shape == found.shape
    assert pickle.loads(pickle.dumps(describe)) == describe == dense_features(str(weights))


def test_a_file_that_is_missing_or_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="weights must be a file of mobilenet_v2, got"):
        dense_features(tmp_path / "none.pt")
    torch.save(make_backbone("alexnet", 3).state_dict(), tmp_path / "alexnet.pt")
    with pytest.raises(ValueError, match="weights"):
        dense_features(tmp_path / "alexnet.pt")


def test_the_detector_is_fitted_to_the_network_s_features(weights: Path) -> None:
    hand, net = (
        make_task("AnomalyDetection-v0", data=parts(), detector="patchcore", weights=file, **SMALL)
        for file in (None, str(weights))
    )
    assert net.bank.nearby.array.shape == hand.bank.nearby.array.shape
    assert not np.allclose(net.bank.nearby.array, hand.bank.nearby.array)
    assert (net.bank.nearby.array[1::2].argmax(axis=1) == 5).mean() > 0.5
