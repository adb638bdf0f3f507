"""Standardised inputs: the statistics of all rows seen in training."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from visionrl.agents.networks.numbers import NumbersExtractor, shows_images
from visionrl.layers.standardize import Standardize


def test_batches_of_any_size_give_the_mean_and_deviation_of_all_rows():
    rows = (
        torch.randn(100, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 20.0, 0.01]) + 5
    )
    layer = Standardize(3)
    for part in (rows[:1], rows[1:40], rows[40:]):
        layer(part)
    found = layer.eval()(rows)
    wanted = (rows - rows.mean(dim=0)) / rows.std(dim=0, correction=0)
    assert torch.allclose(found, wanted, atol=1e-3)


def test_rows_stay_as_they_are_before_training_and_do_not_count_in_evaluation():
    layer, rows = Standardize(2).eval(), torch.tensor([[3.0, -1.0]])
    assert torch.equal(layer(rows), rows) and layer.count == 0


def test_a_number_that_never_changes_is_zero():
    layer = Standardize(1)
    assert torch.equal(layer(torch.full((4, 1), 7.0)), torch.zeros(4, 1))


def test_numbers_of_any_shape_become_one_vector():
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2, 3)), "b": spaces.Box(-1, 1, (4,))})
    net = NumbersExtractor(space, features_dim=5)
    assert net({"a": torch.ones(6, 2, 3), "b": torch.ones(6, 4)}).shape == (6, 5)


@pytest.mark.parametrize(
    ("shape", "dtype", "wanted"),
    [
        ((3, 8, 8), np.uint8, True),
        ((4, 3, 8, 8), np.uint8, True),
        ((9,), np.float32, False),
        ((3, 8), np.uint8, False),
    ],
)
def test_bytes_with_three_axes_are_images(shape, dtype, wanted):
    assert shows_images(spaces.Dict({"x": spaces.Box(0, 1, shape, dtype)})) is wanted
