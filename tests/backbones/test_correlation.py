"""The backbone that compares pairs of pictures."""

from __future__ import annotations

import pytest
import torch

from visionrl.backbones import make_backbone
from visionrl.backbones.correlation import described, local_cosines


def test_cosines_peak_at_the_shift():
    here = described(torch.randn(2, 16, 9, 9, generator=torch.manual_seed(0)))
    there = torch.roll(here, (1, -2), dims=(2, 3))
    found = local_cosines(here, there, 3)
    assert found.shape == (2, 49, 9, 9) and found.max() <= 1 + 1e-5
    inner = found[:, :, 2:-2, 2:-2].argmax(1)
    assert (inner == (1 + 3) * 7 + (-2 + 3)).all()
    assert (found[:, 0, :3] == 0).all()  # there is nothing above the border


def test_pairs_share_weights_and_begin_alike():
    net = make_backbone("correlation", in_channels=4, image_size=32).eval()
    pair = torch.rand(1, 2, 32, 32, generator=torch.manual_seed(0))
    with torch.no_grad():
        twice = net.forward_features(torch.cat([pair, pair], dim=1))
    assert twice.shape == (1, 64, 4, 4) and net.num_features == 1024
    torch.testing.assert_close(twice[:, :32], twice[:, 32:])
    match = net.stages.match
    torch.testing.assert_close(match.first[0].weight, match.second[0].weight)
    assert match.first[0].weight is not match.second[0].weight


def test_weights_fit_any_number_of_pairs(tmp_path):
    net = make_backbone("correlation", in_channels=6)
    torch.save(net.state_dict(), tmp_path / "w.pt")
    other = make_backbone("correlation", in_channels=12, weights=tmp_path / "w.pt")
    torch.testing.assert_close(other.stages.match.first[0].weight, net.stages.match.first[0].weight)


def test_it_has_no_twin_for_volumes():
    with pytest.raises(ValueError, match="name must be a backbone with a 3D twin, got 'correlation'"):
        make_backbone("correlation", 2, dims=3)


def test_what_is_seen_without_gradients_first_can_be_learnt_from_later():
    here = torch.rand(1, 4, 7, 5)
    with torch.inference_mode():
        local_cosines(here, here, 2)
    here.requires_grad_()
    local_cosines(here, here, 2).sum().backward()
    assert here.grad is not None and here.grad.abs().sum() > 0


def test_half_precision_stays_half():
    here = torch.rand(1, 4, 7, 5).bfloat16()
    assert local_cosines(here, here, 2).dtype == torch.bfloat16
