"""True displacement fields of deformable registration: random ones of images, or those of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from visionrl import ops
from visionrl.banks.label_grids import LabelGrids, Shape, spacing_of
from visionrl.banks.pair_geometry import PairGeometry, PixelToWorld, PixelToWorldPair, has_truth
from visionrl.datasets import ImageSample, PairSample, VolumeSample, list_formats
from visionrl.datasets.formats import parse
from visionrl.ops import Array, fields, xp_of
from visionrl.ops.deform import lattice, perturb_intensity, random_deformation, warp_image

DARK = 8.0  # grey level of the surroundings, at most
SMOOTHING = 1e-3  # of the true field of pairs, against points that lie on each other


def body_mask(image: np.ndarray) -> np.ndarray:
    """Mask of an image's foreground, bool; everywhere if it shows nothing."""
    from scipy.ndimage import gaussian_filter

    some = gaussian_filter(image.astype(np.float32), image.shape[0] / 24) > DARK
    return some if some.any() else np.ones_like(some)


def grids_with_truth(
    samples: Sequence[Shape | PairSample], side: int, nodes: int, split: str, rms: float, jitter: float
) -> tuple[LabelGrids, RandomFields | PairFields]:
    """Some images, volumes or pairs on one grid, and their true fields; see ``LabelGrids`` and ``RandomFields``.

    Raises:
        ValueError: see ``PairFields``.
    """
    pairs = [sample for sample in samples if isinstance(sample, PairSample)]
    if pairs:
        bank = LabelGrids.of(moving_then_fixed(pairs), side, paired=True)
        return bank, PairFields(pairs, bank, nodes)
    bank = LabelGrids.of(samples, side)  # type: ignore[arg-type]
    return bank, RandomFields(bank, split, nodes, rms, jitter)


class RandomFields:
    """Random deformations of the images of a bank, so that the true field is exact.

    Args:
        bank: the images.
        split: decides the family of the deformations.
        nodes: of fields, along each axis.
        rms: root mean square velocity of the deformations, a share of the side.
        jitter: how much the fixed image differs in contrast, brightness and noise, in [0, 1].
    """

    def __init__(self, bank: LabelGrids, split: str, nodes: int, rms: float, jitter: float) -> None:
        self.bank, self.split, self.nodes, self.rms, self.jitter = bank, split, nodes, rms, jitter

    def draw(self, rng: np.random.Generator, item: int, share: float) -> tuple[np.ndarray, ...]:
        """A true field (n, ..., n, d), scaled by ``share``; the fixed image, its labels, and where its body is."""
        image, labels = self.bank.grey[item].astype(np.float32), self.bank.labels[item]
        field = random_deformation(rng, self.split, self.nodes, image.ndim, self.bank.side, self.rms)
        target = share * field
        plain = warp_image(image, target, 1)
        body, seen = body_mask(plain), warp_image(labels, target, 0)
        return target, perturb_intensity(rng, plain, self.jitter), seen, body

    def error(self, image: Array, field: Array, target: Array, weight: Array) -> Array:
        """Mean distance, by weights (B, n^d), of where two fields take the nodes, (B,) float64 pixels held."""
        xp, gaps = xp_of(field), ops.norm(field - target)
        return xp.sum(weight * xp.reshape(gaps, weight.shape), axis=-1)


class PairFields:
    """Points of some pairs on a bank's grid, and a field that takes them where they belong.

    Args:
        samples: the pairs.
        bank: of what ``moving_then_fixed`` makes of them.
        nodes: of fields, along each axis.

    Attributes:
        targets: (M, nodes, ..., nodes, d) float64: the pair's own map, or the affine map that fits its points best (the
            centroids of its labels where it has none; a rigid map or a shift where these are few), and what is left
            over at the points, spread by radial splines. NaN where nothing of these is known.

    Raises:
        ValueError: a pair has too few points for an affine map, or its label maps share no label.
    """

    def __init__(self, samples: Sequence[PairSample], bank: LabelGrids, nodes: int) -> None:
        self.bank, self.nodes, self.gap = bank, nodes, (bank.side - 1) / (nodes - 1)
        to_world = grid_conversions(samples, bank)
        self.geometry = PairGeometry(samples, to_world, "affine", np.ones(len(samples)))
        self.targets = np.stack([self._target(sample, k) for k, sample in enumerate(samples)])

    def _target(self, sample: PairSample, number: int) -> np.ndarray:
        """The true field of one pair."""
        from scipy.interpolate import RBFInterpolator

        matrix, known = self.geometry.truth[number], self.geometry.weights.array[number] > 0
        axes = len(matrix)
        nodes = lattice(self.nodes, axes).reshape(-1, axes) * self.gap * (self.nodes - 1)
        field = nodes @ matrix[:, :axes].T + matrix[:, axes] - nodes
        if sample.transform is None and has_truth(sample):
            first, second = (
                table.array[number][known]
                for table in (self.geometry.fixed_points, self.geometry.moving_points)
            )
            left = second - first @ matrix[:, :axes].T - matrix[:, axes]
            field += RBFInterpolator(first, left, kernel="linear", smoothing=SMOOTHING)(nodes)
        return field.reshape(*[self.nodes] * axes, axes)

    def draw(self, rng: np.random.Generator, item: int, share: float) -> tuple[np.ndarray, ...]:
        """The true field (n, ..., n, d) of a pair; the fixed image, its labels, and where its body is."""
        fixed = len(self.targets) + item
        image = self.bank.grey[fixed]
        return self.targets[item], image, self.bank.labels[fixed], body_mask(image)

    def error(self, pair: Array, field: Array, target: Array, weight: Array) -> Array:
        """Mean distance of the points of pairs from where fields take them, (B,) float64 pixels held."""
        tables = (self.geometry.fixed_points, self.geometry.moving_points, self.geometry.weights)
        first, second, share = (table.rows(pair) for table in tables)
        moved = first + fields.at_points(field, first, self.gap)
        return xp_of(field).sum(share * ops.norm(moved - second), axis=-1)


def grid_conversions(samples: Sequence[Shape | PairSample], bank: LabelGrids) -> list[PixelToWorldPair]:
    """Conversions of the fixed and moving pixels of each pair to pixels held; of an image twice its own."""
    pairs = [sample for sample in samples if isinstance(sample, PairSample)]
    shapes = moving_then_fixed(pairs) if pairs else list(samples)
    ways = [
        pixels_to_grid(each, unit, bank.side)  # type: ignore[arg-type]
        for each, unit in zip(shapes, bank.units.array, strict=True)
    ]
    return [(ways[k - len(samples)] if pairs else ways[k], ways[k]) for k in range(len(samples))]


def moving_then_fixed(samples: Sequence[PairSample]) -> list[Shape]:
    """The moving images or volumes of some pairs, then the fixed ones; without masks if a pair has not both."""
    masked = all(sample.fixed_mask is not None and sample.moving_mask is not None for sample in samples)
    return [_side(sample, which, masked) for which in (1, 0) for sample in samples]


def _side(sample: PairSample, which: int, masked: bool) -> Shape:
    """The fixed (0) or the moving (1) side of a pair."""
    image = (sample.fixed, sample.moving)[which]
    mask = (sample.fixed_mask, sample.moving_mask)[which] if masked else None
    spacing = None if sample.spacing_mm is None else np.asarray(sample.spacing_mm, float)[which]
    if image.ndim == 4 and spacing is not None:
        return VolumeSample(image, tuple(spacing.tolist()), mask=mask)
    return ImageSample(image, mask=mask, spacing_mm=None if spacing is None else float(spacing))


def pixels_to_grid(shape: Shape, unit: float, side: int) -> PixelToWorld:
    """Conversion of image pixels to pixels held, for a bank of a side; ``unit`` is the size of the latter."""
    gain = spacing_of(shape)[::-1] / unit
    return PixelToWorld(gain, (side - 1) / 2 - gain * (np.array(pixels_of(shape).shape[:0:-1]) - 1) / 2)


def pixels_of(sample: Shape | PairSample) -> np.ndarray:
    """The image or volume of a sample, of a pair the fixed one."""
    if isinstance(sample, PairSample):
        return sample.fixed
    return sample.volume if isinstance(sample, VolumeSample) else sample.image


def displacement_px(
    field: np.ndarray, gap: float, to_world: PixelToWorldPair, shape: Sequence[int]
) -> np.ndarray:
    """Displacement of every pixel of a fixed image, (d, *shape) float32: the moving pixel that belongs to it, less it.

    Args:
        field: (n, ..., n, d) on the bank's grid.
        gap: pixels held from node to node.
        to_world: conversions of fixed and of moving pixels to pixels held.
        shape: of the fixed image, (H, W) or (D, H, W).
    """
    fixed, moving = to_world
    lines = [np.arange(side, dtype=float) for side in shape]
    ways = zip(lines, fixed.gain[::-1], fixed.shift[::-1], strict=True)
    held = [line * gain + shift for line, gain, shift in ways]  # along (z,) y, x
    first, *others = [fields.linear_basis(line[None], len(field), gap) for line in held]
    found = np.empty((len(shape), *shape), np.float32)
    for row in range(shape[0]):
        bend = fields.at_grid(field[None], [first[:, row : row + 1], *others])[0, 0]
        here, places = (
            np.stack(np.meshgrid(some[0][row], *some[1:], indexing="ij")[::-1], axis=-1)[0]
            for some in (lines, held)
        )
        found[:, row] = np.moveaxis(moving.pixels(places + bend) - here, -1, 0)
    return found


def holds_pairs(data: Any) -> bool:
    """True where ``data`` is of pairs: a format that yields them, or a sequence of them."""
    if isinstance(data, str):
        return parse(data)[0] in {form.name for form in list_formats(PairSample)}
    listed = hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, Mapping)
    return listed and len(data) > 0 and isinstance(data[0], PairSample)
