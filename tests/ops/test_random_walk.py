"""The random walker by columns: exact, the same on every library, and with little memory."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from visionrl.ops.random_walk import GreenColumns, laplacian

SIDE = 24
RNG = np.random.default_rng(7)
IMAGES = RNG.integers(0, 256, (3, 3, SIDE, SIDE), dtype=np.uint8)
IMAGES[:, :, :, 12:] //= 4
VALID = np.ones((3, SIDE, SIDE), bool)
VALID[1, 20:] = False
PIXELS = (np.arange(1, SIDE, 4)[:, None] * SIDE + np.arange(1, SIDE, 4)).ravel()
CELLS = np.stack([RNG.permutation(18)[:5] for _ in range(3)])
SIGNS = RNG.choice([-1, 1], CELLS.shape)
CELLS[2, 3:], SIGNS[2, 3:] = -1, -1


def columns(**more) -> GreenColumns:
    return GreenColumns(IMAGES, VALID, PIXELS, 90.0, **more)


def test_the_field_is_the_solution_of_the_dirichlet_problem():
    from scipy.sparse.linalg import spsolve

    fields = columns().fields(np.arange(3), CELLS, SIGNS)
    for picture, field in enumerate(fields):
        used = CELLS[picture] >= 0
        at, labels = PIXELS[CELLS[picture][used]], SIGNS[picture][used]
        free = np.setdiff1d(np.arange(SIDE**2), at)
        matrix = laplacian(IMAGES[picture], VALID[picture], 90.0).tocsr()
        wanted = spsolve(matrix[free][:, free].tocsc(), -matrix[free][:, at] @ labels)
        np.testing.assert_allclose(field[at], labels, atol=1e-9)
        np.testing.assert_allclose(field[free], wanted, atol=1e-3)


def test_it_agrees_with_scikit_image():
    from skimage.segmentation import random_walker

    field = columns().fields(np.zeros(1, int), CELLS[:1], SIGNS[:1])[0].reshape(SIDE, SIDE)
    labels = np.zeros(SIDE**2, int)
    labels[PIXELS[CELLS[0]]] = np.where(SIGNS[0] > 0, 2, 1)
    image = IMAGES[0].transpose(1, 2, 0) / 255
    theirs = random_walker(image, labels.reshape(SIDE, SIDE), beta=90, mode="bf", channel_axis=-1)
    assert ((field > 0) == (theirs == 2)).mean() > 0.98


@pytest.mark.parametrize("library", ["numpy", "torch", "array_api_strict"])
def test_the_device_path_finds_the_same_pixels_on_any_library(library):
    xp = pytest.importorskip(library)
    bank = columns()
    wanted = bank.fields(np.arange(3), CELLS, SIGNS)
    for picture in range(3):
        bank.columns(picture, np.arange(len(PIXELS)))
    table = xp.asarray(bank._table.reshape(-1, SIDE**2))
    given = [xp.asarray(x.copy()) for x in (np.arange(3), CELLS, SIGNS)]
    found = np.asarray(bank.fields_on_device(table, *given))
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    np.testing.assert_array_equal(found > 0, wanted > 0)


def test_without_seeds_nothing_is_on_the_object_and_one_kind_fills_all():
    none = np.full((1, 2), -1)
    assert (columns().fields(np.zeros(1, int), none, none) == -1).all()
    lone = columns().fields(np.zeros(1, int), np.array([[3, -1]]), np.array([[1, -1]]))
    assert (lone > 0).all()


def test_with_room_for_one_picture_the_others_are_computed_anew():
    wanted = columns().fields(np.arange(3), CELLS, SIGNS)
    narrow = columns(memory=1)
    assert narrow.slots == 1
    for _ in range(2):
        for picture in range(3):
            rows = slice(picture, picture + 1)
            got = narrow.fields(np.array([picture]), CELLS[rows], SIGNS[rows])
            np.testing.assert_array_equal(got[0], wanted[picture])


def test_a_pickle_holds_no_columns_and_gives_the_same_fields():
    bank = columns()
    wanted = bank.fields(np.arange(3), CELLS, SIGNS)
    data = pickle.dumps(bank)
    assert len(data) < 2 * (IMAGES.nbytes + VALID.nbytes)
    np.testing.assert_array_equal(pickle.loads(data).fields(np.arange(3), CELLS, SIGNS), wanted)
