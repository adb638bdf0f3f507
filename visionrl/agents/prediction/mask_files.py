"""Files of masks: label maps as PNG or NIfTI, and COCO's JSON of all images."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from visionrl.agents.prediction.agent import Prediction
from visionrl.agents.prediction.outputs import Contents, Done, writes, writes_folder
from visionrl.agents.prediction.registration_files import compressed, nifti, png
from visionrl.core.results import Mask
from visionrl.datasets import VolumeSample

COLOURS = 256  # of a palette


@writes(Mask)
def mask_files(prediction: Prediction) -> Contents:
    """The label map: 0 and 255 for one region, else number k + 1 for region k, with a palette; NIfTI for volumes."""
    result: Mask = prediction.result  # type: ignore[assignment]
    if result.masks.ndim == 4:
        scan: VolumeSample = prediction.sample
        affine = np.diag([*np.asarray(scan.spacing_mm, float), 1.0]) if scan.affine is None else scan.affine
        labels = result.label_map.transpose(2, 1, 0)
        return {"-mask.nii.gz": compressed(nifti(labels, np.asarray(affine, float)))}
    if len(result.masks) == 1:
        return {"-mask.png": png(result.label_map[None] * np.uint8(255))}
    return {"-mask.png": palette_png(result.label_map)}


def palette_png(labels: np.ndarray) -> bytes:
    """An (H, W) uint8 label map as a PNG with DAVIS's and VOC's palette; uint16 as plain greys."""
    if labels.dtype != np.uint8:
        return png(labels[None])
    from PIL import Image

    picture = Image.fromarray(labels)
    picture.putpalette(voc_palette().ravel().tolist())
    content = io.BytesIO()
    picture.save(content, "png")
    return content.getvalue()


def voc_palette() -> np.ndarray:
    """(256, 3) uint8 RGB, the palette of Pascal VOC: black, dark red, dark green, ..."""
    numbers, colours = np.arange(COLOURS), np.zeros((COLOURS, 3), np.uint8)
    for place in range(8):  # bits 0, 1, 2 of every third digit become red, green, blue, the highest first
        for channel in range(3):
            bit = (numbers >> (3 * place + channel)) & 1
            colours[:, channel] |= (bit << (7 - place)).astype(np.uint8)
    return colours


@writes_folder(Mask)
def coco_masks(done: Sequence[Done]) -> Contents:
    """The regions of all images as COCO's data set: polygons, else run lengths; images and categories count from 1."""
    if any(one.result.masks.ndim == 4 for one in done):
        return {}
    names = dict.fromkeys(label for one in done for label in (*one.classes, *one.result.labels))
    ids = {name: number for number, name in enumerate(names, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, one in enumerate(done, 1):
        height, width = one.shape
        images.append({"id": number, "file_name": one.file, "width": width, "height": height})
        for row in one.result.to_json()["masks"]:
            about = {"id": len(annotations) + 1, "image_id": number, "category_id": ids[row.pop("label")]}
            annotations.append({**about, **row, "iscrowd": 0})
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    whole = {"images": images, "categories": categories, "annotations": annotations}
    return {"coco.json": json.dumps(whole) + "\n"}
