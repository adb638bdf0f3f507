"""Tracking of many objects: cases by hand, the drawn detector, the embedded videos, the reader of MOTChallenge."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from visionrl.banks.detections import Detector, match_objects, simulate_detections
from visionrl.core import BASELINES, batch, make_task
from visionrl.datasets import MotSample, VideoSample, load, validate
from visionrl.datasets.embedded.crowds import CutoutCrowds, crowd, seen
from visionrl.datasets.embedded.cutouts import PHOTOGRAPHS
from visionrl.envs.tracking.decisions import predict_box, window_correlation

ID = "visionrl/MultiObjectTracking-v0"
ACCEPT, NEXT, LOSE, END = range(4)
TRACKED, LOST, ENDED = 1, 2, 3
HEIGHT, WIDTH = 60, 80


def box(x, y=20.0, side=10.0):
    return [x, y, x + side, y + side]


def video(*frames, detections=None):
    """Per frame a mapping of identity to left edge; detected as they are unless ``detections`` has left edges."""
    rng = np.random.default_rng(0)
    ids = [np.array(list(frame), int) for frame in frames]
    boxes = [np.array([box(x) for x in frame.values()], float).reshape(-1, 4) for frame in frames]
    found = [list(frame.values()) for frame in frames] if detections is None else detections
    scored = [np.array([[*box(x), 0.9 - 0.1 * k] for k, x in enumerate(row)]).reshape(-1, 5) for row in found]
    pixels = rng.integers(0, 256, (len(frames), 1, HEIGHT, WIDTH), dtype=np.uint8)
    return MotSample(pixels, ids, boxes, detections=scored)


def begin(*frames, **how):
    detections = how.pop("detections", None)
    task = make_task(ID, data=[video(*frames, detections=detections)], clip=None, window=8, **how)
    return task, batch.stack([task.sample(np.random.default_rng(0), 0)])


def act(task, state, *actions):
    """The state after some actions, and what they earned."""
    earned = []
    for action in actions:
        assert not state.finished[0]
        before, action = state, np.array([action])
        state = task.step(state, action)
        earned.append(float(task.reward(before, action, state)[0]))
    return state, earned


def play(task, state, policy):
    total = 0.0
    while not state.finished[0]:
        before, action = state, policy(state)
        state = task.step(state, action)
        total += float(task.reward(before, action, state)[0])
    return state, total


def test_an_object_is_activated_and_kept():
    task, state = begin({1: 10}, {1: 12}, {1: 14})
    assert (state.phase[0], state.time[0]) == (2, 0)
    state, earned = act(task, state, ACCEPT, ACCEPT, ACCEPT)
    assert earned == [1, 1, 1]
    assert state.finished[0]
    np.testing.assert_array_equal(state.boxes[0, :, 0], [box(10), box(12), box(14)])
    found = {name: value[0] for name, value in task.metrics(state).items()}
    assert found == {
        **dict.fromkeys(("hota", "det_a", "ass_a", "mota", "idf1"), pytest.approx(1)),
        "id_switches": 0,
        "is_success": True,
    }


def test_scores_are_none_until_the_clip_is_over():
    task, state = begin({1: 10}, {1: 12})
    state, _ = act(task, state, ACCEPT)
    assert task.metrics(state)["hota"] == 0
    assert not task.metrics(state)["is_success"]


def test_turns_go_to_tracked_tracks_then_lost_ones_then_detections():
    task, state = begin(*[{1: 10, 2: 40}] * 3)
    state, _ = act(task, state, ACCEPT, ACCEPT)  # both begin
    assert (state.phase[0], state.subject[0], state.time[0]) == (0, 0, 1)
    state, earned = act(task, state, LOSE)
    assert earned == [-1]
    assert (state.phase[0], state.subject[0]) == (0, 1)
    state, _ = act(task, state, ACCEPT)
    assert (state.phase[0], state.subject[0]) == (2, 0)  # the lost one had its turn; its detection is left
    state, earned = act(task, state, LOSE)
    assert earned == [1]  # a second track of one object would be wrong
    assert (state.phase[0], state.subject[0], state.time[0]) == (0, 1, 2)
    state, _ = act(task, state, ACCEPT)
    assert (state.phase[0], state.subject[0]) == (1, 0)
    state, earned = act(task, state, ACCEPT)  # found again
    assert earned == [1]
    assert state.status[0, 0] == TRACKED
    assert state.finished[0]


def test_a_wrong_candidate_is_passed_over_for_the_right_one():
    task, state = begin({1: 10}, {1: 22, 2: 11})
    state, _ = act(task, state, ACCEPT)
    assert state.source[0, 1, state.candidates[0, 0]] == 1  # the other object is nearer
    assert state.action_labels[0].tolist() == [-1, 0, -1, -1]
    state, earned = act(task, state, NEXT)
    assert (earned, state.rank[0]) == ([0], 1)
    assert state.action_labels[0].tolist() == [1, -1, -1, -1]
    state, earned = act(task, state, ACCEPT)
    assert earned == [1]
    np.testing.assert_array_equal(state.boxes[0, 1, 0], box(22))


def test_behind_the_last_candidate_the_track_is_lost():
    task, state = begin({1: 10}, {1: 12})
    state, _ = act(task, state, ACCEPT)
    left = int((state.candidates[0] != -2).sum())
    assert left == 2  # the detection, and where the motion leads
    state, earned = act(task, state, NEXT, NEXT)
    assert earned == [-1, -1]
    assert state.status[0, 0] == LOST


def test_motion_carries_a_track_over_a_missed_frame():
    detected = [[10], [14], [], [22]]
    task, state = begin(*({1: 10 + 4 * t} for t in range(4)), detections=detected)
    state, earned = act(task, state, ACCEPT, ACCEPT)
    assert state.candidates[0].tolist() == [-1, -2, -2, -2]
    assert task.observe(state)["features"][0, 3] == 1
    np.testing.assert_array_equal(state.predicted[0], box(18))
    state, earned = act(task, state, ACCEPT, ACCEPT)
    assert earned == [1, 1]
    np.testing.assert_array_equal(state.boxes[0, :, 0, 0], [10, 14, 18, 22])


def test_a_track_of_nothing_should_end():
    task, state = begin({1: 10}, {1: 10}, detections=[[10, 50], [10, 50]])
    state, earned = act(task, state, ACCEPT, ACCEPT)
    assert earned == [1, -1]
    state, earned = act(task, state, ACCEPT)
    assert state.subject[0] == 1
    assert state.action_labels[0].tolist() == [-1, -1, 0, 1]
    state, earned = act(task, state, END)
    assert state.status[0, 1] == ENDED


def test_a_track_that_is_not_found_again_ends():
    frames = [{1: 10}, *[{2: 60}] * 5]
    task, state = begin(*frames, patience=2)
    state, _ = act(task, state, ACCEPT, LOSE)
    while state.time[0] < 3:
        assert state.status[0, 0] == LOST
        state, _ = act(task, state, ACCEPT)
    assert state.status[0, 0] == ENDED


def test_more_tracks_than_there_is_room_for_are_rejected():
    task, state = begin(*[{1: 5, 2: 30, 3: 60}] * 2, max_tracks=2)
    state, _ = act(task, state, ACCEPT, ACCEPT, ACCEPT)
    assert (state.status[0] == TRACKED).sum() == 2
    assert state.time[0] == 1


def test_a_clip_without_a_detection_is_over_at_once():
    task, state = begin({1: 10}, {1: 12}, detections=[[], []])
    assert state.finished[0]
    after = task.step(state, np.array([ACCEPT]))
    assert after.finished[0]
    assert task.reward(state, np.array([ACCEPT]), after)[0] == 0
    assert all(task.observation_space[key].contains(value[0]) for key, value in task.observe(after).items())


def test_videos_may_be_shorter_than_the_clip():
    data = [video({1: 10}, {1: 12}), video(*[{1: 10}] * 5)]
    task = make_task(ID, data=data, clip=4, window=8)
    for item, length in ((0, 2), (1, 4)):
        state = batch.stack([task.sample(np.random.default_rng(item), item)])
        state, total = play(task, state, task.expert)
        assert (state.length[0], total) == (length, length)
        assert task.metrics(state)["hota"][0] == pytest.approx(1)


def test_good_actions_are_those_that_the_truth_confirms():
    task, state = begin({1: 10}, detections=[[50]])
    assert task.good_actions(state)[0].tolist() == [False, True, True, True]


def test_windows_show_the_candidate_and_the_last_detection():
    task, state = begin({1: 10}, {1: 12})
    first = task.observe(state)
    np.testing.assert_array_equal(first["template"], 0)
    state, _ = act(task, state, ACCEPT)
    second = task.observe(state)
    np.testing.assert_array_equal(second["template"], first["window"])
    assert (second["window"] != first["window"]).any()
    features = second["features"][0]
    assert features[:3].tolist() == [1, 0, 0]
    assert features[5] == pytest.approx(80 / 120)  # overlap of boxes 2 pixels apart
    assert features[6] == pytest.approx(2 / 10 / 3)
    assert features[15:].tolist() == pytest.approx([17 / WIDTH, 25 / HEIGHT, 10 / WIDTH, 10 / HEIGHT])


def test_correlation_is_that_of_the_pixels():
    rng = np.random.default_rng(0)
    one, many = rng.integers(0, 256, (3, 4, 4)), rng.integers(0, 256, (5, 3, 4, 4))
    wanted = [np.corrcoef(one.ravel(), other.ravel())[0, 1] for other in many]
    np.testing.assert_allclose(window_correlation(one, many), wanted, atol=1e-5)
    assert window_correlation(np.zeros((1, 2, 2)), np.ones((1, 1, 2, 2)))[0] == 0


def test_motion_is_that_of_the_last_five_frames():
    nothing = [np.nan] * 4
    path = np.array([box(0), *(box(50 + 2 * t) for t in range(5)), nothing, nothing], float)
    np.testing.assert_allclose(predict_box(path), box(58 + 3 * 2))
    np.testing.assert_allclose(predict_box(path[:1]), box(0))
    np.testing.assert_allclose(predict_box(np.array([*path[:6], *[nothing] * 20])), box(58 + 5 * 2))


def test_the_drawn_detector_errs_as_often_as_it_is_told():
    rng, how = np.random.default_rng(0), Detector(miss_rate=0.2, false_positives=1.0, jitter=0.05)
    truth = np.array([box(10), box(30), box(50), [np.nan] * 4], float)
    parts, sides = np.array([1, 1, 0.3, np.nan]), np.array([WIDTH, HEIGHT])
    found = [simulate_detections(rng, how, truth, parts, sides) for _ in range(3000)]
    shown = np.concatenate([which for _, which in found])
    assert (shown == 0).mean() * len(shown) / 3000 == pytest.approx(0.8, abs=0.03)
    assert not np.isin(shown, [2, 3]).any()  # hidden, and not there
    assert (shown == -1).sum() / 3000 == pytest.approx(1, abs=0.06)
    edges = np.concatenate([boxes[which == 0] for boxes, which in found])[:, :4]
    np.testing.assert_allclose(edges.std(axis=0), 0.5, rtol=0.06)
    np.testing.assert_allclose(edges.mean(axis=0), box(10), atol=0.06)


def test_given_detections_show_the_object_that_they_overlap_most():
    truth = np.array([box(10), box(14), [np.nan] * 4], float)
    found = np.array([[*box(13.5), 0.9], [*box(10.5), 0.8], [*box(50), 0.7]])
    assert match_objects(found, truth).tolist() == [1, 0, -1]
    assert match_objects(found[:0], truth).tolist() == []


@pytest.mark.parametrize("name", sorted(BASELINES[ID]))
def test_classical_methods_follow_clear_objects(name):
    frames = [{1: 10 + t, 2: 60 - t} for t in range(10)]
    task, state = begin(*frames)
    end = BASELINES[ID][name].fit(None)(task, state)
    assert end.finished[0]
    assert task.metrics(end)["idf1"][0] > 0.7  # pixels are noise, so looks say nothing
    assert state.boxes.shape == end.boxes.shape


def test_rows_are_in_the_order_of_what_they_know():
    task = make_task(ID, data=CutoutCrowds("val", count=6, length=20), clip=None, miss_rate=0.15)
    starts = [batch.stack([task.sample(np.random.default_rng(n), n)]) for n in range(6)]
    rng = np.random.default_rng(0)
    found = {name: [method.fit(None)(task, s) for s in starts] for name, method in BASELINES[ID].items()}
    found["expert"] = [play(task, s, task.expert)[0] for s in starts]
    found["random"] = [play(task, s, lambda s: rng.integers(4, size=1))[0] for s in starts]
    hota = {name: np.mean([task.metrics(end)["hota"][0] for end in ends]) for name, ends in found.items()}
    assert hota["random"] + 0.15 < hota["greedy IoU"] < hota["Hungarian and Kalman (SORT)"] < hota["expert"]
    assert hota["rule on look and overlap"] < hota["expert"]


def test_crowds_are_real_disjoint_and_the_same_every_time():
    first, again = CutoutCrowds("val", length=6)[4], CutoutCrowds("val", length=6)[4]
    np.testing.assert_array_equal(first.frames, again.frames)
    assert first.frames.shape == (6, 3, 160, 208)
    validate(first, 0)
    for split in PHOTOGRAPHS:
        counts = set()
        for index in range(11):
            made = crowd(split, index, 3)
            counts.add(made.boxes.shape[1])
            actors = (*made.scene.behind, made.scene.target, *made.scene.front)
            assert {one.photograph for one in actors} | {made.scene.source} <= set(PHOTOGRAPHS[split])
        assert counts == set(range(2, 13))
    with pytest.raises(ValueError, match="count must be >= 1, got 0"):
        CutoutCrowds("val", count=0)


def test_what_is_in_front_hides_what_is_behind():
    made = crowd("test", 10, 8)
    objects = (*made.scene.behind, made.scene.target)
    parts = seen(objects, (), 8)
    assert ((parts >= 0) & (parts <= 1)).all()
    assert (parts[:, -1] == 1).all()  # nothing is in front of the last
    assert parts.min() < 0.7
    np.testing.assert_array_equal(seen((objects[0], objects[0]), (), 8)[:, 0], 0)


def mot_folder(folder, gt=None, det=None, frames=4, ini=""):
    (folder / "img1").mkdir(parents=True)
    for number in range(1, frames + 1):
        cv2.imwrite(
            str(folder / "img1" / f"{number:06d}.jpg"), np.full((HEIGHT, WIDTH, 3), 9 * number, np.uint8)
        )
    for name, lines in (("gt/gt.txt", gt), ("det/det.txt", det)):
        if lines is not None:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("\n".join(lines) + "\n")
    (folder / "seqinfo.ini").write_text(ini or f"[Sequence]\nname=S\nimDir=img1\nseqLength={frames}\n")
    return folder


GT = [
    "1,7,11,21,10,10,1,1,0.5",
    "1,3,41,21,10,10,0,8,1",
    "3,7,13,21,10,10",
    "3,9,-3,1,10,10,1,1,1",
    "4,7,90,1,5,5,1,1,1",
]
DET = ["1,-1,11,21,10,10,0.7", "1,-1,50,5,10,10,0.2,-1,-1,-1", "4,-1,20,20,5,5,30.5"]


def test_the_mot_reader_counts_from_one(tmp_path):
    mot_folder(tmp_path / "MOT17-02", GT, DET)
    mot_folder(tmp_path / "MOT17-04", GT)
    first, second = load(f"mot:{tmp_path}", kind=MotSample, split="all")
    assert (first.name, len(first.frames), second.detections) == ("MOT17-02", 4, None)
    assert [ids.tolist() for ids in first.ids] == [
        [7],
        [],
        [7, 9],
        [],
    ]  # a flag of 0, and a box outside, are left out
    np.testing.assert_array_equal(first.boxes[0], [[10, 20, 20, 30]])
    np.testing.assert_array_equal(first.boxes[2], [[12, 20, 22, 30], [-4, 0, 6, 10]])
    assert [part.tolist() for part in first.visibility] == [[0.5], [], [1, 1], []]
    assert [len(found) for found in first.detections] == [2, 0, 0, 1]
    np.testing.assert_array_equal(first.detections[0][1], [49, 4, 59, 14, 0.2])


def test_the_task_runs_on_mot_data(tmp_path):
    mot_folder(tmp_path / "S", GT, DET)
    task = make_task(ID, data=f"mot:{tmp_path}", split="all", clip=None, window=8)
    state = batch.stack([task.sample(np.random.default_rng(0), 0)])
    state, _ = play(task, state, task.expert)
    assert task.metrics(state)["hota"][0] > 0


BAD_MOT = {
    r"gt.txt, line 1: must hold 6 to 10 numbers, got 3": {"gt": ["1,7,3"]},
    r"gt.txt, line 1: must hold numbers": {"gt": ["1,7,a,2,3,4"]},
    r"gt.txt, line 1: numbers must be finite": {"gt": ["1,7,nan,2,3,4"]},
    r"gt.txt, line 2: the frame must be a whole number from 1 to 4, got 5": {"gt": [GT[0], "5,7,1,1,2,2"]},
    r"gt.txt, line 1: the frame must be a whole number from 1 to 4, got 1.5": {"gt": ["1.5,7,1,1,2,2"]},
    r"gt.txt, line 1: width and height must be > 0, got 0 and 2": {"gt": ["1,7,1,1,0,2"]},
    r"gt.txt, line 2: identities must be whole and once in a frame, got 7 in 1": {"gt": [GT[0], GT[0]]},
    r"det.txt, line 1: width and height must be > 0": {"gt": GT, "det": ["1,-1,1,1,2,-2,1"]},
    r"img1 must hold as many frames as seqinfo.ini says, 9, got 4": {
        "gt": GT,
        "ini": "[Sequence]\nseqLength=9\n",
    },
    r"img1 must hold one frame or more, got 0": {"gt": GT, "frames": 0, "ini": "[Sequence]\n"},
    r"seqinfo.ini must be an INI file with whole numbers": {"gt": GT, "ini": "[Sequence]\nseqLength=many\n"},
    r"sequence .*S must have a file gt/gt.txt, or det/det.txt for prediction": {},
}


@pytest.mark.parametrize("words", BAD_MOT)
def test_bad_mot_sequences_name_file_and_line(tmp_path, words):
    mot_folder(tmp_path / "S", **BAD_MOT[words])
    with pytest.raises(ValueError, match=rf"sample 0 \('S'\): must be readable, got: .*{words}"):
        load(f"mot:{tmp_path}", kind=MotSample, split="all")


def test_an_empty_mot_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"looked for img1/\*.jpg with gt/gt.txt or det/det.txt"):
        load(f"mot:{tmp_path}", kind=MotSample)


FRAMES = np.zeros((2, 1, HEIGHT, WIDTH), np.uint8)
ONE = [np.array([1]), np.array([1])]
BOXES = [np.array([box(10)]), np.array([box(12)])]
BAD_SAMPLES = {
    "boxes must have one array a frame, got 1 for 2 frames": {"boxes": BOXES[:1]},
    "ids and boxes must be given together, or neither": {"boxes": None},
    "ids and boxes, or detections, must be given, got none": {"ids": None, "boxes": None},
    "detections must have one array a frame, got 0 for 2 frames": {"detections": []},
    r"frame 1: ids must be whole, one a box and none twice, got \[1.0, 1.0\]": {
        "ids": [ONE[0], np.array([1, 1])],
        "boxes": [BOXES[0], np.array([box(10), box(30)])],
    },
    r"frame 0: ids must be whole, .* got \[1.5\]": {"ids": [np.array([1.5]), ONE[1]]},
    "frame 1, box 0: a box must have x0 < x1": {"boxes": [BOXES[0], np.array([[5, 5, 5, 9]])]},
    "frame 1: boxes must overlap the frame": {"boxes": [BOXES[0], np.array([box(80)])]},
    r"frame 0: visibility must be in \[0, 1\], one a box, got \[2.0\]": {"visibility": [[2], [1]]},
    "frame 0, detections, box 0: a box must be finite": {"detections": [[[np.nan, 1, 2, 3, 1]], []]},
    "frame 0: scores of detections must be finite": {"detections": [[[0, 1, 2, 3, np.nan]], []]},
    "a video must have one frame or more, got 0": {"frames": FRAMES[:0], "ids": [], "boxes": []},
}


@pytest.mark.parametrize("words", BAD_SAMPLES)
def test_a_bad_sample_of_many_objects_is_named_with_its_rule(words):
    given = {"frames": FRAMES, "ids": ONE, "boxes": BOXES, **BAD_SAMPLES[words]}
    with pytest.raises(ValueError, match=rf"sample 0 \('bad'\).*{words}"):
        load([MotSample(**given, name="bad")], kind=MotSample)


def test_one_object_is_not_many():
    one = VideoSample(FRAMES, np.array([box(10), box(12)]))
    with pytest.raises(ValueError, match="must be of type MotSample, got VideoSample"):
        make_task(ID, data=[one])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"clip": 1}, "clip must be a whole number >= 2"),
        ({"miss_rate": 1.5}, r"miss_rate must be a number in \[0.0, 1.0\]"),
        ({"false_positives": -1}, "false_positives must be a number >= 0.0"),
        ({"jitter": 2}, r"jitter must be a number in \[0.0, 1.0\]"),
        ({"patience": 0}, "patience must be a whole number >= 1"),
        ({"max_tracks": 0}, "max_tracks must be a whole number >= 1"),
        ({"window": 4}, "window must be a whole number >= 8"),
    ],
)
def test_wrong_arguments_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        make_task(ID, data=[video({1: 10})], **wrong)
