"""The files that a prediction is written to, in the formats of the field; one function a kind of result."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from visionrl.agents.prediction.agent import Prediction
from visionrl.core.results import Boxes, ImageClass, Plane, Points
from visionrl.rendering import replacing

Contents = dict[str, str | bytes]  # what follows the name of a file, such as ".csv" -> its contents
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


@writes(Plane)
def plane_files(prediction: Prediction) -> Contents:
    """A view: its 4x4 matrix as text, the slice as a picture and, where millimetres are known, as MetaImage."""
    result: Plane = prediction.result  # type: ignore[assignment]
    known = result.matrix_mm is not None
    matrix = result.matrix if result.matrix_mm is None else result.matrix_mm
    head = (
        f"# (column, row, depth, 1) of the slice to {'millimetres in LPS' if known else 'voxels (x, y, z)'}"
    )
    lines = [" ".join(f"{value:.9g}" for value in row) for row in matrix.tolist()]
    found: Contents = {
        ".matrix.txt": "\n".join([head, *lines]) + "\n",
        ".slice.png": cv2.imencode(".png", result.image)[1].tobytes(),
    }
    return {**found, ".slice.mha": meta_image(result.image, matrix)} if known else found


def meta_image(image: np.ndarray, matrix: np.ndarray) -> bytes:
    """A slice as MetaImage, a volume of one plane where it lies in the patient.

    Args:
        image: (H, W) uint8.
        matrix: (4, 4), from (column, row, depth, 1) to millimetres in LPS, axes at right angles.
    """
    sides = np.linalg.norm(matrix[:3, :3], axis=0)
    numbers = {
        "TransformMatrix": (matrix[:3, :3] / sides).T.ravel(),
        "Offset": matrix[:3, 3],
        "ElementSpacing": sides,
    }
    text = "".join(f"{key} = {' '.join(f'{x:.12g}' for x in row)}\n" for key, row in numbers.items())
    head = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    size = (
        f"DimSize = {image.shape[1]} {image.shape[0]} 1\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    return (head + text + size).encode() + image.tobytes()
