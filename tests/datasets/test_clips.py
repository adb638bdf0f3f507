"""Clips: their rules, the embedded sets, and the readers of folders, TVSum, ActivityNet and skeletons."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.stats import kendalltau

from visionrl.datasets import ClipSample, load, validate
from visionrl.datasets.embedded.clips import MOTIONS, PIECE, EventFilms, Motions
from visionrl.datasets.embedded.cutouts import PHOTOGRAPHS
from visionrl.datasets.unlabelled import unlabelled_clip

FRAMES = np.zeros((5, 3, 4, 6), np.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": None}, "frames or features must be given, got neither"),
        ({"scores": np.arange(4.0)}, "scores must be one a frame, got 4 for 5 frames"),
        (
            {"scores": np.array([[0, 1, 2, np.nan, 4]])},
            "scores must be finite, got NaN or infinity of user 0",
        ),
        ({"scores": np.array([np.arange(5), np.full(5, 2)])}, "user 1 gives 2 to all"),
        ({"segments": [[3, 2]]}, "segment 0: start must be < end, got 3 and 2"),
        ({"segments": [[1, 2], [2, 6]]}, "segment 1: a segment must lie within the 5 frames, got 2 to 6"),
        ({"segments": [[0, np.nan]]}, "segment 0: start and end must be finite"),
        ({"segments": [[0, 1]], "segment_labels": ("a", "b")}, "segment_labels must be one a segment"),
        ({"features": np.zeros((4, 2))}, "features must be one row a frame, got 4 for 5 frames"),
        ({"features": np.full((5, 2), np.inf)}, "features must be finite, got NaN or infinity in row 0"),
        ({"fps": 0}, "fps must be finite and > 0, got 0"),
        ({"frames": [FRAMES[0], FRAMES[0, :, :2]]}, "all frames must have the shape of the first"),
    ],
)
def test_a_clip_that_breaks_a_rule_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate(replace(ClipSample(FRAMES, name="x"), **change), 0)


def test_a_clip_of_one_frame_with_a_score_is_a_clip() -> None:
    made = validate(ClipSample(FRAMES[:1], scores=[[3.0]]), 0)
    assert len(made) == 1 and made.scores.shape == (1, 1)


def test_event_films_have_important_events_and_users_who_agree_as_in_tvsum() -> None:
    films = EventFilms("val", 3)
    agreement = []
    for film in films:
        assert 3 <= len(film.segments) <= 4 and set(film.segment_labels) <= {"enter", "meet"}
        pieces = film.scores[:, ::PIECE]
        assert pieces.shape[0] == 20 and set(np.unique(pieces)) <= {1, 2, 3, 4, 5}
        pairs = [(a, b) for a in range(20) for b in range(a)]
        agreement += [kendalltau(pieces[a], pieces[b]).statistic for a, b in pairs]
        inside = np.zeros(len(film), bool)
        for start, end in film.segments.astype(int):
            inside[start:end] = True
        assert film.scores.mean(axis=0)[inside].mean() > film.scores.mean(axis=0)[~inside].mean() + 0.5
    assert 0.13 < np.mean(agreement) < 0.27


def test_a_film_depends_on_its_number_alone() -> None:
    assert np.array_equal(EventFilms("val", 2)[1].frames, EventFilms("val", 5)[1].frames)


def test_motions_move_within_their_segment_alone() -> None:
    clips = Motions("test", 16)
    assert [clip.label for clip in clips] == [*MOTIONS, *MOTIONS]
    change = np.zeros((16, 31))
    inside = np.zeros((16, 31), bool)
    for number, clip in enumerate(clips):
        change[number] = np.abs(np.diff(clip.frames.astype(float).mean(axis=1), axis=0)).mean(axis=(1, 2))
        ((start, end),) = clip.segments.astype(int)
        inside[number, start - 1 : end - 1] = True
    assert (change * inside).sum() / inside.sum() > 1.1 * (change * ~inside).sum() / (~inside).sum()


def test_splits_of_the_embedded_clips_share_no_photograph() -> None:
    assert not set(PHOTOGRAPHS["train"]) & (set(PHOTOGRAPHS["val"]) | set(PHOTOGRAPHS["test"]))
    assert not np.array_equal(Motions("train", 1)[0].frames, Motions("test", 1)[0].frames)


def write_frames(folder: Path, count: int) -> None:
    """Write grey pictures, brighter each time."""
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:04d}.png"), np.full((12, 16), 10 * number, np.uint8))


def write_film(path: Path, count: int) -> None:
    """Write a video of 10 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 16))
    for number in range(count):
        writer.write(np.full((16, 32, 3), 10 * number, np.uint8))
    writer.release()


def test_a_folder_of_clips_by_class_mixes_films_and_folders_of_pictures(tmp_path: Path) -> None:
    write_film(tmp_path / "jump" / "1.avi", 4)
    write_frames(tmp_path / "jump" / "two", 3)
    write_frames(tmp_path / "run" / "one", 5)
    found = load(f"clips:{tmp_path}", kind=ClipSample, split="all")
    assert [(one.name, one.label, len(one), one.fps) for one in found] == [
        ("jump/1.avi", "jump", 4, 10.0),
        ("jump/two", "jump", 3, None),
        ("run/one", "run", 5, None),
    ]
    assert found[2].frames[3].mean() == 30


def test_clips_without_a_class_beside_classes_are_refused(tmp_path: Path) -> None:
    write_frames(tmp_path / "run" / "one", 2)
    write_film(tmp_path / "alone.avi", 2)
    with pytest.raises(ValueError, match=r"clips or folders of classes, got the clip alone\.avi beside run"):
        load(f"clips:{tmp_path}", kind=ClipSample, split="all")


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    write_frames(tmp_path / "run" / "one", 2)
    (tmp_path / "walk").mkdir()
    with pytest.raises(ValueError, match=r"the class folder .*walk must hold videos"):
        load(f"clips:{tmp_path}", kind=ClipSample, split="all")


def test_a_video_of_the_user_is_a_clip_without_labels(tmp_path: Path) -> None:
    write_film(tmp_path / "mine.avi", 6)
    clip = validate(unlabelled_clip(tmp_path / "mine.avi"), 0)
    assert (clip.name, len(clip), clip.fps, clip.label, clip.scores) == ("mine", 6, 10.0, "", None)


def activitynet(folder: Path, **changes: object) -> Path:
    """Write a list of one video with two actions."""
    write_frames(folder / "frames" / "v_abc", 20)
    actions = [{"segment": [1, 2.5], "label": "jump"}, {"segment": [4, 5.1], "label": "run"}]
    about = {"subset": "validation", "duration": 5.0, "annotations": actions, **changes}
    file = folder / "list.json"
    file.write_text(json.dumps({"database": {"abc": about}}))
    return file


def test_activitynet_segments_are_frames(tmp_path: Path) -> None:
    (clip,) = load(f"activitynet:{activitynet(tmp_path)}", kind=ClipSample, split="val")
    assert clip.segments.tolist() == [[4, 10], [16, 20]]
    assert clip.segment_labels == ("jump", "run") and clip.fps == 4


def test_a_reversed_activitynet_segment_is_refused(tmp_path: Path) -> None:
    file = activitynet(tmp_path, annotations=[{"segment": [3, 1], "label": "jump"}])
    with pytest.raises(ValueError, match="start must be < end, got 12 and 4"):
        load(f"activitynet:{file}", kind=ClipSample, split="val")


@pytest.mark.parametrize("video", [3, {"annotations": 3}, {"annotations": "jump"}])
def test_an_activitynet_video_without_a_list_of_actions_is_refused(tmp_path: Path, video: object) -> None:
    file = activitynet(tmp_path)
    file.write_text(json.dumps({"database": {"abc": video}}))
    with pytest.raises(ValueError, match="abc must be a mapping with a list of annotations, got"):
        load(f"activitynet:{file}", kind=ClipSample, split="all")


def test_an_activitynet_list_without_frames_says_where_they_are_sought(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text(json.dumps({"database": {"abc": {"annotations": []}}}))
    with pytest.raises(
        ValueError, match=r"must have the frames of its videos beside it; looked for NAME\.mp4"
    ):
        load(f"activitynet:{file}", kind=ClipSample, split="all")


def write_skeletons(file: Path, **changes: object) -> None:
    """Write two clips of three joints."""
    poses = np.random.default_rng(0).normal(size=(9, 3, 2)).astype(np.float32)
    arrays = {"poses": poses, "offsets": [0, 4, 9], "labels": [1, 0], "class_names": ["run", "sit"]}
    np.savez(file, **{**arrays, "joint_names": ["neck", "right_shoulder", "left_shoulder"], **changes})


def test_skeletons_are_features_and_pictures(tmp_path: Path) -> None:
    write_skeletons(tmp_path / "a_train.npz")
    write_skeletons(tmp_path / "a_val.npz", labels=[0, 0])
    first, second = load(f"skeletons:{tmp_path}", kind=ClipSample, split="train")
    assert [first.label, second.label] == ["sit", "run"]
    assert first.features.shape == (4, 6) and first.frames.shape == (4, 3, 48, 48)
    assert (first.frames.max(axis=(2, 3)) == 255).all()
    assert {one.label for one in load(f"skeletons:{tmp_path}", kind=ClipSample, split="val")} == {"run"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offsets": [0, 4]}, "offsets must go from 0 to 9"),
        ({"offsets": [0, 0, 9]}, "each clip must have a frame or more"),
        ({"labels": [1, 2]}, "a label among class_names"),
        ({"source_group": [1]}, r"source_group must be one number a clip \(2\), got shape \(1,\)"),
        ({"poses": np.zeros((9, 2, 2))}, r"poses must be \(frames, 3 joints, 2 or 3\)"),
    ],
)
def test_skeletons_that_do_not_fit_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    write_skeletons(tmp_path / "a.npz", **changes)
    with pytest.raises(ValueError, match=message):
        load(f"skeletons:{tmp_path / 'a.npz'}", kind=ClipSample, split="all")


def test_scores_without_features_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "tvsum.npz", scores=np.zeros((20, 5)))
    with pytest.raises(ValueError, match="must have features; scores alone show an agent nothing"):
        load(f"tvsum:{tmp_path / 'tvsum.npz'}", kind=ClipSample, split="all")


def test_an_h5_file_without_h5py_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tvsum.h5").write_bytes(b"")
    monkeypatch.setattr("visionrl.datasets.readers.tvsum.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="needs h5py: pip install"):
        load(f"tvsum:{tmp_path / 'tvsum.h5'}", kind=ClipSample, split="all")


class FakeFile(dict):
    """A group or file of h5py, as far as the reader uses it."""

    def __enter__(self) -> FakeFile:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_tvsum_has_features_and_the_scores_at_the_picks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "h5py" in sys.modules:
        pytest.skip("h5py itself is loaded")
    summaries = np.zeros((3, 60))
    summaries[0, 15:30] = summaries[1, :10] = 1
    group = FakeFile(features=np.eye(4), user_summary=summaries, picks=np.arange(0, 60, 15))
    fake = types.SimpleNamespace(
        File=lambda path, mode: FakeFile(video_1=group), Group=FakeFile, Dataset=np.ndarray
    )
    monkeypatch.setitem(sys.modules, "h5py", fake)
    monkeypatch.setattr("visionrl.datasets.readers.tvsum.find_spec", lambda name: True)
    (tmp_path / "tvsum.h5").write_bytes(b"")
    (clip,) = load(f"tvsum:{tmp_path / 'tvsum.h5'}", kind=ClipSample, split="all")
    assert clip.scores.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]] and clip.frames is None
