"""Embedded clips: films of events for summaries, and short clips of one motion each for action recognition.

As in ``videos``, every pixel comes from a photograph of ``cutouts`` and what is made up is the motion. No photograph,
of objects or backgrounds, is in two splits.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from visionrl.datasets.embedded.compose import Layer, is_grey, layer, paste, poses, smooth, tint
from visionrl.datasets.embedded.cutouts import PHOTOGRAPHS, Cutout, backgrounds, cutouts
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.samples import ClipSample
from visionrl.datasets.splits import SPLITS, check_split

HEIGHT, WIDTH, FPS = 36, 48, 4.0
FILMS = {"train": 32, "val": 8, "test": 16}
USERS, PIECE = 20, 8
"""Simulated people of a film, and frames (2 s) to which each gives one score, as in TVSum (Song et al., 2015)."""

MOTIONS = ("left", "right", "up", "down", "grow", "shrink", "turn", "back and forth")
CLIPS = {"train": 400, "val": 80, "test": 160}
SIDE, LENGTH = 40, 32
"""Sides of a motion's frames, pixels, and their number."""

REACH = 13.0  # of a motion, pixels
_FILM_SEED, _MOTION_SEED = 4127, 5981
_EDGE = 6  # pixels by which a backdrop is larger than the frame, so that the camera can move
_NOISE = 0.9  # standard deviation of a user's opinion of a piece; people then agree with tau .2, as in TVSum
_TASTE = 0.35  # standard deviation of a user's liking of a shot


@dataclass(frozen=True)
class Shot:
    """One shot of a film, before it is drawn; T frames.

    Attributes:
        backdrop: (H + 6, W + 6, 3) uint8.
        camera: (T, 2) float64, (x, y) of the frame's corner on the backdrop.
        actors: the layers, each with its (T, 2) path of (x, y) in the frame.
        event: first frame of the event and the one after its last; None in a still.
        kind: "enter", "meet" or "still".
    """

    backdrop: np.ndarray
    camera: np.ndarray
    actors: tuple[tuple[Layer, np.ndarray], ...]
    event: tuple[int, int] | None
    kind: str


class EventFilms(GeneratedDataset[ClipSample]):
    """Films of 6 to 10 shots, (3, 36, 48) uint8 at 4 frames a second, some 350 frames each.

    Three or four shots show an event: an object enters, or two meet. One or two of these come again later, shot from
    a little to the side. The others are stills, which the camera may pan over. The events are the ``segments``, without
    the repeated ones. Their frames have an importance of 0.8 to 1, those of a repeated event 0.2, all others 0.1.

    ``scores`` are those of 20 simulated people, 1 to 5 and one every two seconds: the importance, a liking of each
    shot, and noise, so that two of them agree as little as in TVSum (Kendall's tau about 0.2). Item ``i`` depends on
    the split and ``i`` alone.

    Args:
        split: "train", "val" or "test".
        count: number of films; None: 32, 8 and 16 of the three splits.

    Raises:
        ValueError: another split, or ``count`` below 1.
        FileNotFoundError: a photograph is missing from the installed scikit-image.
    """

    def __init__(self, split: str, count: int | None = None) -> None:
        super().__init__(split, count, FILMS)

    def _make(self, number: int) -> ClipSample:
        rng = np.random.default_rng((_FILM_SEED, SPLITS.index(self.split), number))
        shots, importance, liked = plan(rng, self.split)
        frames = np.concatenate([render(rng, shot) for shot in shots])
        starts = np.cumsum([0, *(len(shot.camera) for shot in shots)])
        events = [
            (*(start + np.array(shot.event)).tolist(), shot.kind)
            for start, shot, worth in zip(starts[:-1].tolist(), shots, importance, strict=True)
            if shot.event and max(worth) > 0.5
        ]
        scores = opinions(rng, np.concatenate(importance), np.concatenate(liked))
        return ClipSample(
            frames,
            segments=np.array([event[:2] for event in events], float),
            segment_labels=tuple(event[2] for event in events),
            scores=scores,
            fps=FPS,
            name=f"{self.split} film {number}",
        )


class Motions(GeneratedDataset[ClipSample]):
    """Clips of 32 frames (3, 40, 40) uint8 in which one object makes one of eight motions; that is the ``label``.

    The object moves left, right, up or down, grows, shrinks, turns, or goes back and forth, in 10 to 16 frames
    somewhere between the 4th and the 28th, which are the one segment; before and after it stands still. Item ``i``
    depends on the split and ``i`` alone; the classes take turns.

    Args:
        split: "train", "val" or "test".
        count: number of clips; None: 400, 80 and 160 of the three splits.

    Raises:
        ValueError: another split, or ``count`` below 1.
        FileNotFoundError: a photograph is missing from the installed scikit-image.
    """

    def __init__(self, split: str, count: int | None = None) -> None:
        super().__init__(split, count, CLIPS)

    def _make(self, number: int) -> ClipSample:
        rng = np.random.default_rng((_MOTION_SEED, SPLITS.index(self.split), number))
        kind = MOTIONS[number % len(MOTIONS)]
        others = cutouts(check_split(self.split))
        cutout = others[rng.integers(len(others))]
        length = int(rng.integers(10, 17))
        start = int(rng.integers(4, 29 - length))
        done = np.clip((np.arange(LENGTH) - start + 1) / length, 0, 1)
        side = rng.uniform(11, 15)
        centre, scale, angle = motion(kind, done, rng.uniform(-3, 3, 2))
        drawn = drawn_at(rng, cutout, side * scale.max())
        matrices = poses(drawn, centre, scale / scale.max(), angle)
        backdrop = place(rng, self.split, cutout.photograph, (SIDE, SIDE))
        frames = np.empty((LENGTH, SIDE, SIDE, 3), np.uint8)
        frames[:] = backdrop
        for frame, matrix in zip(frames, matrices, strict=True):
            paste(frame, drawn, matrix)
        return ClipSample(
            grainy(rng, frames),
            label=kind,
            segments=np.array([[start, start + length]], float),
            segment_labels=(kind,),
            name=f"{self.split} {number}: {kind}",
        )


def motion(kind: str, done: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres (T, 2), scales (T,) and angles (T,) of an object on its way.

    Args:
        kind: one of ``MOTIONS``.
        done: (T,) share of the motion that is over.
        offset: (2,) of the path's middle from the frame's, pixels.
    """
    middle = np.full((len(done), 2), (SIDE - 1) / 2) + offset
    still, along = np.ones(len(done)), REACH * (done - 0.5)
    ways = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
    if kind in ways:
        return middle + along[:, None] * np.array(ways[kind]), still, 0 * done
    if kind == "back and forth":
        out = REACH * (1 - np.abs(2 * done - 1)) - REACH / 2
        return middle + out[:, None] * np.array([1, 0]), still, 0 * done
    if kind == "turn":
        return middle, still, 2.0 * done
    return middle, np.exp((0.6 if kind == "grow" else -0.6) * (done - 0.5)), 0 * done


def plan(rng: np.random.Generator, split: str) -> tuple[list[Shot], list[np.ndarray], list[np.ndarray]]:
    """The shots of a film, and of each its frames' importance, and the number of its scene, (T,) both."""
    count = int(rng.integers(6, 11))
    events = [
        shot(rng, split, ("enter", "meet")[int(rng.integers(2))]) for _ in range(int(rng.integers(3, 5)))
    ]
    repeats = rng.permutation(len(events))[: int(rng.integers(1, 3))].tolist()
    stills = [shot(rng, split, "still") for _ in range(count - len(events) - len(repeats))]
    keys = rng.permutation(count)
    first = [*events, *stills]
    order = sorted((float(key), scene, False) for scene, key in enumerate(keys[: len(first)]))
    for scene in repeats:
        own = next(key for key, one, _ in order if one == scene)
        order.append((float(rng.uniform(own + 0.5, count + 1)), scene, True))
    shots, importance, scenes = [], [], []
    for _, scene, again in sorted(order):
        one = first[scene]
        if again:
            one = Shot(one.backdrop, pan(rng, len(one.camera), 0.0), one.actors, one.event, one.kind)
        worth = np.full(len(one.camera), 0.1)
        if one.event:
            worth[slice(*one.event)] = 0.2 if again else rng.uniform(0.8, 1)
        shots.append(one)
        importance.append(worth)
        scenes.append(np.full(len(worth), scene))
    return shots, importance, scenes


def shot(rng: np.random.Generator, split: str, kind: str) -> Shot:
    """A shot of a kind, "enter", "meet" or "still"."""
    others = cutouts(check_split(split))
    chosen = [others[number] for number in rng.permutation(len(others))[:2]]
    length = int(rng.integers(34, 61))
    backdrop = place(rng, split, chosen[0].photograph, (HEIGHT + _EDGE, WIDTH + _EDGE))
    middle = np.array([WIDTH, HEIGHT]) * rng.uniform(0.4, 0.6, 2)
    side = 1 if rng.random() < 0.5 else -1
    if kind == "still":
        actors = [(chosen[0], np.tile(middle, (length, 1)))] if rng.random() < 0.5 else []
        drawn = tuple((drawn_at(rng, cutout, rng.uniform(9, 13)), path) for cutout, path in actors)
        return Shot(backdrop, pan(rng, length, 3.0 if rng.random() < 0.5 else 0.0), drawn, None, kind)
    span = int(rng.integers(12, 21))
    start = int(rng.integers(3, length - span))
    done = np.clip((np.arange(length) - start + 1) / span, 0, 1)[:, None]
    away = np.array([side * (WIDTH / 2 + 10), 0]) * (1 if kind == "enter" else 0.5)
    paths = [middle + away * (1 - done)]
    if kind == "meet":
        paths = [paths[0] + np.array([side * 5, 0]), middle - away * (1 - done) - np.array([side * 5, 0])]
    drawn = tuple(
        (drawn_at(rng, cutout, rng.uniform(10, 15)), path)
        for cutout, path in zip(chosen, paths, strict=False)
    )
    return Shot(backdrop, pan(rng, length, 0.0), drawn, (start, start + span), kind)


def pan(rng: np.random.Generator, length: int, reach: float) -> np.ndarray:
    """(T, 2) corners of the view on a backdrop: it stands somewhere, or pans ``reach`` pixels to each side."""
    place = rng.uniform(1 + reach / 3, _EDGE - 1 - reach / 3, 2)
    ways = np.stack([smooth(rng, length, 16), smooth(rng, length, 16)], axis=1)
    return np.clip(place + reach * ways, 0, _EDGE)


def render(rng: np.random.Generator, one: Shot) -> np.ndarray:
    """(T, 3, 36, 48) uint8 frames of a shot."""
    frames = np.empty((len(one.camera), HEIGHT, WIDTH, 3), np.uint8)
    for time, corner in enumerate(one.camera):
        middle = corner + (np.array([WIDTH, HEIGHT]) - 1) / 2
        frames[time] = cv2.getRectSubPix(one.backdrop, (WIDTH, HEIGHT), middle)
        for drawn, path in one.actors:
            paste(frames[time], drawn, poses(drawn, path[time][None], np.ones(1), np.zeros(1))[0])
    return grainy(rng, frames)


def opinions(rng: np.random.Generator, importance: np.ndarray, scenes: np.ndarray) -> np.ndarray:
    """(USERS, T) float64 scores 1 to 5 of simulated people, one a piece of ``PIECE`` frames."""
    count = len(importance)
    starts = np.arange(0, count, PIECE)
    sizes = np.diff([*starts, count])
    worth = np.add.reduceat(importance, starts) / sizes
    shown = scenes[starts + sizes // 2]
    taste = rng.normal(0, _TASTE, (USERS, int(scenes.max()) + 1))[:, shown]
    slope = rng.uniform(0.6, 1.4, (USERS, 1))
    felt = 1.5 + 2.5 * slope * worth + taste + rng.normal(0, _NOISE, (USERS, len(starts)))
    return np.repeat(np.clip(np.rint(felt), 1, 5), sizes, axis=1)


def drawn_at(rng: np.random.Generator, cutout: Cutout, side: float) -> Layer:
    """A layer whose longer side is ``side`` pixels, in random colours."""
    return layer(cutout, side / (max(cutout.alpha.shape) - 6), tint(rng, is_grey(cutout.image)))


def place(rng: np.random.Generator, split: str, but: str, shape: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 part of a photograph of a split other than ``but``, in random colours and of less contrast."""
    names = [name for name in PHOTOGRAPHS[split] if name != but]
    found = [one for one in backgrounds(split) if one.photograph in names]
    one = found[rng.integers(len(found))]
    room = one.image.shape[1:]
    scale = min(room[0] / shape[0], room[1] / shape[1]) * rng.uniform(0.35, 1)
    high, wide = (max(1, int(side * scale)) for side in shape)
    y, x = (int(rng.integers(most - side + 1)) for most, side in zip(room, (high, wide), strict=True))
    part = np.ascontiguousarray(one.image[:, y : y + high, x : x + wide].transpose(1, 2, 0))
    part = cv2.resize(part, shape[::-1], interpolation=cv2.INTER_AREA)
    return cv2.LUT(part, tint(rng, is_grey(one.image)))


def grainy(rng: np.random.Generator, frames: np.ndarray) -> np.ndarray:
    """Frames (T, H, W, 3) as (T, 3, H, W) uint8 with the noise of a sensor and a light that changes a little."""
    light = 4 * smooth(rng, len(frames), 12)[:, None, None, None]
    noise = rng.standard_normal(frames.shape, np.float32) * np.float32(rng.uniform(1, 3))
    lit = np.clip(np.rint(frames + noise + light), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(lit.transpose(0, 3, 1, 2))
