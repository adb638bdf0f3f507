"""A trained agent, ready to be used on new files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from gymnasium.utils.seeding import np_random

from visionrl.agents.evaluation.episodes import Episodes, Plan, rollout, run_each, task_kwargs
from visionrl.core import BASELINES, Task, batch, did_you_mean, entry_of, make_task
from visionrl.core.results import Result
from visionrl.datasets import ImageSample, PairSample, VideoSample, VolumeSample, XraySample
from visionrl.datasets.readers.files import read_image
from visionrl.datasets.unlabelled import read_unlabelled, read_unlabelled_pair, with_xrays

# arguments of a run that concern the data it learnt from
OF_TRAINING = ("data", "split", "split_file", "split_ratios", "split_seed")


@dataclass(frozen=True)
class Prediction:
    """What an agent found in one file.

    Attributes:
        name: of the file's sample.
        result: see ``visionrl.core.results``.
        steps: actions taken, of all episodes; 0 for a classical method.
        milliseconds: wall clock, without reading the file and loading the agent.
        task: the task on this file.
        ends: the last states, one row an episode.
    """

    name: str
    result: Result
    steps: int
    milliseconds: float
    task: Task
    ends: Any

    def pictures(self) -> list[np.ndarray]:
        """One annotated picture an episode, (H, W, 3) uint8 RGB."""
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
        self.env_kwargs = {key: value for key, value in given.items() if key not in OF_TRAINING}
        self.sample_type = self.entry.task.unlabelled_type or self.entry.task.sample_type

    def predict(self, data: Any, moving: Any = None, **more: Any) -> Result:
        """What the agent finds in one image, volume, video or pair.

        Args:
            data: a file, an array, or a sample. Arrays are (H, W), (H, W, C) or (C, H, W) uint8 for images,
                (D, H, W) uint8 for volumes, axes (z, y, x).
            moving: the image or volume that is brought onto the first, for registration; the CT that is brought onto
                an X-ray, or onto a list of X-rays of several views.
            more: fields of the sample: ``spacing_mm`` of a volume, ``boxes`` of a video, ...

        Raises:
            ValueError: the file or the array is not what the task is about.
        """
        return self.predict_sample(self.sample_of(data, moving, **more)).result

    def predict_sample(self, sample: Any, seed: int = 0) -> Prediction:
        """What the agent finds in one sample; its labels are not looked at.

        Args:
            sample: of the task's ``sample_type``.
            seed: of where episodes start.
        """
        task = self.task_on(sample)
        states = [task.sample(np_random(seed)[0], item) for item in range(task.items)]
        began = perf_counter()
        if self.method is not None:
            ends, steps = run_each(task, self.method, states), 0
        else:
            limit = self.env_kwargs.get("max_episode_steps", self.entry.max_steps) or math.inf
            plan = Plan(task, Episodes([], [], np.zeros(0)), limit, len(states))
            ends, totals = rollout(plan, self.policy, states)
            steps = int(totals["length"].sum())
        spent = 1000 * (perf_counter() - began)
        first, *others = [task.result(batch.take(ends, row)) for row in range(len(states))]
        return Prediction(sample.name, first.joined(others), steps, spent, task, ends)

    def task_on(self, sample: Any) -> Task:
        """The task on one sample without its labels."""
        kwargs = task_kwargs({**self.env_kwargs, "data": [sample], "labelled": False}, "test")
        return make_task(self.entry.id, **kwargs)

    def sample_of(self, data: Any, moving: Any = None, **more: Any) -> Any:
        """The sample of a file, an array, or a sample as it is.

        Raises:
            ValueError: it is none of what the task is about.
        """
        kind: Any = self.sample_type
        if isinstance(data, kind):
            return replace(data, **more)
        if (kind in (PairSample, XraySample)) != (moving is not None):
            rule = "must not be given for" if moving is not None else "must be given for"
            raise ValueError(f"moving {rule} {self.entry.id}")
        if kind is XraySample:
            return xray_sample(data, moving, **more)
        if isinstance(data, str | Path) and kind is PairSample:
            return replace(read_unlabelled_pair(Path(data), Path(moving)), **more)
        if isinstance(data, str | Path) and kind in (ImageSample, VolumeSample):
            return replace(read_unlabelled(Path(data), kind), **more)
        if kind is ImageSample:
            return ImageSample(channels_first(data), **more)
        if kind is VolumeSample:
            volume = np.asarray(data)
            return VolumeSample(volume[None] if volume.ndim == 3 else volume, **more)
        if kind is PairSample:
            return PairSample(channels_first(data), channels_first(moving), **more)
        if kind is VideoSample and not isinstance(data, str | Path):
            return VideoSample(data, **more)
        raise ValueError(f"data must be a {kind.__name__} for {self.entry.id}, got {type(data).__name__}")


def xray_sample(xrays: Any, scan: Any, **more: Any) -> XraySample:
    """The sample of X-rays, one or a list of files or arrays, and of a CT, a file, an array or a sample."""
    several = xrays if isinstance(xrays, list | tuple) else [xrays]
    films = [read_image(Path(x)) if isinstance(x, str | Path) else channels_first(x) for x in several]
    if isinstance(scan, str | Path):
        scan = read_unlabelled(Path(scan), VolumeSample)
    elif not isinstance(scan, VolumeSample):
        volume = np.asarray(scan)
        scan = VolumeSample(volume[None] if volume.ndim == 3 else volume, more.pop("spacing_mm", None))
    return replace(with_xrays(scan, films), **more)


def channels_first(image: Any) -> np.ndarray:
    """An image as (C, H, W); volumes (1, D, H, W) stay."""
    array = np.asarray(image)
    if array.ndim == 2:
        return array[None]
    return array.transpose(2, 0, 1) if array.ndim == 3 and array.shape[2] in (1, 3) else array


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


def classical(env: str, name: str, data: str | None = None) -> Agent:
    """A classical method of a task as an agent; one that learns is fitted on the training split.

    Args:
        env: id of the task.
        name: of the method.
        data: what it learns from; None for the embedded set.

    Raises:
        ValueError: the task has no such method.
    """
    entry = entry_of(env)
    methods = {plain(known): (known, row) for known, row in BASELINES.get(entry.id, {}).items()}
    if plain(name) not in methods:
        known = ", ".join(known for known, _ in methods.values())
        raise ValueError(
            f"agent must be a run's folder or one of {known}, got {name!r}{did_you_mean(plain(name), methods)}"
        )
    known, row = methods[plain(name)]
    train = make_task(entry.id, data=data, **entry.task.evaluation) if row.learns else None
    resolved: Mapping[str, Any] = getattr(train, "resolved_arguments", {})
    return Agent(entry.id, None, resolved, name=known, method=row.fit(train))


def plain(name: str) -> str:
    """Normalize the name of a method: "Median-Flow" becomes "median flow"."""
    return name.lower().replace("-", " ").replace("_", " ")


def agent_named(name: str, env: str | None, device: str = "auto", data: str | None = None) -> Agent:
    """A trained agent by its folder or name; with an id, a classical method.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: there is no such method.
    """
    return load_agent(name, device) if env is None else classical(env, name, data)
