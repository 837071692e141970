"""Directions as shares of the twelve corners of an icosahedron: which of its twenty faces a vector goes through.

Cartesian signs fold any vector into the octant where all its components are positive. There lie one whole face and the
halves of three others, each of which reaches across one of the octant's walls.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numba import njit

GOLDEN = (1 + 5**0.5) / 2
# Components of a unit corner: 1 and the golden ratio over this.
LENGTH = (1 + GOLDEN**2) ** 0.5


def _corners() -> np.ndarray:
    """(12, 3): (0, ±1, ±φ), (±1, ±φ, 0), (±φ, 0, ±1), the earlier component's sign changing faster."""
    signs = [(1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)]
    rows = [(0.0, a, b * GOLDEN) for a, b in signs]
    rows += [(a, b * GOLDEN, 0.0) for a, b in signs]
    rows += [(a * GOLDEN, 0.0, b) for a, b in signs]
    return np.array(rows) / LENGTH


CORNERS = _corners()
# (20, 3): the triples of corners that are neighbours of each other, their inner products 1 / sqrt 5.
FACES = np.array([f for f in combinations(range(12), 3) if (CORNERS[list(f)] @ CORNERS[list(f)].T > 0.4).all()])
# A published program gives two corners of each face each other's share. For each corner that keeps its own: the others.
KEPT = {
    1: ((0, 9), (7, 9)),
    2: ((4, 10), (3, 11)),
    4: ((0, 8), (8, 10)),
    5: ((0, 4), (2, 4)),
    6: ((1, 7), (3, 10)),
    7: ((9, 11), (3, 6)),
    8: ((0, 1), (1, 6)),
    9: ((0, 5), (5, 11)),
    10: ((6, 8), (2, 3)),
    11: ((2, 5), (3, 7)),
}


# ---------------------------------------------------------------------------------------------------------------------
# The definition


def shares_reference(vectors: np.ndarray, *, exchanged: bool) -> np.ndarray:
    """(N, 12) float64: the length of each vector (N, 3), divided among the corners of the face that it goes through.

    In proportion to l, where the vector is the sum of l times corner over the face; of all faces the one whose least l
    is largest is gone through.

    exchanged  two corners of each face get each other's share
    """
    parts = np.stack([np.linalg.solve(CORNERS[face].T, vectors.T).T for face in FACES])
    hit = parts.min(axis=2).argmax(axis=0)
    part = parts[hit, np.arange(len(vectors))]
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    part = np.where(length > 0, length * part / np.where(length > 0, part.sum(axis=1, keepdims=True), 1), 0)
    shares = np.zeros((len(vectors), 12))
    np.put_along_axis(shares, _receivers(FACES, exchanged)[hit], part, axis=1)
    return shares


def _receivers(faces: np.ndarray, exchanged: bool) -> np.ndarray:
    """(N, 3): for each corner of the faces (N, 3), the corner that gets its share."""
    if not exchanged:
        return faces
    swapped = {frozenset((kept, *pair)): (kept, *pair) for kept, pairs in KEPT.items() for pair in pairs}
    result = faces.copy()
    for n, face in enumerate(faces.tolist()):
        kept, one, other = swapped[frozenset(face)]
        result[n] = [{kept: kept, one: other, other: one}[corner] for corner in face]
    return result


# ---------------------------------------------------------------------------------------------------------------------
# For kernels


def receivers(*, exchanged: bool) -> np.ndarray:
    """(32, 3) int64: who gets the three shares of `folded`, by 8 times its wall plus the signs.

    Signs count 1, 2, 4 for a negative x, y, z.
    """
    faces = [_face(wall, signs) for wall in range(4) for signs in range(8)]
    return _receivers(np.array(faces), exchanged)


def _face(wall: int, signs: int) -> list[int]:
    """The corners in the order of `folded`'s shares: walls 0, 1, 2 are crossed along x, y, z, 3 is the whole face."""
    folded = CORNERS[[0, 4, 8]]
    # the crossing corner's own mirror image takes the third place
    corners = np.stack([folded, folded, folded, folded])[wall]
    if wall < 3:
        first = corners[[0, 2, 1][wall]]
        crossing = corners[[1, 0, 2][wall]]
        mirrored = crossing * np.where(np.arange(3) == wall, -1, 1)
        corners = np.stack([first, crossing, mirrored])
    corners = corners * np.where([signs & 1, signs & 2, signs & 4], -1, 1)
    return [int(np.argmax(CORNERS @ corner)) for corner in corners]


@njit(inline="always", cache=True)
def folded(x, y, z):  # type: ignore[no-untyped-def]
    """The wall that |x|, |y|, |z| reach across, and the three parts in the order of `_face`, without a common factor.

    The octant's whole face has a part for each of its corners 0, 4, 8; where one is negative, the vector goes through
    the face beyond the edge of the other two, whose third corner is the mirror image of one of these.
    """
    golden = np.float32(1.618033988749895)
    square = np.float32(2.618033988749895)
    inverse = np.float32(0.6180339887498949)
    # times (1 + golden^3)
    p0 = y - golden * x + square * z
    p4 = x - golden * z + square * y
    p8 = z - golden * y + square * x
    # crossing x: corners 0, 4, 4 mirrored; y: 8, 0, 0 mirrored; z: 4, 8, 8 mirrored
    along_x, along_y = p8 < 0, p4 < 0
    along_z = p0 < 0
    wall = 0 if along_x else (1 if along_y else (2 if along_z else 3))
    across = x if along_x else (y if along_y else z)
    single = z if along_x else (x if along_y else y)
    both = y if along_x else (z if along_y else x)
    first = single * inverse
    half = (both - first) * inverse
    whole = wall == 3
    # times what the three parts above were
    return (
        wall,
        p0 if whole else first,
        p4 if whole else np.float32(0.5) * (half + across),
        p8 if whole else np.float32(0.5) * (half - across),
    )
