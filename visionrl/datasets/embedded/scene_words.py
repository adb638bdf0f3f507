"""Facts of the embedded scenes, and the captions, questions and answers that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PLURALS = {
    **{noun: f"{noun}s" for noun in ("brick", "coin", "face", "galaxy", "word", "trouser", "pullover")},
    **{noun: f"{noun}s" for noun in ("dress", "sandal", "sneaker", "bag", "boot")},
    "galaxy": "galaxies",
    "dress": "dresses",
}
NOUNS = tuple(PLURALS)
COLOURS = ("red", "yellow", "green", "blue", "purple", "white")
SIZES = ("small", "large")
NUMBERS = ("a", "two", "three")
RELATIONS = {"left": "left of", "right": "right of", "above": "above", "below": "below"}
INVERSES = {"left": "right", "right": "left", "above": "below", "below": "above"}
KINDS = (
    "exists",
    "count",
    "colour",
    "what-relation",
    "relation",
    "what-colour",
    "more",
    "same-colour",
)
"""Kinds of questions."""

COUNTS = ("no", "one", "two", "three")
ANSWERS = ("yes", *COUNTS, *COLOURS, *NOUNS)


@dataclass(frozen=True)
class Group:
    """One to three objects of one noun, colour and size.

    Attributes:
        noun: one of ``NOUNS``.
        colour: one of ``COLOURS``.
        size: one of ``SIZES``.
        cells: numbers of the cells of the 3 x 3 grid where they are, row by row.
    """

    noun: str
    colour: str
    size: str
    cells: tuple[int, ...]

    @property
    def named(self) -> str:
        """The noun, in the plural where there are several."""
        return PLURALS[self.noun] if len(self.cells) > 1 else self.noun

    @property
    def is_known(self) -> bool:
        """True for words and a number of objects that scenes have."""
        words = self.noun in NOUNS and self.colour in COLOURS and self.size in SIZES
        return words and 0 < len(self.cells) <= len(NUMBERS)

    @property
    def be(self) -> str:
        """``is`` or ``are``."""
        return "are" if len(self.cells) > 1 else "is"

    def phrase(self, size: bool = True) -> str:
        """Such as ``two large red bags``."""
        words = (NUMBERS[len(self.cells) - 1], *((self.size,) if size else ()), self.colour, self.named)
        return " ".join(words)


@dataclass(frozen=True)
class Facts:
    """All that is true of a scene.

    Attributes:
        relation: of the first group to the second, a key of ``RELATIONS``.
        groups: the two of which captions tell, and perhaps a third between them.
    """

    relation: str
    groups: tuple[Group, ...]

    def to_tuple(self) -> tuple:
        """Plain tuples, as samples hold them: the relation, then (noun, colour, size, cells) of each group."""
        return (self.relation, *((g.noun, g.colour, g.size, g.cells) for g in self.groups))

    @classmethod
    def of(cls, facts: Sequence) -> Facts:
        """The facts of a sample's tuples.

        Raises:
            ValueError: they are no relation and two groups or more, or have a word that no scene has.
        """
        try:
            groups = tuple(Group(noun, colour, size, tuple(cells)) for noun, colour, size, cells in facts[1:])
            known = facts[0] in RELATIONS and len(groups) > 1 and all(group.is_known for group in groups)
        except (TypeError, ValueError):
            known = False
        if not known:
            rule = "a relation and two or more of (noun, colour, size, cells) of embedded scenes"
            raise ValueError(f"facts must be {rule}, got {facts!r:.200}")
        return cls(facts[0], groups)


def captions_of(facts: Facts) -> tuple[str, ...]:
    """Five captions of a scene, each true."""
    first, second = facts.groups[:2]
    relation, inverse = RELATIONS[facts.relation], RELATIONS[INVERSES[facts.relation]]
    return (
        f"{first.phrase()} {relation} {second.phrase()}",
        f"{second.phrase()} {inverse} {first.phrase()}",
        f"there {first.be} {first.phrase()} {relation} {second.phrase()}",
        f"{first.phrase(size=False)} {relation} {second.phrase(size=False)}",
        f"{first.phrase()} and {second.phrase()}",
    )


@dataclass(frozen=True)
class Question:
    """A question about a scene.

    Attributes:
        kind: one of ``KINDS``.
        text: the question.
        answer: one of ``ANSWERS``.
        cells: numbers of the cells that must be seen to answer it.
    """

    kind: str
    text: str
    answer: str
    cells: tuple[int, ...]


def questions_of(facts: Facts, rng: np.random.Generator) -> list[Question]:
    """One question of each kind that the scene allows; no answer of a kind is more frequent than chance makes it."""
    makers = (_exists, _count, _colour, _what_relation, _relation, _what_colour, _more, _same_colour)
    found = [make(facts, rng) for make in makers]
    return [question for question in found if question is not None]


def _one(rng: np.random.Generator, items: Sequence) -> object:
    """One of some things."""
    return items[int(rng.integers(len(items)))]


def _cells(groups: Sequence[Group]) -> tuple[int, ...]:
    """Cells of some groups."""
    return tuple(sorted(cell for group in groups for cell in group.cells))


def _exists(facts: Facts, rng: np.random.Generator) -> Question:
    """``is there a red bag``; noes name another group's colour, no group's, or no group's noun."""
    group, true = facts.groups[rng.integers(len(facts.groups))], {(g.noun, g.colour) for g in facts.groups}
    noun, colour, answer = group.noun, group.colour, "yes"
    if rng.random() < 0.5:
        answer, way = "no", rng.random()
        there = {g.colour for g in facts.groups}
        absent = [c for c in COLOURS if c not in there]
        others = [c for c in sorted(there) if (noun, c) not in true]
        if way < 0.75:
            colour = str(_one(rng, others if others and way < 0.5 else absent))
        else:
            noun = str(_one(rng, [n for n in NOUNS if n not in {g.noun for g in facts.groups}]))
    named = [g for g in facts.groups if g.noun == noun] or facts.groups
    return Question("exists", f"is there a {colour} {noun}", answer, _cells(named))


def _count(facts: Facts, rng: np.random.Generator) -> Question:
    """``how many bags are there``; a quarter ask for what is not there."""
    if rng.random() < 0.25:
        noun = str(_one(rng, [n for n in NOUNS if n not in {g.noun for g in facts.groups}]))
        return Question("count", f"how many {PLURALS[noun]} are there", COUNTS[0], _cells(facts.groups))
    group = facts.groups[rng.integers(len(facts.groups))]
    text = f"how many {PLURALS[group.noun]} are there"
    return Question("count", text, COUNTS[len(group.cells)], group.cells)


def _colour(facts: Facts, rng: np.random.Generator) -> Question:
    """``what colour is the bag``."""
    group = facts.groups[rng.integers(len(facts.groups))]
    return Question("colour", f"what colour {group.be} the {group.named}", group.colour, group.cells)


def _ordered(facts: Facts, rng: np.random.Generator) -> tuple[Group, str, Group]:
    """Two neighbouring groups in either order, and the relation of the first to the second."""
    first, second, *third = facts.groups
    line = [first, *third, second]
    start = int(rng.integers(len(line) - 1))
    pair, relation = (line[start], line[start + 1]), facts.relation
    return (pair[0], relation, pair[1]) if rng.random() < 0.5 else (pair[1], INVERSES[relation], pair[0])


def _what_relation(facts: Facts, rng: np.random.Generator) -> Question:
    """``what is left of the coin``; with three groups about the middle one, so that the answer is one noun."""
    if len(facts.groups) > 2:
        first, second, middle = facts.groups
        asked, relation = (first, facts.relation), INVERSES[facts.relation]
        group, word = asked if rng.random() < 0.5 else (second, relation)
        text = f"what is {RELATIONS[word]} the {middle.named}"
        return Question("what-relation", text, group.noun, _cells((group, middle)))
    group, word, other = _ordered(facts, rng)
    text = f"what is {RELATIONS[word]} the {other.named}"
    return Question("what-relation", text, group.noun, _cells((group, other)))


def _relation(facts: Facts, rng: np.random.Generator) -> Question:
    """``is the bag left of the coin``, with the true relation or its opposite."""
    group, word, other = _ordered(facts, rng)
    answer = "yes" if rng.random() < 0.5 else "no"
    asked = RELATIONS[word if answer == "yes" else INVERSES[word]]
    text = f"{group.be} the {group.named} {asked} the {other.named}"
    return Question("relation", text, answer, _cells((group, other)))


def _what_colour(facts: Facts, rng: np.random.Generator) -> Question | None:
    """``what is red``, of a colour that one group has."""
    colours = [group.colour for group in facts.groups]
    single = [group for group in facts.groups if colours.count(group.colour) == 1]
    if not single:
        return None
    group = single[rng.integers(len(single))]
    return Question("what-colour", f"what is {group.colour}", group.noun, group.cells)


def _more(facts: Facts, rng: np.random.Generator) -> Question | None:
    """``are there more bags than coins``, of groups of different numbers."""
    pairs = [
        (first, second)
        for first in facts.groups
        for second in facts.groups
        if len(first.cells) > len(second.cells)
    ]
    if not pairs:
        return None
    more, fewer = pairs[rng.integers(len(pairs))]
    answer = "yes" if rng.random() < 0.5 else "no"
    first, second = (more, fewer) if answer == "yes" else (fewer, more)
    text = f"are there more {PLURALS[first.noun]} than {PLURALS[second.noun]}"
    return Question("more", text, answer, _cells((first, second)))


def _same_colour(facts: Facts, rng: np.random.Generator) -> Question:
    """``are the bag and the coin of the same colour``, of the two groups of which captions tell."""
    first, second = facts.groups[:2] if rng.random() < 0.5 else facts.groups[1::-1]
    answer = "yes" if first.colour == second.colour else "no"
    text = f"are the {first.named} and the {second.named} of the same colour"
    return Question("same-colour", text, answer, _cells((first, second)))
