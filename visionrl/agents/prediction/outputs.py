"""The files that a prediction is written to, in the formats of the field; one function a kind of result."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np

from visionrl.agents.prediction.agent import Prediction
from visionrl.core.results import (
    Answer,
    Boxes,
    BoxTrack,
    Caption,
    ClipClass,
    ImageClass,
    Regions,
    Segments,
    StreamClasses,
    Summary,
    Tracks,
    Verdict,
    VideoBoxes,
    corner_and_sides,
)
from visionrl.rendering import replacing

Contents = dict[str, str | bytes]  # what follows the name of a file, such as ".csv" -> its contents
BOXES_HEAD = "frame,x,y,w,h\n"  # of the table of a track
WRITERS: dict[type, Callable[[Prediction], Contents]] = {}
FOLDER_WRITERS: dict[type, Callable[[Sequence[Done]], Contents]] = {}


@dataclass(frozen=True)
class Done:
    """A finished prediction, as far as the files about a whole folder need it.

    Attributes:
        file: what the user calls it.
        result: of ``visionrl.core.results``.
        shape: of the image or volume, without the channels.
        classes: names that the agent knows, in its order; empty where the task has none.
    """

    file: str
    result: Any
    shape: tuple[int, ...]
    classes: tuple[str, ...]

    @staticmethod
    def of(file: str, prediction: Prediction) -> Done:
        """Keep of a prediction what those files need."""
        pixels = getattr(prediction.sample, "image", None)
        shape = () if pixels is None else pixels.shape[1:]
        return Done(file, prediction.result, shape, tuple(getattr(prediction.task, "names", ())))


def writes(kind: type) -> Callable[[Callable[[Any], Contents]], Callable[[Any], Contents]]:
    """Register the function that writes a kind of result."""

    def file(function: Callable[[Any], Contents]) -> Callable[[Any], Contents]:
        WRITERS[kind] = function
        return function

    return file


def writes_folder(
    kind: type,
) -> Callable[[Callable[[Sequence[Done]], Contents]], Callable[[Sequence[Done]], Contents]]:
    """Register the function that writes files about all results of a kind together."""

    def file(function: Callable[[Sequence[Done]], Contents]) -> Callable[[Sequence[Done]], Contents]:
        FOLDER_WRITERS[kind] = function
        return function

    return file


def folder_contents(done: Sequence[Done]) -> Contents:
    """The files about all predictions of a folder together, by name."""
    writer = FOLDER_WRITERS.get(type(done[0].result)) if done else None
    return writer(done) if writer else {}


def contents_of(prediction: Prediction) -> Contents:
    """The files of a prediction, by what follows its name; none for a result without a format of its own."""
    writer = WRITERS.get(type(prediction.result))
    return writer(prediction) if writer else {}


def write_all(stem: Path, contents: Contents) -> list[Path]:
    """Write files of one prediction, each in full or not at all."""
    return write_in(stem.parent, {stem.name + ending: content for ending, content in contents.items()})


def write_in(folder: Path, contents: Contents) -> list[Path]:
    """Write files by their names, each in full or not at all."""
    written = []
    for name, content in contents.items():
        path = folder / name
        with replacing(path) as part:
            part.write_bytes(content if isinstance(content, bytes) else content.encode())
        written.append(path)
    return written


def table(rows: list[list[Any]]) -> str:
    """Rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


@writes_folder(ImageClass)
def class_table(done: Sequence[Done]) -> Contents:
    """Classes of all images as one table; cells are empty where the agent gave no answer, or has no probabilities."""
    rows = (
        [one.file, one.result.label or "", "" if (sure := one.result.confidence) is None else round(sure, 6)]
        for one in done
    )
    return {"classes.csv": table([["file", "label", "confidence"], *rows])}


@writes_folder(ClipClass)
def clip_table(done: Sequence[Done]) -> Contents:
    """Classes of all clips as one table, with the frames looked at, from 0 and in that order."""
    rows = [
        [
            one.file,
            one.result.label or "",
            "" if (sure := one.result.confidence) is None else round(sure, 6),
            " ".join(map(str, one.result.frames.tolist())),
        ]
        for one in done
    ]
    return {"classes.csv": table([["file", "label", "confidence", "frames"], *rows])}


@writes(ClipClass)
def clip_file(prediction: Prediction) -> Contents:
    """The class of a clip and the frames looked at, as JSON."""
    return {".json": json.dumps(prediction.result.to_json(), indent=1) + "\n"}


@writes_folder(Verdict)
def verdict_table(done: Sequence[Done]) -> Contents:
    """Verdicts on all images as one table: how sure, how unusual, the place of a defect in pixels, and the looks."""
    head, rows = ["file", "verdict", "confidence", "score", "x", "y", "width", "height", "looks"], []
    for one in done:
        found = one.result.to_json()
        sure, place = found["confidence"], found["place"] or ["", "", "", ""]
        said = [one.file, found["label"] or "", "" if sure is None else round(sure, 6), found["score"]]
        rows.append([*said, *place, len(found["looks"])])
    return {"verdicts.csv": table([head, *rows])}


@writes(Verdict)
def verdict_files(prediction: Prediction) -> Contents:
    """The verdict as JSON, and the heat map as a PNG of the image's size.

    Greys 1 to 255 are scores from -8 to 24 deviations of good cells, and 0 is what nobody looked at.
    """
    result: Verdict = prediction.result  # type: ignore[assignment]
    grey = np.rint(np.clip((result.heat + 8) / 32, 0, 1) * 254 + 1)
    map_ = np.where(np.isnan(result.heat), 0, grey).astype(np.uint8)
    large = cv2.resize(map_, result.size, interpolation=cv2.INTER_NEAREST)
    return {".json": json.dumps(result.to_json(), indent=1) + "\n", "-heat.png": png(large[..., None])}


@writes(Segments)
def segments_files(prediction: Prediction) -> Contents:
    """Segments of actions in a clip as JSON and as a table: frames from 0, and seconds where the rate is known."""
    found = prediction.result.to_json()
    head = ["label", "score", "start", "end", "start_seconds", "end_seconds"]
    rows = [[*(row[key] for key in head[:4]), *row["segment"]] for row in found["segments"]]
    return {".json": json.dumps(found, indent=1) + "\n", ".csv": table([head, *rows])}


@writes_folder(Segments)
def segments_of(done: Sequence[Done]) -> Contents:
    """Segments of all clips as ActivityNet's evaluation takes them, in seconds; in frames where no rate is known."""
    results = {
        one.file: [
            {
                "label": row["label"],
                "score": row["score"],
                "segment": [row["start"], row["end"]] if one.result.fps is None else row["segment"],
            }
            for row in one.result.rows()
        ]
        for one in done
    }
    whole = {"version": "VERSION 1.3", "results": results, "external_data": {"used": False}}
    return {"segments.json": json.dumps(whole, indent=1) + "\n"}


@writes_folder(Caption)
def captions_of(done: Sequence[Done]) -> Contents:
    """Captions of all images, as COCO's evaluation takes them, with the name of the file for a number."""
    rows = [{"image_id": one.file, "caption": one.result.caption} for one in done]
    return {"captions.json": json.dumps(rows, indent=1) + "\n"}


@writes_folder(Answer)
def answers_of(done: Sequence[Done]) -> Contents:
    """Answers to all questions, as the VQA challenge takes them, with the image and the question for a number."""
    rows = [{"image": one.file, "question": one.result.question, "answer": one.result.answer} for one in done]
    return {"answers.json": json.dumps(rows, indent=1) + "\n"}


@writes(Boxes)
def boxes_files(prediction: Prediction) -> Contents:
    """Boxes as a table of their own: label, score, edges in pixels."""
    result: Boxes = prediction.result  # type: ignore[assignment]
    rows = zip(result.labels, result.scores.tolist(), result.boxes.tolist(), strict=True)
    head = ["label", "score", "x0", "y0", "x1", "y1"]
    return {".csv": table([head, *([label, score, *box] for label, score, box in rows)])}


@writes(Regions)
def regions_files(prediction: Prediction) -> Contents:
    """Regions to label, as JSON and as a table: order, image, edges in pixels, score."""
    found = prediction.result.to_json()["regions"]
    head = ["order", "image", "x0", "y0", "x1", "y1", "score"]
    rows = [[row[key] for key in head] for row in found]
    return {".json": json.dumps({"regions": found}, indent=1) + "\n", ".csv": table([head, *rows])}


@writes(StreamClasses)
def stream_files(prediction: Prediction) -> Contents:
    """Classes of a stream of images as a table: the image, its class, whether the agent asked for it instead."""
    rows = prediction.result.to_json()["stream"]
    table_rows = [[row["image"], row["label"] or "", int(row["asked"])] for row in rows]
    return {".csv": table([["image", "label", "asked"], *table_rows])}


@writes(Summary)
def summary_files(prediction: Prediction) -> Contents:
    """A summary of a video as JSON, and as a table: its scored pieces, or the frames that were seen, from 0."""
    result: Summary = prediction.result  # type: ignore[assignment]
    found = result.to_json()
    if len(result.pieces):
        head = ["start", "end", "seconds", "score", "kept"]
        rows = [[int(row[key]) if key == "kept" else row[key] for key in head] for row in found["pieces"]]
    else:
        head, fps = ["frame", "seconds"], result.fps
        rows = [[frame, None if fps is None else round(frame / fps, 3)] for frame in result.frames.tolist()]
    return {".json": json.dumps(found, indent=1) + "\n", ".csv": table([head, *rows])}


def voc_xml(file: str, prediction: Prediction) -> str:
    """Boxes of an image as Pascal VOC's XML, with the score of each: whole pixels from 1, the first and last inside."""
    result: Boxes = prediction.result  # type: ignore[assignment]
    root = ElementTree.Element("annotation")
    add(root, folder=Path(file).parent.name, filename=Path(file).name)
    channels, height, width = prediction.sample.image.shape
    add(ElementTree.SubElement(root, "size"), width=width, height=height, depth=channels)
    add(root, segmented=0)
    inside = np.clip(np.rint(result.boxes), 0, [width, height] * 2).astype(int)
    for label, score, box in zip(result.labels, result.scores.tolist(), inside.tolist(), strict=True):
        one = ElementTree.SubElement(root, "object")
        add(one, name=label, pose="Unspecified", truncated=0, difficult=0, score=score)
        edges = {"xmin": box[0] + 1, "ymin": box[1] + 1, "xmax": box[2], "ymax": box[3]}
        add(ElementTree.SubElement(one, "bndbox"), **edges)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def add(parent: ElementTree.Element, **values: Any) -> None:
    """Add elements that hold one value each."""
    for name, value in values.items():
        ElementTree.SubElement(parent, name).text = str(value)


@writes_folder(Boxes)
def coco(done: Sequence[Done]) -> Contents:
    """Boxes of all images in COCO's formats: a data set with the boxes as annotations, and a list of results.

    Images and categories are numbered from 1; boxes are (x, y, width, height) in pixels.
    """
    ids = {name: number for number, name in enumerate(done[0].classes, 1)}
    images, results = [], []
    for number, one in enumerate(done, 1):
        height, width = one.shape
        images.append({"id": number, "file_name": one.file, "width": width, "height": height})
        for row in one.result.to_json()["boxes"]:
            about = {"image_id": number, "category_id": ids[row["label"]]}
            results.append({**about, "bbox": row["bbox"], "score": row["score"]})
    annotations = [
        {"id": number, **row, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
        for number, row in enumerate(results, 1)
    ]
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    whole = {"images": images, "categories": categories, "annotations": annotations}
    return {"coco.json": json.dumps(whole) + "\n", "coco-results.json": json.dumps(results) + "\n"}


@writes(BoxTrack)
def track_files(prediction: Prediction) -> Contents:
    """The boxes of one object: CSV, and the text files of OTB and of MOTChallenge, which count from 1."""
    result: BoxTrack = prediction.result  # type: ignore[assignment]
    rows = corner_and_sides(result.boxes)
    otb = [f"{x + 1:.3f},{y + 1:.3f},{wide:.3f},{high:.3f}" for x, y, wide, high in rows.tolist()]
    mot = [mot_line(time, 1, row, 1.0) for time, row in enumerate(rows)]
    return {
        ".csv": BOXES_HEAD + "".join(boxes_line(time, edges) for time, edges in enumerate(result.boxes)),
        ".otb.txt": "".join(line + "\n" for line in otb),
        ".mot.txt": "".join(mot),
    }


@writes(Tracks)
def tracks_files(prediction: Prediction) -> Contents:
    """The tracks of many objects as the MOTChallenge wants results."""
    result: Tracks = prediction.result  # type: ignore[assignment]
    rows = zip(
        result.frames.tolist(),
        result.ids.tolist(),
        corner_and_sides(result.boxes),
        result.scores.tolist(),
        strict=True,
    )
    return {".mot.txt": "".join(mot_line(*row) for row in rows)}


@writes(VideoBoxes)
def video_boxes_files(prediction: Prediction) -> Contents:
    """Boxes of a video's frames as the MOTChallenge has detections, with -1 for an identity, and as a table, from 0."""
    result: VideoBoxes = prediction.result  # type: ignore[assignment]
    found = [
        (row["frame"], np.array(row["bbox"]), row["score"], int(row["frame"] in result.detected))
        for row in result.to_json()["boxes"]
    ]
    rows = [[time, *box.tolist(), score, ran] for time, box, score, ran in found]
    return {
        ".mot.txt": "".join(mot_line(time, -1, box, score) for time, box, score, _ in found),
        ".csv": table([["frame", "x", "y", "w", "h", "score", "detected"], *rows]),
    }


def boxes_line(frame: int, edges: np.ndarray) -> str:
    """One line of a track's CSV: frame from 0, and x, y, width, height of edges (4,), (0, 0) the frame's corner."""
    x, y, wide, high = corner_and_sides(edges[None])[0].tolist()
    return f"{frame},{x:.3f},{y:.3f},{wide:.3f},{high:.3f}\n"


def mot_line(frame: int, identity: int, sides: np.ndarray, score: float) -> str:
    """One line as MOTChallenge wants results: frame and pixels, given from 0, are counted from 1.

    Args:
        frame: from 0.
        identity: of the object.
        sides: (4,) x, y, width, height.
        score: the confidence.
    """
    x, y, wide, high = sides.tolist()
    return f"{frame + 1},{identity},{x + 1:.3f},{y + 1:.3f},{wide:.3f},{high:.3f},{score:.4g},-1,-1,-1\n"


def png(pixels: np.ndarray) -> bytes:
    """Encode (H, W, C) uint8 or uint16, grey or RGB, as a PNG file."""
    return cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()
