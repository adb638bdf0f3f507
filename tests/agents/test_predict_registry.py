"""Every task is used on files without labels: one file, a folder, and the same sample with its labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from visionrl.agents.evaluation.policies import RandomPolicy
from visionrl.agents.prediction.agent import Agent
from visionrl.agents.prediction.inputs import inputs_of
from visionrl.agents.prediction.predict import LINES, predict_files
from visionrl.core import TASKS, make_task
from visionrl.datasets import (
    CaptionSample,
    ClipSample,
    ImageSample,
    MotSample,
    PairSample,
    QuestionSample,
    VideoSample,
    ViewSample,
    VolumeSample,
    XraySample,
)

BOX = [12.0, 10.0, 16.0, 14.0]


def write_image(path: Path, image: np.ndarray) -> Path:
    """A (C, H, W) image as PNG."""
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(path)
    return path


def write_volume(path: Path, volume: np.ndarray, spacing_mm: Any) -> Path:
    """A (1, D, H, W) volume as NIfTI, in 16 bits, towards left, back and head."""
    affine = np.diag([*(np.array([-1.0, -1.0, 1.0]) * np.asarray(spacing_mm, float)), 1.0])
    nibabel.save(nibabel.Nifti1Image(volume[0].transpose(2, 1, 0).astype(np.int16), affine), path)
    return path


def write_frames(folder: Path, frames: Any, count: int = 4) -> Path:
    """The first frames of a video as pictures."""
    folder.mkdir(parents=True)
    for number in range(count):
        write_image(folder / f"{number + 1:06d}.png", np.asarray(frames[number]))
    return folder


def files_of(sample: Any, folder: Path) -> tuple[list[str], list[str]]:
    """Words for one input, and for more or for a folder, of a sample's pixels."""
    folder.mkdir()
    if isinstance(sample, ImageSample | CaptionSample | QuestionSample):
        first = write_image(folder / "a.png", sample.image)
        write_image(folder / "b.png", sample.image[:, :-1])
        return [str(first)], [str(folder)]
    if isinstance(sample, PairSample) and sample.fixed.ndim == 3:
        pair = [
            str(write_image(folder / f"{name}.png", getattr(sample, name))) for name in ("fixed", "moving")
        ]
        return pair, pair * 2
    if isinstance(sample, PairSample):
        scans = zip(("fixed", "moving"), sample.spacing_mm, strict=True)
        pair = [str(write_volume(folder / f"{name}.nii.gz", getattr(sample, name), mm)) for name, mm in scans]
        return pair, pair * 2
    if isinstance(sample, VideoSample | ClipSample):
        video = str(write_frames(folder / "video", sample.frames))
        return [video], [video]
    if isinstance(sample, MotSample):
        write_frames(folder / "S" / "img1", sample.frames)
        (folder / "S" / "det").mkdir()
        lines = [f"{frame},-1,{12 + frame},10,16,14,0.9" for frame in range(1, 5)]
        (folder / "S" / "det" / "det.txt").write_text("\n".join(lines) + "\n")
        return [str(folder / "S")], [f"mot:{folder}"]
    if isinstance(sample, ViewSample):
        arrays = {
            "P": sample.cameras,
            "detections": sample.detections,
            "joint_names": np.array(sample.joint_names),
        }
        np.savez(folder / "capture.npz", **arrays)
        return [str(folder / "capture.npz")], [str(folder)]
    scan = write_volume(folder / "scan.nii.gz", sample.volume, sample.spacing_mm)
    return [str(scan)], [str(folder)]


def short_agent(env_id: str) -> tuple[Agent, Any]:
    """An agent that acts by chance for three steps, and a task with labels on the embedded data."""
    entry = TASKS[env_id]
    task: Any = make_task(env_id, split="val", **entry.task.evaluation)
    given = dict(getattr(task, "resolved_arguments", {}))
    if entry.max_steps:
        given["max_episode_steps"] = 3
    return Agent(env_id, RandomPolicy(0), given, name="chance"), task


def sample_for(env_id: str, task: Any) -> Any:
    """A sample of the embedded data, as the task takes it for prediction."""
    sample = task.samples[0] if hasattr(task, "samples") else task.load()[0]
    if TASKS[env_id].task.unlabelled_type is not PairSample:
        return sample
    if isinstance(sample, ImageSample):
        return PairSample(sample.image, np.roll(sample.image, 2, axis=2), name=sample.name)
    if isinstance(sample, VolumeSample):
        moving, mm = np.roll(sample.volume, 2, axis=3), np.array([sample.spacing_mm] * 2, float)
        return PairSample(sample.volume, moving, spacing_mm=mm, name=sample.name)
    return sample


def words_for(env_id: str, task: Any, folder: Path) -> tuple[list[str], list[str]]:
    """Words of a command line: one input, and a folder."""
    one, several = files_of(sample_for(env_id, task), folder)
    if TASKS[env_id].task.unlabelled_type is XraySample:
        noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64), dtype=np.uint8)
        film = str(write_image(folder / "film.png", noise))
        return [film, *one], [film, *one, film, *one]
    return one, several


@pytest.mark.slow
@pytest.mark.parametrize("env_id", TASKS)
def test_every_task_is_used_on_a_file_and_on_a_folder(env_id: str, tmp_path: Path) -> None:
    agent, task = short_agent(env_id)
    box = BOX if agent.sample_type is VideoSample else None
    for number, words in enumerate(words_for(env_id, task, tmp_path / "files")):
        asked = "is there a red bag" if agent.sample_type is QuestionSample else None
        inputs, out = inputs_of(words, agent.sample_type, box, question=asked), tmp_path / f"out{number}"
        report = predict_files(agent, inputs, out)
        assert (report.done, report.failed) == (len(inputs), [])
        lines = [json.loads(line) for line in (out / LINES).read_text().splitlines()]
        assert len(lines) == len(inputs)
        for line in lines:
            assert line["agent"] == "chance" and line["milliseconds"] > 0
            assert set(line) > {"file", "name", "steps", "milliseconds", "agent", "written"}, "and a result"
            assert line["written"] and all((out / name).is_file() for name in line["written"])


@pytest.mark.slow
@pytest.mark.parametrize("env_id", TASKS)
def test_labels_are_not_looked_at(env_id: str) -> None:
    strip: dict[type, Callable[[Any], Any]] = {
        ImageSample: lambda s: ImageSample(s.image, name=s.name),
        VolumeSample: lambda s: VolumeSample(s.volume, s.spacing_mm, affine=s.affine, name=s.name),
        PairSample: lambda s: PairSample(
            s.fixed, s.moving, start=s.start, modalities=s.modalities, spacing_mm=s.spacing_mm, name=s.name
        ),
        CaptionSample: lambda s: CaptionSample(s.image, name=s.name),
        QuestionSample: lambda s: QuestionSample(s.image, s.question, name=s.name),
        ClipSample: lambda s: ClipSample(s.frames, s.features, fps=s.fps, name=s.name),
        ViewSample: lambda s: replace(s, points=None),
        MotSample: lambda s: MotSample(s.frames, None, None, detections=s.detections, name=s.name),
    }
    (agent, task), (again, _) = short_agent(env_id), short_agent(env_id)
    if agent.sample_type not in strip:
        pytest.skip("the box in the first frame, or the X-ray, is what the agent is given")
    sample = sample_for(env_id, task)
    if TASKS[env_id].task.box_prompt:  # boxes say which object is meant; the mask is the truth
        strip[ImageSample] = lambda s: ImageSample(s.image, s.boxes, s.labels, name=s.name)
    if env_id == "visionrl/Refinement-v0":  # the mask is what the agent begins with; points are the truth
        strip[ImageSample] = lambda s: replace(s, points={})
    if isinstance(sample, MotSample):
        found = [np.c_[boxes, np.full(len(boxes), 0.9)] for boxes in sample.boxes]
        sample = replace(sample, detections=found)
    with_labels = agent.predict_sample(sample).result.to_json()
    assert again.predict_sample(strip[type(sample)](sample)).result.to_json() == with_labels
