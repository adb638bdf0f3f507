"""Spatial transformer, attention, recurrent cells and sequence shapes."""

from __future__ import annotations

import pytest
import torch
from recurrent_cells import CELLS, SHAPES, GRUCell, LSTMCell, SequenceModel, unroll
from torch import nn
from torch.nn import functional as F

from visionrl.layers.attention import (
    HardAttention,
    SelfAttention,
    SoftAttention,
    reinforce_loss,
    sine_positions,
)
from visionrl.layers.stn import SpatialTransformer, lift, pixel_grid, thin_plate_inverse, unit_grid

TRANSFORMS = ["affine", "shift_scale", "thin_plate"]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transformer_starts_as_the_identity(transform):
    stn = SpatialTransformer(2, transform)
    x = torch.rand(3, 2, 20, 28)
    assert torch.allclose(stn(x), x, atol=1e-4)
    nn.Sequential(stn).apply(lambda m: nn.init.orthogonal_(m.weight) if isinstance(m, nn.Linear) else None)
    assert torch.allclose(stn(x), x, atol=1e-4)
    byte = (x * 255).to(torch.uint8)
    assert torch.allclose(stn(byte), byte / 255, atol=1e-4)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transformer_learns_through_its_sampler(transform):
    stn = SpatialTransformer(1, transform, output_size=(16, 16))
    x = F.interpolate(torch.rand(4, 1, 6, 6), (24, 24), mode="bilinear")
    wanted = F.interpolate(F.pad(x, (3, -3, -3, 3)), (16, 16), mode="area")
    optimizer = torch.optim.Adam(stn.parameters(), 0.01)
    losses = []
    for _ in range(60):
        losses.append(F.mse_loss(stn(x), wanted))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert stn(x).shape == wanted.shape
    assert losses[-1] < losses[0] / 2


def test_affine_grid_is_pytorchs():
    stn = SpatialTransformer(1, "affine", output_size=(5, 9))
    theta = torch.randn(1, 6)
    with torch.no_grad():
        stn.last.bias.copy_(theta[0])
    wanted = F.affine_grid(theta.view(1, 2, 3), [1, 1, 5, 9], align_corners=False)
    assert torch.allclose(stn.grid(torch.rand(1, 1, 30, 30)), wanted, atol=1e-6)


def test_shift_and_scale_look_at_a_window():
    stn = SpatialTransformer(1, "shift_scale", output_size=(8, 8))
    with torch.no_grad():
        stn.last.bias.copy_(torch.tensor([0.5, 0.5, -0.5]))
    x = torch.rand(1, 1, 16, 16)
    assert torch.allclose(stn(x), x[:, :, :8, 8:], atol=1e-5)


def test_thin_plate_moves_each_control_point_as_told():
    controls, shifts = unit_grid(4, 4).view(-1, 2), torch.randn(16, 2) * 0.1
    weights = thin_plate_inverse(4) @ F.pad(controls + shifts, (0, 0, 0, 3))
    assert torch.allclose(lift(controls, controls) @ weights, controls + shifts, atol=1e-4)
    stn = SpatialTransformer(1, "thin_plate", output_size=(6, 7))
    with torch.no_grad():
        stn.last.bias.copy_((controls * 0.5 + 0.1).flatten())
    affine = pixel_grid(6, 7) * 1.5 + 0.1
    assert torch.allclose(stn.grid(torch.rand(1, 1, 9, 9))[0], affine, atol=1e-4)


def test_transformer_checks_its_arguments():
    with pytest.raises(ValueError, match="transform must be"):
        SpatialTransformer(1, "rotation")
    with pytest.raises(ValueError, match="points must be >= 2"):
        SpatialTransformer(1, "thin_plate", points=1)
    features = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    assert SpatialTransformer(1, localisation=features, localisation_features=3)(
        torch.rand(2, 1, 8, 8)
    ).shape[2:] == (8, 8)


@pytest.mark.parametrize("query", [0, 6])
def test_soft_attention_is_a_weighted_mean(query):
    attention = SoftAttention(5, query)
    x, q = torch.randn(2, 5, 3, 4), torch.randn(2, query) if query else None
    seen = attention(x, q)
    assert torch.allclose(seen.weights.sum((1, 2)), torch.ones(2)) and seen.weights.shape == (2, 3, 4)
    assert torch.allclose(seen.features, (x * seen.weights[:, None]).sum((2, 3)), atol=1e-6)
    nn.init.zeros_(attention.score.weight)
    assert torch.allclose(attention(x, q).features, x.mean((2, 3)), atol=1e-6)
    with pytest.raises(ValueError, match="query must be given"):
        attention(x, torch.randn(2, 6) if q is None else None)


def marked(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps (n, 4, 3, 3) of noise whose first channel marks one place, and that place's index."""
    place = torch.randint(9, (n,))
    x = 0.1 * torch.randn(n, 4, 9)
    x[torch.arange(n), 0, place] = 1
    return x.view(n, 4, 3, 3), place


@pytest.mark.parametrize("estimator", ["reinforce", "gumbel"])
def test_hard_attention_learns_where_to_look(estimator):
    attention = HardAttention(4, hidden=16, estimator=estimator)
    optimizer = torch.optim.Adam(attention.parameters(), 0.03)
    for _ in range(60):
        x, place = marked(64)
        seen = attention(x)
        hit = seen.weights.flatten(1)[torch.arange(64), place]
        loss = reinforce_loss(seen.log_prob, hit) if estimator == "reinforce" else -hit.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, place = marked(200)
    assert (attention.eval()(x).weights.flatten(1).argmax(1) == place).float().mean() > 0.9


@pytest.mark.parametrize("estimator", ["reinforce", "gumbel"])
def test_hard_attention_takes_one_place(estimator):
    attention = HardAttention(4, estimator=estimator)
    x, _ = marked(3)
    for seen in (attention.train()(x), attention.eval()(x)):
        index = seen.weights.flatten(1).argmax(1)
        assert torch.allclose(seen.weights.flatten(1), F.one_hot(index, 9).float(), atol=1e-6)
        assert torch.allclose(seen.features, x.flatten(2)[torch.arange(3), :, index], atol=1e-5)
        wanted = attention.logits(x).log_softmax(1)[torch.arange(3), index]
        assert torch.allclose(seen.log_prob, wanted) and seen.log_prob.requires_grad
    with pytest.raises(ValueError, match="estimator must be"):
        HardAttention(4, estimator="vote")


def test_reinforce_estimates_the_gradient_of_the_expected_reward():
    logits, reward = torch.randn(4, requires_grad=True), torch.tensor([1.0, 0.0, 2.0, -1.0])
    (exact,) = torch.autograd.grad(-(logits.softmax(0) * reward).sum(), logits)
    choice = torch.distributions.Categorical(logits=logits).sample((200_000,))
    loss = reinforce_loss(logits.log_softmax(0)[choice], reward[choice])
    (estimate,) = torch.autograd.grad(loss, logits)
    assert torch.allclose(exact, estimate, atol=0.01)


@pytest.mark.parametrize(("heads", "positions"), [(1, False), (2, False), (2, True)])
def test_self_attention_of_a_map(heads, positions):
    attention, x = SelfAttention(8, heads, positions), torch.randn(2, 8, 3, 5)
    assert torch.equal(attention(x).features, x)
    nn.init.ones_(attention.gate)
    seen = attention(x)
    assert seen.features.shape == x.shape and seen.weights.shape == (2, heads, 15, 15)
    assert torch.allclose(seen.weights.sum(-1), torch.ones(2, heads, 15))
    order = torch.randperm(15)
    shuffled = attention(x.flatten(2)[:, :, order].view_as(x)).features.flatten(2)
    assert torch.allclose(shuffled, seen.features.flatten(2)[:, :, order], atol=1e-5) != positions


def test_positions_tell_all_places_apart():
    waves = sine_positions(16, 9, 11).flatten(1).T
    assert (torch.cdist(waves, waves) + torch.eye(99)).min() > 0.1
    with pytest.raises(ValueError, match="multiple of 4"):
        SelfAttention(6)


def test_heads_share_the_channels():
    with pytest.raises(ValueError, match="heads must be a divisor of channels = 12, got 5"):
        SelfAttention(12, 5)


@pytest.mark.parametrize(("name", "theirs"), [("rnn", nn.RNN), ("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_cells_are_pytorchs(name, theirs):
    reference, cell = theirs(3, 5, batch_first=True), CELLS[name](3, 5)
    cell.load_state_dict({key.removesuffix("_l0"): value for key, value in reference.state_dict().items()})
    x = torch.randn(4, 6, 3)
    out, state = unroll(cell, x)
    wanted, last = reference(x)
    assert torch.allclose(out, wanted, atol=1e-6)
    for ours, each in zip(state, last if name == "lstm" else (last,), strict=True):
        assert torch.allclose(ours, each[0], atol=1e-6)


def forced(reference: nn.Module, hidden: int, **rows: float) -> nn.Module:
    """PyTorch's cell with some of its gates (by row block) held open (+) or shut (-)."""
    with torch.no_grad():
        for row, value in rows.items():
            block = slice(int(row[1:]) * hidden, (int(row[1:]) + 1) * hidden)
            reference.weight_ih[block], reference.weight_hh[block] = 0, 0
            reference.bias_ih[block], reference.bias_hh[block] = value, 0
    return reference


@pytest.mark.parametrize("gate", ["input", "forget", "candidate", "output"])
def test_lstm_gate_by_gate(gate):
    """All gates but one are held, so that PyTorch's own state shows that one."""
    reference, cell = nn.LSTMCell(3, 5), LSTMCell(3, 5)
    cell.load_state_dict(reference.state_dict())
    x, h, c = torch.randn(4, 3), torch.randn(4, 5), torch.rand(4, 5) + 0.5
    held = {  # row blocks of PyTorch: r0 input, r1 forget, r2 candidate, r3 output
        "input": {"r1": -99.0, "r2": 99.0},
        "forget": {"r0": -99.0},
        "candidate": {"r0": 99.0, "r1": -99.0},
        "output": {"r0": -99.0, "r1": 99.0},
    }[gate]
    h_next, c_next = forced(reference, 5, **held)(x, (h, c))
    shown = {
        "input": c_next,
        "forget": c_next / c,
        "candidate": c_next,
        "output": h_next / torch.tanh(c_next),
    }[gate]
    assert torch.allclose(cell.gates(x, (h, c))[gate], shown, atol=1e-5)


@pytest.mark.parametrize("gate", ["reset", "update", "candidate"])
def test_gru_gate_by_gate(gate):
    reference, cell = nn.GRUCell(3, 5), GRUCell(3, 5)
    cell.load_state_dict(reference.state_dict())
    x, h = torch.randn(4, 3), torch.randn(4, 5)
    ours = cell.gates(x, (h,))[gate]
    if gate == "update":  # the candidate is held at 1
        shown = (forced(reference, 5, r2=99.0)(x, h) - 1) / (h - 1)
    elif gate == "candidate":
        shown = forced(reference, 5, r1=-99.0)(x, h)
    else:  # the candidate's inverse hyperbolic tangent minus the input's share, over the state's share
        (_, _, from_x), (_, _, from_h) = cell.parts(x, h)
        shown = (torch.atanh(forced(reference, 5, r1=-99.0)(x, h)) - from_x) / from_h
    assert torch.allclose(ours, shown, atol=1e-3)


def depends(out: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Which steps of `x` (B, T, n) a number depends on."""
    (gradient,) = torch.autograd.grad(out, x, retain_graph=True)
    return gradient.abs().sum((0, 2)) > 0


@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("shape", SHAPES)
def test_sequence_shapes(shape, cell):
    model = SequenceModel(3, 8, 2, shape, cell)
    x = torch.randn(4, 3) if shape.startswith("one") else torch.randn(4, 6, 3)
    out = model(x, steps=5)
    wanted = {
        "one_to_one": (4, 2),
        "one_to_many": (4, 5, 2),
        "many_to_one": (4, 2),
        "many_to_many": (4, 6, 2),
        "encoder_decoder": (4, 5, 2),
    }
    assert out.shape == wanted[shape]
    with pytest.raises(ValueError, match="x must have"):
        model(x[0])


def test_outputs_see_what_they_may():
    x = torch.randn(2, 6, 3, requires_grad=True)
    each = SequenceModel(3, 8, 2, "many_to_many")(x)
    assert depends(each[:, 2].sum(), x).tolist() == [True] * 3 + [False] * 3
    assert depends(SequenceModel(3, 8, 2, "many_to_one")(x).sum(), x).all()
    assert depends(SequenceModel(3, 8, 2, "encoder_decoder")(x, steps=2)[:, 0].sum(), x).all()


def test_padding_is_not_seen():
    model, x = SequenceModel(3, 8, 2, "many_to_one"), torch.randn(2, 6, 3)
    padded = model(x, lengths=torch.tensor([6, 4]))
    assert torch.allclose(padded[1], model(x[1:, :4])[0], atol=1e-6)
    assert torch.allclose(padded[0], model(x[:1])[0], atol=1e-6)


def test_targets_can_be_fed_back():
    model, x = SequenceModel(3, 8, 2, "one_to_many"), torch.randn(2, 3)
    own = model(x, steps=4)
    assert torch.allclose(model(x, steps=4, target=own), own)
    other = own.clone()
    other[:, 1] += 1
    forced_out = model(x, steps=4, target=other)
    assert torch.allclose(forced_out[:, :2], own[:, :2]) and not torch.allclose(forced_out[:, 2], own[:, 2])


def test_encoder_decoder_learns_to_copy_backwards():
    model = SequenceModel(2, 32, 2, "encoder_decoder", "gru")
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(120):
        x = torch.rand(32, 3, 2)
        losses.append(F.mse_loss(model(x, steps=2), x.flip(1)[:, :2]))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.03 < losses[0]  # the variance of the numbers is 0.083


@pytest.mark.parametrize("arguments", [{"shape": "many_to_none"}, {"cell": "qrnn"}])
def test_sequence_model_checks_its_arguments(arguments):
    with pytest.raises(ValueError, match="must be one of"):
        SequenceModel(3, 8, 2, **arguments)
