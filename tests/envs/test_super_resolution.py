"""Super-resolution: what tools make, what an episode earns, how a file is put together, what is refused."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from visionrl.agents.prediction.agent import Agent
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.predict import predict_files
from visionrl.banks.enlarged import (
    COSTS,
    DEEP,
    TOOLS,
    WEIGHTS,
    EnlargedBank,
    Enlargement,
    network,
    shrunk,
)
from visionrl.core import BASELINES, batch, make_task
from visionrl.datasets import ImageSample, load
from visionrl.metrics.image_quality import psnr
from visionrl.ops.upscale import back_project, bicubic, convolve_valid, luma, reach, read_layers, shuffle

ID = "visionrl/SuperResolution-v0"


def start(task, count=4):
    rng = np.random.default_rng(0)
    return batch.stack([task.sample(rng, k % task.items) for k in range(count)])


@pytest.fixture(scope="module")
def task():
    return make_task(ID, split="val", grid=4)


@pytest.fixture(scope="module")
def photograph():
    return load("photographs", kind=ImageSample, split="val")[1].image


def test_bicubic_is_that_of_torch_with_antialiasing(photograph):
    plane = photograph[0].astype(np.float32) / 255
    for height, width in ((71, 64), (2 * plane.shape[0], 3 * plane.shape[1])):
        wanted = F.interpolate(
            torch.tensor(plane)[None, None], (height, width), mode="bicubic", antialias=True
        )
        np.testing.assert_allclose(bicubic(plane, height, width), wanted[0, 0].numpy(), atol=2e-4)


@pytest.mark.parametrize("name", ["espcn", "deep"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_networks_agree_with_torch(name, scale):
    layers = network(name, scale)
    convolutions = []
    for weights, biases in layers:
        layer = nn.Conv2d(weights.shape[2], weights.shape[3], len(weights))
        layer.weight.data = torch.tensor(weights.transpose(3, 2, 0, 1))
        layer.bias.data = torch.tensor(biases)
        convolutions += [layer, nn.ReLU()]
    maps = np.random.default_rng(0).random((30, 26, 1), np.float32)
    with torch.no_grad():
        wanted = nn.Sequential(*convolutions[:-1])(torch.tensor(maps.transpose(2, 0, 1)[None]))
        wanted = F.pixel_shuffle(wanted, scale)[0, 0].numpy()
    np.testing.assert_allclose(shuffle(convolve_valid(maps, layers), scale), wanted, atol=1e-5)
    assert (WEIGHTS / f"{name}-x{scale}.npz").stat().st_size < 100_000


def test_a_network_on_a_part_gives_that_part_of_the_whole(photograph):
    small = shrunk(photograph[:, :240, :240], 3)
    part = Enlargement(small, 3).part("deep", slice(30, 54), slice(0, 27))
    np.testing.assert_allclose(part, Enlargement(small, 3).plane("deep")[30:54, 0:27], atol=1e-5)
    assert reach(read_layers(WEIGHTS / "deep-x3.npz")) == 10


def test_back_projection_shrinks_to_the_small_picture(photograph):
    low = luma(shrunk(photograph[:, :120, :120], 3))
    plain = bicubic(low, 120, 120)
    before, after = (np.abs(bicubic(one, 40, 40) - low).mean() for one in (plain, back_project(low, plain)))
    assert after < before / 5


def test_colours_of_an_enlargement_are_bicubic_and_greys_stay_grey(photograph):
    small = shrunk(photograph[:, :90, :90], 3)
    one, all_of_it = Enlargement(small, 3), slice(0, 90)
    plain = one.coloured("bicubic", all_of_it, all_of_it).astype(int)
    wanted = [cv2.resize(c, (90, 90), interpolation=cv2.INTER_CUBIC).astype(int) for c in small]
    assert np.abs(plain - np.stack(wanted)).mean() < 2  # OpenCV's cubic kernel is a little sharper
    made = one.coloured("deep", all_of_it, all_of_it).astype(int)
    chroma = [image[0] - image[2] for image in (plain, made)]
    inside = (made.min(axis=0) > 0) & (made.max(axis=0) < 255)
    assert np.abs(chroma[0] - chroma[1])[inside].max() <= 2
    grey = Enlargement(small[:1], 3).coloured("deep", all_of_it, all_of_it)
    assert grey.shape == (1, 90, 90)


def test_errors_of_all_patches_are_those_of_the_whole_picture(photograph):
    image = photograph[:, :100, :131]  # no multiple of 3
    bank = EnlargedBank([ImageSample(image)], 3, 8, True)
    truth = luma(image[:, :99, :129])
    made = Enlargement(shrunk(image[:, :99, :129], 3), 3)
    for number, tool in enumerate(TOOLS):
        both = [np.rint(255 * plane[3:-3, 3:-3])[None, None] for plane in (made.plane(tool), truth)]
        total = bank.errors.array[:, number].sum() / bank.pixels.array.sum()
        assert 10 * np.log10(255**2 / total) == pytest.approx(psnr(*both)[0], abs=1e-3)


def test_better_tools_are_better_on_pictures_that_no_network_has_seen(task):
    errors = task.bank.errors.array.sum(axis=0)
    plain, _, projected, shallow, deep = errors
    assert deep < shallow < projected < plain


def test_rewards_add_up_to_what_the_patches_gain_less_the_price(task):
    first = state = start(task)
    total = np.zeros(4)
    for number in (0, 5, 15, 5):  # the last changes nothing, and costs nothing
        after = task.step(state, np.full(4, number))
        total, state = total + task.reward(state, np.full(4, number), after), after
    assert (state.spent == 3).all() and ((state.tools == DEEP).sum(axis=1) == 3).all()
    patches = task.bank.shapes[first.image].prod(axis=1)
    gain = (task.latest(state) - first.quality[:, 0]) * patches
    np.testing.assert_allclose(total, gain - 3 * task.price)
    np.testing.assert_allclose(task.metrics(state)["net_gain_db"], total / 16)


def test_stopping_and_an_empty_budget_end_an_episode(task):
    state = start(task)
    assert task.terminated(task.step(state, np.full(4, 16))).all()
    half = make_task(ID, split="val", grid=2, budget_share=0.5)
    state = start(half)
    for number in (0, 1):
        assert not half.terminated(state).any()
        state = half.step(state, np.full(4, number))
    assert half.terminated(state).all()


def test_an_episode_without_a_stop_ends_when_no_action_is_left():
    image = np.random.default_rng(0).integers(0, 256, (3, 60, 60)).astype(np.uint8)  # 2 x 2 patches
    data = [ImageSample(image, name=f"a{k}") for k in range(3)]
    task = make_task(ID, data=data, split="all", grid=4, tools=("sharpen",), start="bicubic", stop=False)
    state, count = start(task, 1), 0
    while not task.terminated(state)[0]:
        state = task.step(state, task.action_mask(state).argmax(axis=1))
        count += 1
    assert count == 4


def test_all_tools_may_be_offered():
    every = make_task(ID, split="val", grid=2, preset="tools")
    state = start(every)
    assert every.action_space.n == 5 * 4 + 1 and (state.tools == 0).all()
    for number in range(1, len(TOOLS)):
        after = every.step(state, np.full(4, 4 * number + 2))
        assert (after.tools[:, 2] == number).all() and (after.spent == COSTS[number]).all()


def test_windows_cover_each_picture_once():
    task = make_task(ID, split="val", cover=True)
    rng = np.random.default_rng(0)
    seen = np.concatenate([task.sample(rng, item).patches for item in range(task.items)])
    seen = np.sort(seen[seen < len(task.bank.boxes)])
    np.testing.assert_array_equal(seen, np.arange(len(task.bank.boxes)))


@pytest.mark.parametrize("shape", [(8, 8), (20, 61), (65, 70, 3)])
@pytest.mark.parametrize("scale", [2, 4])
def test_files_of_any_size_are_enlarged(shape, scale, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    method = BASELINES[ID]["deep network, half with the largest gradients"].fit(None)
    agent = Agent(ID, method=method, env_kwargs={"scale": scale})
    report = predict_files(agent, inputs_of([str(folder / "a.png")], agent.sample_type), out)
    assert report.done == 1
    made = np.asarray(Image.open(out / "a-enlarged.png"))
    assert made.shape == (scale * shape[0], scale * shape[1], *shape[2:])
    assert (out / "a-operators.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 5}, "scale must be"),
        ({"tools": ()}, "tools must be some of bicubic"),
        ({"tools": ("deep", "deep")}, "each once"),
        ({"tools": ("srgan",)}, "tools must be some of"),
        ({"tools": ("espcn",)}, "tools must have another one than start, 'espcn'"),
        ({"budget_share": 0}, "budget_share must be"),
        ({"data": [ImageSample(np.zeros((1, 20, 90), np.uint8), name="a")]}, "'a' must have sides >= 24"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_task(ID, **arguments)


def test_a_small_picture_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="must have sides >= 8"):
        make_task(ID, data=[ImageSample(np.zeros((3, 7, 30), np.uint8))], labelled=False)
