"""The wide window of tracking: what it must equal, what it finds, and that nothing changes without it."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from visionrl import ops
from visionrl.baselines.tracking import RedetectConfig, RedetectingTracker
from visionrl.core import BASELINES, batch, make_task
from visionrl.core.conformance import CHECKS
from visionrl.datasets import VideoSample
from visionrl.envs.tracking.controls import PeakSelection
from visionrl.ops.correlation_filter import WIDE_SIDES, CorrelationFilter, WideSearch, hog_color_features

ID = "visionrl/Tracking-v0"
ROWS = ("correlation filter", "correlation filter, re-detecting")
WIDE, STAY = PeakSelection(5.0, wide=True).choices - 1, PeakSelection(5.0, wide=True).stay


def smooth(rng, shape):
    """Noise that can be told from other noise."""
    return cv2.GaussianBlur(rng.integers(0, 256, shape).astype(np.uint8), (0, 0), 2)


def video(xs, side=16, cover=(0, 0)):
    """A square of noise at (x, 60) on other noise; between two columns something else lies over it, and stays."""
    rng = np.random.default_rng(2)
    back, wall = smooth(rng, (160, 240, 3)), smooth(rng, (160, 240, 3))
    thing = cv2.normalize(smooth(rng, (side, side, 3)), None, 0, 255, cv2.NORM_MINMAX)
    frames = np.repeat(back[None], len(xs), axis=0)
    for t, x in enumerate(xs):
        frames[t, 60 : 60 + side, x : x + side] = thing
        frames[t, :, slice(*cover)] = wall[:, slice(*cover)]
    boxes = np.array([[x, 60, x + side, 60 + side] for x in xs], float)
    return VideoSample(frames.transpose(0, 3, 1, 2), boxes, name=f"{xs} {cover}")


def made(sample, **kwargs):
    return make_task(ID, data=[sample], preset="redetect", **{"clip": None, **kwargs})


def begin(task):
    return batch.stack([task.sample(np.random.default_rng(0), 0)])


def act(task, state, action):
    return task.step(state, np.array([action]))


def wide_map(task, state):
    return task.responses.wide.map(task.bank.pyramid, state.filter, state.frame, state.box)[0, 0]


def test_the_map_is_the_weights_slid_over_what_the_wide_window_shows():
    task = made(video([100, 100]), response_side=16)
    state, wide = begin(task), task.responses.wide
    square = wide.narrow.search_square(state.box, WIDE_SIDES)
    features = hog_color_features(ops.resize(task.bank.pyramid, state.frame, square, 48))[0].astype(float)
    weights, n = wide.weights(state.filter)[0], 8
    found = wide_map(task, state)
    assert found.shape == (20, 20)
    for dy in range(-10, 10):
        for dx in range(-10, 10):
            rows, columns = (np.arange(n) + n + d for d in (dy, dx))
            seen = features[:, rows % 24][:, :, columns % 24]
            assert found[10 + dy, 10 + dx] == pytest.approx((weights * seen).sum(), abs=1e-9)


def test_heights_are_those_of_the_narrow_window_if_it_were_there():
    task = made(video([100, 100]))
    state, narrow = begin(task), task.responses.filter
    found = wide_map(task, state)
    for cells in ((0, 0), (8, 0), (-13, 5), (3, -20)):
        shift = 2.0 * np.array([*cells, *cells])  # 16 pixels a side: a cell of the window is two pixels
        spectra = narrow.spectra(task.bank.pyramid, [(state.frame, state.box + shift, 1.0)])
        near = narrow.respond(spectra, state.filter, state.filter)[0, 0, 16, 16]
        assert found[40 + cells[1], 40 + cells[0]] == pytest.approx(near, abs=5e-3)
    assert found[40, 40] == pytest.approx(state.maps[0, 0, 16, 16], abs=5e-3)
    assert found[40, 40] > 0.1


@pytest.mark.parametrize("x", [70, 170, 23])
def test_the_wide_peak_tells_where_the_object_jumped(x):
    task = made(video([100, x, x]))
    state = act(task, begin(task), STAY)
    peaks = task.responses.peaks(state, state.box)
    assert peaks.shape == (1, 5, 5)
    np.testing.assert_allclose(peaks[0, WIDE - 1, :3], [x - 100, 0, 1], atol=1.1)
    assert peaks[0, WIDE - 1, 3] > 1.5 * peaks[0, 0, 3] or abs(x - 100) < 32
    learnt, kept = (act(task, state, action) for action in (WIDE, WIDE + 6))
    np.testing.assert_array_equal(learnt.box, kept.box)
    assert learnt.reached_iou[0] > 0.8
    assert (learnt.model != state.model).any()
    np.testing.assert_array_equal(kept.model, state.model)


def test_both_squares_are_told():
    """Peaks are looked for in two sides of the box either way, and in five."""
    task = made(video([100, 100]))
    state = begin(task)
    near, far = (ops.size(square)[0] / 16 for square in task.responses.search_squares(state.box))
    np.testing.assert_allclose(near, 4)
    np.testing.assert_allclose(far, 10)


def test_the_expert_goes_where_the_object_jumped():
    task = made(video([100, 170, 170]))
    assert task.expert(act(task, begin(task), STAY))[0] == WIDE
    near = made(video([100, 104, 104]))
    assert near.expert(act(near, begin(near), STAY))[0] == 0


@pytest.mark.parametrize(
    "sample",
    [
        video([60, 62, 64, 66, 68, 138, 140, 142, 144, 146, 148]),
        video([40, 44, 48, *range(52, 148, 8), 148, 150, 152, 154], cover=(84, 140)),
    ],
    ids=["jumps", "leaves behind an occluder"],
)
def test_what_the_filter_loses_is_found_again(sample):
    found = []
    for name in ROWS:
        task = make_task(ID, data=[sample], window=16, clip=None)
        end = BASELINES[ID][name].fit(None)(task, begin(task))
        found.append(float(end.iou[0]))
    assert found[0] < 0.1
    assert found[1] > 0.6


def test_where_it_is_gone_for_good_the_box_stays_and_nothing_is_learnt():
    """From the fourth frame on something flat lies over all of it."""
    sample = video([100, 102, 105, 103, *[100] * 6])
    sample.frames[4:] = 128
    task = made(sample)
    state = begin(task)
    seeker = RedetectingTracker(task, state, RedetectConfig())
    boxes, models, usual = [], [], []
    before, state = state, task.step(state, task.hold)
    while not state.finished[0]:
        box = seeker.box(before.frame, state)
        boxes.append(box[0])
        models.append(seeker.known.model)
        usual.append(seeker.usual)
        before = replace(state, box=box)
        state = task.step(before, task.hold)
    assert len(set(usual[:3])) == 3  # what is usual follows the peaks while they are high
    np.testing.assert_array_equal(boxes[3:], np.tile(boxes[3], (len(boxes[3:]), 1)))
    assert len(set(usual[3:])) == 1
    np.testing.assert_array_equal(
        models[-1], models[4]
    )  # what came before the doubt is still learnt in frame 4


def test_the_row_is_the_plain_one_where_there_is_no_doubt():
    ends = []
    for name in ROWS:
        task = make_task(ID, data=[video([100, 102, 105, 103, 100])], window=16, clip=None)
        ends.append(BASELINES[ID][name].fit(None)(task, begin(task)).box)
    np.testing.assert_array_equal(*ends)


def test_without_it_everything_is_as_it_was():
    xs = [100, 103, 106, 150, 152]
    without, with_it = made(video(xs), control="follow"), made(video(xs))
    assert without.action_space.n == 11
    assert {key: space.shape for key, space in without.observation_space.items()} == {
        "history": (110,),
        "response": (4, 32, 32),
        "peaks": (20,),
    }
    assert (with_it.action_space.n, with_it.observation_space["peaks"].shape) == (13, (25,))
    assert with_it.observation_space["history"].shape == (130,)
    a, b = begin(without), begin(with_it)
    assert a.wide.shape == (1, 0)
    for old, new in ((0, 0), (3, 3), (6, 7), (10, 12)):
        a, b = act(without, a, old), act(with_it, b, new)
        for name in ("box", "model", "filter", "first", "maps", "scores"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        told, more = without.observe(a), with_it.observe(b)
        np.testing.assert_array_equal(told["response"], more["response"])
        np.testing.assert_array_equal(told["peaks"], more["peaks"][:, :20])


def test_it_needs_responses():
    with pytest.raises(ValueError, match="views must have 'response' with control 'redetect', got"):
        make_task(ID, data=[video([100, 100])], control="redetect", views=["window"])


def test_numpy_and_torch_agree():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    task = made(video([100, 150, 100]))
    narrow = CorrelationFilter(64)
    frames, boxes = np.arange(3), np.array([[100.0, 60, 116, 76]] * 3) + rng.normal(size=(3, 1))
    known = narrow.start(task.bank.pyramid, frames * 0, boxes)
    expected = WideSearch(narrow).peak(task.bank.pyramid, known.filter, frames, boxes)
    got = WideSearch(narrow).peak(task.bank.pyramid, *map(torch.asarray, (known.filter, frames, boxes)))
    assert got.dtype == torch.float64
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)
    assert abs(expected[1, 0]) > 45 > abs(expected[0, 0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    ["rows_replay_single", "rows_replay_on_torch", "no_device_leak", "state_untouched", "rows_independent"],
)
def test_re_detecting_keeps_to_the_rules(rule):
    moving = [video([20 + (31 * t) % 200 for t in range(length)]) for length in (5, 6, 7, 8)]
    CHECKS[rule](ID, data=moving, preset="redetect", response_side=16, clip=None)
