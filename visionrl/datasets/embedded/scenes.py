"""Embedded scenes for captions and questions: photographed objects and garments on photographs, with all facts known.

The shapes and the texture are photographs: bricks, coins, faces, galaxies and printed words of ``objects``, and seven
kinds of garments out of the training file of Fashion-MNIST (Xiao et al., 2017). Made up are the colours, which tint
their grey pixels, and the places. Objects and backgrounds of one split are in no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from visionrl.datasets.embedded import objects
from visionrl.datasets.embedded.compose import layer, paste, poses
from visionrl.datasets.embedded.cutouts import Cutout
from visionrl.datasets.embedded.generated import GeneratedDataset
from visionrl.datasets.embedded.scene_words import (
    COLOURS,
    INVERSES,
    NOUNS,
    SIZES,
    Facts,
    Group,
    captions_of,
    questions_of,
)
from visionrl.datasets.load import load
from visionrl.datasets.samples import CaptionSample, QuestionSample
from visionrl.datasets.splits import SPLITS

SIDE, CELL = 96, 32  # pixels of a scene and of a cell of its 3 x 3 grid
COUNTS = {"train": 2000, "val": 200, "test": 400}
MANY = 8000
"""Scenes for training in the sets "many-scenes" and "many-scene-questions"."""

RGB = {
    "red": (1, 0.25, 0.25),
    "yellow": (1, 0.9, 0.2),
    "green": (0.3, 0.85, 0.35),
    "blue": (0.3, 0.5, 1),
    "purple": (0.8, 0.35, 0.95),
    "white": (1, 1, 1),
}
LONGEST = {"small": (18, 21), "large": (31, 35)}
"""Longest side of an object, pixels."""

_SEED = 20261
_HELD = 48  # longest side of a cut-out as it is held, pixels
_GARMENTS = Path(__file__).parent / "data" / "garments.npz"
_HOLLOW = "sandal"  # whose outline is not filled


class Scenes(GeneratedDataset[CaptionSample]):
    """The scenes of one split, (3, 96, 96), each with five captions and its ``facts``.

    Two groups of one to three objects, each of one noun, colour and size, lie in opposite outer columns or rows of a
    3 x 3 grid; in half of the scenes a third group lies between them, of which the captions say nothing. A scene is a
    pure function of split and index. ``facts`` are the tuples of ``scene_words.Facts``.

    Args:
        split: "train", "val" or "test".
        count: the number of scenes; None takes ``COUNTS``.

    Raises:
        ValueError: another split, or a count below 1.
        FileNotFoundError: scikit-image, or an image in it, is not installed.
    """

    def __init__(self, split: str = "train", count: int | None = None) -> None:
        super().__init__(split, count, COUNTS)
        stock(split)  # a missing image fails here

    def _make(self, number: int) -> CaptionSample:
        image, facts = scene(self.split, number)
        name = f"{self.split} {number}"
        return CaptionSample(image, captions_of(facts), facts.to_tuple(), name=name)


class SceneQuestions(GeneratedDataset[QuestionSample]):
    """Questions about the scenes of one split, up to eight each, one of a kind; ``places`` are what they ask about.

    Questions about one scene share its pixels, which are those of the sets "scenes" and "many-scenes".

    Args:
        split: "train", "val" or "test".
        scenes: the number of scenes; None takes ``COUNTS``.

    Raises:
        ValueError: another split, or a count below 1.
        FileNotFoundError: scikit-image, or an image in it, is not installed.
    """

    def __init__(self, split: str = "train", scenes: int | None = None) -> None:
        self._scenes = _held_scenes(split, scenes)
        questions = [(n, one) for n in range(len(self._scenes)) for one in _questions(split, n)]
        super().__init__(split, len(questions), COUNTS)
        self._questions = questions

    def _make(self, number: int) -> QuestionSample:
        index, asked = self._questions[number]
        subject = f"{self.split} {index}"
        places = np.array([centre(cell) for cell in asked.cells])
        name, image = f"{subject} {asked.kind}", self._scenes[index].image
        return QuestionSample(image, asked.text, (asked.answer,), asked.kind, places, name, subject)


def _held_scenes(split: str, count: int | None) -> Sequence[CaptionSample]:
    """The scenes of a split: of an embedded set those that are loaded, else new ones."""
    sets: dict[int | None, str] = {None: "scenes", COUNTS.get(split): "scenes"}
    if split == "train":
        sets[MANY] = "many-scenes"
    if count in sets and split in COUNTS:
        return load(sets[count], kind=CaptionSample, split=split)
    return list(Scenes(split, count))


def centre(cell: int) -> tuple[float, float]:
    """(x, y) of a cell's centre in pixels."""
    return CELL * (cell % 3) + CELL / 2 - 0.5, CELL * (cell // 3) + CELL / 2 - 0.5


@lru_cache
def stock(split: str) -> dict[str, tuple[Cutout, ...]]:
    """The cut-outs of each noun that belong to a split, grey, stretched to all 256 levels."""
    found = {noun: tuple(map(_stretched, cuts)) for noun, cuts in objects.members(split).items()}
    with np.load(_GARMENTS, allow_pickle=False) as archive:
        images, labels, splits = (archive[key] for key in ("images", "labels", "splits"))
    for number, noun in enumerate(NOUNS[len(found) :]):
        rows = np.flatnonzero((labels == number) & (splits == SPLITS.index(split)))
        found[noun] = tuple(_stretched(_garment(images[row], f"{noun} {row}")) for row in rows)
    return found


def _garment(image: np.ndarray, name: str) -> Cutout:
    """The cut-out of a garment that is white on black."""
    alpha = np.where(image > 20, 255, 0).astype(np.uint8)
    if not name.startswith(_HOLLOW):
        contours, _ = cv2.findContours(alpha, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(alpha, contours, -1, 255, cv2.FILLED)
    wide = (2 * image.shape[1], 2 * image.shape[0])
    soft = cv2.GaussianBlur(cv2.resize(alpha, wide, interpolation=cv2.INTER_LINEAR), (0, 0), 0.6)
    grey = cv2.resize(image, wide, interpolation=cv2.INTER_CUBIC)
    return Cutout(name, "garments.npz", np.stack([grey] * 3), soft)


def _stretched(cutout: Cutout) -> Cutout:
    """A cut-out in grey from 0 to 255, cropped to its extent and shrunk to ``_HELD`` pixels."""
    solid = cutout.alpha > 127
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    top, left = max(rows[0] - 1, 0), max(columns[0] - 1, 0)
    part = slice(top, rows[-1] + 2), slice(left, columns[-1] + 2)
    grey = cutout.image.mean(0)
    low, high = np.percentile(grey[solid], (1, 99))
    grey = np.clip((grey - low) / max(high - low, 1) * 255, 0, 255).astype(np.uint8)[part]
    scale = min(1.0, _HELD / max(grey.shape))
    size = [max(2, round(side * scale)) for side in grey.shape[::-1]]
    grey, alpha = (
        cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (grey, cutout.alpha[part])
    )
    return replace(cutout, image=np.stack([grey] * 3), alpha=alpha)


def _rng(split: str, index: int, what: int) -> np.random.Generator:
    """Chance of a scene: 0 for its facts, 1 for its pixels, 2 for its questions."""
    return np.random.default_rng((_SEED, SPLITS.index(split), index, what))


def facts_of(split: str, index: int) -> Facts:
    """The facts of a scene."""
    rng = _rng(split, index, 0)
    relation = list(INVERSES)[rng.integers(4)]
    nouns = rng.permutation(NOUNS)[:3]
    colours = rng.choice(COLOURS, 3)
    if rng.random() < 0.5:
        colours[1] = colours[0]
    elif colours[1] == colours[0]:
        colours[1] = rng.choice([colour for colour in COLOURS if colour != colours[0]])
    lines = (0, 2, 1) if relation in ("left", "above") else (2, 0, 1)
    groups = []
    for noun, colour, line in zip(nouns, colours, lines, strict=True):
        places = np.sort(rng.permutation(3)[: rng.integers(1, 4)])
        along = relation in ("left", "right")
        cells = tuple(int(place * 3 + line if along else line * 3 + place) for place in places)
        groups.append(Group(str(noun), str(colour), str(rng.choice(SIZES)), cells))
    return Facts(relation, tuple(groups[: 2 + int(rng.integers(2))]))


def scene(split: str, index: int) -> tuple[np.ndarray, Facts]:
    """(3, 96, 96) uint8 RGB scene ``index`` of a split, and its facts."""
    facts, rng = facts_of(split, index), _rng(split, index, 1)
    canvas = objects.background_part(rng, split, SIDE, SIDE)
    canvas = cv2.convertScaleAbs(canvas, alpha=0.6, beta=rng.uniform(0, 40))
    for group in facts.groups:
        for cell in group.cells:
            _draw(rng, canvas, split, group, cell)
    grain = cv2.merge([rng.standard_normal((SIDE, SIDE), np.float32)] * 3)
    canvas = cv2.addWeighted(canvas, 1, grain, rng.uniform(1, 4), 0, dtype=cv2.CV_8U)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)), facts


def _draw(rng: np.random.Generator, canvas: np.ndarray, split: str, group: Group, cell: int) -> None:
    """Draw an object of a group into its cell."""
    choices = stock(split)[group.noun]
    cutout = choices[int(rng.integers(len(choices)))]
    if rng.random() < 0.5 and group.noun != "word":
        cutout = replace(
            cutout, image=cutout.image[..., ::-1], alpha=np.ascontiguousarray(cutout.alpha[:, ::-1])
        )
    tone = np.array(RGB[group.colour]) * rng.uniform(0.85, 1)
    table = np.rint((0.25 + 0.75 * np.linspace(0, 1, 256)[:, None]) * tone * 255)
    longest = rng.uniform(*LONGEST[group.size])
    drawn = layer(cutout, longest / (max(cutout.alpha.shape) - 2), table.astype(np.uint8)[:, None])
    angle = np.radians(rng.uniform(-15, 15))
    place = np.array(centre(cell)) + rng.uniform(-2.5, 2.5, 2)
    paste(canvas, drawn, poses(drawn, place[None], np.ones(1), np.array([angle]))[0])


def _questions(split: str, index: int) -> list:
    """The questions about a scene."""
    return questions_of(facts_of(split, index), _rng(split, index, 2))
