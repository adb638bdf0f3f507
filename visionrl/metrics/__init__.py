"""Metrics of the field as pure functions of arrays; each cites its source and its empty case."""

from __future__ import annotations

from visionrl.ops import Array, columns, const, xp_of

OTB_THRESHOLDS = tuple(i / 20 for i in range(21))
SDR_MM = (2, 2.5, 3, 4)  # radii of the success detection rates
SDR_NAMES = tuple(f"sdr_{radius:g}mm" for radius in SDR_MM)


def success_score(iou: Array) -> Array:
    """Share of the 21 overlap thresholds 0, 0.05, ..., 1 that a frame's IoU exceeds: (...) -> (...), in [0, 1].

    Its mean over the frames of a video is the area under the success curve, the AUC of the OTB benchmark
    (Wu, Lim & Yang, 2013). An IoU of 0 exceeds no threshold.
    """
    xp = xp_of(iou)
    passed = xp.astype(iou[..., None] > const(OTB_THRESHOLDS, iou), iou.dtype)
    return xp.sum(passed, axis=-1) / len(OTB_THRESHOLDS)


def within(distance: Array, radius: float | Array) -> Array:
    """1.0 where a distance is at most ``radius`` (same unit), else 0.0; NaN counts as 0.

    Its mean is precision@20 px for tracking (Wu, Lim & Yang, 2013) and the success detection rate (SDR) at 2, 2.5,
    3 and 4 mm for landmarks (Wang et al., 2016).
    """
    return xp_of(distance).astype(distance <= radius, distance.dtype)


def success_detection_rates(error_mm: Array) -> dict[str, Array]:
    """Indicators of errors (B,) within 2, 2.5, 3 and 4 mm, by name (Wang et al., 2016)."""
    rates = columns(within(error_mm[:, None], const(SDR_MM, error_mm)))
    return dict(zip(SDR_NAMES, rates, strict=True))
