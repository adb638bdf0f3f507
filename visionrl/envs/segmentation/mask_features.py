"""Features of an image given a mask or a user's clicks: likeness of colours to the inside, of regions to the clicked places."""

from __future__ import annotations

from visionrl.ops import Array, one_hot, xp_of

ALIKE = 0.1  # difference of mean intensities at which two regions are hardly alike
FLOOR = 0.003  # of a variance of colours in [0, 1]
LARGEST = 4.0  # of a logarithm of a ratio


def likelihood(image: Array, mask: Array) -> Array:
    """(B, S, S) float32 in [-1, 1], how much likelier a colour is inside than outside, as a logarithm.

    Args:
        image: (B, C, S, S) float32 in [0, 1].
        mask: (B, S, S) bool.
    """
    xp = xp_of(image)
    found = xp.zeros_like(image[:, 0, ...])
    for sign, part in ((1.0, mask), (-1.0, ~mask)):
        weight = xp.astype(part, xp.float32)[:, None, :, :]
        total = xp.sum(weight, axis=(2, 3), keepdims=True) + 1.0
        mean = xp.sum(image * weight, axis=(2, 3), keepdims=True) / total
        spread = xp.sum((image - mean) ** 2 * weight, axis=(2, 3), keepdims=True) / total + FLOOR
        fit = -0.5 * ((image - mean) ** 2 / spread + xp.log(spread))
        found = found + sign * xp.mean(fit, axis=1)
    return xp.clip(found, -LARGEST, LARGEST) / LARGEST


def resemblance(places: Array, signs: Array, labels: Array, grey: Array) -> tuple[Array, Array]:
    """Regions that were clicked on, and the similarity of each to one that was: (B, 2, K) each, object and rest.

    Args:
        places: (B, R) int64, pixels that were clicked on, -1 for none.
        signs: (B, R) int64, 1 on the object, -1 beside it.
        labels: (B, P) int64, the region of each pixel.
        grey: (B, K), mean intensities of the regions.
    """
    xp, pixels, count = xp_of(grey), labels.shape[1], grey.shape[1]
    at = xp.take_along_axis(labels, xp.clip(places, 0, pixels - 1), axis=1)  # (B, R)
    tint = xp.take_along_axis(grey, at, axis=1)
    close = xp.exp(-(((grey[:, None, :] - tint[:, :, None]) / ALIKE) ** 2))
    hit = xp.astype(one_hot(at, count), grey.dtype)
    found = []
    for some in (hit, close):
        for sign in (1, -1):
            kind = xp.astype((places >= 0) & (signs == sign), grey.dtype)
            found.append(xp.max(some * kind[..., None], axis=1))
    return xp.stack(found[:2], axis=1), xp.stack(found[2:], axis=1)


def as_bytes(values: Array) -> Array:
    """Numbers of [-1, 1] as uint8."""
    xp = xp_of(values)
    return xp.astype(xp.round(xp.clip(127.5 * (values + 1), 0.0, 255.0)), xp.uint8)
