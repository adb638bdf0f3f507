"""The correlation filter of tracking: cases that can be worked out, and the rules of every task."""

import cv2
import numpy as np
import pytest

from visionrl import ops
from visionrl.agents.evaluation.compare import evaluate
from visionrl.core import BASELINES, batch, make_task
from visionrl.core.conformance import CHECKS
from visionrl.datasets import VideoSample
from visionrl.envs.tracking.controls import PeakSelection
from visionrl.ops.correlation_filter import (
    MAPS,
    SCALES,
    CorrelationFilter,
    cell_means,
    hog_color_features,
    subpixel_peak,
)

ID = "visionrl/Tracking-v0"
FORGET, STAY = PeakSelection(5.0).choices, PeakSelection(5.0).stay
SMALL = {"response_side": 32, "window": 16}


def smooth(rng, shape):
    """Noise that can be told from other noise."""
    return cv2.GaussianBlur(rng.integers(0, 256, shape).astype(np.uint8), (0, 0), 2)


def video(shifts, sizes=None, hidden=()):
    """A square of noise, 24 pixels wide at first, at (50, 40) + shift on other noise."""
    rng = np.random.default_rng(1)
    back, thing = smooth(rng, (120, 160, 3)), smooth(rng, (64, 64, 3))
    frames, boxes = [], []
    for t, (dx, dy) in enumerate(shifts):
        side = 24 if sizes is None else sizes[t]
        matrix = np.array([[side / 64, 0, 50 + dx], [0, side / 64, 40 + dy]])
        frame = back.copy()
        if t not in hidden:
            cv2.warpAffine(thing, matrix, (160, 120), dst=frame, borderMode=cv2.BORDER_TRANSPARENT)
        frames.append(frame.transpose(2, 0, 1))
        boxes.append([50 + dx, 40 + dy, 50 + dx + side, 40 + dy + side])
    return VideoSample(np.array(frames), np.array(boxes, float), name=f"{shifts[-1]} {sizes}")


def follow(sample, **kwargs):
    return make_task(ID, data=[sample], preset="follow", **{"clip": None, **kwargs})


def begin(task):
    return batch.stack([task.sample(np.random.default_rng(0), 0)])


def peaks_of(task, state):
    return task.responses.peaks(state, state.box)[0]


def act(task, state, action):
    return task.step(state, np.array([action]))


def test_pooling_is_the_mean_of_cells():
    np.testing.assert_allclose(cell_means(np.arange(16.0).reshape(1, 4, 4)), [[[2.5, 4.5], [10.5, 12.5]]])


def test_a_flat_window_features_like_nothing():
    assert not hog_color_features(np.full((1, 3, 16, 16), 90, np.uint8)).any()


@pytest.mark.parametrize(("channels", "depth"), [(1, 10), (3, 18)])
def test_an_upright_edge_is_told_from_a_level_one(channels, depth):
    window = np.zeros((2, channels, 16, 16), np.uint8)
    window[0, :, :, 8:] = window[1, :, 8:, :] = 200
    features = hog_color_features(window)
    assert features.shape == (2, depth, 8, 8)
    assert features[0, :6].sum((1, 2)).argmax() == 0  # brightness changes along x
    assert features[1, :6].sum((1, 2)).argmax() == 3


def test_the_vertex_lies_between_cells():
    height = -((np.array([-1.0, 0.0, 1.0]) - 0.3) ** 2)
    assert subpixel_peak(*height[:, None]) == pytest.approx(0.3)
    assert subpixel_peak(*np.zeros((3, 1))) == 0


def test_weights_are_nothing_off_the_object_in_the_last_round():
    """The constraint is met to within the tolerance of two rounds."""
    task = follow(video([(0, 0)] * 3))
    state, kept = begin(task), task.responses.filter
    weights, body = kept.inverse_fft(state.filter), kept.object_mask(state.box)
    on, off = (float((weights**2 * part).sum()) for part in (body, 1 - body))
    assert off < 0.1 * on


def test_the_first_response_is_a_peak_on_the_object():
    task = follow(video([(0, 0)] * 3))
    state = begin(task)
    peaks = peaks_of(task, state)
    np.testing.assert_allclose(peaks[[0, 3], :2], 0, atol=0.3)
    np.testing.assert_array_equal(peaks[:, 2], [*SCALES, 1])
    assert state.maps.shape == (1, MAPS, 32, 32)


@pytest.mark.parametrize("shift", [(6, 0), (-5, 7), (0, -9.5)])
def test_the_peak_tells_where_the_object_went(shift):
    task = follow(video([(0, 0), shift, shift]))
    state = act(task, begin(task), STAY)
    np.testing.assert_allclose(peaks_of(task, state)[0, :2], shift, atol=1.6)  # half a cell
    after = act(task, state, 0)
    assert after.reached_iou[0] > 0.8
    assert state.iou[0] < 0.65


def test_sizes_follow_an_object_that_grows():
    task = follow(video([(0, 0)] * 12, sizes=24 * 1.03 ** np.arange(12)))
    run = BASELINES[ID]["correlation filter"].fit(None)
    end = run(task, begin(task))
    assert ops.iou(end.box, task.bank.boxes.rows(end.frame))[0] > 0.7
    assert task.metrics(end)["success_auc"][0] > 0.75


def test_the_filter_learns_only_when_it_is_told():
    task = follow(video([(0, 0), (3, 0), (3, 0)]))
    state = act(task, begin(task), STAY)
    learnt, kept, stayed = (act(task, state, action) for action in (0, FORGET, STAY))
    assert (learnt.model != state.model).any()
    for after in (kept, stayed):
        np.testing.assert_array_equal(after.model, state.model)
        np.testing.assert_array_equal(after.filter, state.filter)
    np.testing.assert_array_equal(learnt.box, kept.box)
    np.testing.assert_array_equal(stayed.box, state.box)
    np.testing.assert_array_equal(learnt.first, state.first)


def test_the_expert_follows_the_object_and_does_not_teach_what_hides_it():
    shifts = [(0, 0), (3, 0), (100, 0)]
    task = follow(video(shifts, hidden=(2,)))
    state = act(task, begin(task), STAY)
    assert task.expert(state)[0] == 0
    assert task.expert(act(task, state, 0))[0] >= FORGET  # nothing overlaps with where it is now


def test_the_reward_is_the_overlap():
    task = follow(video([(0, 0), (12, 0)]))
    state = begin(task)
    after = act(task, state, STAY)
    assert task.reward(state, np.array([STAY]), after)[0] == 1
    last = act(task, after, STAY)
    assert task.reward(after, np.array([STAY]), last)[0] == pytest.approx(1 / 3)


def test_what_is_told_fits_and_pixels_can_be_shown_too():
    bare, all_of_it = (
        follow(video([(0, 0)] * 3)),
        follow(video([(0, 0)] * 3), views=("window", "template", "response"), window=32),
    )
    assert set(bare.observation_space) == {"history", "response", "peaks"}
    assert set(all_of_it.observation_space) == {"history", "response", "peaks", "window", "template"}
    told = all_of_it.observe(begin(all_of_it))
    assert told["response"].shape == (1, MAPS, 32, 32)
    middle = told["response"][0, 0]
    assert np.unravel_index(middle.argmax(), middle.shape) == (16, 16)


@pytest.mark.parametrize("control", ["discrete", "continuous"])
def test_other_controls_can_have_responses(control):
    task = make_task(
        ID, data=[video([(0, 0), (2, 0), (4, 0)])], control=control, views=["window", "response"], **SMALL
    )
    state = begin(task)
    for _ in range(2):
        state = task.step(state, task.expert(state))
    assert set(task.observe(state)) == set(task.observation_space)


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"response_side": 33}, "response_side must be even, got 33"),
        ({"response_side": 8}, "response_side must be a whole number >= 16, got 8"),
        (
            {"control": "follow"},
            "views must have 'response' with control 'follow', got \\('window', 'template'\\)",
        ),
    ],
)
def test_wrong_arguments_are_named(wrong, rule):
    with pytest.raises(ValueError, match=rule):
        make_task(ID, data=[video([(0, 0)] * 2)], **wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule",
    [
        "rows_replay_single",
        "rows_replay_on_torch",
        "no_device_leak",
        "state_untouched",
        "rows_independent",
    ],
)
def test_following_keeps_to_the_rules(rule):
    moving = [video([(2 * t % 11, t) for t in range(length)]) for length in (5, 6, 7, 8)]
    CHECKS[rule](ID, data=moving, preset="follow", response_side=32, clip=None)


def test_following_the_peak_beats_staying():
    args = {"preset": "follow", "response_side": 32}
    results = [
        evaluate(
            ID,
            lambda obs, task, state, a=a: np.full(len(state.box), a),
            split="val",
            env_kwargs=args,
            episodes=4,
        )
        for a in (0, STAY)
    ]
    assert results[0]["success_auc"].mean() > results[1]["success_auc"].mean() + 0.3


def test_stay_is_the_held_action():
    assert (FORGET, STAY) == (5, 10)
    assert PeakSelection(5.0).hold.tolist() == [STAY]


def test_a_filter_needs_no_square_box():
    kept = CorrelationFilter(32)
    box = np.array([[0.0, 0, 40, 10]])
    body = kept.object_mask(box)[0, 0]
    assert body.any(0).sum() > body.any(1).sum()
    assert ops.size(kept.search_square(box, 1.0)).tolist() == [[80, 80]]
