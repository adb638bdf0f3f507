"""Proposals by least squares: right where grey changes linearly, whatever the contrast, and never trusted blindly."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.filters import gaussian

from visionrl.core import BASELINES, batch, make_task
from visionrl.core.conformance import CHECKS
from visionrl.datasets import PairSample
from visionrl.envs.registration.proposals import moved_by
from visionrl.ops import transforms
from visionrl.ops.least_squares import (
    NUM_SCORES,
    POWERS,
    fit_polynomial_intensity,
    fit_spline_intensity,
    motions,
)

TASKS = {2: "visionrl/Registration2D-v0", 3: "visionrl/Registration3D-v0"}


def waves(axes, side=64, shift=0.0):
    """(1, side, ...) uint8 of slow waves along each axis, moved along x by pixels."""
    places = np.stack(np.meshgrid(*axes * (np.arange(side, dtype=float),), indexing="ij")[::-1])
    places[0] -= shift
    bright = sum(np.sin(2 * np.pi * place / (43 + 6 * axis)) for axis, place in enumerate(places)) / axes
    return np.rint(127 + 100 * bright)[None].astype(np.uint8)


def pair(axes, contrast=lambda grey: grey, shift=2.0):
    truth = np.eye(axes, axes + 1)
    truth[0, axes] = shift
    spacing = np.ones((2, axes)) if axes == 3 else None
    moving = contrast(waves(axes, shift=shift) / 255)
    return PairSample(
        waves(axes),
        np.rint(255 * moving).astype(np.uint8),
        spacing_mm=spacing,
        transform=truth,
        modalities=("a", "a"),
    )


def blobs(axes, side=64):
    """A pair of one picture that leaves no motion open."""
    noise = gaussian(np.random.default_rng(4).random(axes * (side,)), 3)
    grey = np.rint(np.clip(127 + 60 * (noise - noise.mean()) / noise.std(), 0, 255))[None].astype(np.uint8)
    return replace(pair(axes), fixed=grey, moving=grey, transform=np.eye(axes, axes + 1))


def task(axes, *pairs, **kwargs):
    more = {"voxel_mm": 1.0} if axes == 3 else {}
    return make_task(
        TASKS[axes],
        data=list(pairs) or [pair(axes)],
        window=24,
        scales=(2, 1),
        control="gauss_newton",
        **more,
        **kwargs,
    )


def start(made, pose=None):
    pose = np.eye(made.axes, made.axes + 1) if pose is None else pose
    state = batch.stack([made.sample(np.random.default_rng(0), 0)])
    still = replace(state, pose=pose[None])
    return replace(still, proposals=made.moves.propose(still.pair, still.view_transform, still.pose))


def trusting(made, look):
    """The action that takes one proposal."""
    action = np.zeros((1, made.action_space.shape[0]), np.float32)
    action[0, made.moves.count :] = -1
    action[0, made.moves.count + look] = 1
    return action


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    "contrast",
    [
        lambda grey: grey,
        lambda grey: 1 - grey,
        lambda grey: 0.2 + 0.5 * grey,
        lambda grey: np.cbrt(2 * grey - 1) / 2 + 0.5,
    ],
    ids=["the same", "negative", "paler", "cubic"],
)
def test_a_shift_is_found_whatever_the_contrast(axes, contrast):
    made = task(axes, pair(axes, contrast))
    state = start(made)
    for look in (made.proposer.count - 1,) * 6:
        state = made.step(state, trusting(made, look))
    assert made.metrics(state)[f"tre_{made.unit}"][0] < 0.5  # of 2


@pytest.mark.parametrize(
    ("axes", "kind", "number"),
    [
        (axes, kind, k)
        for axes in (2, 3)
        for kind in transforms.KINDS
        for k in range(transforms.count(kind, axes))
    ],
)
def test_each_number_is_found(axes, kind, number):
    """What is proposed moves the places that are compared as what is missing does."""
    made = task(axes, blobs(axes), transform=kind)
    missing = 2.0 * np.eye(made.moves.count)[number]
    pose = transforms.move(start(made).target, -missing[None], kind)[0]
    found = start(made, pose).proposals[0, -1, : made.proposer.numbers]
    ways = made.proposer.ways.array[-1]
    wrong, all_of_it = (
        np.linalg.norm(ways @ motion, axis=-1).mean() for motion in (found - missing, missing)
    )
    assert wrong < 0.3 * all_of_it + 0.05


@pytest.mark.parametrize("axes", [2, 3])
def test_shares_explained_rise_to_one_at_the_truth(axes):
    made = task(axes)
    away, there = (start(made, pose).proposals[0, :, -NUM_SCORES:] for pose in (None, pair(axes).transform))
    assert (there[:, 0] > 0.99).all()
    assert (away[1:, 1] > away[1:, 0]).all()
    assert (there[:, 0] > away[:, 0]).all()


def test_solved_is_what_least_squares_says():
    rng = np.random.default_rng(1)
    descent, other = rng.normal(size=(2, 3, 80, 4)), rng.normal(size=(2, 3, 80))
    grey = descent @ [1.0, -2.0, 0.5, 3.0] + other - other**3 / 4 + 0.1 * rng.normal(size=(2, 3, 80))
    weight = (rng.random((2, 3, 80)) < 0.7).astype(float)
    found = fit_polynomial_intensity(descent, grey, other, weight)
    for row, look in np.ndindex(2, 3):
        kept = weight[row, look] > 0
        terms = np.column_stack([descent[row, look], *(other[row, look] ** power for power in range(POWERS))])
        terms, aim = terms[kept], grey[row, look][kept]
        best, (left,), _, _ = np.linalg.lstsq(terms, aim)
        np.testing.assert_allclose(found[row, look, :4], best[:4], rtol=5e-3)
        spread = ((aim - aim.mean()) ** 2).sum()
        without = np.linalg.lstsq(terms[:, 4:], aim)[1][0]
        np.testing.assert_allclose(found[row, look, 4:], 1 - np.array([without, left]) / spread, atol=2e-3)


def test_a_broken_line_of_the_fixed_grey_is_found_with_the_motion():
    """The moving grey turns over, so that no cubic of it gives the fixed one."""
    rng = np.random.default_rng(1)
    knots, values = np.linspace(-0.5, 0.5, 8), np.array([0, 0.4, -0.4, 0.3, -0.2, 0.4, 0, -0.3])
    descent, fixed = 0.1 * rng.normal(size=(1, 2, 4000, 3)), rng.uniform(-0.5, 0.5, (1, 2, 4000))
    motion = np.array([0.05, -0.1, 0.02])
    slope = (np.diff(values) * 7)[np.clip(((fixed + 0.5) * 7).astype(int), 0, 6)]
    moving = np.interp(fixed, knots, values) - slope * (descent @ motion)
    found = fit_spline_intensity(descent, fixed, moving, np.ones_like(fixed))[0]
    np.testing.assert_allclose(found[:, :3], np.tile(motion, (2, 1)), atol=0.01)
    assert (found[:, 4] > 0.94).all() and (found[:, 3] < found[:, 4] - 0.01).all()
    assert (fit_polynomial_intensity(descent, fixed, moving, np.ones_like(fixed))[0, :, 4] < 0.3).all()


def test_rows_of_one_modality_are_left_alone():
    rng = np.random.default_rng(3)
    descent, moving = 0.1 * rng.normal(size=(2, 1, 400, 3)), rng.uniform(-0.5, 0.5, (2, 1, 400))
    parts = descent, np.abs(moving) - 0.25, moving, np.ones((2, 1, 400))
    other = descent, moving, np.abs(moving) - 0.25, np.ones((2, 1, 400))
    for some in (parts, other):
        found = motions(*some, np.array([False, True]))
        np.testing.assert_array_equal(found[0], fit_polynomial_intensity(*some)[0])
        best = max(fit_polynomial_intensity(*some)[1, 0, -1], fit_spline_intensity(*some)[1, 0, -1])
        assert found[1, 0, -1] == best


@pytest.mark.parametrize("axes", [2, 3])
def test_a_shift_is_found_where_bright_and_dark_change_places_twice(axes):
    """For images of two modalities; for those of one such a contrast is none."""

    def folded(grey):
        return 0.5 + 0.4 * np.cos(3 * np.pi * grey)

    same = pair(axes, folded)
    errors = []
    for modalities in (("a", "b"), ("a", "a")):
        made = task(axes, replace(same, modalities=modalities))
        state = start(made)
        for look in (made.proposer.count - 1,) * 6:
            state = made.step(state, trusting(made, look))
        errors.append(made.metrics(state)[f"tre_{made.unit}"][0])
    assert errors[0] < 1 and errors[1] > 5  # of 2


def test_where_too_little_is_seen_nothing_is_proposed():
    rng = np.random.default_rng(2)
    descent, grey, other = (
        rng.normal(size=(1, 3, 80, 3)),
        rng.normal(size=(1, 3, 80)),
        rng.normal(size=(1, 3, 80)),
    )
    grey[0, 1], other[0, 2] = 0.25, 0.1
    weight = np.ones((1, 3, 80))
    weight[0, 0, 27:] = 0  # fewer than four for each of the seven numbers
    found = fit_polynomial_intensity(descent, grey, other, weight)[0]
    assert not fit_spline_intensity(descent, grey, other, 0 * weight).any()
    assert np.isfinite(found).all() and not found[:2].any()
    assert found[2, -2] == pytest.approx(0, abs=0.01)  # a blank moving image explains nothing


@pytest.mark.parametrize("kind", transforms.KINDS)
@pytest.mark.parametrize("axes", [2, 3])
def test_moved_by_is_the_derivative_of_the_motion(kind, axes):
    places = np.random.default_rng(2).uniform(-30, 30, (1, 7, axes))
    count = transforms.count(kind, axes)
    numbers = 1e-4 * np.random.default_rng(3).normal(size=(1, count))
    moved = transforms.carry(transforms.to_matrix(numbers, kind, axes), places)[0] - places[0]
    np.testing.assert_allclose(moved_by(kind, places)[0] @ numbers[0], moved, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("other", ["a", "b"])
def test_numpy_and_torch_propose_the_same(axes, other):
    made = task(axes, replace(pair(axes), modalities=("a", other)))
    state = start(made)
    found = made.proposer.propose(
        *(torch.as_tensor(part) for part in (state.pair, state.view_transform, state.pose))
    )
    np.testing.assert_allclose(found.numpy(), state.proposals, atol=1e-6)
    CHECKS["rows_replay_on_torch"](TASKS[axes], preset="gauss_newton")


def test_where_none_is_trusted_the_numbers_count():
    made = task(2)
    state, action = start(made), np.zeros((1, made.action_space.shape[0]), np.float32)
    action[0, 0] = 0.5
    assert made.step(state, action).pose[0, 0, 2] == pytest.approx(5.0)
    action[0, made.moves.count + 1] = 0.1
    moved = made.step(state, action).pose[0]
    expected = transforms.move(state.pose, state.proposals[:, 1, : made.proposer.numbers], "rigid")[0]
    np.testing.assert_allclose(moved, expected)


def test_trust_is_one_onto_the_truth_and_none_where_too_little_is_gained():
    made = task(2)
    state = start(made, np.array([[1, 0, -8.0], [0, 1, 0]]))
    gap = transforms.residual(state.pose, state.target, "rigid")[0]
    fits = np.zeros((1, made.proposer.count, gap.size + NUM_SCORES))
    fits[0, 0, : gap.size], fits[0, 1, : gap.size], fits[0, 2, : gap.size] = gap, 0.1 * gap, -0.8 * gap
    np.testing.assert_allclose(
        made.proposer.quality(fits, state.pose, state.target, 1.0)[0], [1, 0, -1], atol=0.02
    )


@pytest.mark.parametrize("axes", [2, 3])
def test_nothing_to_see_proposes_nothing(axes):
    flat = np.full((1, *axes * (64,)), 90, np.uint8)
    spacing = np.ones((2, axes)) if axes == 3 else None
    blank = PairSample(
        flat, flat, spacing_mm=spacing, transform=np.eye(axes, axes + 1), modalities=("a", "a")
    )
    fits = start(task(axes, blank)).proposals
    np.testing.assert_allclose(fits, 0, atol=1e-6)


@pytest.mark.parametrize("axes", [2, 3])
def test_views_that_wander_propose_the_same_where_they_do_not(axes):
    still, wandering = task(axes), task(axes, augment=True)
    state = start(still)
    other = wandering.moves.propose(state.pair, state.view_transform, state.pose)
    np.testing.assert_allclose(other, state.proposals, atol=1e-9)


@pytest.mark.parametrize("axes", [2, 3])
def test_the_row_without_an_agent_finds_a_shift(axes):
    made = make_task(TASKS[axes], data=[pair(axes)], window=24, scales=(2, 1))
    state = batch.stack([made.sample(np.random.default_rng(0), 0)])
    pose = np.eye(axes, axes + 1)
    run = BASELINES[TASKS[axes]]["Gauss-Newton"].fit(None)
    found = run(made, replace(state, pose=pose[None]))
    assert made.metrics(found)[f"tre_{made.unit}"][0] < 0.5  # of 2
    assert found.finished.all()


def test_colours_are_averaged():
    """Only green shows anything."""
    grey = pair(2)
    fixed, moving = (np.concatenate([0 * image, image, 0 * image]) for image in (grey.fixed, grey.moving))
    made = task(2, replace(grey, fixed=fixed, moving=moving), channels=3)
    found = start(made).proposals[0, -1]
    np.testing.assert_allclose(found[:2], start(task(2)).proposals[0, -1, :2], atol=0.2)


@pytest.mark.parametrize("axes", [2, 3])
def test_a_task_can_be_sent_to_another_process(axes):
    made = task(axes)
    state, again = start(made), pickle.loads(pickle.dumps(made))
    np.testing.assert_allclose(
        again.moves.propose(state.pair, state.view_transform, state.pose), state.proposals
    )


def test_small_volumes_propose_nothing_where_they_are_too_small():
    """All volumes have the same numbers, so that an agent may go from large ones to small ones."""
    small = pair(3)
    small = replace(small, fixed=small.fixed[:, :7, :7, :7], moving=small.moving[:, :7, :7, :7])
    made = make_task(TASKS[3], data=[small], window=16, scales=(2, 1), voxel_mm=1.0, control="gauss_newton")
    assert made.observation_space["proposals"].shape == task(3).observation_space["proposals"].shape
    assert not start(made).proposals[0, 0].any()
    with pytest.raises(ValueError, match="the largest scale"):
        make_task(TASKS[3], data=[small], window=16, scales=(8,), voxel_mm=1.0, control="gauss_newton")


@pytest.mark.parametrize("change", [{"max_step": np.inf}, {"scales": (2.5, 1)}])
def test_arguments_that_no_motion_can_have(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} must"):
        make_task(TASKS[2], data=[pair(2)], control="gauss_newton", **change)


def test_an_odd_window_is_refused():
    with pytest.raises(ValueError, match="window must be even with control 'gauss_newton', got 25"):
        make_task(TASKS[2], data=[pair(2)], window=25, control="gauss_newton")
