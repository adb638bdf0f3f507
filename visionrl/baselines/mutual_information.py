"""SimpleITK's registration of two images or volumes by mutual information, coarse to fine."""

from __future__ import annotations

from typing import Any

import numpy as np

from visionrl.baselines.simple_itk import coarse_to_fine, descend

SHRINK = (4, 2, 1)  # levels
SAMPLES = 8000  # pixels that the metric looks at, of a level
BINS = 32


def find_itk(
    itk: Any, fixed: Any, moving: Any, start: np.ndarray, kind: str, moments: bool = False
) -> np.ndarray:
    """The map (d, d + 1) from places to places, millimetres from the middles, by Mattes' mutual information.

    Args:
        itk: the package.
        fixed: what ``to_image`` made.
        moving: likewise.
        start: (d, d + 1) where the search begins; it is the result, too, where the images do not meet.
        kind: "rigid", "similarity" or "affine".
        moments: begin where the centres of mass agree, unturned, instead.
    """
    axes = start.shape[0]
    transform = _transform(itk, kind, axes)
    if moments:
        way = itk.CenteredTransformInitializerFilter.MOMENTS
        transform = type(transform)(itk.CenteredTransformInitializer(fixed, moving, transform, way))
    else:
        transform.SetMatrix(start[:, :axes].ravel().tolist(), *(() if kind == "affine" else (1e-6,)))
        transform.SetTranslation(start[:, axes].tolist())
    method = _method(itk, fixed)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError as error:
        if "samples map outside" not in str(error):
            raise
        return start
    linear = np.array(transform.GetMatrix()).reshape(axes, axes)
    home = np.array(transform.GetCenter())
    return np.column_stack([linear, np.array(transform.GetTranslation()) + home - linear @ home])


def to_image(itk: Any, values: np.ndarray, spacing: np.ndarray) -> Any:
    """A grey image (H, W) or volume (D, H, W), its middle at the origin; spacing is (x, y) or (x, y, z)."""
    image = itk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing([float(s) for s in spacing])
    image.SetOrigin((-(np.array(values.shape[::-1]) - 1) / 2 * spacing).tolist())
    return image


def _transform(itk: Any, kind: str, axes: int) -> Any:
    """An empty transform of a kind."""
    if kind == "affine":
        return itk.AffineTransform(axes)
    names = {"rigid": "Euler", "similarity": "Similarity"}
    return getattr(itk, f"{names[kind]}{axes}DTransform")()


def _method(itk: Any, fixed: Any) -> Any:
    """The search, without a start."""
    method = coarse_to_fine(itk, fixed, SHRINK, SAMPLES)
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(False)
    descend(method)
    return method
