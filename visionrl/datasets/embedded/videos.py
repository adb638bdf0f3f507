"""Embedded videos for single-object tracking: real cut-outs moving over real photographs, with exact boxes.

Every pixel comes from a photograph of ``cutouts``; what is made up is the motion: a smooth path with changes
of scale, angle and light, defocus and motion blur, a camera that pans over the background, and in part of the
videos objects that move about behind the target and objects that pass in front of it.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass

import cv2
import numpy as np

from visionrl.datasets.embedded.compose import (
    Layer,
    blur,
    extent,
    is_grey,
    layer,
    paste,
    poses,
    smooth,
    tint,
    wander,
)
from visionrl.datasets.embedded.cutouts import PHOTOGRAPHS, Background, Cutout, backgrounds, cut, cutouts
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.samples import VideoSample
from visionrl.datasets.splits import check_split

HEIGHT, WIDTH = 160, 208
COUNTS = {"train": 200, "val": 12, "test": 24}
LENGTHS = {"train": 12, "val": 40, "test": 40}  # many short videos teach more than few long ones
MAX_MOTION = 0.35
"""Most that the path of an object moves in one frame, in sides (root of the area) of its box."""

_SEED = 731
_PER_PHOTOGRAPH = 9
_FRAME = np.array([WIDTH, HEIGHT], float)


@dataclass(frozen=True)
class Actor:
    """One moving cut-out.

    Attributes:
        name: which cut-out.
        photograph: the photograph that it was cut from.
        drawn: its pixels.
        matrices: (T, 2, 3) float64, from its pixels to the frame's.
    """

    name: str
    photograph: str
    drawn: Layer
    matrices: np.ndarray


@dataclass(frozen=True)
class Scene:
    """Everything that a video shows, before it is drawn; T frames.

    Attributes:
        backdrop: (H, W, 3) uint8, the background at the size at which it is drawn.
        source: the photograph that the backdrop is.
        corner: (T, 2) float64, (x, y) of the backdrop at the frame's top-left pixel.
        behind: the objects drawn before the target.
        target: the object to follow.
        front: the objects drawn after the target.
        light: (T, 2) float64, factor and offset of all pixel values.
        defocus: (T,) float64, standard deviation of the blur of objects in pixels; under 0.3 is none.
        shutter: part of a frame's motion that blurs the objects, 0 to 1.
        grain: (H, W, 3) uint8 sensor noise about 16, of which each frame shows a window.
        boxes: (T, 4) float64, the target's box in each frame.
    """

    backdrop: np.ndarray
    source: str
    corner: np.ndarray
    behind: tuple[Actor, ...]
    target: Actor
    front: tuple[Actor, ...]
    light: np.ndarray
    defocus: np.ndarray
    shutter: float
    grain: np.ndarray
    boxes: np.ndarray


class CutoutVideos(GeneratedDataset[VideoSample]):
    """Videos of one real object moving over a real background.

    Frames are (3, 160, 208) uint8 RGB. A box is the tight extent of the target's outline (opacity one half)
    to a fraction of a pixel, hidden parts included, clipped to the frame, as OTB annotates (Wu, Lim and Yang
    2013); at least half of the unclipped box lies inside the frame at any time. The box's side, the root of
    its area, is about 24 to 64 px; its middle moves 0.05 to 0.25 sides a frame as a rule and 0.35 at most.
    Item ``i`` depends on the split, ``i`` and ``length`` alone and is drawn at each access.

    Args:
        split: ``"train"``, ``"val"`` or ``"test"``; no two share a photograph, of objects or backgrounds.
        count: number of videos; None: 200, 12 and 24 of the three splits.
        length: frames in a video, before ``jump``; None: 12, 40 and 40.
        jump: a quarter of the frames is left out, from a third of the video on; the object is then elsewhere. Videos
            of fewer than four frames lose none.

    Raises:
        ValueError: no such split, or ``count`` or ``length`` under 1.
        FileNotFoundError: a photograph is missing from the installed scikit-image.
    """

    def __init__(
        self, split: str, count: int | None = None, length: int | None = None, jump: bool = False
    ) -> None:
        super().__init__(split, count, COUNTS)
        self.jump = jump
        self.length = LENGTHS[split] if length is None else operator.index(length)
        if self.length < 1:
            raise ValueError(f"length must be >= 1, got {length}")
        cutouts(split)  # a missing photograph fails here, not in the middle of training
        backgrounds(split)

    def _make(self, number: int) -> VideoSample:
        made = scene(self.split, number, self.length)
        name = f"{self.split} {number}: {made.target.name}"
        left_out = range(self.length // 3, self.length // 3 + self.length // 4 * self.jump)
        kept = [frame for frame in range(self.length) if frame not in left_out]
        return VideoSample(render(made)[kept], made.boxes[kept], name=name, subject=made.target.photograph)


def targets(split: str) -> tuple[Cutout, ...]:
    """The cut-outs that a split's videos follow, in the order of the videos; at most nine of a photograph."""
    found = cutouts(split)
    order = np.random.default_rng((_SEED, 0)).permutation(len(found))
    seen = dict.fromkeys(PHOTOGRAPHS[split], 0)
    kept = []
    for cutout in (found[number] for number in order):
        seen[cutout.photograph] += 1
        if seen[cutout.photograph] <= _PER_PHOTOGRAPH:
            kept.append(cutout)
    return tuple(kept)


def scene(split: str, index: int, length: int) -> Scene:
    """Draws the scene of video ``index`` of a split: a pure function of its arguments."""
    rng = np.random.default_rng((_SEED, list(PHOTOGRAPHS).index(check_split(split)) + 1, index))
    choices = targets(split)
    cutout = choices[index % len(choices)]
    places = [place for place in backgrounds(split) if place.photograph != cutout.photograph]
    place = places[(index + index // len(choices)) % len(places)]
    inside = 0.25 if rng.random() < 0.2 else 0.45
    target = actor(rng, cutout, rng.uniform(30, 50), length, inside)
    used = (cutout.photograph, place.photograph)
    others = [other for other in cutouts(split) if other.photograph not in used]
    backdrop, corner = camera(rng, place, length)
    return Scene(
        backdrop=backdrop,
        source=place.photograph,
        corner=corner,
        behind=_distractors(rng, others, length),
        target=target,
        front=_occluders(rng, split, others, target, length),
        light=light(rng, length),
        defocus=defocus(rng, length),
        shutter=float(rng.uniform(0.3, 0.6)) if rng.random() < 0.5 else 0.0,
        grain=grain(rng),
        boxes=np.clip(extent(target.drawn, target.matrices), 0, np.tile(_FRAME, 2)),
    )


def render(made: Scene) -> np.ndarray:
    """(T, 3, 160, 208) uint8 frames of a scene."""
    frames = np.empty((len(made.corner), 3, HEIGHT, WIDTH), np.uint8)
    for time, corner in enumerate(made.corner):
        frame = cv2.getRectSubPix(made.backdrop, (WIDTH, HEIGHT), corner + (_FRAME - 1) / 2)
        for one in (*made.behind, made.target, *made.front):
            moved = one.matrices[time] - one.matrices[max(time - 1, 0)]
            kernel = blur(moved @ one.drawn.middle * made.shutter, made.defocus[time])
            paste(frame, one.drawn, one.matrices[time], kernel)
        y, x = (37 * time) % 64, (23 * time) % 64
        gain, offset = made.light[time]
        frame = cv2.addWeighted(frame, gain, made.grain[y : y + HEIGHT, x : x + WIDTH], 1, offset - 16)
        for channel, plane in enumerate(cv2.split(frame)):
            frames[time, channel] = plane
    return frames


def draw_at(rng: np.random.Generator, cutout: Cutout, side: float) -> Layer:
    """A layer whose outline's box has an area of ``side`` squared, in random colours."""
    height, width = cutout.alpha.shape
    return layer(cutout, side / np.sqrt((height - 6) * (width - 6)), tint(rng, is_grey(cutout.image)))


def actor(rng: np.random.Generator, cutout: Cutout, side: float, length: int, inside: float) -> Actor:
    """A cut-out on a smooth path; the middle of its box keeps ``inside`` sides off the frame's edge."""
    height, width = cutout.alpha.shape
    aspect = max(height / width, width / height)
    side = min(side, 58 / np.sqrt(aspect))
    swing = rng.uniform(0, 0.25)
    scale = np.exp(swing * smooth(rng, length, 14))
    drawn = draw_at(rng, cutout, side * scale.max())
    scale = scale / scale.max()
    angle = rng.uniform(-0.2, 0.2) + rng.uniform(0, 0.6 if aspect < 1.3 else 0.25) * smooth(rng, length, 12)
    centred = extent(drawn, poses(drawn, np.zeros((length, 2)), scale, angle))
    margin = (centred[:, 2:] - centred[:, :2]).max(0) * inside
    sides = np.sqrt(np.prod(centred[:, 2:] - centred[:, :2], axis=1))
    path = wander(rng, sides, margin - 0.5, _FRAME - 0.5 - margin, MAX_MOTION)
    middles = (centred[:, 2:] + centred[:, :2] - 1) / 2
    return Actor(cutout.name, cutout.photograph, drawn, poses(drawn, path - middles, scale, angle))


def _distractors(rng: np.random.Generator, others: list[Cutout], length: int) -> tuple[Actor, ...]:
    """One to three other objects on their own paths, in 45 % of the videos."""
    if rng.random() >= 0.45:
        return ()
    chosen = rng.choice(len(others), rng.integers(1, 4), replace=False)
    return tuple(actor(rng, others[number], rng.uniform(24, 48), length, 0.1) for number in chosen)


def _occluders(
    rng: np.random.Generator, split: str, others: list[Cutout], target: Actor, length: int
) -> tuple[Actor, ...]:
    """Draws what crosses in front of the target once, in 40 % of the videos: an object or an upright bar."""
    if rng.random() >= 0.4:
        return ()
    boxes = extent(target.drawn, target.matrices)
    middles = (boxes[:, :2] + boxes[:, 2:] - 1) / 2
    moment = int(rng.integers(length // 4, max(length // 4 + 1, length * 3 // 4)))
    side = float(np.sqrt(np.prod(boxes[moment, 2:] - boxes[moment, :2])))
    upright = rng.random() < 0.4
    cutout = bar(rng, split) if upright else others[rng.integers(len(others))]
    across = float(np.sqrt(cutout.alpha.size)) if upright else side * rng.uniform(0.5, 0.85)
    drawn = draw_at(rng, cutout, across)
    meet = middles[moment] + rng.uniform(-0.2, 0.2, 2) * side
    heading = 0 if upright else rng.uniform(-0.7, 0.7)
    speed = side * rng.uniform(0.14, 0.26) * np.array([np.cos(heading), np.sin(heading)])
    if (meet - middles[0]) @ speed > 0:  # it comes from afar, so the first frame shows the whole target
        speed = -speed
    path = np.where([True, not upright], meet, HEIGHT / 2) + (np.arange(length) - moment)[:, None] * speed
    angle = rng.uniform(-0.15, 0.15) + np.zeros(length)
    return (Actor(cutout.name, cutout.photograph, drawn, poses(drawn, path, np.ones(length), angle)),)


def bar(rng: np.random.Generator, split: str) -> Cutout:
    """An upright strip of a background, higher than the frame."""
    place = backgrounds(split)[rng.integers(len(backgrounds(split)))]
    image = cv2.merge(list(place.image))
    image = cv2.resize(
        image, None, fx=200 / image.shape[0], fy=200 / image.shape[0], interpolation=cv2.INTER_AREA
    )
    width = rng.uniform(12, 22)
    x = rng.uniform(1, image.shape[1] - 2 - width)
    outline = np.array([[x, 0], [x + width, 0], [x + width, 199], [x, 199]])
    return cut(image, outline, f"bar of {place.photograph}", place.photograph, max_side=200)


def camera(rng: np.random.Generator, place: Background, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The background's pixels, and (T, 2) corners of a view that pans, or stands still in 25 % of videos."""
    image = cv2.merge(list(place.image))
    if rng.random() < 0.5:
        image = image[:, ::-1]
    fit = min(image.shape[1] / (WIDTH + 8), image.shape[0] / (HEIGHT + 8))
    scale = min(rng.uniform(1.1, 2.2), max(fit, 1.15)) / fit
    size = [round(extent * scale) for extent in image.shape[1::-1]]
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    image = cv2.LUT(image, tint(rng, is_grey(place.image)))
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.7, 2.0))
    room = (np.array(size) - _FRAME - 2) / 2
    drift = np.stack([smooth(rng, length, 20), smooth(rng, length, 20)], 1)
    swing = 0.0 if rng.random() < 0.25 else np.minimum(room, rng.uniform(10, 30))
    corner = np.clip(room + rng.uniform(-1, 1, 2) * (room - swing) + swing * drift, 0, 2 * room)
    return image, corner


def light(rng: np.random.Generator, length: int) -> np.ndarray:
    """(T, 2) factor and offset of the pixel values; they change in 45 % of the videos."""
    change = 1.0 if rng.random() < 0.45 else 0.0
    gain = np.exp(change * 0.3 * smooth(rng, length, 12) - 0.05)
    return np.stack([gain, change * 14 * smooth(rng, length, 16)], 1)


def defocus(rng: np.random.Generator, length: int) -> np.ndarray:
    """(T,) standard deviation of the blur in pixels; over 0 now and then in 30 % of the videos."""
    return np.clip(1.6 * smooth(rng, length, 10), 0, 1.4) * float(rng.random() < 0.3)


def grain(rng: np.random.Generator) -> np.ndarray:
    """(224, 272, 3) uint8 noise about 16."""
    noise = rng.standard_normal((HEIGHT + 80, WIDTH + 80), np.float32) * np.float32(rng.uniform(0.8, 3.0))
    coarse = np.clip(np.rint(16 + noise), 0, 32).astype(np.uint8)
    height, width = HEIGHT + 64, WIDTH + 64
    return cv2.merge([coarse[shift : shift + height, shift : shift + width] for shift in (0, 8, 16)])
