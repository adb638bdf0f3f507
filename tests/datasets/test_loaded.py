"""Samples loaded by a string are shared by copies and pickled as the arguments of their loading."""

import copy
import hashlib
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

import visionrl  # noqa: F401  registers the ids
from visionrl.banks.images import image_bank
from visionrl.datasets import ImageSample, choose, clear_cache, load
from visionrl.ops import DeviceTable


def test_copies_share_and_a_pickle_holds_no_pixels() -> None:
    samples = load("chest-xray", kind=ImageSample, split="val")
    assert copy.deepcopy(samples) is samples and copy.copy(samples) is samples
    pickled = pickle.dumps(samples)
    assert len(pickled) < 1000 and pickle.loads(pickled) is samples


def test_a_pickle_loads_the_same_samples_where_none_are_loaded() -> None:
    samples = load("chest-xray", kind=ImageSample, split="val")
    pickled = pickle.dumps(samples)
    clear_cache()
    again = pickle.loads(pickled)
    assert again is not samples and len(again) == len(samples)
    for first, second in zip(samples, again, strict=True):
        assert first.name == second.name and (first.image == second.image).all()


def test_a_deep_copy_of_a_table_shares_its_array() -> None:
    table = DeviceTable(np.arange(3))
    assert copy.deepcopy([table])[0].array is table.array


def test_chosen_samples_are_one_object_and_pickled_by_number() -> None:
    samples = load("chest-xray", kind=ImageSample, split="val")
    some = choose(samples, [2, 0])
    assert some == (samples[2], samples[0]) and choose(samples, [2, 0]) is some
    assert pickle.loads(pickle.dumps(some)) is some and copy.deepcopy(some) is some
    assert choose(tuple(samples), [1]) == (samples[1],)


def test_a_bank_and_its_tables_are_pickled_as_how_to_make_them() -> None:
    samples = load("chest-xray", kind=ImageSample, split="val")
    bank = image_bank(samples, 32)
    for part in (bank, bank.pyramid, bank.pyramid.pixels, bank.boxes):
        pickled = pickle.dumps(part)
        assert len(pickled) < 2000 and pickle.loads(pickled) is part and copy.deepcopy(part) is part


def test_a_bank_is_made_again_in_another_process() -> None:
    bank = image_bank(load("coins", kind=ImageSample, split="val"), 32)
    program = (
        "import hashlib, pickle, sys; from visionrl.ops import Pyramid; p = pickle.load(sys.stdin.buffer); "
        "assert isinstance(p, Pyramid); print(hashlib.sha256(p.pixels.array.tobytes()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(bank.pyramid), capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == hashlib.sha256(bank.pyramid.pixels.array.tobytes()).hexdigest()


def test_a_bank_of_the_users_own_samples_is_pickled_whole() -> None:
    own = [ImageSample(np.full((1, 40, 40), 7, np.uint8))]
    bank = image_bank(own, 32)
    again = pickle.loads(pickle.dumps(bank))
    assert again is not bank and (again.image(0) == 7).all()


@pytest.mark.slow
@pytest.mark.parametrize("task_id", sorted(name for name in gym.registry if name.startswith("visionrl/")))
def test_an_environment_is_pickled_without_pixels_and_copied_without_new_ones(task_id: str) -> None:
    env = gym.make(task_id)
    env.reset(seed=0)
    assert len(pickle.dumps(env)) < 1 << 20
    copied = copy.deepcopy(env)
    assert copied.unwrapped.task.bank is env.unwrapped.task.bank
    again = pickle.loads(pickle.dumps(env))
    assert again.unwrapped.task.bank is env.unwrapped.task.bank
    results = []
    for one in (env, copied, again):
        seen, _ = one.reset(seed=1)
        one.action_space.seed(1)
        results.append((seen, one.step(one.action_space.sample())[:2]))
    for result in results[1:]:
        assert data_equivalence(result, results[0])
