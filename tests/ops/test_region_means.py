"""Means over regions: every backend gives the same."""

from __future__ import annotations

import numpy as np
import torch

from visionrl.ops.regions import region_means, region_means_by_product, region_means_by_scatter


def test_backends_agree_and_empty_regions_are_zero():
    rng = np.random.default_rng(0)
    values, labels = rng.random((3, 2, 40)), rng.integers(0, 5, (3, 40))
    found = region_means(values, labels, 6)
    np.testing.assert_allclose(found, region_means_by_product(values, labels, 6))
    for function in (region_means, region_means_by_scatter, region_means_by_product):
        on_torch = function(torch.tensor(values), torch.tensor(labels), 6)
        np.testing.assert_allclose(found, on_torch.numpy())
    assert found.shape == (3, 2, 6) and not found[:, :, 5].any()
    assert found[1, 0, 2] == values[1, 0, labels[1] == 2].mean()
