"""Damage to pictures, in the order in which a camera does it: blur of the lens, noise of the sensor, JPEG of the file."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

Range = tuple[float, float]


@dataclass(frozen=True)
class Damage:
    """Ranges from which the damage to a picture is drawn.

    Attributes:
        blur: standard deviations of a Gaussian blur, pixels.
        noise: standard deviations of Gaussian noise, grey levels.
        quality: of JPEG, 1 to 100; None for a file without loss.
    """

    blur: Range
    noise: Range
    quality: Range | None

    def on(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A damaged copy of an image, (C, H, W) uint8."""
        blur, noise = rng.uniform(*self.blur), rng.uniform(*self.noise)
        quality = self.quality and int(rng.integers(int(self.quality[0]), int(self.quality[1]) + 1))
        pixels: np.ndarray = image.transpose(1, 2, 0).astype(np.float32)
        if blur > 0:
            pixels = cv2.GaussianBlur(pixels, (0, 0), blur).reshape(pixels.shape)
        pixels = pixels + rng.normal(0, noise, pixels.shape)
        levels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
        if quality is None:
            return np.ascontiguousarray(levels.transpose(2, 0, 1))
        _, file = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        read = cv2.imdecode(file, cv2.IMREAD_COLOR if image.shape[0] == 3 else cv2.IMREAD_GRAYSCALE)
        assert read is not None  # it was written a line above
        return np.ascontiguousarray(read.reshape(pixels.shape).transpose(2, 0, 1))
