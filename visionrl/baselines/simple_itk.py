"""SimpleITK's registration, set up in one way for every row that is compared with an agent: one thread, one seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from visionrl.datasets.readers.itk import simple_itk

__all__ = [
    "BINS",
    "coarse_to_fine",
    "descend",
    "descend_mutual_information",
    "package",
    "register_linear",
    "to_image",
]

SEED = 1
SHRINK = (4, 2, 1)  # levels of ``register_linear``
SAMPLES = 8000  # pixels that its metric samples, at each level
BINS = 32  # of the histograms of mutual information


def package() -> Any:
    """SimpleITK, on one thread in all of this process: metrics use as many as it may, whatever a method says.

    Raises:
        ImportError: it is missing; says how to get it.
    """
    itk = simple_itk("registration needs")
    itk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return itk


def coarse_to_fine(itk: Any, fixed: Any, shrink: Sequence[int], samples: int) -> Any:
    """A registration without metric and optimizer; on one thread and with one seed, so that it can be repeated.

    Args:
        itk: the package.
        fixed: the fixed image.
        shrink: by how much each level is shrunk; it is smoothed by half as many units of length.
        samples: pixels that the metric samples, at each level.
    """
    method = itk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricSamplingStrategy(method.RANDOM)
    pixels, axes = float(np.prod(fixed.GetSize())), fixed.GetDimension()
    shares = [min(samples * factor**axes / pixels, 1.0) for factor in shrink]
    method.SetMetricSamplingPercentagePerLevel(shares, SEED)
    method.SetInterpolator(itk.sitkLinear)
    method.SetShrinkFactorsPerLevel(list(shrink))
    method.SetSmoothingSigmasPerLevel([factor / 2 for factor in shrink])
    return method


def descend(method: Any, step: float = 2.0, least: float = 1e-3, steps: int = 100) -> None:
    """Let a registration go down the gradient, with steps in millimetres."""
    method.SetOptimizerAsRegularStepGradientDescent(step, least, steps, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()


def descend_mutual_information(
    itk: Any, fixed: Any, moving: Any, transform: Any, shrink: Sequence[int], samples: int
) -> bool:
    """Change a linear transform, in place, down the gradient of Mattes' mutual information; see ``coarse_to_fine``.

    Returns:
        False where the images do not meet; the transform is of no use then.
    """
    method = coarse_to_fine(itk, fixed, shrink, samples)
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(False)
    descend(method)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError as error:
        if "samples map outside" not in str(error):
            raise
        return False
    return True


def register_linear(
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
    if not descend_mutual_information(itk, fixed, moving, transform, SHRINK, SAMPLES):
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
