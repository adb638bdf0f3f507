"""The engine: adapters, registry, sharing of pixels, memory, snapshots."""

import gc
import itertools
import json
import pickle
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

import visionrl  # noqa: F401  (files the tasks)
from visionrl import ops
from visionrl.core import TASKS, Task, TaskVectorEnv, batch, check_choice, make_task, register
from visionrl.datasets import ImageSample

LANDMARK, TRACKING = "visionrl/LandmarkLocalization-v0", "visionrl/Tracking-v0"

SLOW = {  # a step takes most of a millisecond or more
    "visionrl/DeformableRegistration2D-v0",
    "visionrl/DeformableRegistration3D-v0",
    "visionrl/MultiLandmarkLocalization3D-v0",
    "visionrl/MultiObjectTracking-v0",
    "visionrl/Registration2D3D-v0",
    "visionrl/Registration3D-v0",
}
HEAVY = {  # making one takes seconds, or a step a millisecond
    *SLOW,
    "visionrl/Detection-v0",
    "visionrl/HierarchicalDetection-v0",
    "visionrl/ViewPlane3D-v0",
    TRACKING,
}
IDS = [pytest.param(name, marks=pytest.mark.slow if name in HEAVY else ()) for name in sorted(TASKS)]
SQUARE = np.zeros((40, 40), np.uint8)
SQUARE[8:30, 10:28] = 1
SMALL = {
    TRACKING: {"window": 24},
    "visionrl/ViewPlane3D-v0": {"window": 8, "slices": 1},
    # two pictures, so that what is computed once a picture is soon there
    "visionrl/Segmentation-v0": {
        "data": [ImageSample(200 * one[None], mask=one) for one in (SQUARE, SQUARE.T)]
    },
}


def vector(task_id, rows=4, **kwargs):
    return gym.make_vec(task_id, rows, vectorization_mode="vector_entry_point", **kwargs)


@pytest.mark.parametrize("task_id", IDS)
def test_environments_over_one_data_set_share_its_pixels(task_id):
    env, again = gym.make(task_id), vector(task_id, 64)
    assert env.unwrapped.task.bank is again.task.bank


def grows(env, measure, steps):
    """By how much a measure of memory grew in a while; the least of three, as a leak goes on and a cache does not."""
    env.action_space.seed(0)
    env.reset(seed=0)

    def run(steps):
        for _ in range(steps):
            env.step(env.action_space.sample())
        gc.collect()
        return measure()

    found = [run(steps // 4), *(run(steps) for _ in range(3))]
    return min(after - before for before, after in itertools.pairwise(found))


@pytest.mark.slow
@pytest.mark.parametrize("task_id", IDS)
def test_arrays_and_objects_do_not_pile_up(task_id):
    env = vector(task_id, 4, max_episode_steps=9, **SMALL.get(task_id, {}))
    tracemalloc.start()
    try:
        grown = grows(env, lambda: tracemalloc.get_traced_memory()[0], 20)
    finally:
        tracemalloc.stop()
    assert grown < 20_000, f"traced memory grew by {grown} bytes"


@pytest.mark.slow
@pytest.mark.parametrize("task_id", [LANDMARK, TRACKING])
def test_resident_memory_does_not_grow(task_id):
    """What no array of NumPy accounts for: OpenCV's own. Pages of mapped files, as of banks, do not count."""
    file = Path("/proc/self/status")

    def anonymous():
        return 1024 * int(file.read_text().partition("RssAnon:")[2].split()[0])

    grown = grows(vector(task_id, 64, **SMALL.get(task_id, {})), anonymous, 400)
    assert grown < 4e6, f"resident memory grew by {grown} bytes"


@pytest.mark.slow
@pytest.mark.parametrize("task_id", IDS)
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_a_snapshot_goes_on_exactly(task_id, backend, tmp_path):
    if backend not in TASKS[task_id].task.backends:
        pytest.skip(f"{task_id} does not run on {backend}")
    env, other = vector(task_id, backend=backend), vector(task_id, backend=backend)
    env.reset(seed=3)
    other.reset(seed=99)
    env.action_space.seed(3)
    actions = [env.action_space.sample() for _ in range(400)]
    for action in actions[:30]:
        env.step(action)
    np.savez(tmp_path / "state.npz", **env.snapshot())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as saved:
        there = other.restore(dict(saved))
    here = env.task.observe(env.state)
    for key, value in here.items():
        np.testing.assert_array_equal(value, there[key])
    for action in actions[30:]:
        mine, yours = env.step(action), other.step(action)
        for a, b in zip([*mine[0].values(), *mine[1:4]], [*yours[0].values(), *yours[1:4]], strict=True):
            np.testing.assert_array_equal(a, b)


def test_torch_gives_tensors_and_numpy_gives_arrays():
    for backend, kind in (("numpy", np.ndarray), ("torch", torch.Tensor)):
        env = vector(LANDMARK, backend=backend)
        obs, _ = env.reset(seed=0)
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert all(
            isinstance(x, kind) for x in (*obs.values(), reward, terminated, truncated, info["distance_px"])
        )


def test_final_observations_come_as_gymnasium_has_them():
    env = vector(TRACKING, 3, clip=2, window=16)
    env.reset(seed=0)
    for _ in range(200):
        _, _, terminated, truncated, info = env.step(np.array([10, 10, 2]))
        if "final_obs" in info:
            break
    done = terminated | truncated
    assert done.any()
    assert not done.all()
    np.testing.assert_array_equal(info["_final_obs"], done)
    np.testing.assert_array_equal(info["_final_info"], done)
    for row, last in enumerate(info["final_obs"]):
        assert (last is not None) == done[row]
        if last is not None:
            assert env.single_observation_space.contains(last)
            assert info["final_info"]["success_auc"][row] > 0
            assert info["success_auc"][row] == 0, "the new episode has no finished frame"
    sync = gym.vector.SyncVectorEnv(
        [lambda: gym.make(TRACKING, clip=2, window=16)] * 3,
        autoreset_mode=gym.vector.AutoresetMode.SAME_STEP,
    )
    sync.reset(seed=0)
    for _ in range(200):
        theirs = sync.step(np.array([10, 10, 2]))[4]
        if "final_obs" in theirs:
            break
    assert set(theirs) == set(info)
    assert set(theirs["final_info"]) == {k for k in info["final_info"]}


def test_an_episode_can_start_from_a_chosen_item():
    env, single = vector(TRACKING, 3, window=16, clip=None), gym.make(TRACKING, window=16, clip=None)
    env.reset(seed=0, options={"item": [5, 0, 7]})
    first = env.task.bank.first
    assert env.state.frame.tolist() == [first[5], first[0], first[7]]
    single.reset(seed=0, options={"item": 7})
    assert single.unwrapped.state.frame[0] == first[7]
    with pytest.raises(ValueError, match=r"options\['item'\] must be a whole number in \[0, 200\), got 200"):
        single.reset(options={"item": 200})


@pytest.mark.parametrize("item", [3, np.array([3, 3, 3]), [3, 3, 3]])
def test_items_and_seeds_come_one_for_all_or_one_a_row(item):
    env = vector(TRACKING, 3, window=16, clip=None)
    env.reset(seed=np.int64(4), options={"item": item})
    assert env.state.frame.tolist() == [env.task.bank.first[3]] * 3
    env.reset(seed=[4, None, 6])
    for wrong in ({"seed": [1, 2]}, {"options": {"item": [1, 2, 3, 4]}}):
        with pytest.raises(ValueError, match="must have one entry a row"):
            env.reset(**wrong)


def test_environments_over_one_list_share_its_pixels():
    image = np.random.default_rng(0).integers(0, 256, (1, 50, 60), dtype=np.uint8)
    data = [ImageSample(image, points={"nose": (20.0, 30.0)})]
    first, second = (make_task(LANDMARK, data=data, window=16) for _ in range(2))
    assert first.bank is second.bank


def test_what_a_split_decides_can_be_given_to_another():
    rng = np.random.default_rng(0)
    grey, colour = (rng.integers(0, 256, (c, 50, 60), dtype=np.uint8) for c in (1, 3))
    train = make_task(LANDMARK, data=[ImageSample(colour, points={"b": (1, 2), "a": (3, 4)})], window=16)
    other = [ImageSample(grey, points={"b": (1, 2)})]
    with pytest.warns(UserWarning, match="no sample of the split has a"):
        test = make_task(LANDMARK, data=other, window=16, **train.resolved_arguments)
    assert test.observation_space == train.observation_space
    assert test.names == train.names == ("a", "b")
    assert test.pairs == [(0, 1)]


def test_rendering_gives_pictures():
    env = vector(LANDMARK, 2, render_mode="rgb_array", backend="torch")
    env.reset(seed=0)
    pictures = env.render()
    assert len(pictures) == 2
    assert all(p.dtype == np.uint8 and p.ndim == 3 and p.shape[2] == 3 for p in pictures)
    assert vector(LANDMARK, 2).render() is None


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: make_task("visionrl/Nothing-v0"), "env must be one of visionrl/"),
        (lambda: make_task(LANDMARK, preset="nobody2099"), "preset must be one of"),
        (lambda: TaskVectorEnv(0, LANDMARK), "num_envs must be a whole number >= 1, got 0"),
        (lambda: TaskVectorEnv(2, LANDMARK, backend="jax"), "backend must be one of"),
        (lambda: register("LandmarkLocalization-v0", max_steps=1)(Task), "task id must be new"),
        (
            lambda: check_choice("colour", "red", ("green", "blue")),
            "colour must be one of 'green', 'blue', got 'red'",
        ),
    ],
)
def test_wrong_arguments_are_named(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_an_unknown_keyword_is_a_type_error_with_a_suggestion():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'; it has channels, "):
        make_task(LANDMARK, colour="red")
    with pytest.raises(TypeError, match="unexpected keyword argument 'windwo'; did you mean 'window'"):
        gym.make(LANDMARK, windwo=3)


def test_ids_are_found_in_every_spelling():
    for spelling in (LANDMARK, "LandmarkLocalization-v0", f"visionrl:{LANDMARK}"):
        assert isinstance(make_task(spelling), TASKS[LANDMARK].task)


def test_specs_with_the_users_arguments_are_json_and_pickle():
    spec = gym.make(LANDMARK, target="heart", window=24).unwrapped.spec
    assert json.loads(spec.to_json())["kwargs"] == {"task": LANDMARK, "target": "heart", "window": 24}
    assert pickle.loads(pickle.dumps(spec)).make().unwrapped.task.names == ("heart",)


def test_samples_of_the_users_own_go_in_as_they_are():
    image = np.random.default_rng(0).integers(0, 256, (3, 50, 60), dtype=np.uint8)
    env = gym.make(LANDMARK, data=[ImageSample(image, points={"nose": (20.0, 30.0)})], window=16)
    obs, info = env.reset(seed=0)
    assert obs["window"].shape == (9, 16, 16)
    assert "error_mm" not in info


def test_pickled_banks_give_the_same_windows():
    task = make_task(TRACKING, window=16)
    copy = pickle.loads(pickle.dumps(task.bank))
    box, frame = np.array([[3.0, 4, 40, 50]]), np.array([17])
    np.testing.assert_array_equal(
        ops.resize(copy.pyramid, frame, box, 16), ops.resize(task.bank.pyramid, frame, box, 16)
    )


def test_crops_without_a_level_are_those_of_every_level():
    bank = make_task(LANDMARK, window=16).bank
    place, image = np.array([[40.0, 30.0], [99.0, 120.0]]), np.array([3, 5])
    crops = bank.crop(image, place)
    for level in range(len(bank.scales)):
        np.testing.assert_array_equal(crops[:, level], bank.crop(image, place, np.full(2, level)))


def test_joined_states_hold_the_rows_of_both():
    task = make_task(LANDMARK, window=16)
    one, two = (
        batch.stack([task.sample(np.random.default_rng(k), k) for k in rows]) for rows in ((1, 2), (3,))
    )
    both = batch.join(one, two)
    for field, value in vars(both).items():
        np.testing.assert_array_equal(value[:2], vars(one)[field])
        np.testing.assert_array_equal(value[2:], vars(two)[field])


def test_a_part_of_a_row_shares_the_arrays_of_the_state():
    @dataclass(frozen=True)
    class Part:
        status: np.ndarray
        boxes: np.ndarray

    task = make_task("visionrl/MultiObjectTracking-v0", window=8, max_tracks=3)
    state = batch.stack([task.sample(np.random.default_rng(k), k) for k in (0, 1)])
    batch.part(state, Part, 1).status[2] = 7
    assert state.status[:, 2].tolist() == [0, 7]
    whole = batch.part(state, Part)
    batch.put(whole, 0, batch.part(state, Part, 1))
    np.testing.assert_array_equal(state.boxes[0], state.boxes[1])


def test_the_end_and_the_beginning_of_a_row_are_told_apart():
    env = vector(LANDMARK, 3, window=16, max_episode_steps=2)
    env.reset(seed=0)
    env.step(np.array([0, 1, 2]))
    ahead = batch.each(env.task.step(env.state, np.array([0, 1, 2])), np.copy)
    obs, _, _, truncated, info = env.step(np.array([0, 1, 2]))
    assert truncated.all()
    np.testing.assert_array_equal(info["final_info"]["distance_px"], env.task.metrics(ahead)["distance_px"])
    np.testing.assert_array_equal(info["distance_px"], env.task.metrics(env.state)["distance_px"])
    for key, value in env.task.observe(env.state).items():
        np.testing.assert_array_equal(obs[key], value)
    for key, value in env.task.observe(ahead).items():
        np.testing.assert_array_equal(np.stack([row[key] for row in info["final_obs"]]), value)
