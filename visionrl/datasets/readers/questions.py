"""Questions about images: ``"questions:FOLDER"`` and ``"vqa:FOLDER"``.

``questions:``, a folder or a CSV file, laid out as ``captions:`` is: ``questions.csv``, or ``train.csv``, ``val.csv``,
..., or the only CSV file, with columns ``image``, ``question`` and ``answer``, and perhaps ``kind`` and ``split``. A
line is one person's answer: lines with one image and one question are one sample with several answers. Without a
column ``answer`` no answers are known.

``vqa:``, the JSON files of VQA v1 and v2 (Antol et al., 2015; Goyal et al., 2017): ``*questions.json`` and, but for
test parts, ``*annotations.json`` with ten answers a question, anywhere in the folder; their names state the split
(``train2014``). Images are those whose names end in the image's number, such as ``COCO_train2014_000000000009.jpg``.
``kind`` is the answer type ("yes/no", "number", "other").

A sample is one question, named by the image and the question's number, and belongs to the image's subject. A missing
image, or a question without a word, is a bad sample.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from visionrl.datasets.formats import Entry, ReadOptions, register_format
from visionrl.datasets.readers.files import check_folder, files_ending, images_below
from visionrl.datasets.readers.sentences import (
    Pictures,
    Row,
    placed_rows,
    refuse_two_splits,
    shared_image,
    titled,
)
from visionrl.datasets.samples import QuestionSample
from visionrl.datasets.splits import split_of
from visionrl.datasets.text import read_json
from visionrl.datasets.validate_language import check_sentence

TITLES = (("question", "questions"), ("answer", "answers", "label"), ("kind", "type", "question_type"))


@register_format("questions", kind=QuestionSample, own_splits=True)
def read_questions(path: Path, options: ReadOptions) -> list[Entry]:
    """The questions in the order of the table.

    Raises:
        ValueError: there is no table, or a line breaks a rule; the message names file and line.
    """
    groups: dict[tuple[str, str, str], list[tuple[Pictures, Row]]] = {}
    for pictures, row in placed_rows(path, "questions.csv", TITLES, "a question"):
        groups.setdefault((row.split, row.image, str(row.cells[0])), []).append((pictures, row))
    refuse_two_splits([some[0] for some in groups.values()])
    names = titled([key[:2] for key in groups])
    asked: dict[str, int] = {}
    entries = []
    for (split, image, _), some in groups.items():
        subject = names[split, image]
        asked[subject] = asked.get(subject, 0) + 1
        entries.append(Entry(f"{subject} {asked[subject]}", subject, partial(_read, some), split))
    return entries


def _read(rows: Sequence[tuple[Pictures, Row]]) -> QuestionSample:
    """One question with its answers."""
    pictures, first = rows[0]
    question = str(first.cells[0])
    check_sentence(question, f"{first.where}: question")
    answers = [row.cells[1] for _, row in rows if row.cells[1] is not None]
    if "" in answers:
        where = next(row.where for _, row in rows if row.cells[1] == "")
        raise ValueError(f"{where}: answer must not be empty")
    file = pictures.find(first.image, first.split, first.where)
    return QuestionSample(
        shared_image(file), question, [str(answer) for answer in answers], first.cells[2] or ""
    )


@register_format("vqa", kind=QuestionSample, own_splits=True)
def read_vqa(path: Path, options: ReadOptions) -> list[Entry]:
    """The questions of a data set in the order of its files; where they have splits, only the asked one is opened.

    Raises:
        ValueError: there is no file, or one breaks a rule; the message names the file and the place in it.
    """
    found = files_ending(check_folder(path), ".json", below=True)
    questions = _by_split([file for file in found if file.stem.endswith("questions")], path, "questions")
    answers = _by_split([file for file in found if file.stem.endswith("annotations")], path, "annotations")
    if answers and "" in {*questions, *answers} and questions.keys() != answers.keys():
        names = ", ".join(file.name for file in (*questions.values(), *answers.values()))
        raise ValueError(f"{path}: questions and annotations must name the same splits, or none, got {names}")
    asked = [options.split] if options.split in questions else list(questions)
    images = {_number(file): file for file in images_below(path) if _number(file) is not None}
    return [
        entry
        for split in asked
        for entry in _vqa_entries(questions[split], answers.get(split), split, images)
    ]


def _by_split(files: Sequence[Path], path: Path, what: str) -> dict[str, Path]:
    """The files by the splits that their names state; a single one may state none."""
    if not files and what == "questions":
        raise ValueError(f"{path} must hold *questions.json of VQA, found none")
    found: dict[str, Path] = {}
    for file in files:
        words = re.split(r"[_\W]+", file.stem)
        split = next((one for word in words if (one := split_of(word))), "")
        if split in found or (not split and len(files) > 1):
            listed = ", ".join(str(one.relative_to(path)) for one in files)
            raise ValueError(f"{path} must hold one {what} file a split, named by it, got {listed}")
        found[split] = file
    return found


def _number(file: Path) -> int | None:
    """The number at the end of an image's name."""
    match = re.search(r"(\d+)$", file.stem)
    return int(match[1]) if match else None


def _list(file: Path, key: str, fields: dict[str, type | tuple[type, ...]]) -> list[dict]:
    """The objects in a list of a JSON file, each with some fields."""
    content = read_json(file)
    rows = content.get(key) if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{file} must be a JSON object with a list {key!r} of one entry or more")
    for number, row in enumerate(rows):
        for name, kind in fields.items():
            if not isinstance(row, dict) or not isinstance(row.get(name), kind):
                raise ValueError(f"{file}, {key}[{number}]: must have {', '.join(fields)}, got {row!r:.200}")
    return rows


def _vqa_entries(
    file: Path, answered: Path | None, split: str, images: dict[int | None, Path]
) -> list[Entry]:
    """One entry a question."""
    asked = _list(file, "questions", {"question_id": int, "image_id": int, "question": str})
    rows = {} if answered is None else _answers(answered, {row["question_id"] for row in asked})
    entries = []
    for number, row in enumerate(asked):
        name = f"{split}/{row['image_id']}" if split else str(row["image_id"])
        where = f"{file}, questions[{number}]"
        if answered is not None and row["question_id"] not in rows:
            raise ValueError(
                f"{where}: question_id {row['question_id']} must have answers in {answered.name}"
            )
        read = partial(_vqa_read, where, row, rows.get(row["question_id"]), images)
        entries.append(Entry(f"{name} {row['question_id']}", name, read, split))
    return entries


def _answers(file: Path, known: set[int]) -> dict[int, dict]:
    """The annotations of a file by question."""
    rows = _list(file, "annotations", {"question_id": int, "answers": list})
    for number, row in enumerate(rows):
        if row["question_id"] not in known:
            where = f"{file}, annotations[{number}]"
            raise ValueError(f"{where}: question_id must be among the questions, got {row['question_id']}")
    return {row["question_id"]: row for row in rows}


def _vqa_read(
    where: str, row: dict[str, Any], answered: dict | None, images: dict[int | None, Path]
) -> QuestionSample:
    """One question with its answers."""
    check_sentence(row["question"], f"{where}: question")
    if row["image_id"] not in images:
        raise ValueError(
            f"{where}: image_id {row['image_id']} must be the number at the end of a picture's name"
        )
    answers: list[str] = []
    for one in answered["answers"] if answered else ():
        text = one.get("answer") if isinstance(one, dict) else one
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{where}: answers must be texts, got {one!r:.100}")
        answers.append(text)
    file = images[row["image_id"]]
    kind = str((answered or {}).get("answer_type", ""))
    return QuestionSample(shared_image(file), row["question"], answers, kind)
