"""Ridge regression in closed form, against scikit-learn's formula written out."""

from __future__ import annotations

import numpy as np
import pytest

from visionrl.ops import ridge


def problem(rows: int = 3, pixels: int = 40, features: int = 5, classes: int = 3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, pixels, features))
    y = np.eye(classes)[rng.integers(classes, size=(rows, pixels))]
    return x, y, x.transpose(0, 2, 1) @ x + 0.5 * np.eye(features), x.transpose(0, 2, 1) @ y


def test_the_weights_minimise_the_penalised_squares():
    x, y, gram, moment = problem()
    weights, inverse = ridge.solve_ridge(gram, moment)
    np.testing.assert_allclose(inverse @ gram, np.broadcast_to(np.eye(5), gram.shape), atol=1e-9)

    def loss(w):
        return ((x[0] @ w - y[0]) ** 2).sum() + 0.5 * (w**2).sum()

    for change in np.random.default_rng(1).normal(size=(20, 5, 3)) * 0.01:
        assert loss(weights[0] + change) > loss(weights[0])


def test_scores_of_shared_pixels_are_those_of_each_regression():
    x, _, gram, moment = problem()
    weights, _ = ridge.solve_ridge(gram, moment)
    scores = ridge.class_scores(x[0].T, weights)
    np.testing.assert_allclose(scores, np.stack([(x[0] @ w).T for w in weights]))


def test_mean_leverage_is_the_mean_of_single_ones():
    x, _, gram, _ = problem()
    inverse = np.linalg.inv(gram)
    products = (x.transpose(0, 2, 1) @ x).reshape(3, 1, -1)
    single = np.einsum("bpf,bfg,bpg->bp", x, inverse, x).mean(axis=1)
    found = ridge.mean_leverage(products, inverse, np.full((3, 1), 40.0))
    np.testing.assert_allclose(found[:, 0], single)


def test_entropy_is_one_where_all_classes_are_equal_and_zero_where_one_is_sure():
    shares = np.array([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(ridge.entropy(shares), [1, 0, 0.5], atol=1e-9)


def test_probabilities_sum_to_one_along_any_axis_and_keep_the_order_of_the_scores():
    scores = np.random.default_rng(0).normal(size=(2, 4, 6))
    for axis in (1, 2):
        shares = ridge.class_probabilities(scores, axis)
        np.testing.assert_allclose(shares.sum(axis=axis), 1)
        assert (shares.argmax(axis=axis) == scores.argmax(axis=axis)).all()


@pytest.mark.parametrize("classes", [1, 2])
def test_entropy_of_few_classes_is_finite(classes):
    assert np.isfinite(ridge.entropy(np.full((3, classes), 1 / classes))).all()
