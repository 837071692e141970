from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numba import njit

from homolog.kernels import icosahedron
from homolog.kernels.icosahedron import CORNERS, FACES


def vectors(number=3000):
    return np.random.default_rng(0).normal(size=(number, 3))


@njit
def folded_shares(vectors, receivers):  # type: ignore[no-untyped-def]
    shares = np.zeros((len(vectors), 12))
    for n in range(len(vectors)):
        x, y, z = np.float32(vectors[n, 0]), np.float32(vectors[n, 1]), np.float32(vectors[n, 2])
        wall, a, b, c = icosahedron.folded(abs(x), abs(y), abs(z))
        code = 8 * wall + (1 if x < 0 else 0) + (2 if y < 0 else 0) + (4 if z < 0 else 0)
        scale = np.sqrt(x * x + y * y + z * z) / (a + b + c)
        for corner, part in zip(receivers[code], (a, b, c)):
            shares[n, corner] += scale * part
    return shares


def test_the_faces_are_those_of_the_convex_hull():
    from scipy.spatial import ConvexHull

    assert {frozenset(f) for f in FACES.tolist()} == {frozenset(f) for f in ConvexHull(CORNERS).simplices.tolist()}
    np.testing.assert_allclose(np.linalg.norm(CORNERS, axis=1), 1)


@pytest.mark.parametrize("exchanged", [False, True])
def test_folding_by_signs_finds_the_face_that_trying_all_twenty_finds(exchanged):
    expected = icosahedron.shares_reference(vectors(), exchanged=exchanged)
    found = folded_shares(vectors(), icosahedron.receivers(exchanged=exchanged))
    np.testing.assert_allclose(found, expected, atol=3e-6)


def test_shares_point_where_the_vector_points_and_sum_to_its_length():
    shares = icosahedron.shares_reference(vectors(), exchanged=False)
    assert (shares > -1e-12).all()
    assert ((shares > 1e-12).sum(axis=1) <= 3).all()
    length = np.linalg.norm(vectors(), axis=1, keepdims=True)
    np.testing.assert_allclose(shares.sum(axis=1, keepdims=True), length)
    again = shares @ CORNERS
    np.testing.assert_allclose(again / np.linalg.norm(again, axis=1, keepdims=True), vectors() / length, atol=1e-12)


def test_exchanged_shares_point_elsewhere():
    """The third defect: a vector near a corner may count for another corner of its face."""
    turned = icosahedron.shares_reference(vectors(), exchanged=True) @ CORNERS
    cosine = (turned * vectors()).sum(axis=1) / np.linalg.norm(turned, axis=1) / np.linalg.norm(vectors(), axis=1)
    assert 0.8 < np.median(cosine) < 0.99
    # every face has one corner that keeps its own
    named = [frozenset((kept, *pair)) for kept, pairs in icosahedron.KEPT.items() for pair in pairs]
    assert sorted(map(sorted, named)) == sorted(map(sorted, FACES.tolist()))
    assert all(CORNERS[a] @ CORNERS[b] > 0.4 for face in named for a, b in combinations(face, 2))


def test_a_null_vector_has_no_shares():
    assert not icosahedron.shares_reference(np.zeros((2, 3)), exchanged=False).any()
