"""Refinement: rough masks, superpixels, clicks between rounds, what regions and pixels earn, files with rough masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from visionrl.agents.prediction.agent import Agent
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.predict import predict_files
from visionrl.banks.superpixels import regions_of
from visionrl.core import BASELINES, batch, make_task
from visionrl.datasets import ImageSample
from visionrl.envs.segmentation.refinement import DELTAS
from visionrl.envs.segmentation.rough import roughened, signed_distance, soft
from visionrl.ops.masks import iou

ID = "visionrl/Refinement-v0"
SIDE = 32


def disc(side=48, radius=12):
    rows, columns = np.indices((side, side)) + 0.5
    return np.hypot(rows - side / 2, columns - side / 2) <= radius


def samples(count=2):
    mask = disc()
    image = np.where(mask, 200, 60)[None].repeat(3, axis=0).astype(np.uint8)
    return [ImageSample(image, mask=mask.astype(np.uint8), name=f"disc {k}") for k in range(count)]


def start(task, count=3):
    rng = np.random.default_rng(0)
    return batch.stack([task.sample(rng, k % task.items) for k in range(count)])


@pytest.fixture(params=["regions", "pixels"])
def task(request):
    return make_task(ID, data=samples(), size=SIDE, lattice=6, level=request.param)


def test_superpixels_are_as_many_as_asked_for_and_each_is_in_one_part():
    image = np.random.default_rng(0).integers(0, 256, (3, 50, 50)).astype(np.uint8)
    labels = regions_of(image, 7)
    assert sorted(np.unique(labels)) == list(range(49))
    for number in range(49):
        assert cv2.connectedComponents((labels == number).astype(np.uint8), connectivity=4)[0] == 2


def test_superpixels_keep_to_an_edge():
    mask = disc(48, 12)
    labels = regions_of(np.where(mask, 200, 60)[None].astype(np.uint8), 8)
    squares = (np.indices((48, 48)) // 6 * np.array([8, 1])[:, None, None]).sum(axis=0)
    mixed = []
    for some in (labels, squares):
        inside, size = np.bincount(some.ravel(), mask.ravel()), np.bincount(some.ravel())
        mixed.append(np.minimum(inside, size - inside).sum())
    assert mixed[0] < 0.6 * mixed[1]


def test_signed_distance_is_positive_inside_and_its_probability_is_that_of_the_mask():
    mask = disc()
    distance = signed_distance(mask)
    np.testing.assert_array_equal(distance > 0, mask)
    np.testing.assert_array_equal(soft(distance) > 0.5, mask)
    assert (signed_distance(np.zeros((8, 8), bool)) == -8).all()


def test_masks_are_rougher_with_more_strength():
    distance = signed_distance(disc())
    overlaps = []
    for strength in (0.1, 1.0, 2.0):
        rng = np.random.default_rng(0)
        rough = np.stack([roughened(distance, strength, rng) for _ in range(20)])
        assert rough.min() >= 0 and rough.max() <= 1
        overlaps.append(iou(rough > 0.5, np.stack([disc()] * 20)).mean())
    assert overlaps[0] > 0.9 > overlaps[1] > overlaps[2]


def test_an_action_changes_the_probabilities_of_its_own_pixels(task):
    state = start(task)
    action = np.zeros((3, *task.pixels), np.int64)
    action[:, 2, 3] = DELTAS.index(0.2)
    after = task.step(state, action)
    changed = after.likely != state.likely
    if task.level == "pixels":
        assert changed.sum(axis=(1, 2)).max() == 1 and not changed[:, [0, -1]].any()
    else:
        own = task.labels(state).reshape(3, SIDE, SIDE) == 2 * task.lattice + 3
        assert not changed[~own].any()
    wanted = np.where(changed, np.minimum(state.likely + 0.2, 1), state.likely)
    np.testing.assert_allclose(after.likely, wanted)


def test_the_reward_is_the_mean_of_the_map_and_gains_are_known_beforehand(task):
    state, rng = start(task), np.random.default_rng(1)
    action = rng.integers(len(DELTAS), size=(3, *task.pixels))
    after = task.step(state, action)
    earned = task.reward_map(state, action, after)
    assert earned.shape == (3, *task.pixels)
    np.testing.assert_allclose(task.reward(state, action, after), earned.mean(axis=(1, 2)))
    known = np.take_along_axis(task.gain_maps(state), action[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(earned, known, atol=1e-6)
    assert np.abs(earned).max() > 0.1


def test_the_robot_clicks_in_what_is_wrong_now(task):
    state = start(task)
    for _ in range(3):
        truth, mask = task.bank.truth.rows(state.image), task.mask(state)
        now = state.steps[0]
        for row in range(3):
            place = divmod(int(state.places[row, now]), SIDE)
            assert truth[row][place] != mask[row][place]
            assert (state.signs[row, now] > 0) == truth[row][place]
        assert (state.places[:, now + 1 :] == -1).all()
        state = task.step(state, np.random.default_rng(2).integers(len(DELTAS), size=(3, *task.pixels)))


def test_the_expert_of_pixels_finds_the_object():
    task = make_task(ID, data=samples(), size=SIDE, level="pixels")
    state = start(task)
    while not task.terminated(state).all():
        state = task.step(state, task.expert(state))
    assert task.metrics(state)["dice"].min() > 0.95 and (state.steps < 5).all()


def test_random_walkers_find_a_plain_object_and_the_rough_mask_stays_rough():
    task = make_task(ID, data=samples(4), size=SIDE)
    ends = {}
    for name, method in BASELINES[ID].items():
        run = method.fit(task)
        ends[name] = [
            task.metrics(run(task, batch.stack([task.sample(np.random.default_rng(k), k)]))) for k in range(4)
        ]
    dice = {name: np.mean([end["dice"] for end in some]) for name, some in ends.items()}
    assert all(end["gain"] == 0 for end in ends["rough mask"])
    assert dice["random walker, the clicks and the rough mask as prior"] > 0.95
    assert dice["random walker, the clicks"] > 0.9
    assert dice["what resembles the region that was clicked on"] > dice["rough mask"]


def write_folder(folder, shape=(40, 56)):
    """An image with a rough mask beside it, as the format "masks" has them."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    mask = np.zeros(shape, np.uint8)
    mask[10:30, 12:40] = 255
    image = np.where(mask > 0, 180, 40).astype(np.uint8)
    Image.fromarray(image).save(folder / "images" / "a.png")
    Image.fromarray(np.roll(mask, 4, axis=1)).save(folder / "masks" / "a.png")
    return mask > 0


def test_the_rough_mask_of_a_file_is_refined(tmp_path):
    truth = write_folder(tmp_path / "in")
    method = BASELINES[ID]["random walker, the clicks"].fit(None)
    agent = Agent(ID, method=method, env_kwargs={"size": 56})
    assert (
        predict_files(
            agent, inputs_of([f"masks:{tmp_path / 'in'}"], agent.sample_type), tmp_path / "out"
        ).done
        == 1
    )
    made = np.asarray(Image.open(tmp_path / "out" / "a-mask.png")) > 0
    rough = np.asarray(Image.open(tmp_path / "in" / "masks" / "a.png")) > 0
    assert iou(made[None], truth[None])[0] > iou(rough[None], truth[None])[0] + 0.1


def test_clicks_of_a_user_come_one_a_round(tmp_path):
    image = np.zeros((3, 40, 40), np.uint8)
    sample = ImageSample(image, mask=disc(40, 8).astype(np.uint8), points={"+1": (5, 6), "-2": (30, 31)})
    task = make_task(ID, data=[sample], size=40, labelled=False, rounds=3)
    state = start(task, 1)
    assert state.places[0].tolist() == [6 * 40 + 5, -1, -1] and state.signs[0, 0] == 1
    state = task.step(state, np.zeros((1, *task.pixels), np.int64))
    assert state.places[0].tolist() == [6 * 40 + 5, 31 * 40 + 30, -1] and state.signs[0, 1] == -1
    for _ in range(2):
        assert not task.terminated(state).any()
        state = task.step(state, np.zeros((1, *task.pixels), np.int64))
    assert task.terminated(state).all()
    np.testing.assert_array_equal(task.result(_row(state)).masks[0], disc(40, 8))


def _row(state):
    return type(state)(**{name: value[0] for name, value in vars(state).items()})


def test_without_a_mask_the_ellipse_in_the_box_is_refined():
    image = np.zeros((3, 40, 60), np.uint8)
    task = make_task(
        ID, data=[ImageSample(image, boxes=np.array([[10.0, 5, 30, 35]]))], size=60, labelled=False
    )
    inside = task.mask(start(task, 1))[0]
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (5, 34, 10, 29)
    middle = make_task(ID, data=[ImageSample(image)], size=60, labelled=False)
    assert middle.mask(start(middle, 1))[0][20, 30]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 16, "lattice": 10}, "size must be >= 2 \\* lattice, 20, got 16"),
        ({"rounds": 0}, "rounds must be"),
        ({"roughness": 0}, "roughness must be"),
        ({"until": 1.5}, "until must be"),
        ({"level": "voxels"}, "level must be"),
        ({"data": [ImageSample(np.zeros((1, 40, 40), np.uint8))]}, "data must have masks"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_task(ID, **{"data": samples(), **arguments})
