"""Tiles of an image through one encoder."""

from __future__ import annotations

import pytest
import torch

from visionrl.backbones import make_backbone
from visionrl.layers.tiles import TileExtractor, cut_tiles


def test_tiles_are_in_reading_order() -> None:
    images = torch.arange(36.0).view(1, 1, 6, 6)
    tiles = cut_tiles(images, 3)
    assert tiles.shape == (1, 9, 1, 2, 2)
    assert tiles[0, 1, 0].tolist() == [[2, 3], [8, 9]]
    assert tiles[0, 3, 0].tolist() == [[12, 13], [18, 19]]


def test_what_does_not_fit_the_grid_is_cut_off() -> None:
    assert cut_tiles(torch.zeros(2, 3, 74, 73), 3).shape == (2, 9, 3, 24, 24)
    with pytest.raises(ValueError, match="images must be at least 3 x 3 pixels, got"):
        cut_tiles(torch.zeros(1, 1, 2, 9), 3)


def test_a_vector_depends_on_its_own_tile_only() -> None:
    net = TileExtractor(make_backbone("small", 3, image_size=24)).eval()
    images = torch.randint(0, 256, (2, 3, 72, 72), dtype=torch.uint8)
    changed = images.clone()
    changed[:, :, 24:48, 48:] = 255 - changed[:, :, 24:48, 48:].flip(3)
    before, after = (net(x).view(2, 9, -1) for x in (images, changed))
    assert net(images).shape == (2, net.num_features)
    differ = (before - after).abs().amax((0, 2)) > 1e-5
    assert differ.tolist() == [number == 5 for number in range(9)]


def test_brightness_does_not_tell_where_a_tile_was() -> None:
    tiles = torch.rand(1, 9, 1, 24, 24) * 0.5
    net = make_backbone("small", 1, image_size=24)
    bright = tiles * 0.5 + torch.linspace(0, 0.5, 9).view(1, 9, 1, 1, 1)
    torch.testing.assert_close(TileExtractor(net).encode(tiles), TileExtractor(net).encode(bright))
    plain = TileExtractor(net, normalize=False)
    assert (plain.encode(tiles) - plain.encode(bright)).abs().max() > 1e-3


def test_uint8_and_unit_interval_are_the_same() -> None:
    net = TileExtractor(make_backbone("small", 1, image_size=24), grid=2)
    images = torch.randint(0, 256, (2, 1, 48, 48), dtype=torch.uint8)
    torch.testing.assert_close(net(images), net(images.float() / 255))
    with pytest.raises(ValueError, match="grid must be >= 1, got 0"):
        TileExtractor(make_backbone("small", 1), grid=0)
