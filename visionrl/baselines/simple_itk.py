"""SimpleITK's registration, set up in one way for every row that is compared with an agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from visionrl.datasets.readers.itk import simple_itk

__all__ = ["coarse_to_fine", "descend", "package"]

SEED = 1


def package() -> Any:
    """SimpleITK.

    Raises:
        ImportError: it is missing; says how to get it.
    """
    return simple_itk("registration needs")


def coarse_to_fine(itk: Any, fixed: Any, shrink: Sequence[int], samples: int) -> Any:
    """A registration without metric and optimizer; on one thread and with one seed, so that it can be repeated.

    Args:
        itk: the package.
        fixed: the fixed image.
        shrink: by how much each level is shrunk; it is smoothed by half as many units of length.
        samples: pixels that the metric looks at, at each level.
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
