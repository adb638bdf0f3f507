"""Deformable registration: fields that can be worked out by hand, the same rules in 2D and 3D, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.filters import gaussian

from visionrl.core import BASELINES, batch, make_task
from visionrl.datasets import ImageSample, PairSample, VolumeSample
from visionrl.metrics.registration import folded_percent, jacobian_determinants, mean_dice
from visionrl.ops import deform, fields

IDS = {2: "visionrl/DeformableRegistration2D-v0", 3: "visionrl/DeformableRegistration3D-v0"}
SMALL = {"nodes": 5, "side": 24, "window": 8, "control_points": (2, 3)}


def ball(axes, side=24):
    """A bright ball, of label 7, with a brighter one inside, on a grey body."""
    index = np.indices((side,) * axes) - (side - 1) / 2
    radius = np.sqrt((index**2).sum(axis=0))
    image = np.where(radius < 4, 220, np.where(radius < 8, 120, 30)).astype(np.uint8)
    mask = np.where(radius < 8, 7, 0)
    if axes == 2:
        return ImageSample(image[None], mask=mask, spacing_mm=2.0)
    return VolumeSample(image[None], (2.0, 2.0, 2.0), mask=mask)


def task(axes, **kwargs):
    return make_task(IDS[axes], data=[ball(axes)], **{**SMALL, **kwargs})


def start(made, seed=0):
    return batch.stack([made.sample(np.random.default_rng(seed), 0)])


def both(made, state, places):
    """Fixed and bent moving image on a grid of places."""
    return made.bank.compare(state.image, state.fixed, state.field, places)


def linear_field(matrix, nodes, side):
    """The field that displaces places (x, y[, z]) about the middle to ``matrix @ place``."""
    axes = len(matrix)
    places = (deform.lattice(nodes, axes) - 0.5) * (side - 1)
    return (places @ np.array(matrix).T - places)[None]


@pytest.mark.parametrize("axes", [2, 3])
def test_jacobians_of_linear_maps(axes):
    matrix = np.eye(axes) + np.random.default_rng(0).uniform(-0.2, 0.2, (axes, axes))
    field = linear_field(matrix, 5, 24)
    np.testing.assert_allclose(jacobian_determinants(field, 23 / 4), np.linalg.det(matrix))
    assert folded_percent(field, 23 / 4)[0] == 0
    mirror = np.diag([-1.0] + [1.0] * (axes - 1))
    assert folded_percent(linear_field(mirror, 5, 24), 23 / 4)[0] == 100


@pytest.mark.parametrize("axes", [2, 3])
def test_fields_are_linear_between_nodes(axes):
    rng = np.random.default_rng(1)
    field = rng.normal(size=(2, *[5] * axes, axes))
    places = rng.uniform(0, 23, (axes, 2, 7))  # x, y, z
    ways = [fields.linear_basis(places[k], 5, 23 / 4) for k in reversed(range(axes))]
    got = fields.at_grid(field, ways)
    grid = fields.mesh(list(places))
    for row in range(2):
        want = deform.interpolate(field[row], grid[row][..., ::-1] * 4 / 23)
        np.testing.assert_allclose(got[row], want, atol=1e-12)
    there = fields.at_grid(torch.asarray(field), [torch.asarray(way) for way in ways])
    np.testing.assert_allclose(there.numpy(), got, atol=1e-12)


@pytest.mark.parametrize("axes", [2, 3])
def test_the_true_field_brings_the_moving_image_onto_the_fixed_one(axes):
    made = task(axes, intensity_jitter=0.0)
    state = start(made)
    there = replace(state, field=state.target)
    line = np.arange(24.0)[None]
    fixed, moved = (x[0].astype(int) for x in both(made, there, [line] * axes))
    assert np.abs(fixed - moved).max() <= 1
    still = both(made, state, [line] * axes)[1][0].astype(int)
    assert np.abs(fixed - still).mean() > 2
    assert made.bank.dice(state.image, state.target, state.labels)[0] == pytest.approx(1.0)
    assert state.start_dice[0] < 1
    assert made.metrics(there)["dice"][0] == pytest.approx(1.0)
    assert made.metrics(there)["tre_mm"][0] == 0
    assert made.metrics(state)["tre_mm"][0] == pytest.approx(state.start_error_mm[0])


@pytest.mark.parametrize("axes", [2, 3])
def test_a_move_displaces_its_control_point(axes):
    made = task(axes)
    state = start(made)
    action = np.array([[0.5, -0.25, 1.0][:axes]])
    after = made.step(state, action.astype(np.float32))
    moved = made.points.values(made.present(state), after.field)[
        0
    ]  # beside a node, where the field is linear and the spline is not
    np.testing.assert_allclose(moved, action[0] * made.proposer.largest, rtol=0.2)
    furthest = after.field[0][(-1,) * axes]
    assert np.abs(furthest).max() < 0.2 * made.proposer.largest  # the other corner moves little
    gained = (made.error(state) - made.error(after))[0]
    assert made.reward(state, action, after)[0] == pytest.approx(gained)


def test_folding_costs():
    made = task(2, folding_penalty=0.5)
    state = start(made)
    field = linear_field(np.diag([-1.0, 1.0]), 5, 24)
    after = replace(state, field=field)
    gained = (made.error(state) - made.error(after))[0]
    assert made.reward(state, None, after)[0] == pytest.approx(gained - 50)
    assert made.metrics(after)["folded_percent"][0] == 100


def test_overlap_as_a_reward():
    made = task(2, reward_type="dice")
    state = start(made)
    there = replace(state, dice=state.dice + 0.1)
    assert made.reward(state, None, there)[0] == pytest.approx(1.0)


def test_overlap_is_measured_once_a_step():
    made = task(2, reward_type="dice")
    action = np.array([[0.5, -0.25]], np.float32)
    after, plain = made.step(start(made), action), task(2).step(start(task(2)), action)
    assert after.dice[0] == made.metrics(after)["dice"][0] == task(2).metrics(plain)["dice"][0]
    assert after.dice[0] != after.start_dice[0]
    assert plain.dice[0] == 0


@pytest.mark.parametrize("axes", [2, 3])
def test_overlap_counts_what_a_plain_loop_counts(axes):
    made = task(axes)
    state, rng = start(made), np.random.default_rng(2)
    field = state.field + rng.normal(0, 12, state.field.shape)  # far enough to leave the image
    places = np.moveaxis(np.indices((12,) * axes)[::-1] * 2.0, 0, -1)[None]
    ways = [fields.linear_basis(np.arange(0.0, 24, 2)[None], 5, made.points.gap)] * axes
    there = np.rint(places + fields.at_grid(field, ways)).astype(int)[0].reshape(-1, axes)
    labels = made.bank.labels[0]
    found = [labels[tuple(p[::-1])] if ((p >= 0) & (p < 24)).all() else 0 for p in there]
    a, b = np.array(found) == 1, state.labels[0] == 1
    want = 2 * (a & b).sum() / (a.sum() + b.sum())
    assert 0 < want < 1
    assert made.bank.dice(state.image, field, state.labels)[0] == want


def test_images_without_masks():
    made = make_task(IDS[2], data=[replace(ball(2), mask=None)], **SMALL)
    metrics = made.metrics(start(made))
    assert "dice" not in metrics and metrics["tre_mm"][0] > 0
    with pytest.raises(ValueError, match="reward_type 'dice' needs masks"):
        make_task(IDS[2], data=[replace(ball(2), mask=None)], **{**SMALL, "reward_type": "dice"})


def test_dice_by_hand():
    first = np.array([[1, 1, 2, 0]], np.uint8)
    second = np.array([[1, 0, 2, 2]], np.uint8)
    assert mean_dice(first, second, 3)[0] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert mean_dice(first * 0, second * 0, 3)[0] == 1
    assert mean_dice(first * 0, second * 0, 0).tolist() == [1]


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_deformations_do_not_fold(axes, split):
    for seed in range(6):
        field = deform.random_deformation(
            np.random.default_rng(seed), split, 25 if axes == 2 else 13, axes, 96, 0.025
        )
        assert folded_percent(field[None], 95 / (field.shape[0] - 1))[0] == 0


def couple(axes, **kwargs):
    """A ball, of label 7 with a core of label 9, that lies 2 pixels (4 mm) further along x in the moving image."""
    ends = []
    for middle in (11.5, 13.5):
        index = np.moveaxis(np.indices((24,) * axes)[::-1] - 11.5, 0, -1)
        radius = np.linalg.norm(index - np.eye(axes)[0] * (middle - 11.5), axis=-1)
        image = np.where(radius < 4, 220, np.where(radius < 8, 120, 30)).astype(np.uint8)
        ends.append((image[None], np.where(radius < 4, 9, np.where(radius < 8, 7, 0))))
    spacing = np.full((2,) if axes == 2 else (2, 3), 2.0)
    given = {"fixed_mask": ends[0][1], "moving_mask": ends[1][1], "spacing_mm": spacing, "name": "couple"}
    return PairSample(ends[0][0], ends[1][0], **{**given, **kwargs})


def of_pairs(axes, pair, **kwargs):
    return make_task(IDS[axes], data=[pair], **{**SMALL, **kwargs})


@pytest.mark.parametrize("axes", [2, 3])
def test_the_expert_brings_a_pair_together_by_its_labels(axes):
    made = of_pairs(axes, couple(axes), dice_of=[9])
    state = start(made)
    before = made.metrics(state)
    assert before["tre_mm"][0] == before["tre_start_mm"][0] == pytest.approx(4.0)
    while not made.terminated(state)[0]:
        state = made.step(state, made.expert(state))
    after = made.metrics(state)
    assert after["tre_mm"][0] < 0.5 and after["folded_percent"][0] == 0
    assert before["dice"][0] < 0.8 < 0.9 < after["dice"][0]
    assert before["dice_9"][0] < 0.75 and after["dice_9"][0] > 0.9


@pytest.mark.parametrize("axes", [2, 3])
def test_points_of_a_pair_are_held_where_they_are(axes):
    rng = np.random.default_rng(0)
    first = rng.uniform(4, 19, (12, axes))
    second = first * 1.1 - 1 + rng.normal(0, 0.3, first.shape)
    moving = couple(axes).moving[..., :20]  # narrower: its middle is elsewhere
    pair = couple(axes, fixed_mask=None, moving_mask=None, fixed_points=first, moving_points=second)
    made = of_pairs(axes, replace(pair, moving=moving))
    state = start(made)
    shift = np.zeros(axes)
    shift[0] = 2.0  # middles lie on each other
    want = np.linalg.norm(first - second - shift, axis=1).mean() * 2
    assert made.metrics(state)["tre_mm"][0] == pytest.approx(want)
    there = made.metrics(replace(state, field=state.target))["tre_mm"][0]
    assert there < 0.35 * want
    assert "dice" not in made.metrics(state)
    assert made.bank.grey.min() == 30  # no border of its own where the image is narrower
    again = made.sample(np.random.default_rng(9), 0)
    assert (again.fixed == state.fixed[0]).all() and (again.target == state.target[0]).all()
    height, width, _ = made.draw(batch.take(state, 0)).shape
    assert width == 2 * height


def test_fields_at_points_are_those_of_a_grid():
    rng = np.random.default_rng(1)
    field, places = rng.normal(size=(2, 5, 5, 5, 3)), rng.uniform(0, 23, (2, 7, 3))
    want = [deform.interpolate(field[row], places[row][:, ::-1] * 4 / 23) for row in range(2)]
    np.testing.assert_allclose(fields.at_points(field, places, 23 / 4), want, atol=1e-12)
    there = fields.at_points(torch.as_tensor(field), torch.as_tensor(places), 23 / 4)
    np.testing.assert_allclose(there.numpy(), want, atol=1e-12)


@pytest.mark.parametrize(
    ("axes", "changes", "kwargs", "rule"),
    [
        (2, {}, {"dice_of": [3]}, r"dice_of must be labels of the split's label maps \(7, 9\), got 3"),
        (
            2,
            {"fixed_mask": None, "moving_mask": None, "transform": np.eye(2, 3)},
            {"reward_type": "dice"},
            "masks",
        ),
        (
            2,
            {"fixed_mask": None, "moving_mask": None, "transform": np.eye(2, 3)},
            {"dice_of": [3]},
            "none, as some images have no label map",
        ),
        (3, {}, {"dice_of": [3]}, "dice_of must be labels of the split's label maps"),
    ],
)
def test_refusals_of_pairs(axes, changes, kwargs, rule):
    with pytest.raises(ValueError, match=rule):
        of_pairs(axes, couple(axes, **changes), **kwargs)


def test_pairs_of_another_dimension_name_the_task_for_them():
    with pytest.raises(
        ValueError, match="'couple' must be of 2D images, got 3D ones; DeformableRegistration3D-v0"
    ):
        of_pairs(2, couple(3))


@pytest.mark.parametrize("name", ["SimpleITK, affine", "SimpleITK, affine and B-spline"])
def test_simpleitk_rows(name):
    pytest.importorskip("SimpleITK")
    made = make_task(IDS[2], split="val")
    state = batch.stack([made.sample(np.random.default_rng(3), 3)])
    found = made.metrics(BASELINES[IDS[2]][name].fit(None)(made, state))
    assert found["tre_mm"][0] < 0.7 * found["tre_start_mm"][0]
    assert found["dice"][0] > found["dice_start"][0]


@pytest.mark.parametrize(
    ("kwargs", "rule"),
    [
        ({"control": "all"}, "control must be one of"),
        ({"control_points": ()}, "control_points must be 1 or more values, each a whole number >= 1"),
        ({"control_points": (0,)}, "control_points must be 1 or more values, each a whole number >= 1"),
        ({"control_points": (9,)}, r"control_points must be <= nodes \(5\), got \(9,\)"),
        ({"scales": ()}, "scales must be"),
        ({"deformation_rms": 0.5}, "deformation_rms must be"),
        ({"window": 2}, "window must be"),
        ({"reward_type": "ncc"}, "reward_type must be one of"),
    ],
)
def test_refusals(kwargs, rule):
    with pytest.raises(ValueError, match=rule):
        task(2, **kwargs)


def clouds(axes, side=48):
    """A smooth picture that is nowhere flat."""
    noise = gaussian(np.random.default_rng(5).random((side,) * axes), 3)
    image = np.rint(np.clip(127 + 50 * (noise - noise.mean()) / noise.std(), 1, 255))[None].astype(np.uint8)
    return ImageSample(image, spacing_mm=2.0) if axes == 2 else VolumeSample(image, (2.0, 2.0, 2.0))


def cloudy(axes, **kwargs):
    rules = {
        "nodes": 13,
        "side": 48,
        "window": 16,
        "control_points": (2,),
        "deformation_rms": 0.0,
        "intensity_jitter": 0.0,
    }
    return make_task(IDS[axes], data=[clouds(axes)], control="gauss_newton", **{**rules, **kwargs})


def test_slopes_are_those_of_numpy():
    values = np.random.default_rng(0).normal(size=(2, 3, 5, 6))
    for axis in (-1, -2):
        np.testing.assert_allclose(fields.gradient(values, axis), np.gradient(values, axis=axis))


@pytest.mark.parametrize("axes", [2, 3])
def test_the_move_that_is_missing_is_proposed(axes):
    """The fixed image is the moving one with one control point moved."""
    made = cloudy(axes)
    state = start(made)
    state = replace(state, field=0 * state.field)
    motion = np.array([[1.5, -1.0, 0.5][:axes]])
    bent = made.points.bspline_update(made.present(state), motion)
    line = np.arange(48.0)[None]
    fixed = both(made, replace(state, field=bent), [line] * axes)[1]
    state = replace(state, fixed=fixed.reshape(1, -1), target=bent)
    found = made.propose(state)[0]
    assert np.linalg.norm(found[:, :axes] - motion, axis=-1).min() < 0.3 * np.linalg.norm(motion)
    assert (found[:, -1] > found[:, -2]).all()
    shown = made.observe(replace(state, proposals=found[None]))["proposals"].reshape(found.shape)
    np.testing.assert_allclose(shown[:, :axes] * made.proposer.largest, found[:, :axes], rtol=1e-5)
    again = made.with_field(state, bent, state.visited)
    assert np.abs(made.propose(again)[0, :, :axes]).max() < 0.1


@pytest.mark.parametrize("axes", [2, 3])
def test_the_row_without_an_agent_bends_an_image_back(axes):
    made = cloudy(axes, control_points=(1, 2, 4), deformation_rms=0.02)
    state = start(made)
    found = BASELINES[IDS[axes]]["Gauss-Newton"].fit(None)(made, state)
    assert made.terminated(found).all()
    assert made.metrics(found)["tre_mm"][0] < 0.6 * state.start_error_mm[0]


def test_pairs_of_two_modalities_are_compared_by_a_piecewise_linear_function():
    """The moving image is the fixed one moved by two pixels, its contrast folded twice."""
    image = clouds(2).image
    folded = np.rint(127 + 110 * np.cos(3 * np.pi * image / 255)).astype(np.uint8)
    shift = np.array([[1.0, 0, 2], [0, 1, 0]])
    wrong = []
    for modalities in (("a", "a"), ("a", "b")):
        moved = PairSample(image, np.roll(folded, 2, axis=2), transform=shift, modalities=modalities)
        made = make_task(
            IDS[2], data=[moved], side=48, nodes=13, window=16, control_points=(1,), control="gauss_newton"
        )
        state = start(made)
        found = made.propose(state)[0, :, :2]
        wrong.append(np.linalg.norm(found - [2, 0], axis=-1))
    assert (wrong[1] < 0.8).all() and (wrong[0] > 2 * wrong[1]).any()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("other", ["a", "b"])
def test_numpy_and_torch_propose_the_same_moves(axes, other):
    image, spacing = clouds(axes), None if axes == 2 else np.full((2, 3), 2.0)
    grey = image.image if axes == 2 else image.volume
    shift = np.concatenate([np.eye(axes), 2 * np.ones((axes, 1))], axis=1)
    pair = PairSample(grey, np.roll(grey, 2), transform=shift, modalities=("a", other), spacing_mm=spacing)
    made = make_task(
        IDS[axes], data=[pair], side=48, nodes=13, window=16, control_points=(2,), control="gauss_newton"
    )
    state = start(made)
    there = replace(state, **{name: torch.as_tensor(value) for name, value in vars(state).items()})
    np.testing.assert_allclose(made.propose(there).numpy(), made.propose(state), atol=1e-6)


def test_a_proposal_is_made_where_it_is_trusted():
    made = cloudy(2, deformation_rms=0.02)
    state, action = start(made), np.array([[0.5, 0, -1, -1]], np.float32)
    motion = made.moves.motion(action, state.proposals)
    np.testing.assert_allclose(motion, [[0.5 * made.proposer.largest, 0]])
    action[0, 3] = 0.1
    proposals = made.propose(state)
    np.testing.assert_allclose(made.moves.motion(action, state.proposals), proposals[:, 1, :2])
    for _ in range(4):
        after = made.step(state, made.expert(state))
        assert made.error(after)[0] < made.error(state)[0]
        state = after
