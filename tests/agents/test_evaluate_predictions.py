"""What an evaluation found in each sample, by which its figures can be computed again; its rows and its classes."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster
from rich.console import Console

from visionrl.agents.evaluation.compare import chosen_rows, compare
from visionrl.agents.evaluation.policies import RandomPolicy, expert_policy
from visionrl.cli import main as cli
from visionrl.core import TASKS, make_task
from visionrl.datasets import ImageSample, VideoSample

DETECTION, LANDMARK = "visionrl/Detection-v0", "visionrl/LandmarkLocalization-v0"
RNG = np.random.default_rng(0)


def scenes(count: int = 12) -> list[ImageSample]:
    """Noise with a cat on the left and, in most, a dog on the right; larger than what the task holds."""
    made = []
    for k in range(count):
        left, top = RNG.uniform(0, 30, 2), RNG.uniform(60, 90, 2)
        boxes = np.array(
            [[*left, *(left + 30 + 20 * RNG.random(2))], [*top, *(top + 20 + 10 * RNG.random(2))]]
        )
        some = boxes[: 1 + k % 3]
        labels = ("cat", "dog")[: len(some)]
        made.append(
            ImageSample(RNG.integers(0, 256, (3, 130, 170), dtype=np.uint8), some, labels, name=f"s{k}")
        )
    return made


class Hasty:
    """The expert half of the time, and chance; reports with a confidence that nothing else has."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)
        self.chance = RandomPolicy(1)
        self.confidence: Any = None

    def __call__(self, observations: dict[str, np.ndarray], task: Any, state: Any) -> np.ndarray:
        best, any_one = task.expert(state), self.chance(observations, task, state)
        self.confidence = self.rng.random(len(best))
        return np.where(self.rng.random(len(best)) < 0.9, best, any_one)

    def keep(self, rows: np.ndarray) -> None:
        self.chance.keep(rows)

    def reset(self) -> None:
        self.chance.reset()


def coco_of(samples: list[ImageSample], lines: list[dict[str, Any]]) -> tuple[Any, Any]:
    """The samples' boxes and those of the lines, as the library holds them."""
    ids = {"cat": 1, "dog": 2}
    truths = [
        {"image_id": image, "category_id": ids[label], "bbox": [x0, y0, x1 - x0, y1 - y0]}
        for image, sample in enumerate(samples)
        for label, (x0, y0, x1, y1) in zip(sample.labels, np.asarray(sample.boxes).tolist(), strict=True)
    ]
    for number, row in enumerate(truths, 1):
        row |= {"id": number, "iscrowd": 0, "area": row["bbox"][2] * row["bbox"][3]}
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    images = [{"id": image} for image in range(len(samples))]
    numbers = {sample.name: image for image, sample in enumerate(samples)}
    found = [
        {
            "image_id": numbers[line["name"]],
            "category_id": ids[box["label"]],
            **{key: box[key] for key in ("bbox", "score")},
        }
        for line in lines
        for box in line["boxes"]
    ]
    truth = COCO({"images": images, "categories": categories, "annotations": truths})
    return truth, truth.loadRes(found)


def ap_of(truth: Any, found: Any, category: int, recalls: np.ndarray, ious: np.ndarray) -> float:
    """Mean precision at some recalls and IoUs."""
    run = COCOeval_faster(truth, found, "bbox", print_function=lambda *_: None)
    run.params.catIds, run.params.recThrs, run.params.iouThrs = [category], recalls, ious
    run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
    run.params.maxDets = [100]
    run.evaluate()
    run.accumulate()
    return float(run.eval["precision"].mean())


def test_average_precision_can_be_computed_again_from_the_boxes() -> None:
    """By COCO's library: at the recalls 1 / P, ..., 1 for the area under the curve, at 101 for COCO's own."""
    samples, lines = scenes(), list[dict[str, Any]]()
    kwargs = {"data": samples, "max_side": 100, "window": 32, "category": ["cat", "dog"]}
    table = compare(DETECTION, {"hasty": Hasty()}, env_kwargs=kwargs, rows=(), keep=lines.extend)
    (row,) = table.rows
    assert [line["name"] for line in lines] == [sample.name for sample in samples]
    assert 0.05 < row.metrics["ap_50"].value < 0.99, "neither all right nor all wrong"
    truth, found = coco_of(samples, lines)
    counts = {name: sum(name in sample.labels for sample in samples) for name in ("cat", "dog")}
    whole = [
        ap_of(truth, found, number, np.arange(1, counts[name] + 1) / counts[name], np.array([0.5]))
        for number, name in enumerate(counts, 1)
    ]
    assert np.mean(whole) == pytest.approx(row.metrics["ap_50"].value, abs=1e-6)
    assert whole == pytest.approx([row.classes[name]["ap_50"] for name in counts], abs=1e-6)
    ious = np.arange(50, 100, 5) / 100
    coco = np.mean([ap_of(truth, found, number, np.linspace(0, 1, 101), ious) for number in (1, 2)])
    assert coco == pytest.approx(row.metrics["ap_coco"].value, abs=1e-6)


def images(count: int = 4) -> list[ImageSample]:
    """Noise with two points."""
    pixels = [RNG.integers(0, 256, (1, 60, 80 + k)).astype(np.uint8) for k in range(count)]
    return [
        ImageSample(image, points={"a": (30 + k, 20), "b": (50, 40 - k)}, name=f"n{k}")
        for k, image in enumerate(pixels)
    ]


def test_structures_of_one_image_are_joined_and_another_pass_is_apart() -> None:
    lines, data = list[dict[str, Any]](), images()
    env = {"data": data, "window": 16}
    compare(LANDMARK, {"mine": expert_policy}, episodes=10, env_kwargs=env, rows=(), keep=lines.extend)
    assert [(line["name"], line.get("pass", 0)) for line in lines] == [
        *((f"n{k}", 0) for k in range(4)),
        ("n0", 1),
    ]
    for line in lines:
        wanted = next(sample.points for sample in data if sample.name == line["name"])
        for name, place in wanted.items():
            np.testing.assert_allclose(line["points"][name], place, atol=2)
        assert line["agent"] == "mine" and line["steps"] > 0 and line["milliseconds"] > 0


def test_errors_of_each_structure_are_in_the_table_and_its_json() -> None:
    table = compare(LANDMARK, env_kwargs={"data": images(), "window": 16}, rows=["random", "expert"])
    plain = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    for row in plain["rows"]:
        assert set(row["classes"]) == {"a", "b"}
        each = row["classes"].values()
        assert [one["episodes"] for one in each] == [4, 4]
        mean = np.mean([one["distance_px"] for one in each])
        assert mean == pytest.approx(row["metrics"]["distance_px"]["value"])
        assert all(one["median_distance_px"] >= 0 for one in each)
    with io.StringIO() as out:
        table.print(Console(file=out, width=80, color_system=None))
        shown = out.getvalue()
    below = shown[shown.index("distance_px of each") :].splitlines()
    assert max(map(len, shown.splitlines())) <= 80
    assert [line.split()[0] for line in below if line.split()[:1] in (["a"], ["b"])] == ["a", "b"]


def test_many_long_names_fit_80_columns() -> None:
    kwargs = {"data": scenes(), "window": 32, "max_episode_steps": 9}
    methods = {f"a method with a long name, number {k}": lambda task, state: state for k in range(4)}
    table = compare(DETECTION, env_kwargs=kwargs, rows=["random"], methods=methods)
    with io.StringIO() as out:
        table.print(Console(file=out, width=80, color_system=None))
        lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    (cells,) = (line.split() for line in lines if line.split()[:1] == ["cat"])
    assert len(cells) == 2 + 5, "episodes and every method stand in one block"


def test_rows_are_chosen_by_name() -> None:
    every = chosen_rows(LANDMARK, None)
    assert every[0] == "random" and every[-1] == "expert" and "prior + mean template" in every
    assert chosen_rows(LANDMARK, ["expert,random"]) == ("random", "expert")
    assert chosen_rows("LandmarkLocalization3D-v0", ["Atlas, affine", "random"]) == (
        "random",
        "atlas, affine",
    )
    assert chosen_rows(LANDMARK, []) == ()
    with pytest.raises(ValueError, match=r"rows must be among random; .*; expert, got 'expret'.*'expert'"):
        chosen_rows(LANDMARK, ["random,expret"])


def test_a_row_is_the_same_whichever_others_there_are() -> None:
    env = {"data": images(), "window": 16}
    whole = {row.name: row.metrics for row in compare(LANDMARK, {"mine": expert_policy}, env_kwargs=env).rows}
    for name in ("random", "expert"):
        (row,) = compare(LANDMARK, env_kwargs=env, rows=[name]).rows
        assert row.name == name and row.metrics == whole[name]


def test_from_the_command_line(tmp_path: Path, capsys: Any) -> None:
    args = ["--env", "GlimpseClassification-v0", "--split", "val", "--episodes", "20", "--out", str(tmp_path)]
    cli.main(["evaluate", *args, "--rows", "random,expert"])
    lines = [json.loads(line) for line in (tmp_path / "predictions-val.jsonl").read_text().splitlines()]
    assert [line["agent"] for line in lines] == ["random"] * 20 + ["expert"] * 20
    assert {line["split"] for line in lines} == {"val"} and len({line["name"] for line in lines}) == 20
    table = json.loads((tmp_path / "metrics-val.json").read_text())
    assert [row["name"] for row in table["rows"]] == ["random", "expert"]
    assert "accuracy of each" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--env Tracking-v0 --rows random,medain-flow", "did you mean 'median flow'?"),
        ("--env Tracking-v0 --no-compare", "no-compare needs a run's folder"),
        ("somewhere --no-compare --rows random", "rows must be left out with --no-compare"),
    ],
)
def test_rows_that_cannot_be_are_refused(line: str, message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as stopped, contextlib.redirect_stdout(io.StringIO()):
        cli.main(["evaluate", *line.split()])
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_a_track_of_a_whole_video_is_kept_and_one_of_a_clip_is_not() -> None:
    frames = RNG.integers(0, 256, (5, 3, 60, 80)).astype(np.uint8)
    boxes = np.array([[10 + 2 * t, 10, 30 + 2 * t, 30.0] for t in range(5)])
    env = {"data": [VideoSample(frames, boxes, name="v")], "window": 32}
    for clip, count in ((None, 5), (3, 0)):
        lines = list[dict[str, Any]]()
        compare("Tracking-v0", env_kwargs={**env, "clip": clip}, rows=["expert"], keep=lines.extend)
        assert [len(line["boxes"]) for line in lines] == [count][: bool(count)]
    with pytest.raises(NotImplementedError, match="result needs whole videos"):
        task = make_task("Tracking-v0", clip=3, **env)
        task.result(task.sample(np.random.default_rng(0), 0))


def test_objects_of_one_image_are_masks_of_one_line_and_no_image_takes_another_s_name() -> None:
    data = []
    for k in range(3):
        mask = np.zeros((40, 48), np.uint8)
        for label in range(1, 3):
            mask[5:30, 20 * label - 15 : 20 * label] = label
        pixels = (40 * mask + RNG.integers(0, 9, (40, 48))).astype(np.uint8)[None]
        data.append(ImageSample(pixels, mask=mask, names={1: "cat", 2: "dog"}, name=f"image {k}"))
    lines, env = list[dict[str, Any]](), {"data": data, "size": 32, "seeds": 1}
    compare("Segmentation-v0", env_kwargs=env, rows=["random"], keep=lines.extend)
    assert [line["name"] for line in lines] == ["image 0", "image 1", "image 2"]
    assert all([one["label"] for one in line["masks"]] == ["cat", "dog"] for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", TASKS)
def test_every_task_says_what_an_evaluation_found(env_id: str) -> None:
    lines = list[dict[str, Any]]()
    limit = {"max_episode_steps": 3} if TASKS[env_id].max_steps else {}
    compare(env_id, env_kwargs=limit, split="val", episodes=2, rows=["random"], keep=lines.extend)
    assert len(lines) == 2 and all(line["name"] and line["agent"] == "random" for line in lines)
    assert len(lines[0]) > 4, "a result beside the name, the steps, the time and the agent"
    json.dumps(lines, allow_nan=False)
