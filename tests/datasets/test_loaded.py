"""Samples loaded by a string are shared by copies and pickled as the arguments of their loading."""

import copy
import pickle

import numpy as np

from visionrl.datasets import ImageSample, clear_cache, load
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
