"""The classical methods: they find what can be found, on any size and colour, through the task's own metrics."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from visionrl.agents.evaluation.compare import compare
from visionrl.baselines.localization import stages
from visionrl.baselines.tracking import crop_resized
from visionrl.core import BASELINES, baseline, batch, make_task
from visionrl.datasets import ImageSample, VideoSample

LANDMARK, TRACKING = "visionrl/LandmarkLocalization-v0", "visionrl/Tracking-v0"


def smooth(rng, shape):
    """Noise that a template can match."""
    return cv2.GaussianBlur(rng.integers(0, 256, shape).astype(np.uint8), (0, 0), 2)


def video(channels=3, growth=1.0, pace=3.0, length=12):
    """A patch that moves right over a background, and grows."""
    rng = np.random.default_rng(1)
    back, thing = smooth(rng, (90, 140, 3)), smooth(rng, (64, 64, 3))
    frames, boxes = [], []
    for t in range(length):
        side = 20 * growth**t
        x, y = 20 + pace * t, 30.0
        matrix = np.array([[64 / side, 0, -x * 64 / side], [0, 64 / side, -y * 64 / side]])
        flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
        moved = cv2.warpAffine(
            thing, matrix, (140, 90), flags=flags, borderMode=cv2.BORDER_TRANSPARENT, dst=back.copy()
        )
        frames.append(moved.transpose(2, 0, 1)[:channels])
        boxes.append([x, y, min(x + side, 140), min(y + side, 90)])
    return VideoSample(np.array(frames), np.array(boxes), name="v")


def track(sample):
    """The metrics at the end, and the state there."""
    task = make_task(TRACKING, data=[sample], window=32, clip=None)
    run = BASELINES[TRACKING]["template matching"].fit(None)
    end = run(task, batch.stack([task.sample(np.random.default_rng(0), 0)]))
    return {key: float(value[0]) for key, value in task.metrics(end).items()}, end


@pytest.mark.parametrize("channels", [1, 3])
def test_the_template_follows_a_moving_patch(channels):
    found, end = track(video(channels))
    assert found["success_auc"] > 0.85
    assert found["center_error_px"] < 1
    assert (end.frames[0], bool(end.finished[0])) == (12, True)


def test_the_template_follows_a_growing_patch():
    found, end = track(video(growth=1.04))
    assert found["iou"] > 0.8
    assert end.box[0, 2] - end.box[0, 0] > 26


def test_the_template_survives_an_object_that_leaves_the_image():
    found, end = track(video(pace=10))
    assert bool(end.finished[0])
    assert np.isfinite(list(found.values())).all()


def test_a_look_is_exact():
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 3)).astype(np.uint8)
    same = crop_resized(image, np.array([6, 4.5]), np.array([12.0, 9.0]), np.array([12, 9]))
    np.testing.assert_array_equal(same, image)
    part = crop_resized(image, np.array([4.0, 3.0]), np.array([4.0, 2.0]), np.array([4, 2]))
    np.testing.assert_array_equal(part, image[2:4, 2:6])


def faces(count, seed, side=120, channels=1, seen=("eye", "mouth")):
    """A mark of its own per structure, roughly at one place, over faint smooth noise."""
    rng, made = np.random.default_rng(seed), []
    marks = {name: smooth(np.random.default_rng(k), (24, 24)) for k, name in enumerate(("eye", "mouth"))}
    for k in range(count):
        image, points = smooth(rng, (side, side)) // 8 + 100, {}
        for name, mark in marks.items():
            x, y = (rng.integers(-15, 16, 2) + (80 if name == "eye" else 40)).tolist()
            image[y - 12 : y + 12, x - 12 : x + 12] = mark
            points[name] = (x - 0.5, y - 0.5)
        pixels = np.repeat(image[None], channels, 0)
        made.append(ImageSample(pixels, points={name: points[name] for name in seen}, name=f"{k}"))
    return made


METHODS = ("prior + mean template", "prior + nearest patches")


def errors(train, test, **kwargs):
    """Method -> distances in pixels of the original images."""
    task, learning = make_task(LANDMARK, data=test, **kwargs), make_task(LANDMARK, data=train, **kwargs)
    found = {}
    for name in METHODS:
        run = BASELINES[LANDMARK][name].fit(learning)
        ends = [
            run(task, batch.stack([task.sample(np.random.default_rng(0), item)]))
            for item in range(task.items)
        ]
        found[name] = np.array([task.metrics(end)["distance_px"][0] for end in ends])
        assert all(end.finished[0] for end in ends)
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_templates_find_marks(channels):
    found = errors(faces(12, 5, channels=channels), faces(6, 6, channels=channels))
    for name in METHODS:
        assert np.median(found[name]) < 1.5, name  # the places spread by 9 pixels


def test_images_that_the_task_shrinks_are_told_in_their_own_pixels():
    found = errors(faces(12, 5), faces(6, 6), max_side=80)
    assert np.median(found["prior + nearest patches"]) < 2


def test_images_of_another_size_than_the_training_images():
    big = [
        ImageSample(
            s.image.repeat(2, 1).repeat(2, 2),
            points={n: 2 * (np.array(p) + 0.5) - 0.5 for n, p in s.points.items()},
        )
        for s in faces(6, 6)
    ]
    named = [ImageSample(s.image, points=s.points, name=str(k)) for k, s in enumerate(big)]
    found = errors(faces(12, 5), named)
    assert np.median(found["prior + nearest patches"]) < 3


def test_the_goal_is_found_by_name_not_by_number():
    alone = errors(faces(12, 5), faces(6, 6, seen=("mouth",)))
    assert np.median(alone["prior + nearest patches"]) < 1.5


def test_a_structure_that_was_never_seen_is_an_error():
    train, test = make_task(LANDMARK, data=faces(3, 5, seen=("eye",))), make_task(LANDMARK, data=faces(3, 6))
    run = BASELINES[LANDMARK]["prior + nearest patches"].fit(train)
    with pytest.raises(ValueError, match="target must be in the training split, got 'mouth'"):
        run(test, batch.stack([test.sample(np.random.default_rng(0), 1)]))


@pytest.mark.parametrize(
    ("longest", "sides"), [(160, [80, 160]), (60, [60]), (400, [80, 160, 320, 400]), (80, [80])]
)
def test_stages_double_up_to_the_image(longest, sides):
    assert stages(longest) == sides


def test_names_of_baselines_are_taken_once():
    with pytest.raises(
        ValueError, match="baseline name must be new, got 'template matching' for Tracking-v0"
    ):
        baseline("Tracking-v0", "template matching")(lambda train: lambda task, state: state)


@pytest.mark.slow
def test_classical_rows_on_embedded_videos():
    rows = {row.name: row.metrics["success_auc"] for row in compare(TRACKING, split="val").rows}
    for name in ("template matching", "median flow", "MIL"):
        assert rows[name].low > rows["random"].high
    assert rows["template matching"].value > 0.75
    assert rows["expert"].value > rows["template matching"].value


@pytest.mark.slow
def test_classical_rows_on_embedded_chest_radiographs():
    table = compare(LANDMARK, split="val", episodes=96)
    random, prior, mean, nearest, expert = (row.metrics["distance_px"] for row in table.rows)
    assert expert.high < nearest.low < nearest.high < mean.value < prior.low < prior.high < random.low
    assert nearest.value < 3
