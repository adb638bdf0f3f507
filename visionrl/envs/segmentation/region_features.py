"""Observations of regions that may be labelled next: numbers that mean the same whatever the classes."""

from __future__ import annotations

from visionrl.banks.regions import RegionBank
from visionrl.ops import Array, ridge, xp_of

BINS = 6  # of the histogram of the entropy
RANKS = 4  # classes whose predicted shares are shown, the one with most labelled pixels first
NUMBERS = 6 + BINS + RANKS + 12  # of a candidate
CONTEXT = 3
CLOSE = 0.5  # distance between mean features that counts as near


def candidate_features(
    bank: RegionBank, weights: Array, inverse: Array, count: Array, taken: Array, offered: Array
) -> Array:
    """(B, N, NUMBERS) float64 in about [-1, 1], of the candidates.

    In turn, where p are the class probabilities of the segmenter at pixels of the region:

    * entropy of p: mean, largest, histogram of 6 bins; mean variance, mean margin between the two likeliest classes;
    * entropy of the mean of p, and how much it exceeds the mean entropy (pixels that are sure, but differ);
    * how rare the predicted classes are among the labels: mean, largest; the mean of p for the 4 classes with the most
      labels, most first;
    * leverage (how far the pixels' features are from the labelled ones); nearness of the region's mean
      features to the nearest taken region; share of the taken regions that are of the same image; whether it is taken;
    * intensity, contrast, gradient, how common such regions are, the place in the image (x, y).

    Args:
        bank: whose regions they are.
        weights: (B, F, K) float64, the segmenter.
        inverse: (B, F, F) float64, of the products of the features that it has learnt from.
        count: (B, K) float64, labelled pixels by class.
        taken: (B, T) int64, regions that are labelled, -1 for none.
        offered: (B, N) int64, the candidates.
    """
    xp, shape = xp_of(weights), offered.shape
    flat = xp.reshape(offered, (-1,))
    pixels = xp.reshape(bank.pixels.rows(flat), (*shape, *bank.pixels.array.shape[1:]))
    turned = xp.permute_dims(weights, (0, 2, 1))[:, None, :, :]
    shares = ridge.class_probabilities(turned @ pixels, axis=2)  # (B, N, K, P)
    products = xp.reshape(bank.gram.rows(flat), (*shape, -1))
    spread = ridge.mean_leverage(products, inverse, products[:, :, 0])
    return xp.concat(
        [
            uncertainty(shares),
            rarity(xp.mean(shares, axis=3), count),
            xp.log1p(spread)[:, :, None],
            nearness(bank, taken, offered),
            xp.reshape(bank.about.rows(flat), (*shape, -1)),
        ],
        axis=-1,
    )


def uncertainty(shares: Array) -> Array:
    """(B, N, 6 + BINS) of class probabilities (B, N, K, P)."""
    xp = xp_of(shares)
    each, mean = ridge.entropy(shares, axis=2), xp.mean(shares, axis=3)
    top = xp.max(shares, axis=2)
    rest = xp.max(xp.where(shares < top[:, :, None, :], shares, xp.zeros_like(shares)), axis=2)
    below = [xp.mean(xp.astype(each < k / BINS, shares.dtype), axis=2) for k in range(1, BINS)]
    bins = [b - a for a, b in zip([0.0, *below], [*below, 1.0], strict=True)]
    whole, average = ridge.entropy(mean), xp.mean(each, axis=2)
    variance = xp.mean(1 - xp.sum(shares * shares, axis=2), axis=2)
    margin = xp.mean(top - rest, axis=2)
    return xp.stack([average, xp.max(each, axis=2), *bins, variance, margin, whole, whole - average], axis=-1)


def rarity(mean: Array, count: Array) -> Array:
    """(B, N, 2 + RANKS) of mean class probabilities (B, N, K) and of labelled pixels by class (B, K)."""
    xp = xp_of(mean)
    most = xp.max(count, axis=1)[:, None]
    rare = 1 - count / xp.where(most > 0, most, xp.ones_like(most))
    weighted = mean * rare[:, None, :]
    order = xp.argsort(-count, axis=1, stable=True)
    ranked = xp.take_along_axis(mean, xp.broadcast_to(order[:, None, :], mean.shape), axis=2)
    shown = [ranked[:, :, k] if k < mean.shape[2] else xp.zeros_like(mean[:, :, 0]) for k in range(RANKS)]
    return xp.stack([xp.sum(weighted, axis=2), xp.max(weighted, axis=2), *shown], axis=-1)


def nearness(bank: RegionBank, taken: Array, offered: Array) -> Array:
    """(B, N, 3): nearness to a taken region in [0, 1], share of the taken ones in the same image, whether it is taken."""
    xp = xp_of(taken)
    there = taken >= 0
    held = xp.where(there, taken, xp.zeros_like(taken))
    own, other = (
        xp.reshape(bank.centre.rows(xp.reshape(some, (-1,))), (*some.shape, -1)) for some in (offered, held)
    )
    inner = own[:, :, :-1] @ xp.permute_dims(other[:, :, :-1], (0, 2, 1))
    gap = own[:, :, -1][:, :, None] + other[:, :, -1][:, None, :] - 2 * inner
    near = xp.where(there[:, None, :], xp.exp(-gap / CLOSE), xp.zeros_like(gap))
    images = [xp.reshape(bank.image.rows(xp.reshape(some, (-1,))), some.shape) for some in (offered, held)]
    same = (images[0][:, :, None] == images[1][:, None, :]) & there[:, None, :]
    among = xp.sum(xp.astype(there, gap.dtype), axis=1)[:, None]
    share = xp.sum(xp.astype(same, gap.dtype), axis=2) / xp.where(among > 0, among, xp.ones_like(among))
    again = xp.any((offered[:, :, None] == taken[:, None, :]) & there[:, None, :], axis=2)
    return xp.stack([xp.max(near, axis=2), share, xp.astype(again, gap.dtype)], axis=-1)


def context(count: Array, step: Array, budget: Array) -> Array:
    """(B, CONTEXT): share of the budget that is spent, of the classes that are labelled, and how even the labels are.

    Args:
        count: (B, K) float64, labelled pixels by class.
        step: (B,) int64, regions labelled so far.
        budget: (B,) int64, regions that may be labelled.
    """
    xp = xp_of(count)
    total = xp.sum(count, axis=1)
    shares = count / xp.where(total > 0, total, xp.ones_like(total))[:, None]
    spent = xp.astype(step, xp.float64) / xp.astype(budget, xp.float64)
    seen = xp.mean(xp.astype(count > 0, xp.float64), axis=1)
    return xp.stack([spent, seen, ridge.entropy(shares)], axis=-1)
