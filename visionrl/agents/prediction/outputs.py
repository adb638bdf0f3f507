"""The files that a prediction is written to, in the formats of the field; one function a kind of result."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.agents.prediction.agent import Prediction
from visionrl.core.results import Boxes, BoxTrack, ImageClass, Points, Tracks, corner_and_sides
from visionrl.rendering import replacing

Contents = dict[str, str | bytes]  # what follows the name of a file, such as ".csv" -> its contents
BOXES_HEAD = "frame,x,y,w,h\n"  # of the table of a track
WRITERS: dict[type, Callable[[Prediction], Contents]] = {}


def writes(kind: type) -> Callable[[Callable[[Any], Contents]], Callable[[Any], Contents]]:
    """Register the function that writes a kind of result."""

    def file(function: Callable[[Any], Contents]) -> Callable[[Any], Contents]:
        WRITERS[kind] = function
        return function

    return file


def contents_of(prediction: Prediction) -> Contents:
    """The files of a prediction, by what follows its name; none for a result without a format of its own."""
    writer = WRITERS.get(type(prediction.result))
    return writer(prediction) if writer else {}


def write_all(stem: Path, contents: Contents) -> list[Path]:
    """Write files, each in full or not at all."""
    written = []
    for ending, content in contents.items():
        path = stem.with_name(stem.name + ending)
        with replacing(path) as part:
            part.write_bytes(content if isinstance(content, bytes) else content.encode())
        written.append(path)
    return written


def table(rows: list[list[Any]]) -> str:
    """Rows as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


@writes(Points)
def points_files(prediction: Prediction) -> Contents:
    """Landmarks: CSV in pixels or voxels; where millimetres are known, CSV in LPS and 3D Slicer's two formats.

    A CSV in voxels counts along (x, y, z) of the volume as the library holds it, towards left, back and head.
    """
    result: Points = prediction.result  # type: ignore[assignment]
    shown = [at for at in result.points.values() if at is not None]
    axes = ("x", "y", "z")[: len(shown[0]) if shown else 2]
    if not result.points_mm:
        rows = [[name, *(at or [""] * len(axes))] for name, at in result.points.items()]
        return {".csv": table([["name", *axes], *rows])}
    points = {name: result.points_mm.get(name) for name in result.points}
    rows = [[name, *(at or ["", "", ""])] for name, at in points.items()]
    there = {name: at for name, at in points.items() if at is not None}
    return {
        ".csv": "# LPS\n" + table([["name", *axes], *rows]),
        ".fcsv": fcsv(there),
        ".mrk.json": json.dumps(markups(there), indent=2) + "\n",
    }


def fcsv(points: dict[str, tuple[float, float, float]]) -> str:
    """3D Slicer's fiducial list, millimetres in LPS."""
    head = [
        "# Markups fiducial file version = 4.11",
        "# CoordinateSystem = LPS",
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID",
    ]
    rows = [
        [f"vtkMRMLMarkupsFiducialNode_{k}", *at, 0, 0, 0, 1, 1, 1, 0, name, "", ""]
        for k, (name, at) in enumerate(points.items())
    ]
    return "\n".join(head) + "\n" + table(rows)


def markups(points: dict[str, tuple[float, float, float]]) -> dict[str, Any]:
    """3D Slicer's markups, millimetres in LPS."""
    schema = (
        "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    )
    controls = [
        {"id": str(k + 1), "label": name, "position": list(at), "positionStatus": "defined"}
        for k, (name, at) in enumerate(points.items())
    ]
    one = {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": controls}
    return {"@schema": f"{schema}markups-schema-v1.0.3.json#", "markups": [one]}


@writes(ImageClass)
def class_files(prediction: Prediction) -> Contents:
    """A class has a line in ``predictions.jsonl``, and no file of its own."""
    return {}


@writes(Boxes)
def boxes_files(prediction: Prediction) -> Contents:
    """Boxes as a table of their own: label, score, edges in pixels."""
    result: Boxes = prediction.result  # type: ignore[assignment]
    rows = zip(result.labels, result.scores.tolist(), result.boxes.tolist(), strict=True)
    head = ["label", "score", "x0", "y0", "x1", "y1"]
    return {".csv": table([head, *([label, score, *box] for label, score, box in rows)])}


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
