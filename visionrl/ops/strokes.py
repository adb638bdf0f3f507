"""Strokes of a brush in closed form: coverage of the pixels, paint on a canvas, and the colour that fits best.

Convention
    A stroke is painted as a polyline of P points (x, y) in pixels of the canvas, pixel centres at whole numbers, with a
    radius in pixels and an opacity in [0, 1] at each point; between two points all are linear. Two points are a
    capsule. Canvases and pictures are (B, C, H, W) float32 in grey levels, coverages (B, H, W) float32 in [0, 1]. Array
    API throughout.
"""

from __future__ import annotations

from typing import Any

from visionrl.ops.xp import Array, xp_of

GEOMETRY = 10  # numbers of a stroke before its colour
LEAST = 1e-6  # squared length of a segment, pixels, and squared coverage of a stroke, below which it counts as none


def stroke_lines(strokes: Array, side: int, segments: int) -> tuple[Array, Array, Array]:
    """The polylines of strokes along quadratic Bezier curves, in pixels of a square canvas.

    Args:
        strokes: (B, 10 or more) floats: x and y of the first, the middle and the last control point, shares of the
            side from the left and upper edge; the radii at both ends, shares of the side; the opacities at both ends.
            What follows is not looked at.
        side: of the canvas, pixels.
        segments: of a polyline; one for a straight stroke.

    Returns:
        Points (B, segments + 1, 2), radii and opacities (B, segments + 1), as ``stroke_coverage`` takes them.
    """
    xp, points, radii, opacities = xp_of(strokes), [], [], []
    for number in range(segments + 1):
        t = number / segments
        weights = ((1 - t) ** 2, 2 * t * (1 - t), t**2)
        place = sum(weight * strokes[:, 2 * k : 2 * k + 2] for k, weight in enumerate(weights))
        points.append(place * side - 0.5)
        radii.append(((1 - t) * strokes[:, 6] + t * strokes[:, 7]) * side)
        opacities.append((1 - t) * strokes[:, 8] + t * strokes[:, 9])
    return xp.stack(points, axis=1), xp.stack(radii, axis=1), xp.stack(opacities, axis=1)


def stroke_coverage(points: Array, radii: Array, opacities: Array, size: tuple[int, int]) -> Array:
    """Opacity with which strokes cover each pixel, with edges one pixel wide.

    Args:
        points: (B, P, 2) floats.
        radii: (B, P).
        opacities: (B, P).
        size: (H, W) of the canvas.

    Returns:
        (B, H, W) float32 in [0, 1].
    """
    xp = xp_of(points)
    points, radii, opacities = (xp.astype(part, xp.float32) for part in (points, radii, opacities))
    high, wide = size
    rows = xp.arange(high, dtype=xp.float32, device=points.device)[None, :, None]
    columns = xp.arange(wide, dtype=xp.float32, device=points.device)[None, None, :]
    found = None
    for k in range(points.shape[1] - 1):
        x0, y0, x1, y1 = (points[:, j, axis, None, None] for j in (k, k + 1) for axis in (0, 1))
        r0, r1, o0, o1 = (part[:, j, None, None] for part in (radii, opacities) for j in (k, k + 1))
        dx, dy = x1 - x0, y1 - y0
        length = xp.maximum(dx * dx + dy * dy, xp.full_like(dx, LEAST))
        along = xp.clip((columns - x0) * (dx / length) + (rows - y0) * (dy / length), 0.0, 1.0)
        across, down = columns - x0 - along * dx, rows - y0 - along * dy
        inside = r0 + along * (r1 - r0) + 0.5 - xp.sqrt(across * across + down * down)
        cover = xp.clip(inside, 0.0, 1.0) * (o0 + along * (o1 - o0))
        found = cover if found is None else xp.maximum(found, cover)
    return found


def paint(canvas: Array, coverage: Array, color: Array) -> Array:
    """Canvases (B, C, H, W) after strokes of colours (B, C), grey levels."""
    return canvas + coverage[:, None, :, :] * (color[:, :, None, None] - canvas)


def fitted_color(target: Array, canvas: Array, coverage: Array) -> Array:
    """The colours of strokes that bring canvases nearest to their targets in squared error, in closed form.

    With coverage w, canvas k and target t that is sum(w (t - (1 - w) k)) / sum(w w) over the pixels. The error grows
    with the square of the distance from that colour, so of a palette the nearest colour is best.

    Returns:
        (B, C) float32, not clipped; 0 where a stroke covers nothing.
    """
    xp = xp_of(canvas)
    wanted = target - canvas + coverage[:, None, :, :] * canvas
    total = xp.sum(coverage[:, None, :, :] * wanted, axis=(2, 3))
    weight = xp.sum(coverage * coverage, axis=(1, 2))[:, None]
    return total / xp.maximum(weight, xp.full_like(weight, LEAST))


def stroke_gains(target: Array, canvas: Array, coverages: Array, squares: Array, nearest: Any) -> Array:
    """The squared error that each of K strokes would take away, each in its best colour, without painting one.

    Args:
        target: (B, C, H, W) floats.
        canvas: likewise.
        coverages: (H * W, K) floats, of the strokes.
        squares: (H * W, K), their squares.
        nearest: from the colours that fit best, (B, K, C), to those that a brush has.

    Returns:
        (B, K) floats.
    """
    xp, (count, channels) = xp_of(canvas), canvas.shape[:2]
    gap = target - canvas
    parts = [xp.concat([x, xp.sum(x * canvas, axis=1, keepdims=True)], axis=1) for x in (gap, canvas)]
    first, second = (
        xp.reshape(
            xp.matmul(xp.reshape(part, (count * (channels + 1), -1)), table), (count, channels + 1, -1)
        )
        for part, table in zip(parts, (coverages, squares), strict=True)
    )
    weights = xp.sum(squares, axis=0)[None, :]
    total = xp.permute_dims(first[:, :channels, :] + second[:, :channels, :], (0, 2, 1))
    color = nearest(total / xp.maximum(weights, xp.full_like(weights, LEAST))[:, :, None])
    own = 2 * first[:, channels, :] + second[:, channels, :]
    return 2 * xp.sum(color * total, axis=2) - own - weights * xp.sum(color * color, axis=2)
