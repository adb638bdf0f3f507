"""A trained agent, ready to be used on new files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import cv2
import numpy as np
from gymnasium.utils.seeding import np_random

from visionrl.agents.evaluation.compare import plain
from visionrl.agents.evaluation.episodes import Episodes, Plan, rollout, run_each, task_kwargs
from visionrl.agents.evaluation.policies import AgentPolicy
from visionrl.agents.prediction.prompts import check_prompts, with_prompts
from visionrl.agents.prediction.unlabelled_samples import MAKERS, PAIRED
from visionrl.core import BASELINES, Task, batch, did_you_mean, entry_of, make_task
from visionrl.core.results import (
    Boxes,
    Mask,
    Picture,
    Result,
    StrokePainting,
)
from visionrl.datasets import ImageSample, VideoSample
from visionrl.datasets.unlabelled import unlabelled_video
from visionrl.rendering import Canvas

# arguments of a run that concern the data it learnt from
TRAINING_ARGUMENTS = ("data", "split", "split_file", "split_ratios", "split_seed")


MAX_BOXES = 12  # of a picture


@dataclass(frozen=True)
class Prediction:
    """The findings of an agent in one file.

    Attributes:
        name: of the file's sample.
        result: see ``visionrl.core.results``.
        steps: actions taken, of all episodes; 0 for a classical method.
        milliseconds: wall clock, with shrinking or resampling, without reading the file and loading the agent.
        task: the task on this file.
        ends: the last states, one row an episode.
        sample: the file's.
    """

    name: str
    result: Result
    steps: int
    milliseconds: float
    task: Task
    ends: Any
    sample: Any

    def pictures(self) -> list[np.ndarray]:
        """Annotated pictures, (H, W, 3) uint8 RGB, one an episode.

        One for boxes and for masks of an image; before and after for a picture.
        """
        if isinstance(self.result, Boxes):
            return [boxes_picture(self.sample.image, self.result)]
        if isinstance(self.result, Mask) and self.result.masks.ndim == 3:
            return [masks_picture(self.sample.image, self.result)]
        if isinstance(self.result, Picture | StrokePainting):
            before, after = (Canvas(image, 1).pixels for image in (self.sample.image, self.result.image))
            return [cv2.resize(before, after.shape[1::-1], interpolation=cv2.INTER_NEAREST), after]
        count = len(next(iter(vars(self.ends).values())))
        return [self.task.draw(batch.take(self.ends, row)) for row in range(count)]

    def to_json(self) -> dict[str, Any]:
        """Plain values: the name, the result, what it cost."""
        cost = {"steps": self.steps, "milliseconds": round(self.milliseconds, 2)}
        return {"name": self.name, **self.result.to_json(), **cost}


class Agent:
    """A trained agent, or a classical method, that is given images, videos or volumes without labels.

    Args:
        env: id of the task.
        policy: acts; see ``visionrl.agents.evaluation.policies.Policy``. Or ``method``.
        env_kwargs: arguments of the task that the agent was trained with.
        name: of the agent.
        method: ``run(task, state)`` of a classical method, in place of a policy.
        model: the algorithm, for those who want to look inside.

    Attributes:
        sample_type: what is predicted on: ``ImageSample``, ``VolumeSample``, ``PairSample``, ...
    """

    def __init__(
        self,
        env: str,
        policy: Any = None,
        env_kwargs: Mapping[str, Any] | None = None,
        *,
        name: str = "",
        method: Any = None,
        model: Any = None,
    ) -> None:
        self.entry = entry_of(env)
        self.policy, self.method, self.model, self.name = policy, method, model, name
        given = {**self.entry.task.evaluation, **(env_kwargs or {})}
        self.env_kwargs = {key: value for key, value in given.items() if key not in TRAINING_ARGUMENTS}
        self.sample_type = self.entry.task.unlabelled_type or self.entry.task.sample_type

    def predict(
        self, data: Any, moving: Any = None, *, box: Any = None, clicks: Any = None, **more: Any
    ) -> Result:
        """Apply the agent to one image, volume, video or pair; returns what it finds.

        Args:
            data: a file, an array, or a sample. Arrays are (H, W), (H, W, C) or (C, H, W) uint8 for images,
                (D, H, W) of any real numbers for volumes, axes (z, y, x), and a row of images for videos. Greys become
                bytes as those of files do.
            moving: the image or volume that is brought onto the first, for registration; the CT that is brought onto
                an X-ray, or onto a list of X-rays of several views.
            box: (x, y, width, height) of the object, in the first frame for tracking, in the image for segmentation:
                pixels, (0, 0) the corner.
            clicks: (x, y, 1) on the object and (x, y, -1) beside it, pixels, for segmentation.
            more: fields of the sample: ``spacing_mm`` of a volume, ``detections`` of a video, ``question`` about an
                image, ...

        Raises:
            ValueError: the file or the array is not what the task is about.
        """
        return self.predict_sample(self.sample_of(data, moving, box=box, clicks=clicks, **more)).result

    def predict_sample(
        self, sample: Any, seed: int = 0, wrap: Callable[[Task], Any] = lambda task: task
    ) -> Prediction:
        """Apply the agent to one sample, whose labels are not looked at.

        Args:
            sample: of the task's ``sample_type``.
            seed: of where episodes start.
            wrap: takes the task and returns the one that the agent acts in, such as one that reports every step.
        """
        began = perf_counter()
        task = self.task_on(sample)
        if isinstance(self.policy, AgentPolicy):
            self.policy.weigh_answers = True
        states = [task.sample(np_random(seed)[0], item) for item in range(task.items)]
        wrapped = wrap(task)
        ends, steps = self.run_episodes(wrapped, states)
        spent = 1000 * (perf_counter() - began)
        first, *others = [task.result(batch.take(ends, row)) for row in range(len(states))]
        sure = getattr(self.policy, "answer_probability", None)
        said = getattr(first, "label", getattr(first, "answer", None))
        if hasattr(first, "confidence") and said is not None and sure is not None:
            first = replace(cast(Any, first), confidence=float(sure[-1]))
        return Prediction(sample.name, first.joined(others), steps, spent, task, ends, sample)

    def run_episodes(self, task: Task, states: list[Any]) -> tuple[Any, int]:
        """Run episodes from given first states; returns their last states and the number of all actions."""
        if self.method is not None:
            return run_each(task, self.method, states), 0
        limit = self.env_kwargs.get("max_episode_steps", self.entry.max_steps) or math.inf
        ends, totals = rollout(
            Plan(task, Episodes([], [], np.zeros(0)), limit, len(states)), self.policy, states
        )
        return ends, int(totals["length"].sum())

    def task_on(self, sample: Any) -> Task:
        """The task on one sample without its labels."""
        kwargs = task_kwargs({**self.env_kwargs, "data": [sample], "labelled": False}, "test")
        return make_task(self.entry.id, **kwargs)

    def sample_of(
        self, data: Any, moving: Any = None, *, box: Any = None, clicks: Any = None, **more: Any
    ) -> Any:
        """Make a sample of a file or an array; a sample is returned as it is.

        Raises:
            ValueError: the file, array or sample is not what the task is about.
        """
        kind: Any = self.sample_type
        if kind is not VideoSample or clicks:
            check_prompts(self.entry, box, clicks)
        if kind is ImageSample and (box is not None or clicks):
            return with_prompts(self.sample_of(data, **more), box, clicks)
        if isinstance(data, kind):
            return replace(data if box is None else unlabelled_video(data.frames, box, data.name), **more)
        if (kind in PAIRED) != (moving is not None):
            rule = "must not be given for" if moving is not None else "must be given for"
            raise ValueError(f"moving {rule} {self.entry.id}")
        if kind is VideoSample and box is None:
            rule = "(x, y, width, height) in the first frame"
            raise ValueError(f"box must be given for {self.entry.id}: {rule}")
        if kind not in MAKERS:
            got = type(data).__name__
            raise ValueError(f"data must be a {kind.__name__} for {self.entry.id}, got {got}")
        beside = (moving,) if kind in PAIRED else (box,) if kind is VideoSample else ()
        return MAKERS[kind](data, *beside, **more)


def boxes_picture(image: np.ndarray, found: Boxes) -> np.ndarray:
    """The 12 surest boxes on an image (C, H, W), each with its class and score: (H', W', 3) uint8 RGB."""
    canvas = Canvas(image)
    for box in found.boxes[:MAX_BOXES]:
        canvas.box(box, "agent")
    for box, label, score in zip(found.boxes[:MAX_BOXES], found.labels, found.scores, strict=False):
        canvas.text(f"{label} {score:.2f}", [box[0] + 2 / canvas.zoom, box[1] + 18 / canvas.zoom])
    return canvas.pixels


def masks_picture(image: np.ndarray, found: Mask) -> np.ndarray:
    """The outlines of regions on an image (C, H, W), each with its label: (H', W', 3) uint8 RGB."""
    canvas = Canvas(image)
    for mask in found.masks:
        canvas.outline(mask, "agent")
    for mask, label in zip(found.masks, found.labels, strict=True):
        if label and mask.any():
            canvas.text(label, np.argwhere(mask)[0][::-1])
    return canvas.pixels


def load_agent(run: str | Path, device: str = "auto") -> Agent:
    """The agent of a run's folder, or one that comes with the library by its name, ready for new files.

    Raises:
        FileNotFoundError: the folder holds no finished run.
        ValueError: ``config.json`` is not one of a run, or the device is not here.
    """
    from visionrl.agents.evaluation.policies import agent_policy
    from visionrl.agents.training.saving import load_model

    model, config = load_model(run, device)
    return Agent(config.env, agent_policy(model), config.env_kwargs, name=Path(run).name, model=model)


def classical(
    env: str,
    name: str,
    data: str | None = None,
    say: Callable[[str], None] = lambda what: None,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Agent:
    """A classical method of a task as an agent; one that learns is fitted on the training split.

    Args:
        env: id of the task.
        name: of the method.
        data: what it learns from; None for the embedded set.
        say: called before what may take minutes, with what that is.
        env_kwargs: arguments of the task.

    Raises:
        ValueError: the task has no such method, or an argument that the method needs is not given.
    """
    entry = entry_of(env)
    methods = {plain(known): (known, row) for known, row in BASELINES.get(entry.id, {}).items()}
    if plain(name) not in methods:
        known = "; ".join(known for known, _ in methods.values())
        raise ValueError(
            f"agent must be a run's folder or one of {known}, got {name!r}{did_you_mean(plain(name), methods)}"
        )
    known, row = methods[plain(name)]
    given = {**entry.task.evaluation, **(env_kwargs or {})}
    if row.needs is not None and given.get(row.needs) is None:
        raise ValueError(f"env_args must have {row.needs} for {known}")
    train = make_task(entry.id, data=data, **given) if row.learns else None
    if train is not None:
        say(f"fitting {known} to the training split of {data or 'the embedded set'}")
    resolved: Mapping[str, Any] = {**getattr(train, "resolved_arguments", {}), **(env_kwargs or {})}
    return Agent(entry.id, None, resolved, name=known, method=row.fit(train))


def agent_named(
    name: str,
    env: str | None,
    device: str = "auto",
    data: str | None = None,
    say: Callable[[str], None] = lambda what: None,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Agent:
    """A trained agent by its folder or name; with an id, a classical method; for the rest see ``classical``.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: there is no such method, it is one of a task that is not named, or a trained agent is given
            arguments of its task.
    """
    if env is not None:
        return classical(env, name, data, say, env_kwargs)
    if env_kwargs:
        raise ValueError("env_args must be left out for a trained agent, which has its own")
    known = [task for task, methods in BASELINES.items() if plain(name) in map(plain, methods)]
    if known and not Path(name).is_dir():
        raise ValueError(f"env must be given for a classical method, {name!r} is one of {', '.join(known)}")
    return load_agent(name, device)
