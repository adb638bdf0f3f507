"""Makes ``visionrl/datasets/embedded/data/mni152_2mm.npz`` from the MNI152 templates in the nilearn wheel.

    python scripts/make_mni.py                               # downloads the wheel with pip
    python scripts/make_mni.py nilearn-0.14.1-py3-none-any.whl

Needs nibabel and scikit-image beside numpy. The archive it writes holds

* ``t1``: (84, 103, 85) uint8, the T1-weighted template without the skull; 2 mm voxels, means of 2 x 2 x 2;
* ``labels``: (84, 103, 85) uint8: 1 grey matter, 2 white matter, where its probability is the larger and > 1/2;
* ``names``, ``points``: 32 names, and (32, 3) float64 (x, y, z) in voxels of these arrays;
* ``spacing_mm``: (3,) float64.

Axes are (z, y, x) and grow towards superior, posterior and left: DICOM's LPS, in the order of an array. The points
are the anatomical fiducials (AFIDs) that raters placed on the symmetric template of 2009 (Lau et al., 2019, "A
framework for evaluating correspondence between brain images using anatomical fiducials", Human Brain Mapping).
The same wheel gives the same bytes (same zlib).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nibabel
import numpy as np
from skimage.transform import downscale_local_mean

FACTOR = 2
WHEEL = "nilearn==0.14.1"
MEMBER = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
TARGET = (
    Path(__file__).resolve().parents[1] / "visionrl" / "datasets" / "embedded" / "data" / "mni152_2mm.npz"
)
AFIDS = """
AC      -0.1198055   2.55212  -4.81723     PC       0.1409195 -25.124    -2.096035
ICS      0.130151  -37.8742  -10.05817     PMJ      0.0267405 -23.35095 -21.87635
SIPF    -0.0160999 -14.39165 -10.7025      RSLMS   13.3752    -26.0718   -9.788495
LSLMS  -13.05015   -26.38415  -9.760085    RILMS   11.1066    -30.21855 -21.3211
LILMS  -10.8376    -30.35535 -21.02715     CUL     -0.0609305 -52.3597    2.02387
IMS     -0.175911   -8.20253 -15.39965     RMB      2.10252    -8.12621 -14.502
LMB     -1.850385   -7.991405 -14.413      PG      -0.183038  -31.2358    0.586406
RLVAC   15.1932      6.031435 25.2426      LLVAC  -15.43225     6.228585 24.9267
RLVPC   18.54945   -22.73095  28.598       LLVPC  -18.6767    -22.7815   28.42485
GENU     0.002431   33.43875   2.52457     SPLE     0.132994  -37.6245    6.401015
RALTH   34.47875    -4.880005 -26.81425    LALTH  -34.3701     -4.84792 -26.9405
RSAMTH  17.93685   -10.93965 -17.9412      LSAMTH -18.21465   -10.78475 -18.1403
RIAMTH  20.91065    -4.410115 -27.6511     LIAMTH -20.9084     -4.5878  -27.29665
RIGO    13.69415   -43.103     5.85519     LIGO   -13.33945   -43.3071    5.90314
RVOH    19.8371    -81.1685    3.90738     LVOH   -19.93535   -81.2627    4.248705
ROSF    12.54255    17.7086  -12.74795     LOSF   -12.8065     18.11375 -12.85975
"""  # millimetres towards right, anterior and superior


def download_wheel(folder: Path) -> Path:
    """The path of the wheel, fetched by pip into the folder."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True)
    return next(folder.glob("nilearn-*.whl"))


def read_member(wheel: zipfile.ZipFile, kind: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """One template as (z, y, x) in superior, posterior, left order, 2 mm, and its affine at 1 mm."""
    image = nibabel.Nifti1Image.from_filename(wheel.extract(MEMBER.format(kind), folder))
    target = nibabel.orientations.axcodes2ornt(("L", "P", "S"))
    source = nibabel.orientations.io_orientation(image.affine)
    image = image.as_reoriented(nibabel.orientations.ornt_transform(source, target))
    voxels = np.asarray(image.dataobj).T.astype(np.float64)
    even = voxels[tuple(slice(0, n // FACTOR * FACTOR) for n in voxels.shape)]
    return downscale_local_mean(even, (FACTOR,) * 3), image.affine


def fiducials(affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Names, and (32, 3) places (x, y, z) in voxels of 2 mm."""
    cells = np.array(AFIDS.split()).reshape(-1, 4)
    world = np.c_[cells[:, 1:].astype(float), np.ones(len(cells))]
    fine = np.linalg.solve(affine, world.T).T[:, :3]
    return cells[:, 0], (fine + 0.5) / FACTOR - 0.5


def build(wheel_path: Path, folder: Path) -> dict[str, np.ndarray]:
    """The arrays of the archive."""
    with zipfile.ZipFile(wheel_path) as wheel:
        (t1, affine), (grey, _), (white, _) = (read_member(wheel, k, folder) for k in ("t1", "gm", "wm"))
    names, points = fiducials(affine)
    labels = np.where(np.maximum(grey, white) > 127.5, np.where(white > grey, 2, 1), 0)
    box = tuple(slice(low, high + 1) for low, high in zip(*_extent(t1 > 8), strict=True))
    return {
        "t1": np.round(t1[box]).astype(np.uint8),
        "labels": labels[box].astype(np.uint8),
        "names": names,
        "points": points - [part.start for part in box[::-1]],
        "spacing_mm": np.full(3, float(FACTOR)),
    }


def _extent(flags: np.ndarray, border: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """First and last place along each axis that is marked, and some voxels around."""
    marked = np.argwhere(flags)
    low = np.maximum(marked.min(axis=0) - border, 0)
    return low, np.minimum(marked.max(axis=0) + border, np.array(flags.shape) - 1)


def main() -> None:
    """Builds the archive and puts it in its place in one move."""
    parser = argparse.ArgumentParser(description="Makes the embedded brain template.")
    parser.add_argument("wheel", nargs="?", type=Path, help="the nilearn wheel; downloaded when left out")
    parser.add_argument("--target", type=Path, default=TARGET)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arrays = build(arguments.wheel or download_wheel(folder), folder)
    partial = arguments.target.with_suffix(".partial.npz")
    with partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    os.replace(partial, arguments.target)
    print(f"{arguments.target}: {arrays['t1'].shape}, {arguments.target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
