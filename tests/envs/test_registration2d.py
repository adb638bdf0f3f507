"""Registration of images: maps that can be worked out by hand, and pictures that fit where they should."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from visionrl.banks.image_pairs import middle
from visionrl.core import BASELINES, batch, make_task
from visionrl.datasets import PairSample
from visionrl.metrics.similarity import mutual_information, ncc
from visionrl.ops import transforms

ID = "visionrl/Registration2D-v0"
IDENTITY = np.eye(2, 3)


def picture(side=96, seed=0, channels=1):
    """Smooth noise, which every method can align."""
    noise = np.random.default_rng(seed).integers(0, 256, (side, side, channels)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2).reshape(side, side, channels)
    wide = (smooth - smooth.mean()) * 60 / smooth.std() + 128
    return np.clip(wide, 0, 255).astype(np.uint8).transpose(2, 0, 1)


def pair(matrix=IDENTITY, side=96, **kwargs):
    """A pair whose moving image is the fixed one, moved by a map about the middle."""
    fixed, home = picture(side), (side - 1) / 2
    around = np.column_stack([matrix[:, :2], matrix[:, 2] + home - matrix[:, :2] @ (home, home)])
    moving = cv2.warpAffine(fixed[0], around, (side, side))[None]
    return PairSample(fixed, moving, transform=around, modalities=("a", "a"), **kwargs)


def task(*pairs, **kwargs):
    return make_task(ID, data=list(pairs) or [pair()], window=32, scales=(2, 1), **kwargs)


def start(made, pose=IDENTITY, item=0):
    state = batch.stack([made.sample(np.random.default_rng(0), item)])
    return replace(state, pose=np.array(pose, float)[None])


def act(made, state, action):
    action = np.array([action])
    after = made.step(state, action)
    return after, float(made.reward(state, action, after)[0])


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("kind", transforms.KINDS)
def test_numbers_and_matrices(kind, axes):
    numbers = np.random.default_rng(0).uniform(-20, 20, (64, transforms.count(kind, axes)))
    maps = transforms.to_matrix(numbers, kind, axes)
    assert maps.shape == (64, axes, axes + 1)
    np.testing.assert_allclose(transforms.to_numbers(maps, kind), numbers, atol=1e-9)
    eye = np.broadcast_to(np.eye(axes, axes + 1), maps.shape)
    np.testing.assert_allclose(transforms.compose(maps, transforms.invert(maps)), eye, atol=1e-9)
    np.testing.assert_allclose(transforms.determinant(maps), np.linalg.det(maps[:, :, :axes]))
    places = np.random.default_rng(1).normal(0, 9, (64, 5, axes))
    both = transforms.carry(maps[::-1], transforms.carry(maps, places))
    np.testing.assert_allclose(transforms.carry(transforms.compose(maps, maps[::-1]), places), both)
    np.testing.assert_allclose(
        transforms.fit(kind, places[0], transforms.carry(maps[:1], places[:1])[0]), maps[0]
    )
    there = transforms.to_numbers(torch.asarray(maps), kind)
    np.testing.assert_allclose(there.numpy(), numbers, atol=1e-9)


@pytest.mark.parametrize("axes", [2, 3])
def test_motions_and_distances(axes):
    rng, kind = np.random.default_rng(0), "affine"
    pose, target = (
        transforms.to_matrix(rng.uniform(-9, 9, (8, transforms.count(kind, axes))), kind, axes) for _ in "ab"
    )
    missing = transforms.residual(pose, target, kind)
    np.testing.assert_allclose(transforms.move(pose, missing, kind), target)
    for number in range(axes + axes * (axes - 1) // 2):
        step = np.zeros((8, transforms.count("rigid", axes)))
        step[:, number] = 1.0
        rigid = transforms.to_matrix(rng.uniform(-9, 9, step.shape), "rigid", axes)
        gap = transforms.distance(rigid, transforms.move(rigid, step, "rigid"))
        np.testing.assert_allclose(gap, 1.0, rtol=1e-4, err_msg="a pixel counts as much as a degree")
    turned = transforms.move(rigid, step, "rigid")
    np.testing.assert_allclose(turned[:, :, axes], rigid[:, :, axes], err_msg="a turn leaves the middle")


def test_turns_go_from_x_to_y():
    quarter = transforms.to_matrix(np.array([[0, 0, 90.0]]), "rigid", 2)[0]
    np.testing.assert_allclose(quarter @ (1, 0, 1), (0, 1), atol=1e-12)
    about_z = transforms.to_matrix(np.array([[0, 0, 0, 0, 0, 90.0]]), "rigid", 3)[0]
    np.testing.assert_allclose(about_z @ (1, 0, 0, 1), (0, 1, 0), atol=1e-12)


def test_too_few_points():
    line = np.array([[0.0, 0], [1, 1], [2, 2]])
    transforms.fit("similarity", line, line)
    with pytest.raises(ValueError, match="affine needs 3 points or more that span it"):
        transforms.fit("affine", line, line)
    with pytest.raises(ValueError, match="pair 'p': rigid needs 2 points"):
        task(PairSample(picture(), picture(), [[1, 2]], [[1, 2]], name="p"))


def test_unit_moves():
    made = task(offset=(0.0, 0.0))
    for action, change in enumerate([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]):
        after, reward = act(made, start(made), action)
        got = transforms.to_numbers(after.pose, "rigid")[0]
        np.testing.assert_allclose(got, change, atol=1e-12)
        assert reward == pytest.approx(-1, abs=1e-4)
        back, reward = act(made, after, action ^ 1)
        np.testing.assert_allclose(back.pose[0], IDENTITY, atol=1e-12)
        assert reward == pytest.approx(1, abs=1e-4)
    assert float(made.metrics(after)["tre_px"][0]) > 0.3


def test_other_controls():
    shift = task(control="steps")
    after, _ = act(shift, start(shift), [10, 5, 5])
    np.testing.assert_allclose(after.pose[0, :, 2], (0.27 * 32, 0))
    after, _ = act(shift, start(shift), [5, 5, 2])
    assert transforms.to_numbers(after.pose, "rigid")[0, 2] == pytest.approx(-np.degrees(0.03))
    free = task(control="continuous", max_step=4.0, transform="similarity")
    after, _ = act(free, start(free), [0.5, -1.0, 0.25, 1.0])
    got = transforms.to_numbers(after.pose, "similarity")[0]
    np.testing.assert_allclose(got, (2, -4, 1, 4), atol=1e-9)
    assert np.sqrt(np.linalg.det(after.pose[0, :, :2])) == pytest.approx(np.exp(np.radians(4)))


def test_rest_ends_and_pays():
    made = task(control="continuous")
    state, paid = start(made), []
    for _ in range(4):
        assert not state.finished[0]
        state, reward = act(made, state, [0.0, 0.0, 0.0])
        paid.append(reward)
        if state.finished[0]:
            break
    assert paid == [0.0, 0.0, 10.0]
    far, _ = act(made, start(made, np.add(IDENTITY, [[0, 0, 5], [0, 0, 0]])), [0.0, 0.0, 0.0])
    for _ in range(2):
        far, reward = act(made, far, [0.0, 0.0, 0.0])
    assert far.finished[0] and reward == 0


def test_nearness_to_the_truth_ends_an_episode_only_where_asked():
    near = np.add(IDENTITY, [[0, 0, 1.4], [0, 0, 0]])
    for distance, over in ((0.5, True), (0.3, False), (None, False)):
        made = task(stop_distance=distance)
        after, reward = act(made, start(made, near), 1)
        assert bool(after.finished[0]) == over
        assert reward == pytest.approx(1 + 10 * over)
    assert made.evaluation == {"stop_distance": None, "augment": False}


def test_moves_that_lose_the_image_are_not_made():
    made = task(control="continuous", transform="similarity", max_step=60.0)
    for action in ([1.0, 0, 0, 0], [0, 0, 0, 1.0]):
        state = start(made)
        after, reward = act(made, state, action)
        np.testing.assert_array_equal(after.pose, state.pose)
        assert reward == 0
    outside = start(made, np.add(IDENTITY, [[0, 0, 50], [0, 0, 0]]))  # beyond the field: the way back is open
    for share, moves in ((-0.1, True), (0.1, False)):
        after, _ = act(made, outside, [share, 0.0, 0, 0])
        assert bool((after.pose != outside.pose).any()) == moves


def test_levels_say_whether_a_map_is_better_equal_or_worse():
    made = task(control="continuous", reward_type="levels")
    state = start(made, np.add(IDENTITY, [[0, 0, 9], [0, 0, 0]]))
    assert [act(made, state, [x, 0.0, 0.0])[1] for x in (-0.5, 0.0, 0.5)] == [0.5, -0.1, -0.6]


def test_inliers_are_the_matches_that_a_map_agrees_with():
    image = np.random.default_rng(0).integers(0, 256, (1, 20, 24), np.uint8).repeat(6, 1).repeat(6, 2)
    truth = np.array([[1.0, 0, 5], [0, 1, -4]])
    moved = PairSample(image, np.roll(image, (-4, 5), (1, 2)), transform=truth, modalities=("a", "a"))
    made = task(moved, reward_type="inliers", max_side=None)
    state = start(made, truth)
    found = [
        float(made.inliers.share(state.pair, truth[None] + np.array([[0, 0, x], [0, 0, 0]]))[0])
        for x in (0.0, 2.0, 9.0)
    ]
    assert found[0] > 0.8 and found[1] > 0.8 and found[2] < 0.2
    there = made.inliers.share(torch.as_tensor(state.pair), torch.as_tensor(truth[None]))
    assert float(there[0]) == pytest.approx(found[0])
    with pytest.raises(ValueError, match="reward_type must be one of"):
        make_task("visionrl/Registration3D-v0", reward_type="inliers")
    away = replace(state, pose=truth[None] + np.array([[0, 0, 4.0], [0, 0, 0]]))
    away = replace(away, score=made.similarity(away.pair, away.view_transform, away.pose))
    assert act(made, away, 1)[1] > 1  # a pixel back, ten times the share gained
    blank = replace(moved, fixed=0 * image, moving=0 * image)
    bare = task(blank, reward_type="inliers", max_side=None)
    assert bare.similarity(state.pair, state.view_transform, state.pose)[0] == 0


@pytest.mark.parametrize("reward", ["ncc", "mi"])
def test_likeness_peaks_at_the_truth(reward):
    made = task(pair(transforms.to_matrix(np.array([[5.0, -3, 8]]), "rigid", 2)[0]), reward_type=reward)
    state = start(made)
    state = replace(state, pose=state.target)
    best = float(made.similarity(state.pair, state.view_transform, state.pose)[0])
    for change in np.vstack([3 * np.eye(3), -3 * np.eye(3)]):
        other = transforms.move(state.pose, change[None], "rigid")
        assert best > float(made.similarity(state.pair, state.view_transform, other)[0]) + 0.02
    away = replace(state, pose=transforms.move(state.pose, np.array([[4.0, 0, 0]]), "rigid"))
    away = replace(away, score=made.similarity(away.pair, away.view_transform, away.pose))
    assert act(made, away, 1)[1] > 0 > act(made, away, 0)[1]


def test_likeness_of_pictures():
    a = np.random.default_rng(0).integers(0, 256, (2, 4000), dtype=np.uint8)
    every, none = np.ones(a.shape, bool), np.zeros(a.shape, bool)
    np.testing.assert_allclose(ncc(a, a, every), 1)
    np.testing.assert_allclose(ncc(a, 255 - a, every), -1)
    entropy = [-(p * np.log(p)).sum() for p in (np.bincount(row // 16, minlength=16) / 4000 for row in a)]
    np.testing.assert_allclose(mutual_information(a, 255 - a, every), entropy, rtol=1e-6)
    assert (mutual_information(a, a[::-1], every) < 0.06).all()
    for alike in (ncc, mutual_information):
        np.testing.assert_array_equal(alike(a, a, none), 0)
        np.testing.assert_allclose(alike(a, np.full_like(a, 9), every), 0, atol=1e-9)


def test_windows_show_both_images_alike_at_the_truth():
    made = task(pair(transforms.to_matrix(np.array([[6.0, 2, -9]]), "rigid", 2)[0]))
    state = start(made)
    seen = made.observe(replace(state, pose=state.target))["window"][0].astype(int)
    assert seen.shape == (4, 32, 32)
    assert np.abs(seen[0] - seen[1])[8:-8, 8:-8].mean() < 6 and np.abs(seen[2] - seen[3]).mean() < 6
    home = middle(made.bank.fixed[0]).astype(int)
    np.testing.assert_allclose(
        seen[2][15:17, 15:17], made.bank.fixed[0][home[1] :, home[0] :, 0][:2, :2], atol=1
    )


def test_windows_of_every_scale_have_the_same_middle():
    ramp = np.tile(np.arange(96, dtype=np.uint8) * 2, (1, 96, 1))
    made = make_task(ID, data=[PairSample(ramp, ramp, transform=IDENTITY)], window=16, scales=(4, 3, 2, 1))
    windows = made.observe(start(made))["window"][0]
    np.testing.assert_allclose(windows.mean(axis=(1, 2)), 95, atol=0.6)


def test_images_of_other_pixel_sizes_and_large_ones():
    fixed = picture(100)
    moving = np.stack([cv2.resize(fixed[0], (50, 50), interpolation=cv2.INTER_AREA)])
    points = np.array([[10.0, 10], [80, 20], [40, 90]])
    sample = PairSample(fixed, moving, points, (points + 0.5) / 2 - 0.5, spacing_mm=(1.0, 2.0))
    for max_side in (None, 50):
        made = task(sample, max_side=max_side)
        state = start(made)
        np.testing.assert_allclose(state.target[0], IDENTITY, atol=1e-12)
        assert float(made.metrics(state)["tre_px"][0]) < 1e-9
        aside = replace(state, pose=np.add(state.pose, [[0, 0, 4], [0, 0, 0]]))
        assert float(made.metrics(aside)["tre_px"][0]) == pytest.approx(2.0 if max_side is None else 4.0)


@pytest.mark.parametrize(("size", "max_side"), [((301, 500), 128), ((511, 173), 64), ((83, 97), 96)])
def test_large_images_are_held_where_they_are(size, max_side):
    """A blot near the far corner is held where the conversion of pixels says, to half a pixel of the file."""
    image, at = np.zeros((1, *size), np.uint8), np.array([size[1] - 15.0, size[0] - 18.0])
    y, x = np.indices(size)
    image[0] = 255 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 32)
    sample = PairSample(image, image[:, : size[0] - 3], transform=IDENTITY)
    made = task(sample, max_side=max_side, channels=1)
    for which, shown in enumerate((made.bank.fixed[0], made.bank.moving[0])):
        shown = shown.reshape(shown.shape[:2]).astype(float)
        v, u = np.indices(shown.shape)
        centre = np.array([(u * shown).sum(), (v * shown).sum()]) / shown.sum()
        place = centre - middle(shown[..., None])
        np.testing.assert_allclose(made.bank.to_world[0][which].pixels(place), at, atol=0.5)


def test_starts():
    own = transforms.to_matrix(np.array([[3.0, 1, 5]]), "rigid", 2)[0]
    home = np.full(2, 47.5)
    placed = np.column_stack([own[:, :2], own[:, 2] + home - own[:, :2] @ home])
    made = task(replace(pair(), start=placed), pair(), offset=None)
    for item, wanted in enumerate((own, IDENTITY)):
        np.testing.assert_allclose(made.sample(np.random.default_rng(0), item).pose, wanted, atol=1e-9)
    made = task(offset=(10.0, 20.0))
    drawn = [made.sample(np.random.default_rng(seed), 0) for seed in range(200)]
    numbers = transforms.to_numbers(np.stack([state.pose for state in drawn]), "rigid")
    np.testing.assert_allclose(np.abs(numbers).max(0), (10, 10, 20), rtol=0.05)
    made.difficulty = 0.0
    eased = transforms.to_numbers(made.sample(np.random.default_rng(0), 0).pose[None], "rigid")
    np.testing.assert_allclose(eased, numbers[:1] / 10, atol=1e-6)


def test_pairs_that_share_an_image_do_not_share_their_maps():
    one = pair()
    other = replace(one, transform=np.add(one.transform, [[0, 0, 3], [0, 0, 0]]))
    shifts = [start(task(sample)).target[0, 0, 2] for sample in (one, other)]
    np.testing.assert_allclose(shifts, (0, 3), atol=1e-9)


def test_maps_that_the_kind_cannot_make_are_fitted():
    wide = np.array([[1.2, 0.0, 0.0], [0.0, 0.9, 0.0]])
    made = task(pair(wide))
    np.testing.assert_allclose(start(made).target[0], IDENTITY, atol=1e-9)
    made = task(pair(wide), transform="affine")
    np.testing.assert_allclose(start(made).target[0], wide, atol=1e-9)


@pytest.mark.parametrize(
    ("kwargs", "rule"),
    [
        ({"transform": "bent"}, "transform must be one of"),
        ({"control": "mind"}, "control must be one of"),
        ({"reward_type": "ssd"}, "reward_type must be one of"),
        ({"scales": (1, 2)}, "scales must be whole numbers >= 1, falling"),
        ({"scales": ()}, "scales must be"),
        ({"stop_distance": 0.0}, "stop_distance must be a number >= 0.01 or None, got 0.0"),
        ({"offset": (30.0, 200.0)}, r"offset must be .*\[0.0, 120.0\]"),
        ({"window": 4}, "window must be"),
        ({"max_step": 0.0}, "max_step must be"),
    ],
)
def test_arguments(kwargs, rule):
    with pytest.raises(ValueError, match=rule):
        make_task(ID, **({"data": [pair()], "window": 32, "scales": (2, 1)} | kwargs))


def unknown(**kwargs):
    """A pair that does not say how it lies."""
    return replace(pair(**kwargs), transform=None, name="x")


@pytest.mark.parametrize(
    ("kwargs", "rule"),
    [
        (
            {},
            "reward_type 'truth' needs points of both images, a transform, or label maps of both, pair 'x' has",
        ),
        ({"reward_type": "levels"}, "reward_type 'levels' needs points"),
        ({"reward_type": "dice"}, "reward_type 'dice' needs label maps of both images of every pair"),
        ({"reward_type": "ncc", "stop_distance": 0.5}, "stop_distance needs points"),
    ],
)
def test_what_needs_the_truth_says_so_where_it_is_unknown(kwargs, rule):
    with pytest.raises(ValueError, match=rule):
        task(pair(name="y"), unknown(), **kwargs)


@pytest.mark.parametrize("reward", ["ncc", "mi", "inliers"])
def test_similarity_is_the_metric_where_the_truth_is_unknown(reward):
    made = task(unknown(), reward_type=reward, offset=(6.0, 0.0))
    state = batch.stack([made.sample(np.random.default_rng(0), 0)])
    assert 0 < np.abs(state.pose[0, :, 2]).max() <= 6, "a random start about middle on middle"
    after = replace(state, pose=IDENTITY[None])
    after = made.step(after, np.array([4]))
    found = made.metrics(after)
    assert set(found) == {"similarity", "similarity_start"}
    earned = 10 * (found["similarity"] - found["similarity_start"])
    np.testing.assert_allclose(made.reward(state, None, after), earned)
    assert earned[0] > 0, "one degree off is better than the start"
    with pytest.raises(ValueError, match="expert needs points of both images, a transform, or label maps of"):
        made.expert(state)
    assert made.primary_metric == ("similarity", True) and not made.knows_truth
    assert made.draw(batch.take(state, 0)).shape == (384, 768, 3)


def test_cross_correlation_of_two_modalities_is_refused():
    mixed = replace(pair(), modalities=("ct", "mr"), name="x")
    with pytest.raises(
        ValueError, match="reward_type 'ncc' needs images of one modality, pair 'x' has ct and mr"
    ):
        task(mixed, reward_type="ncc")
    task(mixed, reward_type="mi")


OFF = {
    "identity": ((0.0, 0, 0), None),
    "ECC": ((3.0, -2, 4), 0.5),
    "ORB + RANSAC": ((14.0, 9, 25), 2.0),
    "phase correlation": ((9.0, -7, 0), 0.5),
    "SimpleITK, mutual information": ((5.0, -3, 6), 0.5),
}


@pytest.mark.parametrize("kind", transforms.KINDS)
@pytest.mark.parametrize("name", OFF)
def test_classical_methods(name, kind):
    if name.startswith("SimpleITK"):
        pytest.importorskip("SimpleITK")
    made = make_task(ID, data=[pair(side=160)], transform=kind, window=32, scales=(2, 1))
    numbers, limit = OFF[name]
    offset = np.zeros((1, transforms.count(kind, 2)))
    offset[0, :3] = numbers
    state = start(made)
    state = replace(state, pose=transforms.move(state.target, offset, kind))
    end = BASELINES[ID][name].fit(None)(made, state)
    error = float(made.metrics(end)["tre_px"][0])
    if limit is None:
        np.testing.assert_array_equal(end.pose, state.pose)
    else:
        assert error < limit


def test_simpleitk_finds_the_same_map_again():
    pytest.importorskip("SimpleITK")
    made = make_task(ID, split="test")
    state = batch.stack([made.sample(np.random.default_rng(0), 0)])
    run = BASELINES[ID]["SimpleITK, mutual information"].fit(None)
    np.testing.assert_array_equal(run(made, state).pose, run(made, state).pose)


def test_a_blank_image_keeps_the_start():
    blank = replace(pair(), moving=np.zeros((1, 96, 96), np.uint8))
    for name in ("ECC", "ORB + RANSAC"):
        made = task(blank)
        end = BASELINES[ID][name].fit(None)(made, start(made))
        np.testing.assert_allclose(end.pose[0], IDENTITY, atol=1e-6)


def test_the_picture():
    made = task(offset=(0.0, 0.0))
    shown = made.draw(made.sample(np.random.default_rng(0), 0))
    assert shown.dtype == np.uint8 and shown.shape[1] == 2 * shown.shape[0]


def test_two_stains_of_a_kidney(shared_data):
    path = f"pairs:{shared_data / 'registration2d'}"
    made = make_task(ID, data=path, split="all", transform="affine", offset=None)
    fitted = batch.stack([made.sample(np.random.default_rng(0), item) for item in range(made.items)])
    before = made.metrics(fitted)["tre_px"]
    after = made.metrics(replace(fitted, pose=fitted.target))["tre_px"]
    assert made.items == 6 and (after < before).all() and after.min() < 10
