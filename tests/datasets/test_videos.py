"""The embedded videos: what they are made of, where the target is, and how it moves."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from visionrl.datasets import VideoSample, validate
from visionrl.datasets.embedded import compose
from visionrl.datasets.embedded import cutouts as sources
from visionrl.datasets.embedded.cutouts import PHOTOGRAPHS, backgrounds, cutouts, photograph
from visionrl.datasets.embedded.videos import (
    COUNTS,
    LENGTHS,
    MAX_MOTION,
    Actor,
    CutoutVideos,
    Scene,
    render,
    scene,
    targets,
)

LENGTH = 40
EVERY = [(split, index) for split, count in COUNTS.items() for index in range(count)]
SOME = [("train", 1), ("train", 8), ("train", 30), ("val", 1), ("val", 4), ("test", 0), ("test", 17)]


@pytest.fixture(scope="module")
def scenes() -> dict[tuple[str, int], Scene]:
    """Every scene of the default data set, by split and index."""
    return {key: scene(*key, LENGTH) for key in EVERY}


def unclipped(made: Scene) -> np.ndarray:
    """(T, 4) boxes of the target, parts outside the frame among them."""
    return compose.extent(made.target.drawn, made.target.matrices)


def size(boxes: np.ndarray) -> np.ndarray:
    """(..., 2) width and height."""
    return boxes[..., 2:] - boxes[..., :2]


def repaint(actor: Actor, value: int) -> Actor:
    """The actor in one shade of grey."""
    rgba = actor.drawn.rgba.copy()
    rgba[..., :3] = np.rint(rgba[..., 3:] * (value / 255))
    return replace(actor, drawn=replace(actor.drawn, rgba=rgba))


@pytest.mark.parametrize("split", PHOTOGRAPHS)
def test_a_video_is_frames_and_boxes(split: str) -> None:
    videos = CutoutVideos(split, count=2)
    assert len(videos) == 2
    for video in videos:
        assert isinstance(video.frames, np.ndarray)
        assert video.frames.shape == (LENGTHS[split], 3, 160, 208)
        assert video.frames.dtype == np.uint8
        assert video.boxes.shape == (LENGTHS[split], 4)
        assert video.boxes.dtype == np.float64
        assert video.name.startswith(f"{split} ")
        assert video.subject in PHOTOGRAPHS[split]
        assert (np.abs(np.diff(video.frames.astype(int), axis=0)).mean((1, 2, 3)) > 0).all()


def test_videos_pass_validation() -> None:
    for index, video in enumerate(CutoutVideos("val", count=3, length=5)):
        np.testing.assert_array_equal(validate(video, index, VideoSample).boxes, video.boxes)


def test_default_counts() -> None:
    assert {split: len(CutoutVideos(split)) for split in PHOTOGRAPHS} == COUNTS


def test_a_video_depends_on_split_and_index_alone() -> None:
    first, again = CutoutVideos("train", count=5)[3], CutoutVideos("train")[3]
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert first.name == again.name
    assert not np.array_equal(first.boxes, CutoutVideos("train")[4].boxes)
    assert not np.array_equal(first.boxes, CutoutVideos("val")[3].boxes)


def test_a_jump_leaves_out_a_quarter() -> None:
    whole, jumping = CutoutVideos("val")[0], CutoutVideos("val", jump=True)[0]
    kept = [*range(13), *range(23, 40)]
    np.testing.assert_array_equal(jumping.frames, np.stack(list(whole.frames))[kept])
    np.testing.assert_array_equal(jumping.boxes, whole.boxes[kept])


def test_drawing_leaves_the_cutouts_alone() -> None:
    before = [(cutout.image.copy(), cutout.alpha.copy()) for cutout in cutouts("val")]
    assert len(CutoutVideos("val", count=4, length=8)[:]) == 4
    for cutout, (image, alpha) in zip(cutouts("val"), before, strict=True):
        np.testing.assert_array_equal(cutout.image, image)
        np.testing.assert_array_equal(cutout.alpha, alpha)


def test_indexing_is_that_of_a_sequence() -> None:
    videos = CutoutVideos("val", count=3, length=2)
    np.testing.assert_array_equal(videos[-1].frames, videos[2].frames)
    assert [video.name for video in videos[1:]] == [videos[1].name, videos[2].name]
    for wrong in (3, -4):
        with pytest.raises(IndexError):
            videos[wrong]


@pytest.mark.parametrize("length", [1, 2, 7, 90])
def test_any_length(length: int) -> None:
    for video in CutoutVideos("test", count=6, length=length):
        assert len(video.frames) == len(video.boxes) == length
        assert np.isfinite(video.boxes).all()


@pytest.mark.parametrize("split", PHOTOGRAPHS)
def test_a_split_has_objects_and_backgrounds_of_its_own_photographs(split: str) -> None:
    own = set(PHOTOGRAPHS[split])
    others = {name for other, names in PHOTOGRAPHS.items() if other != split for name in names}
    assert not own & others
    assert {cutout.photograph for cutout in cutouts(split)} <= own
    assert {place.photograph for place in backgrounds(split)} <= own
    assert len(backgrounds(split)) >= 3
    assert any(not cutout.name.startswith("patch") for cutout in cutouts(split))


def test_no_two_photographs_are_the_same_picture() -> None:
    small = {
        name: cv2.resize(photograph(name).transpose(1, 2, 0), (32, 32), interpolation=cv2.INTER_AREA)
        for names in PHOTOGRAPHS.values()
        for name in names
    }
    names = sorted(small)
    for number, name in enumerate(names):
        for other in names[number + 1 :]:
            assert np.abs(small[name].astype(int) - small[other]).mean() > 8, (name, other)


def test_everything_in_a_scene_is_of_its_split(scenes: dict) -> None:
    for (split, _), made in scenes.items():
        shown = {actor.photograph for actor in (made.target, *made.behind, *made.front)} | {made.source}
        assert shown <= set(PHOTOGRAPHS[split])
        assert made.target.photograph not in {made.source, *(actor.photograph for actor in made.behind)}


@pytest.mark.parametrize(("split", "least"), [("train", 40), ("val", 12), ("test", 24)])
def test_many_things_to_follow(split: str, least: int, scenes: dict) -> None:
    followed = [made.target.name for (of, _), made in scenes.items() if of == split]
    assert len(set(followed)) >= least
    assert len({cutout.name for cutout in cutouts(split)}) == len(cutouts(split))
    assert {cutout.photograph for cutout in targets(split)} == {c.photograph for c in cutouts(split)}


def test_boxes_lie_in_the_frame_and_half_of_the_target_does(scenes: dict) -> None:
    for key, made in scenes.items():
        whole, seen = unclipped(made), made.boxes
        np.testing.assert_array_equal(seen, np.clip(whole, 0, [208, 160, 208, 160]))
        assert (size(seen).prod(-1) >= 0.5 * size(whole).prod(-1)).all(), key
        assert size(seen).min() > 8, key


def test_sizes(scenes: dict) -> None:
    sides = np.array([np.sqrt(size(unclipped(made)).prod(-1)) for made in scenes.values()])
    assert sides.min() > 18
    assert sides.max() < 72
    assert 24 < np.percentile(sides, 5) < np.percentile(sides, 95) < 64
    assert np.abs(np.diff(np.log(sides), axis=1)).max() < 0.1


def test_motion_can_be_followed(scenes: dict) -> None:
    moves = []
    for made in scenes.values():
        boxes = unclipped(made)
        side = np.sqrt(size(boxes).prod(-1))
        step = np.linalg.norm(np.diff(boxes[:, :2] + boxes[:, 2:], axis=0) / 2, axis=1)
        moves.append(step / np.minimum(side[1:], side[:-1]))
    assert np.max(moves) <= MAX_MOTION + 1e-9
    assert 0.05 < np.percentile(moves, 25) < np.median(moves) < np.percentile(moves, 75) < 0.2


@pytest.mark.parametrize("key", SOME)
def test_boxes_are_the_extent_of_the_mask(key: tuple[str, int], scenes: dict) -> None:
    made, finer, border = scenes[key], 8, 40
    alpha = np.ascontiguousarray(made.target.drawn.rgba[..., 3])
    for matrix, box in zip(made.target.matrices[::8], unclipped(made)[::8], strict=True):
        fine = matrix * finer
        fine[:, 2] += (finer - 1) / 2 + border * finer
        canvas = ((208 + 2 * border) * finer, (160 + 2 * border) * finer)
        y, x = np.nonzero(cv2.warpAffine(alpha, fine, canvas, flags=cv2.INTER_LINEAR) > 127)
        found = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / finer - border
        np.testing.assert_allclose(found, box, atol=0.3)


@pytest.mark.parametrize("key", SOME)
def test_boxes_are_where_the_frames_show_the_target(key: tuple[str, int], scenes: dict) -> None:
    made = scenes[key]
    plain = replace(
        made, front=(), light=np.tile([1.0, 0.0], (LENGTH, 1)), defocus=np.zeros(LENGTH), shutter=0.0
    )
    white, black = (render(replace(plain, target=repaint(made.target, value))) for value in (255, 0))
    change = (white.astype(int) - black).mean(1)
    for shown, box in zip(change, made.boxes, strict=True):
        y, x = np.nonzero(shown > 127)
        np.testing.assert_allclose([x.min(), y.min(), x.max() + 1, y.max() + 1], box, atol=1.3)
        assert shown.max() > 240


def test_only_the_box_changes_with_the_target(scenes: dict) -> None:
    for key in SOME:
        made = scenes[key]
        with_target, without = render(made), render(replace(made, target=_invisible(made.target)))
        for changed, box in zip((with_target != without).any(1), made.boxes, strict=True):
            y, x = np.nonzero(changed)
            slack = 12
            assert x.min() >= box[0] - slack
            assert y.min() >= box[1] - slack
            assert x.max() < box[2] + slack
            assert y.max() < box[3] + slack


def _invisible(actor: Actor) -> Actor:
    return replace(actor, drawn=replace(actor.drawn, rgba=np.zeros_like(actor.drawn.rgba)))


def test_videos_vary(scenes: dict) -> None:
    made = list(scenes.values())
    share = {
        "hidden": np.mean([len(one.front) > 0 for one in made]),
        "distracted": np.mean([len(one.behind) > 0 for one in made]),
        "panning": np.mean([np.ptp(one.corner, axis=0).max() > 2 for one in made]),
        "lit": np.mean([np.ptp(one.light[:, 0]) > 0.1 for one in made]),
        "defocused": np.mean([one.defocus.max() > 0.5 for one in made]),
        "motion blur": np.mean([one.shutter > 0 for one in made]),
    }
    assert all(0.15 < value < 0.85 for value in share.values()), share


def test_occluders_cross_the_target(scenes: dict) -> None:
    for made in scenes.values():
        for actor in made.front:
            over, under = compose.extent(actor.drawn, actor.matrices), unclipped(made)
            common = np.minimum(over[:, 2:], under[:, 2:]) - np.maximum(over[:, :2], under[:, :2])
            hidden = np.where((common > 0).all(-1), common.prod(-1), 0) / size(under).prod(-1)
            assert hidden.max() > 0.1
            assert hidden[0] == 0


@pytest.mark.parametrize("split", PHOTOGRAPHS)
def test_cutouts_are_clean(split: str) -> None:
    for cutout in cutouts(split):
        assert cutout.image.shape == (3, *cutout.alpha.shape)
        assert cutout.image.dtype == cutout.alpha.dtype == np.uint8
        assert max(cutout.alpha.shape) <= sources.MAX_SIDE + 6
        border = [cutout.alpha[0], cutout.alpha[-1], cutout.alpha[:, 0], cutout.alpha[:, -1]]
        assert max(edge.max() for edge in border) < 128
        assert (cutout.alpha == 255).mean() > 0.25
        assert ((cutout.alpha > 30) & (cutout.alpha < 225)).any()
        assert not cutout.image.flags.writeable
        assert not cutout.alpha.flags.writeable


def test_no_old_background_at_the_edge() -> None:
    image = np.full((60, 60, 3), 250, np.uint8)
    cv2.circle(image, (30, 30), 20, (10, 20, 30), -1)
    turn = np.linspace(0, 2 * np.pi, 60)
    outline = 30 + 19 * np.stack([np.cos(turn), np.sin(turn)], 1)
    cutout = sources.cut(image, outline, "disc", "made up")
    canvas = np.zeros((80, 80, 3), np.uint8)
    compose.paste(canvas, compose.layer(cutout, 1.3), np.array([[1, 0, 10.4], [0, 1, 9.7]]))
    assert canvas.reshape(-1, 3).max(0).tolist() == [10, 20, 30]


def test_a_layer_beyond_the_canvas_changes_nothing() -> None:
    canvas = np.full((40, 50, 3), 77, np.uint8)
    drawn = compose.layer(cutouts("val")[0], 0.2)
    for x, y in [(-300, 0), (300, 0), (0, -300), (0, 300)]:
        compose.paste(canvas, drawn, np.array([[1, 0, x], [0, 1, y]], float))
    assert (canvas == 77).all()


def test_blur_keeps_the_light() -> None:
    assert compose.blur(np.array([0.4, 0.5]), 0.1) is None
    for motion, defocus in [((6.0, -2.0), 0.0), ((0.0, 0.0), 1.2), ((3.0, 3.0), 0.7)]:
        kernel = compose.blur(np.array(motion), defocus)
        assert kernel is not None
        assert kernel.shape[0] == kernel.shape[1]
        assert kernel.shape[0] % 2 == 1
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-7)
    wide = compose.blur(np.array([8.0, 0.0]), 0.0)
    assert wide is not None
    assert (wide.sum(0) > 0.01).sum() > (wide.sum(1) > 0.01).sum()


def test_grey_pictures_are_coloured() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        table = compose.tint(rng, grey=True)
        assert table.shape == (256, 1, 3)
        assert (np.diff(table[:, 0].astype(int), axis=0) >= 0).all()
        assert np.ptp(table, axis=0).min() > 120
    assert compose.is_grey(photograph("coins.png"))
    assert not compose.is_grey(photograph("coffee.png"))


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"split": "all"}, "split must be one of train, val, test, got 'all'"),
        ({"split": "val", "count": 0}, "count must be >= 1, got 0"),
        ({"split": "val", "length": 0}, "length must be >= 1, got 0"),
    ],
)
def test_wrong_arguments(arguments: dict, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        CutoutVideos(**arguments)


def test_a_missing_photograph_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    elsewhere = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(sources, "find_spec", lambda name: elsewhere)
    with pytest.raises(
        FileNotFoundError, match=r"photograph 'coffee\.png' must be in the installed scikit-image"
    ):
        photograph("coffee.png")
    monkeypatch.setattr(sources, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="needs scikit-image"):
        photograph("coffee.png")


def test_importing_is_light() -> None:
    code = "import sys, visionrl.datasets.embedded.videos; print(*{'skimage', 'torch', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
