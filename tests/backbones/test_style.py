"""Gram matrices as style, and pictures that get it by gradient descent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from visionrl.backbones.style import STYLE, gram_matrices, relative_error, roughness, stylized


def stripes(color: tuple[int, int, int], side: int = 32) -> np.ndarray:
    """(3, S, S) uint8, stripes of a colour on black, four pixels wide."""
    on = (np.arange(side) // 4 % 2)[None, None, :] * np.ones((1, side, 1))
    return (np.array(color)[:, None, None] * on).astype(np.uint8)


def test_a_gram_matrix_averages_products_of_channels_over_the_places() -> None:
    maps = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])  # (1, 2, 1, 2)
    assert gram_matrices(maps).tolist() == [[[2.5, 0.5], [0.5, 5.0]]]
    shuffled = torch.randn(2, 3, 4, 4)
    places = torch.randperm(16)
    again = shuffled.flatten(2)[:, :, places].reshape(2, 3, 8, 2)
    torch.testing.assert_close(gram_matrices(again), gram_matrices(shuffled))


def test_an_error_is_a_share_of_what_is_wanted() -> None:
    wanted = torch.tensor([[[3.0, 4.0]]])
    assert relative_error(torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]], [[6.0, 8.0]]]), wanted).tolist() == [
        0,
        1,
        1,
    ]
    assert relative_error(torch.zeros(1, 2), torch.zeros(1, 2)).tolist() == [0]


def test_without_weight_of_the_style_a_picture_is_smoothed_and_nothing_else() -> None:
    flat = np.broadcast_to(np.array([200, 40, 90], np.float32)[:, None, None], (3, 32, 32))
    pictures = np.stack([flat, stripes((200, 40, 90)).astype(np.float32)])
    found = stylized(pictures, stripes((0, 200, 0)), 0.0, steps=2)
    np.testing.assert_allclose(found[0], flat, atol=1e-3)
    rough = roughness(torch.from_numpy(np.stack([found[1], pictures[1]])))
    assert rough[0] < rough[1]


def test_descent_brings_style_and_is_the_same_again() -> None:
    rng = np.random.default_rng(0)
    pictures, style = rng.integers(80, 120, (2, 3, 32, 32)).astype(np.float32), stripes((250, 120, 10))
    before = torch.random.get_rng_state()
    found = stylized(pictures, style, 100.0, steps=12)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert found.shape == pictures.shape and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 255
    alone = stylized(pictures[1:], style, 100.0, steps=12)
    np.testing.assert_allclose(alone, found[1:], atol=0.5)  # rows do not look at each other

    def color(picture: np.ndarray) -> float:
        return float(picture[:, 0].mean() - picture[:, 2].mean())

    assert color(found) > color(pictures) + 5  # more red, less blue, as in the style


def test_grey_pictures_and_files_of_weights(tmp_path: Path) -> None:
    from visionrl.backbones import make_backbone

    torch.save(make_backbone("mobilenet_v2", 3).state_dict(), tmp_path / "net.pt")
    grey = np.full((1, 1, 32, 32), 90.0, np.float32)
    assert stylized(grey, stripes((250, 250, 250))[:1], 1.0, tmp_path / "net.pt", steps=1).shape == grey.shape
    with pytest.raises(FileNotFoundError, match="weights must be a file of mobilenet_v2, got"):
        stylized(grey, grey[0], 1.0, tmp_path / "none.pt", steps=1)
    assert set(STYLE) <= {name for name, _ in make_backbone("mobilenet_v2", 3).stages.named_children()}
