"""The surface of a mask as small pieces between its voxels, and distances from one surface to another.

A surfel sits at each corner where eight voxels meet and not all of them are alike. Its area is that of the marching
cubes polygons (Lorensen and Cline, SIGGRAPH 1987) through the middles of the edges that join an inside voxel to an
outside one. Two choices are left open by that description, and both are made so that on straight axes the areas are
those of the `surface-distance` package, which Learn2Reg scores with:

- on a face whose diagonal corners are alike, the corners in the minority among the eight are cut off one by one;
- a polygon that is not flat is cut into the triangles with the largest total area in the unit cube.

Where there is no minority, or several cuts are equally large, the readings differ on slanted axes only; there their
mean is taken, so that no axis is preferred and a body has the surface of the hole it leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
from scipy.spatial import cKDTree

from homolog.kernels.threads import thread_count

Corner = tuple[int, int, int]
Edge = frozenset[Corner]
Triangle = tuple[int, int, int]

# Bit n of a neighbourhood's code is CORNERS[n]: the voxel before (0) or after (1) the surfel along i, j, k.
CORNERS: tuple[Corner, ...] = tuple((i, j, k) for i, j, k in product((0, 1), repeat=3))

# The corners of a square, in the order round it.
RING = ((0, 0), (1, 0), (1, 1), (0, 1))

# A tree this small is asked sooner than a second thread is started.
WORTH_THREADS = 20_000


# ---------------------------------------------------------------------------------------------------------------------
# The areas of the 256 neighbourhoods


def surfel_areas(linear: np.ndarray) -> np.ndarray:
    """(256,) float64 mm²: the area of a surfel by its neighbourhood's code, on a lattice of linear part (3, 3) mm."""
    codes, weights, normals = _pieces()
    # area vectors go with the cofactors of the matrix that carries the points
    cofactors = np.linalg.det(linear) * np.linalg.inv(linear).T
    areas = weights * np.linalg.norm(normals @ cofactors.T, axis=1)
    return np.bincount(codes, areas, minlength=256)


@cache
def _pieces() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All triangles of all codes in the unit cube: their code (T,), their weight (T,), their area vector (T, 3)."""
    codes, weights, normals = [], [], []
    for code in range(256):
        minorities = _minorities(code)
        for cuts in (_largest_cuts(polygon) for minority in minorities for polygon in _polygons(minority)):
            normals.append(cuts.reshape(-1, 3))
            codes.append(np.full(len(normals[-1]), code))
            weights.append(np.full(len(normals[-1]), 1 / (len(cuts) * len(minorities))))
    return np.concatenate(codes), np.concatenate(weights), np.concatenate(normals)


def _minorities(code: int) -> list[set[Corner]]:
    """The inside corners or the outside ones, whichever are fewer; both where they are four."""
    inside = {corner for n, corner in enumerate(CORNERS) if code >> n & 1}
    outside = set(CORNERS) - inside
    return [side for side in (inside, outside) if len(side) <= 4]


def _polygons(minority: set[Corner]) -> list[np.ndarray]:
    """The closed polygons (n, 3) that part these corners of a unit cube from the others."""
    return list(_traced([segment for face in _faces() for segment in _segments(face, minority)]))


def _faces() -> Iterator[list[Corner]]:
    """The four corners of each face, in the order round it."""
    for axis, side in product(range(3), (0, 1)):
        yield [(*pair[:axis], side, *pair[axis:]) for pair in RING]  # type: ignore[misc]


def _segments(face: list[Corner], minority: set[Corner]) -> list[tuple[Edge, Edge]]:
    """The lines across a face, each from one cut edge to another."""
    edges = [frozenset((face[n], face[(n + 1) % 4])) for n in range(4)]
    cut = [edge for edge in edges if len(edge & minority) == 1]
    if len(cut) == 4:
        # corner n lies between the edges n - 1 and n
        return [(edges[n - 1], edges[n]) for n in range(4) if face[n] in minority]
    return [(cut[0], cut[1])] if cut else []


def _traced(segments: list[tuple[Edge, Edge]]) -> Iterator[np.ndarray]:
    """Segments joined end to end into polygons, whose points are the middles of the edges."""
    while segments:
        first, last = segments.pop()
        path = [first, last]
        while path[-1] != first:
            following = next(segment for segment in segments if path[-1] in segment)
            segments.remove(following)
            path.append(following[1] if following[0] == path[-1] else following[0])
        yield np.array([np.mean(list(edge), axis=0) for edge in path[:-1]])


def _largest_cuts(polygon: np.ndarray) -> np.ndarray:
    """(C, n - 2, 3): the area vectors of the triangles, for each of the C equally large cuts of a polygon (n, 3)."""
    corners = polygon[_cuts(len(polygon))]
    vectors = np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]) / 2
    areas = np.linalg.norm(vectors, axis=2).sum(axis=1)
    return vectors[areas > areas.max() - 1e-9]


@cache
def _cuts(count: int) -> np.ndarray:
    """(C, count - 2, 3): every way to cut a polygon of `count` points into triangles of its points."""
    return np.array(list(_cuts_between(0, count - 1)))


def _cuts_between(first: int, last: int) -> Iterator[list[Triangle]]:
    """The cuts of the points first..last: one triangle on the side that joins these two, and what is left of it."""
    if last < first + 2:
        yield []
    for middle in range(first + 1, last):
        for left, right in product(_cuts_between(first, middle), list(_cuts_between(middle, last))):
            yield [*left, *right, (first, middle, last)]


# ---------------------------------------------------------------------------------------------------------------------
# The surfels of a mask


def neighbourhood_codes(mask: np.ndarray) -> np.ndarray:
    """(I + 1, J + 1, K + 1) uint8: which of the eight voxels round each corner of an (I, J, K) bool mask are inside.

    Entry (i, j, k) is the corner at voxel coordinates (i, j, k) - 1/2; beyond the mask everything is outside.
    """
    padded = np.pad(mask.astype(np.uint8), 1)
    codes = np.zeros(tuple(n + 1 for n in mask.shape), np.uint8)
    for bit, corner in enumerate(CORNERS):
        codes |= padded[tuple(slice(c, c + n) for c, n in zip(corner, codes.shape))] << np.uint8(bit)
    return codes


def surfels(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the surfels of an (I, J, K) bool mask are, and what they look like.

    returns  corners (N, 3) int64, each half a voxel past its voxel coordinates, and codes (N,) uint8
    """
    codes = neighbourhood_codes(mask)
    # 0 and 255, all out and all in, are the two that wrap round to the top
    corners = np.argwhere(codes - np.uint8(1) < 254)
    return corners, codes[tuple(corners.T)]


# ---------------------------------------------------------------------------------------------------------------------
# Distances


def nearest_distances(points: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """(N,) float64: how far each point (N, 3) is from the nearest of a surface's points (M, 3), M >= 1.

    A tree over the surface and not a distance map over the box: exact on slanted axes too, and the cost grows with
    the surface instead of the volume.
    """
    # points of a lattice lie evenly: big leaves and no balancing make the tree in a third of the time
    tree = cKDTree(surface, leafsize=64, balanced_tree=False, compact_nodes=False)
    workers = thread_count() if len(points) > WORTH_THREADS else 1
    return tree.query(points, workers=workers)[0]


def weighted_percentile(values: np.ndarray, weights: np.ndarray, percent: float) -> float:
    """The smallest of the values (N,) up to which at least `percent` of the weight (N,) lies."""
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    # the sum of all shares can end a rounding error below one
    place = min(int(np.searchsorted(share, percent / 100)), len(values) - 1)
    return float(values[order][place])
