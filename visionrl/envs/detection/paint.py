"""Inhibition of return: what was reported is painted black, so that it is not found again."""

from __future__ import annotations

from visionrl.ops import Array, xp_of

BAR = 1 - (2 / 3) ** 0.5  # width of a cross's bars, in sides of the box, so that it covers a third of the box


def covered(marks: Array, seen: Array, size: int, kind: str) -> Array:
    """Which pixels of windows are painted: (B, K, 4) boxes, (B, 4) what the windows show -> (B, size, size) bool.

    Args:
        marks: edges in pixels of the image; NaN where there is none.
        seen: edges of the window, likewise.
        size: side of the window in its own pixels.
        kind: "cross", two bars that cover a third of the box (Caicedo & Lazebnik, 2015), or "box", all of it.
    """
    xp = xp_of(marks)
    middles = (xp.arange(size, dtype=marks.dtype, device=marks.device) + 0.5) / size
    inside = []
    for axis in (0, 1):
        low, high = seen[:, axis, None], seen[:, axis + 2, None]
        at = (low + middles[None, :] * (high - low))[:, None, :]  # (B, 1, size), pixels of the image
        first, last = marks[:, :, axis, None], marks[:, :, axis + 2, None]
        side = last - first
        center = (first + last) / 2
        whole = (at >= first) & (at < last)
        bar = (at - center >= -BAR * side / 2) & (at - center < BAR * side / 2)
        inside.append([xp.astype(part, xp.float32) for part in (whole, bar)])
    (wide, thin_x), (high, thin_y) = inside
    if kind == "box":
        return xp.matmul(xp.matrix_transpose(high), wide) > 0
    rows, columns = xp.concat([high, thin_y], axis=1), xp.concat([thin_x, wide], axis=1)
    return xp.matmul(xp.matrix_transpose(rows), columns) > 0


def over(pixels: Array, mask: Array) -> Array:
    """Windows with the masked pixels black: (B, C, w, w) uint8, (B, w, w) bool -> (B, C, w, w) uint8."""
    xp = xp_of(pixels)
    return xp.where(mask[:, None, :, :], xp.zeros_like(pixels), pixels)
