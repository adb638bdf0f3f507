"""Gauss-Newton proposals: small motions that align two images, at several resolutions; array-API code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrl.banks.c_arm import CArm
from visionrl.banks.image_pairs import PairBank, within
from visionrl.banks.volume_pairs import VolumePairBank
from visionrl.envs.registration.controls import clip_proposals, proposal_quality
from visionrl.ops import Array, DeviceTable, const, transforms, xp_of
from visionrl.ops.least_squares import NUM_SCORES, fit_spline_intensity, motions
from visionrl.ops.transforms import move_pose

COARSER = 2  # pixels of a window per side of a pixel that is compared; of the widest field, twice as many
MOST_KEPT = 2**28  # bytes of slopes that are kept; beyond, they are computed at each step
RENDER_COARSER = (4, 2)  # pixels of a picture per side of a pixel that is compared
# Of a picture's side: the spread of the Gaussian mean that is taken off, and with it slow changes of exposure.
BLUR = 1 / 8
CLOSE_MM = 1.0  # error within which the expert trusts proposals
LITTLE = 1.0  # millimetre and degree by which the volume is moved to see what changes
POSE_NUMBERS = 6

Bank = PairBank | VolumePairBank


def proposal_scales(scales: Sequence[int]) -> tuple[int, ...]:
    """The scales at which images are compared whose windows have these, coarse first."""
    return (2 * COARSER * scales[0], *(COARSER * scale for scale in scales))


class GaussNewton:
    """Motions by which a moving image would lie on a fixed one if grey changed linearly with them.

    At each scale the fixed grey is written as a cubic of the moving grey plus the fixed image's slopes times what a
    motion moves there, and both are solved for at once: one Gauss-Newton step of image alignment. For images of two
    modalities the moving intensity is also written as a piecewise linear function of the fixed intensity, and the model
    that explains more of the variance counts. The fields are those of the windows, seen at half their resolution, and
    one twice as wide. Pixels count that lie inside both images.

    Source: Lucas & Kanade (1981); Baker & Matthews (2004) for the slopes of the fixed image.

    Args:
        bank: the pairs.
        scales: at which they are compared, coarse first.
        side: of the pictures that are compared, pixels.
        kind: of the motions: "rigid", "similarity" or "affine".
        largest: no number of a motion exceeds it, either way.
        random_view: views of the fixed image change from episode to episode.
        differ: (M,) bool, pairs of two modalities; None where none are.

    Attributes:
        count: F, how many motions there are.
        numbers: k, of each.
        size: how many numbers the agent is told.
    """

    def __init__(
        self,
        bank: Bank,
        scales: Sequence[int],
        side: int,
        kind: str,
        largest: float,
        random_view: bool,
        differ: DeviceTable | None,
    ) -> None:
        self.bank, self.kind, self.largest = bank, kind, largest
        self.levels = tuple(bank.scales.index(scale) for scale in scales)
        self.pixels, self.side, self.differ = tuple(map(bank.pixel, self.levels)), side, differ
        grids = np.stack([bank.grid(level, self.side) for level in self.levels])
        self.count, (self.points, self.axes) = len(grids), grids.shape[1:]
        self.margin = DeviceTable(np.repeat(self.pixels, self.points)[:, None])
        self.grid, self.ways = DeviceTable(grids.reshape(-1, self.axes)), DeviceTable(moved_by(kind, grids))
        self.numbers = transforms.count(kind, self.axes)
        self.size = self.count * (self.numbers + NUM_SCORES)
        pairs = len(bank.half_extent)
        kept = not random_view and 4 * pairs * self.count * self.points * self.numbers <= MOST_KEPT
        self.known = tuple(map(DeviceTable, self.still(pairs))) if kept else None

    def still(self, pairs: int) -> list[np.ndarray]:
        """The ``views`` of all fixed images as they are."""
        eye = np.eye(self.axes, self.axes + 1)[None]
        rows = [self.views(np.array([pair]), eye) for pair in range(pairs)]
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]

    def propose(self, pair: Array, view_transform: Array, pose: Array) -> Array:
        """The motions and how good each is, (B, F, k + 2) float64.

        The last two of each are the shares of the variance that is explained, without and with the motion.

        Args:
            pair: (B,) index.
            view_transform: (B, d, d + 1), from the view to the fixed image.
            pose: (B, d, d + 1), from the view to the moving image.
        """
        xp = xp_of(pose)
        if self.known is None:
            grey, descent, inside = self.views(pair, view_transform)
        else:
            grey, descent, inside = (table.rows(pair) for table in self.known)
        moving = self.grey(1, pair, pose)
        weight = xp.astype(inside & self.inside(1, pair, pose), descent.dtype)
        differ = None if self.differ is None else self.differ.rows(pair)
        return clip_proposals(motions(descent, grey, moving, weight, differ), self.largest)

    def views(self, pair: Array, view_transform: Array) -> tuple[Array, Array, Array]:
        """Intensities (B, F, n) of fixed images, their changes with a motion (B, F, n, k), and (B, F, n) inside."""
        xp = xp_of(view_transform)
        slopes = [
            xp.stack([self.beside(pair, view_transform, look, axis) for look in range(self.count)], axis=1)
            for axis in range(self.axes)
        ]
        greys = xp.stack(slopes, axis=-1)
        descent = xp.matmul(greys[..., None, :], self.ways.on(view_transform))[..., 0, :]
        return self.grey(0, pair, view_transform), descent, self.inside(0, pair, view_transform)

    def beside(self, pair: Array, view_transform: Array, look: int, axis: int) -> Array:
        """(B, n) slopes of the fixed images at a scale along an axis, from the pixels on both sides."""
        xp, pixel, level = xp_of(view_transform), self.pixels[look], self.levels[look : look + 1]
        rigid = transforms.count("rigid", self.axes)
        step = const(tuple(pixel * (number == axis) for number in range(rigid)), view_transform)
        step = xp.broadcast_to(step[None, :], (view_transform.shape[0], rigid))
        views = [transforms.move(view_transform, way * step, "rigid") for way in (1.0, -1.0)]
        ahead, behind = (self.grey(0, pair, view, level)[:, 0, :] for view in views)
        return (ahead - behind) / (2 * pixel)

    def grey(self, which: int, pair: Array, pose: Array, levels: Sequence[int] | None = None) -> Array:
        """Intensities (B, F, n) in [-0.5, 0.5] of the fixed (0) or moving (1) images, at all scales by default."""
        windows = self.bank.windows(which, pair, pose, levels or self.levels, self.side)
        return grey(windows, self.bank.pictures) / 255 - 0.5

    def inside(self, which: int, pair: Array, pose: Array) -> Array:
        """True where pixels lie in the fixed (0) or moving (1) image, a pixel from its border at least, (B, F, n)."""
        there = within(self.grid, self.bank.sizes[which], pair, pose, self.margin.on(pose))
        return xp_of(pose).reshape(there, (-1, self.count, self.points))

    def quality(self, proposals: Array, pose: Array, target: Array, close: float) -> Array:
        """Quality of each proposal, see ``proposal_quality``."""
        ways = [proposals[:, look, : self.numbers] for look in range(self.count)]
        after = [transforms.distance(transforms.move(pose, some, self.kind), target) for some in ways]
        return proposal_quality(transforms.distance(pose, target), xp_of(pose).stack(after, axis=-1), close)


def moved_by(kind: str, places: np.ndarray) -> np.ndarray:
    """(F, n, d, k) float32, by how much each number of a motion moves places (F, n, d)."""
    axes, little = places.shape[-1], 1e-3
    steps = little * np.eye(transforms.count(kind, axes))
    ways = transforms.to_matrix(steps, kind, axes) - transforms.to_matrix(-steps, kind, axes)
    moved = np.einsum("kde,fne->fndk", ways[:, :, :axes], places) + ways[:, :, axes].T
    return (moved / (2 * little)).astype(np.float32)


def grey(windows: Array, pictures: int) -> Array:
    """(B, levels, n) float32 in [0, 255], all pixels of windows (B, levels, C, w, w) in which colours are averaged.

    ``pictures`` are how many of the C are pictures of their own, such as cuts, and not colours of one.
    """
    xp, (rows, levels, channels) = xp_of(windows), windows.shape[:3]
    values = xp.astype(windows, xp.float32)
    if channels != pictures:
        values = xp.mean(values, axis=2)
    return xp.reshape(values, (rows, levels, -1))


class PoseGaussNewton:
    """Motions by which renders would look like X-rays if they changed linearly with them.

    The X-ray's intensity is written as a piecewise linear function of the render's, so that tones may differ, both less
    their own blur; six more renders show how the render changes with each number of the motion.

    Source: Lucas & Kanade (1981).

    Args:
        bank: the volumes.
        largest: no number of a motion exceeds it, either way.

    Attributes:
        count: F, how many motions there are, one a scale.
        size: how many numbers the agent is told.
    """

    def __init__(self, bank: CArm, largest: float) -> None:
        self.bank, self.largest = bank, largest
        self.count, self.size = len(RENDER_COARSER), len(RENDER_COARSER) * (POSE_NUMBERS + NUM_SCORES)
        line = np.arange(bank.geometry.size)
        weights = np.exp(-0.5 * ((line[:, None] - line) / (BLUR * len(line))) ** 2)
        self.blur = DeviceTable(weights / weights.sum(axis=1, keepdims=True))
        self.means = [DeviceTable(block_means(len(line), coarser)) for coarser in RENDER_COARSER]

    def propose(self, image: Array, xray: Array, pose: Array) -> Array:
        """The motions and how good each is, (B, F, 8) float64.

        Args:
            image: (B,) index of the volume.
            xray: (B, views, size, size) uint8.
            pose: (B, 3, 4).

        The last two of each are the shares of the X-ray's variance that is explained, without and with the motion.
        """
        xp, rows = xp_of(pose), pose.shape[0]
        way = LITTLE * xp.eye(POSE_NUMBERS, dtype=pose.dtype, device=pose.device)
        moved = [
            move_pose(pose, xp.broadcast_to(way[k : k + 1, :], (rows, POSE_NUMBERS)))
            for k in range(POSE_NUMBERS)
        ]
        poses = xp.reshape(xp.stack([pose, *moved], axis=1), (-1, 3, 4))
        shown = self.bank.thickness(xp.repeat(image, POSE_NUMBERS + 1, axis=0), poses)
        shown = xp.clip(xp.astype(shown, pose.dtype), 0.0, 1.0)
        renders = self.sharp(xp.reshape(shown, (rows, -1, *shown.shape[1:])))
        seen = self.sharp(xp.astype(xray, pose.dtype) / 255)
        return clip_proposals(
            xp.concat([fit_scale(renders, seen, mean.on(pose)) for mean in self.means], axis=1), self.largest
        )

    def quality(self, proposals: Array, image: Array, pose: Array, target: Array) -> Array:
        """Quality of each proposal, see ``proposal_quality``, by the mean target registration error."""
        ends = [move_pose(pose, proposals[:, look, :POSE_NUMBERS]) for look in range(self.count)]
        after = xp_of(pose).stack([self.bank.error(image, end, target) for end in ends], axis=-1)
        return proposal_quality(self.bank.error(image, pose, target), after, CLOSE_MM)

    def sharp(self, pictures: Array) -> Array:
        """Pictures (..., size, size) less their blur."""
        xp, blur = xp_of(pictures), self.blur.on(pictures)
        return pictures - xp.matmul(xp.matmul(blur, pictures), xp.matrix_transpose(blur))


def fit_scale(renders: Array, xray: Array, mean: Array) -> Array:
    """The motions of one scale, (B, 1, 8), from renders (B, 7, views, size, size) and X-rays (B, views, size, size)."""
    xp, rows = xp_of(xray), xray.shape[0]
    renders, xray = (xp.matmul(xp.matmul(mean, some), xp.matrix_transpose(mean)) for some in (renders, xray))
    renders, xray = xp.reshape(renders, (rows, POSE_NUMBERS + 1, -1)), xp.reshape(xray, (rows, 1, -1))
    now = renders[:, :1, :]
    descent = xp.matrix_transpose((now - renders[:, 1:, :]) / LITTLE)[:, None, ...]
    return fit_spline_intensity(descent, now, xray, xp.ones_like(xray))


def block_means(side: int, coarser: int) -> np.ndarray:
    """(side // coarser, side) matrix that averages every few pixels in a row; pixels left over count nowhere."""
    means = np.kron(np.eye(side // coarser), np.full((1, coarser), 1 / coarser))
    return np.pad(means, ((0, 0), (0, side % coarser)))
