"""Files of landmarks and of planes, in the formats of 3D Slicer and ITK."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from visionrl.agents.prediction.agent import Prediction
from visionrl.agents.prediction.outputs import Contents, png, table, writes
from visionrl.core.results import Plane, Points, PoseInSpace


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


@writes(PoseInSpace)
def pose_files(prediction: Prediction) -> Contents:
    """Points in space with the order of the cameras, as JSON; the points alone as a table, millimetres."""
    result: PoseInSpace = prediction.result  # type: ignore[assignment]
    found = result.to_json()
    rows = [
        [name, *(["", "", "", ""] if at is None else [*at["mm"], at["spread_mm"]])]
        for name, at in found["points"].items()
    ]
    head = ["name", "x", "y", "z", "spread_mm"]
    return {".json": json.dumps(found, indent=1) + "\n", ".csv": table([head, *rows])}


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
        ".slice.png": png(result.image[..., None]),
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
