"""The classical trackers: they find what can be found, and survive what cannot."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from visionrl.baselines.optical_flow import FlowConfig, MedianFlow, cut_patches, patch_correlation, point_grid
from visionrl.baselines.tracking import MIL_BORDER, add_border
from visionrl.core import BASELINES, batch, make_task
from visionrl.datasets import VideoSample

ID = "visionrl/Tracking-v0"
ROWS = ("constant box", "template matching", "MIL", "median flow", "correlation filter, re-detecting")


def smooth(rng, shape):
    """Noise that can be told from other noise."""
    return cv2.GaussianBlur(rng.integers(0, 256, shape).astype(np.uint8), (0, 0), 2)


def video(channels=3, growth=1.0, pace=3.0, length=8, side=24.0, at=(20.0, 30.0)):
    """A patch that moves right over a background, and grows."""
    rng = np.random.default_rng(1)
    back, thing = smooth(rng, (90, 140, 3)), smooth(rng, (64, 64, 3))
    frames, boxes = [], []
    for t in range(length):
        s, x, y = side * growth**t, at[0] + pace * t, at[1]
        matrix = np.array([[s / 64, 0, x], [0, s / 64, y]])
        moved = cv2.warpAffine(
            thing,
            matrix,
            (140, 90),
            borderMode=cv2.BORDER_TRANSPARENT,
            dst=back.copy(),
            flags=cv2.INTER_LINEAR,
        )
        frames.append(moved.transpose(2, 0, 1)[:channels])
        boxes.append([x, y, x + s, y + s])
    return VideoSample(np.array(frames), np.array(boxes), name="v")


def track(name, sample, **kwargs):
    """The metrics at the end, and the state there."""
    task = make_task(ID, data=[sample], window=16, clip=None, **kwargs)
    run = BASELINES[ID][name].fit(None)
    end = run(task, batch.stack([task.sample(np.random.default_rng(0), 0)]))
    return {key: float(value[0]) for key, value in task.metrics(end).items()}, end


def test_the_rows_are_there():
    assert set(ROWS) <= set(BASELINES[ID])
    assert not any(BASELINES[ID][name].learns for name in ROWS)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ROWS[1:])
def test_a_tracker_follows_a_moving_patch(name, channels):
    found, end = track(name, video(channels))
    assert found["success_auc"] > 0.7
    assert found["center_error_px"] < 5
    assert (float(end.frames[0]), bool(end.finished[0])) == (8, True)


def test_the_constant_box_stays_where_it_was():
    found, end = track("constant box", video())
    np.testing.assert_array_equal(end.box, [[20, 30, 44, 54]])
    assert found["center_error_px"] == 21
    assert found["success_auc"] < 0.5


def test_median_flow_follows_size():
    found, end = track("median flow", video(growth=1.04, pace=1.0, length=12))
    assert found["iou"] > 0.8
    assert end.box[0, 2] - end.box[0, 0] > 31


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize(
    "kwargs",
    [{"pace": 30.0}, {"side": 4.0}, {"at": (-10.0, -14.0), "pace": 0.5}, {"at": (118.0, 68.0), "pace": 0.0}],
    ids=["leaves the frame", "tiny", "begins half outside", "in the corner"],
)
def test_a_tracker_survives(name, kwargs):
    if "pace" in kwargs and kwargs["pace"] == 30:
        sample = video(length=4, **kwargs)
        sample = VideoSample(sample.frames, np.vstack([sample.boxes[:3], np.full((1, 4), np.nan)]), name="v")
    else:
        sample = video(length=4, **kwargs)
    found, end = track(name, sample)
    assert bool(end.finished[0])
    assert np.isfinite(list(found.values())).all()
    assert (end.box[0, 2:] > end.box[0, :2]).all()


@pytest.mark.parametrize("name", ROWS[1:])
def test_a_tracker_survives_a_flat_picture(name):
    sample = VideoSample(
        np.full((4, 3, 90, 140), 77, np.uint8), np.tile([20.0, 30, 44, 54], (4, 1)), name="v"
    )
    found, end = track(name, sample)
    assert np.isfinite(list(found.values())).all()
    assert bool(end.finished[0])
    assert (end.box[0, 2:] > end.box[0, :2]).all()


def test_median_flow_stays_when_its_points_do_not_come_back():
    rng = np.random.default_rng(0)
    first, other = (rng.integers(0, 256, (90, 140, 3)).astype(np.uint8) for _ in range(2))
    box = np.array([20.0, 30, 60, 70])
    tracker = MedianFlow(first, box, FlowConfig(lost=0.5))
    np.testing.assert_array_equal(tracker(other), box)


def test_the_grid_lies_evenly_on_the_box():
    points = point_grid(np.array([10.0, 20, 30, 24]), 2)
    np.testing.assert_allclose(points, [[14.5, 20.5], [24.5, 20.5], [14.5, 22.5], [24.5, 22.5]])


def test_patches_are_cut_around_their_points():
    image = np.arange(100, dtype=np.uint8).reshape(10, 10)
    cut = cut_patches(image, np.array([[4.0, 5.0], [0.0, 0.0]], np.float32), 3)
    np.testing.assert_array_equal(cut[0], image[4:7, 3:6])
    np.testing.assert_array_equal(cut[1], [[0, 0, 1], [0, 0, 1], [10, 10, 11]])


def test_likeness_is_the_correlation():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 5, 4, 4)).astype(np.float32)
    a[0] = 3.0
    expected = [0.0, *(np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a[1:], b[1:], strict=True))]
    np.testing.assert_allclose(patch_correlation(a, b), expected, atol=1e-6)


def test_a_framed_image_has_its_pixels_in_the_middle():
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    wide = add_border(image)
    np.testing.assert_array_equal(wide[MIL_BORDER:-MIL_BORDER, MIL_BORDER:-MIL_BORDER], image[..., ::-1])
    assert add_border(image[..., :1]).shape == wide.shape


def test_a_real_sequence_is_followed(shared_data):
    data = f"otb:{shared_data / 'tracking' / 'otb' / 'Skiing'}"
    task = make_task(ID, data=data, split="all", clip=None, window=16)
    ends = {}
    for name in ("constant box", "median flow", "template matching"):
        end = BASELINES[ID][name].fit(None)(task, batch.stack([task.sample(np.random.default_rng(0), 0)]))
        ends[name] = float(task.metrics(end)["success_auc"][0])
    assert all(0 < value < 1 for value in ends.values()), ends
    assert len(set(ends.values())) == 3
