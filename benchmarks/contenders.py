"""What is timed: both tasks on every backend, scalar environments, bare kernels, other people's libraries."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import cycle
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from scalar_envs import ScalarLandmark, ScalarTracking
from skimage import data as photographs

import visionrl  # noqa: F401  files the tasks
from visionrl import ops
from visionrl.core import TaskVectorEnv, make_task
from visionrl.datasets import ImageSample, VideoSample, load
from visionrl.datasets.formats import register_format
from visionrl.ops import resample

ROWS = 64  # the batch at which the comparisons are made
TAPE = 256  # random actions drawn beforehand
SAME_STEP = {"autoreset_mode": AutoresetMode.SAME_STEP}


@dataclass(frozen=True)
class Setup:
    """One task with the arguments under which it is timed.

    Attributes:
        name: what the tables call it.
        task: id.
        limit: steps after which an episode is cut off, or None.
        about: what an observation is.
        kwargs: constructor arguments.
    """

    name: str
    task: str
    limit: int | None
    about: str
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def landmark(self) -> bool:
        """Whether it is the landmark task, else it is tracking."""
        return "Landmark" in self.task


LANDMARK_84: dict[str, Any] = {"data": "bench-photographs", "window": 84, "step_sizes": (1,), "scales": (1,)}
SETUPS = (
    Setup(
        "landmark",
        "visionrl/LandmarkLocalization-v0",
        200,
        "as in the demo: 3 views of 32x32 grey, 96 images of 160x160",
        {"window": 32},
    ),
    Setup(
        "landmark-84",
        "visionrl/LandmarkLocalization-v0",
        200,
        "1 view of 84x84 RGB, 32 images of 480x640",
        LANDMARK_84,
    ),
    Setup(
        "tracking", "visionrl/Tracking-v0", None, "112x112 RGB, 200 videos of 160x208", {"views": ("window",)}
    ),
    Setup(
        "tracking-84",
        "visionrl/Tracking-v0",
        None,
        "84x84 RGB, 200 videos of 160x208",
        {"window": 84, "views": ("window",)},
    ),
)


@dataclass(frozen=True)
class Contender:
    """Something that makes ``rows`` environment steps a call.

    Attributes:
        name: ``setup/kind/rows``; unique.
        rows: environment steps per call.
        call: makes them.
        wait: returns when the work of all calls is done.
        threads: that it may use.
    """

    name: str
    rows: int
    call: Callable[[], Any]
    wait: Callable[[], Any] = lambda: None
    threads: int = 1


@register_format("bench-photographs", kind=ImageSample, embedded=True)
def read_photographs(path: None, options: Any) -> list[ImageSample]:
    """32 random 480x640 parts of photographs that scikit-image brings along, each with one random point."""
    rng = np.random.default_rng(0)
    sources = [photographs.astronaut(), photographs.coffee(), photographs.chelsea(), photographs.rocket()]
    samples = []
    for number in range(32):
        source = cv2.resize(sources[number % len(sources)], (800, 600))
        y, x = rng.integers(120), rng.integers(160)
        image = np.ascontiguousarray(source[y : y + 480, x : x + 640].transpose(2, 0, 1))
        samples.append(
            ImageSample(image, points={"point": rng.uniform((64, 48), (576, 432))}, name=str(number))
        )
    return samples


def set_threads(count: int) -> None:
    """How many threads the kernels on the CPU use from now on."""
    if os.environ.get("VISIONRL_THREADS") != str(count):
        os.environ["VISIONRL_THREADS"] = str(count)
        resample._threads.cache_clear()


def actions_of(setup: Setup, rows: int) -> np.ndarray:
    """(TAPE, rows) int64 random actions."""
    count = make_task(setup.task, **setup.kwargs).action_space.n
    return np.random.default_rng(rows).integers(0, count, (TAPE, rows))


def single(name: str, env: gym.Env, tape: np.ndarray) -> Contender:
    """One environment, begun anew whenever it is over."""
    env.reset(seed=0)
    actions = cycle(tape[:, 0].tolist())

    def call() -> None:
        _, _, terminated, truncated, _ = env.step(next(actions))
        if terminated or truncated:
            env.reset()

    return Contender(name, 1, call)


def batched(
    name: str, env: Any, tape: Any, wait: Callable[[], Any] = lambda: None, threads: int = 1
) -> Contender:
    """A vector environment that restarts its rows itself."""
    env.reset(seed=0)
    actions = cycle(list(tape))
    return Contender(name, env.num_envs, lambda: env.step(next(actions)), wait, threads)


def engine(setup: Setup, sizes: tuple[int, ...], backend: str, device: str = "cpu") -> Iterator[Contender]:
    """The batched engine at several batch sizes."""
    for rows in sizes:
        env = TaskVectorEnv(
            rows, setup.task, max_episode_steps=setup.limit, backend=backend, device=device, **setup.kwargs
        )
        tape = actions_of(setup, rows)
        kind = backend if device == "cpu" else device
        if backend == "numpy":
            yield batched(f"{setup.name}/{kind}/{rows}", env, tape)
            continue
        import torch

        wait = torch.cuda.synchronize if device != "cpu" else lambda: None
        yield batched(f"{setup.name}/{kind}/{rows}", env, torch.as_tensor(tape, device=device), wait)


@lru_cache(maxsize=8)
def _scalar_arguments(name: str) -> dict[str, Any]:
    setup = next(setup for setup in SETUPS if setup.name == name)
    task: Any = make_task(setup.task, **setup.kwargs)
    if not setup.landmark:
        samples = load(None, kind=VideoSample, default="cutout-videos")
        videos = [np.ascontiguousarray(np.asarray(s.frames).transpose(0, 2, 3, 1)) for s in samples]
        return {
            "videos": videos,
            "boxes": [np.asarray(s.boxes, float) for s in samples],
            "window": task.window,
        }
    images = [np.ascontiguousarray(s.image.transpose(1, 2, 0)).squeeze() for s in task.samples]
    pairs = [(i, k, tuple(map(float, task.samples[i].points[task.names[k]]))) for i, k in task.pairs]
    sizes = {"window": task.bank.size, "step_sizes": task.step_sizes, "scales": task.bank.scales}
    return {"images": images, "pairs": pairs, "goals": len(task.names), **sizes}


def make_scalar(setup: str) -> gym.Env:
    """The hand-written environment of a setup; all share one copy of the pixels."""
    kind = ScalarLandmark if "landmark" in setup else ScalarTracking
    return kind(**_scalar_arguments(setup))  # type: ignore[operator]


def register_scalars() -> None:
    """File the hand-written environments in Gymnasium, so that they get the same wrappers."""
    for setup in SETUPS:
        gym.register(
            f"scalar/{setup.name}-v0",
            entry_point=make_scalar,
            max_episode_steps=setup.limit,
            kwargs={"setup": setup.name},
        )


def rivals(setup: Setup) -> Iterator[Contender]:
    """One environment alone, and Gymnasium's SyncVectorEnv, of the task and of the hand-written one."""
    tape = actions_of(setup, ROWS)
    ids = {"gym": (setup.task, setup.kwargs), "scalar": (f"scalar/{setup.name}-v0", {})}
    for kind, (task, kwargs) in ids.items():
        yield single(f"{setup.name}/{kind}/1", gym.make(task, **kwargs), tape)
        env = gym.make_vec(task, ROWS, vectorization_mode="sync", vector_kwargs=SAME_STEP, **kwargs)
        yield batched(f"{setup.name}/sync-{kind}/{ROWS}", env, tape)


def kernels(setup: Setup) -> Iterator[Contender]:
    """The windows alone, where episodes went, and a copy of the observations into memory at hand."""
    env = TaskVectorEnv(ROWS, setup.task, max_episode_steps=setup.limit, **setup.kwargs)
    obs, _ = env.reset(seed=0)
    name = "patch" if setup.landmark else "resize"
    kernel, calls = getattr(ops, name), []

    def record(*args: Any) -> Any:
        calls.append(args)
        return kernel(*args)

    setattr(ops, name, record)
    try:
        for actions in actions_of(setup, ROWS)[:64]:
            obs = env.step(actions)[0]
    finally:
        setattr(ops, name, kernel)
    whole = cycle([args for args in calls if len(args[1]) == ROWS])
    yield Contender(f"{setup.name}/crops/{ROWS}", ROWS, lambda: kernel(*next(whole)))
    target = {key: value.copy() for key, value in obs.items()}
    source = {key: value.copy() for key, value in obs.items()}
    copy = lambda: [np.copyto(target[key], source[key]) for key in target]  # noqa: E731
    yield Contender(f"{setup.name}/memcpy/{ROWS}", ROWS, copy)


def two_threads(setup: Setup) -> Iterator[Contender]:
    """The engine with a second thread for its windows."""
    env = TaskVectorEnv(ROWS, setup.task, max_episode_steps=setup.limit, **setup.kwargs)
    yield batched(f"{setup.name}/numpy-2-threads/{ROWS}", env, actions_of(setup, ROWS), threads=2)


def envpool_pong() -> Contender:
    """EnvPool's Pong, 84x84x4 grey, 4 frames of the emulator a step, one thread."""
    import envpool

    env = envpool.make_gymnasium("Pong-v5", num_envs=ROWS, num_threads=1)
    env.reset()
    actions = cycle(np.random.default_rng(0).integers(0, env.action_space.n, (TAPE, ROWS)).astype(np.int32))
    return Contender(f"envpool/Pong/{ROWS}", ROWS, lambda: env.step(next(actions)))


def ap_gym_circle() -> Contender:
    """ap-gym's CircleSquare, a 5x5 grey glimpse, with its own batched environment."""
    import ap_gym

    env = ap_gym.make_vec("CircleSquare-v0", num_envs=ROWS)
    env.action_space.seed(0)
    return batched(f"ap-gym/CircleSquare/{ROWS}", env, [env.action_space.sample() for _ in range(TAPE)])


def others() -> tuple[list[Contender], dict[str, str]]:
    """Other people's environments, and why those that are missing are."""
    found, missing = [], {}
    for make in (envpool_pong, ap_gym_circle):
        try:
            found.append(make())
        except ImportError as error:
            missing[make.__name__] = f"{type(error).__name__}: {error}"
    return found, missing
