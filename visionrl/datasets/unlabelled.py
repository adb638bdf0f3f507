"""One file as a sample without labels: an image, a scan, a pair, a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visionrl.datasets.frames import VideoFrames, open_frames
from visionrl.datasets.readers.files import IMAGE_SUFFIXES, has_suffix, list_images, read_image
from visionrl.datasets.readers.itk import SUFFIXES as ITK_SUFFIXES
from visionrl.datasets.readers.itk import open_itk, open_series
from visionrl.datasets.readers.nifti import SUFFIXES as NIFTI_SUFFIXES
from visionrl.datasets.readers.nifti import open_nifti
from visionrl.datasets.readers.scan_grid import Grid, to_grey, to_volume, volume_affine, volume_spacing
from visionrl.datasets.readers.scans import LABEL_ENDS, stem
from visionrl.datasets.samples import (
    ClipSample,
    ImageSample,
    PairSample,
    VideoSample,
    VolumeSample,
    XraySample,
)

VOLUME_SUFFIXES = (*NIFTI_SUFFIXES, *(suffix for some in ITK_SUFFIXES.values() for suffix in some))


def read_unlabelled(path: Path, kind: type, name: str = "") -> Any:
    """The image or the scan at a path; labels that lie beside it are not read.

    Args:
        path: a file; a folder of one DICOM series.
        kind: ``ImageSample`` or ``VolumeSample``.
        name: of the sample; empty: the file's, without its suffix.

    Raises:
        ImportError: a package that reads the file is missing.
        ValueError: the file is missing, damaged, or of another kind.
    """
    if kind is ImageSample:
        return ImageSample(read_image(path), name=name or path.stem)
    grid = open_volume(path)
    return VolumeSample(
        to_grey(to_volume(grid), grid.file)[None],
        spacing_mm=volume_spacing(grid),
        affine=volume_affine(grid),
        name=name or volume_stem(path),
    )


def read_unlabelled_pair(
    fixed: Path, moving: Path, name: str = "", modalities: Sequence[str] | None = None
) -> PairSample:
    """Two images or two scans as a pair.

    Args:
        fixed: a file.
        moving: likewise.
        name: of the sample; empty: those of the files.
        modalities: of the two, such as ("mr", "ct"); None: they are the same.

    Raises:
        ValueError: a file is missing or damaged, or one is an image and the other a scan.
    """
    kinds = [VolumeSample if is_volume(path) else ImageSample for path in (fixed, moving)]
    if kinds[0] is not kinds[1]:
        raise ValueError(f"a pair must be two images or two scans, got {fixed} and {moving}")
    first, second = (read_unlabelled(path, kinds[0]) for path in (fixed, moving))
    name = name or f"{first.name}-{second.name}"
    more: dict[str, Any] = {} if modalities is None else {"modalities": tuple(modalities)}
    if isinstance(first, ImageSample):
        return PairSample(first.image, second.image, name=name, **more)
    spacing = np.array([first.spacing_mm, second.spacing_mm], float)
    affines = np.array([first.affine, second.affine], float)
    return PairSample(first.volume, second.volume, spacing_mm=spacing, affines=affines, name=name, **more)


def volume_of(array: Any, name: str = "the array") -> np.ndarray:
    """An array as a volume by the rule for files: any real numbers, scaled between two percentiles.

    Args:
        array: (D, H, W) or (1, D, H, W), axes (z, y, x).
        name: of it, for messages.

    Returns:
        (1, D, H, W) uint8.

    Raises:
        ValueError: it has other axes, holds no real numbers, or all are the same.
    """
    voxels = np.asarray(array)
    voxels = voxels[0] if voxels.ndim == 4 and len(voxels) == 1 else voxels
    if voxels.ndim != 3:
        raise ValueError(f"volumes must be (D, H, W) or (1, D, H, W), got shape {np.shape(array)}")
    return to_grey(voxels, Path(name))[None]


def unlabelled_video(video: str | Path | Sequence[np.ndarray], box: Any, name: str = "") -> VideoSample:
    """A video in which an object is to be followed.

    Args:
        video: a file, a folder of pictures in order of their numbers, or frames (C, H, W) uint8 of one size.
        box: (x, y, width, height), where the object is in the first frame, pixels, (0, 0) the frame's corner.
        name: of the sample; empty: the file's, without its suffix.

    Raises:
        ValueError: there is no such video, or the box does not lie in the first frame.
    """
    frames: Any = video
    if isinstance(video, str | Path):  # the newest frame alone is kept: banks hold what is looked at
        frames, name = VideoFrames(video, memory=1), name or Path(video).resolve().stem
    boxes = np.full((len(frames), 4), np.nan)
    boxes[0] = edges_within(box, frames[0])
    return VideoSample(frames, boxes, name=name)


def unlabelled_clip(video: str | Path | Sequence[np.ndarray], name: str = "") -> ClipSample:
    """A video of which nothing is known.

    Args:
        video: a file, a folder of pictures in order of their numbers, or frames (C, H, W) uint8 of one size.
        name: of the sample; empty: the file's, without its suffix.

    Raises:
        ValueError: there is no such video.
    """
    if isinstance(video, str | Path):
        path = Path(video).expanduser()
        frames, fps = open_frames(path)
        return ClipSample(frames, fps=fps, name=name or path.resolve().stem)
    return ClipSample(video, name=name)


def edges_within(box: Any, frame: np.ndarray) -> np.ndarray:
    """(4,) edges (x0, y0, x1, y1) of x, y, width, height.

    Raises:
        ValueError: it has no area, or reaches out of the (C, H, W) frame.
    """
    given = np.asarray(box, float)
    if given.shape != (4,):
        raise ValueError(f"box must be four numbers (x, y, width, height), got {box!r}")
    x, y, width, height = given.tolist()
    if not (np.isfinite([x, y]).all() and 1 <= width < np.inf and 1 <= height < np.inf):
        raise ValueError(
            f"box must have a width and height of at least one pixel, got {x:g},{y:g},{width:g},{height:g}"
        )
    high, wide = frame.shape[1:]
    if x < 0 or y < 0 or x + width > wide or y + height > high:
        raise ValueError(
            f"box must lie within the frame, {wide} x {high}, got {x:g},{y:g},{width:g},{height:g}"
        )
    return np.array([x, y, x + width, y + height])


def read_unlabelled_xrays(xrays: Sequence[Path], scan: Path, name: str = "") -> XraySample:
    """A CT scan with X-rays of the same body, one a view.

    Raises:
        ValueError: a file is missing or damaged, or the X-rays are not square or not of one size.
    """
    name = name or "-".join([*(path.stem for path in xrays), volume_stem(scan)])
    return with_xrays(read_unlabelled(scan, VolumeSample), [read_image(path) for path in xrays], name)


def with_xrays(scan: VolumeSample, xrays: Sequence[np.ndarray], name: str = "") -> XraySample:
    """A CT scan with X-rays (C, S, S) of the same body; colours are averaged.

    Raises:
        ValueError: the X-rays are no images, not square, or not of one size.
    """
    for xray in xrays:
        if xray.ndim != 3 or xray.shape[0] not in (1, 3):
            raise ValueError(
                f"X-rays must be (S, S) or (C, S, S) with C = 1 or 3 each, got shape {xray.shape}"
            )
    shapes = {xray.shape[1:] for xray in xrays}
    if len(shapes) != 1 or any(high != wide for high, wide in shapes):
        raise ValueError(
            f"X-rays must be square and of one size, each the whole detector, got {sorted(shapes)}"
        )
    films = np.stack([np.rint(xray.mean(axis=0)).astype(np.uint8) for xray in xrays])
    return XraySample(scan.volume, scan.spacing_mm, affine=scan.affine, name=name or scan.name, xrays=films)


def open_volume(path: Path) -> Grid:
    """The header of a scan.

    Raises:
        ValueError: there is no such file, or it is no scan.
    """
    if path.is_dir():
        if (series := open_series(path)) is None:
            raise ValueError(f"{path} must hold one DICOM series, found none")
        return series
    if not path.is_file():
        raise ValueError(f"scan {path} must exist")
    if has_suffix(path, NIFTI_SUFFIXES):
        return open_nifti(path)
    if not is_volume(path):
        raise ValueError(f"{path} must be a scan: {', '.join(VOLUME_SUFFIXES)} or a folder of DICOM slices")
    return open_itk(path)


def is_volume(path: Path) -> bool:
    """True for the name of a scan's file, and for folders."""
    return path.is_dir() or has_suffix(path, VOLUME_SUFFIXES)


def volume_stem(path: Path) -> str:
    """A scan's name: its file's without the suffix, which may have two dots."""
    return path.name if path.is_dir() else stem(path, VOLUME_SUFFIXES)


def files_in(folder: Path, kind: type) -> list[Path]:
    """The images or scans of a folder, by name; label maps by their usual ends are left out.

    Raises:
        ValueError: there is none.
    """
    if kind is ImageSample:
        found, what = list_images(folder), f"images ({', '.join(IMAGE_SUFFIXES)})"
    else:
        every = sorted(path for path in folder.iterdir() if path.name[0] != "." and path.is_file())
        found = [path for path in every if has_suffix(path, VOLUME_SUFFIXES)]
        found = [path for path in found if not volume_stem(path).lower().endswith(LABEL_ENDS)]
        what = f"scans ({', '.join(VOLUME_SUFFIXES)}, or one DICOM series)"
        if not found and open_series(folder) is not None:
            return [folder]
    if not found:
        raise ValueError(f"{folder} must hold {what}, found none")
    return found
