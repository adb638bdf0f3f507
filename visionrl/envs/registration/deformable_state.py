"""What an episode of deformable registration remembers."""

from __future__ import annotations

from dataclasses import dataclass

from visionrl.ops import Array


@dataclass(frozen=True)
class State:
    """How the moving image is bent, and how it ought to be; B episodes of d axes. See ``fields`` for the convention.

    Attributes:
        image: (B,) int64, index of the moving image.
        fixed: (B, side^d) uint8, the fixed image.
        structures: (B, N) uint8, its labels, at the places where overlap is measured.
        weight: (B, n^d) float64, where the body is; adds up to 1.
        target: (B, n, ..., n, d) float64, the true displacement of each node, pixels.
        field: (B, n, ..., n, d) float64, the displacement now.
        order: (B, V) int64, numbers of the control points that are moved, one after the other; the last goes on.
        count: (B,) int64, how many they are.
        visit: (B,) int64, how many have been moved.
        first: (B,) float64, error at the start, millimetres.
        alike: (B,) float64, overlap of the structures now; 0 where the reward does not ask.
        alike_first: (B,) float64, at the start.
        fits: (B, F, d + 2) float64, what ``LocalFits`` propose now; (B, 0) without control "fits".
    """

    image: Array
    fixed: Array
    structures: Array
    weight: Array
    target: Array
    field: Array
    order: Array
    count: Array
    visit: Array
    first: Array
    alike: Array
    alike_first: Array
    fits: Array
