"""Solids with flat faces, boards, balls and ellipsoids, drawn round the origin.

Who places them turns them. `side` is that of the picture they are meant for, in voxels. Corners of one solid lie at
least APART voxels from each other: two that are nearer are one to a blurred eye.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from scipy.spatial.transform import Rotation

from homolog.synth.solids.parts import Ball, Board, Convex, Ellipsoid, Solid

# More than the full width at half height of the broadest blur, 2.355 * 1.5 voxels.
APART = 4.0
# Below these a face is lost in its own blurred edges.
LEAST_EDGE, LEAST_CELL = 8.0, 7.0
# The eight corners of a cube of side one.
CUBE = np.array(list(product((-0.5, 0.5), repeat=3)))
# What the faces' angles lack of a full turn round a vertex, in radians: at a cube's 1.57, at a flat place nothing.
LEAST_DEFECT = 0.7
# Sharper places are eaten by the blur: the tip that is seen lies voxels behind the true one.
LEAST_SOLID_ANGLE, LEAST_WEDGE_DEGREES = 0.35, 30.0


def length(rng: np.random.Generator, least: float, most: float) -> float:
    """Voxels: as many small as large ones, in ratios."""
    return float(np.exp(rng.uniform(np.log(least), np.log(max(most, 1.2 * least)))))


def box(rng: np.random.Generator, side: float) -> Solid:
    """Three edges of any lengths: eight corners."""
    return _cornered(CUBE * [length(rng, LEAST_EDGE, 0.6 * side) for _ in range(3)])


def plate(rng: np.random.Generator, side: float) -> Solid:
    """A thin box. Where it is too thin to tell its two faces apart, its short edges' middles stand for the corners."""
    edges = [length(rng, 1.5 * LEAST_EDGE, 0.7 * side) for _ in range(2)]
    thickness = float(rng.uniform(1.5, 6.0))
    corners = CUBE * [*edges, thickness]
    return _cornered(corners) if thickness >= APART else _pointed(corners, corners[::2] * (1, 1, 0))


def wedge(rng: np.random.Generator, side: float) -> Solid:
    """A bar whose cross-section is a triangle with one sharp corner."""
    across, along = length(rng, 1.5 * LEAST_EDGE, 0.55 * side), length(rng, LEAST_EDGE, 0.6 * side)
    half = across * np.tan(np.radians(rng.uniform(LEAST_WEDGE_DEGREES, 70.0)) / 2)
    # as far as to one of the other faces, which then stands upright
    lean = rng.uniform(-1.0, 1.0) * half
    triangle = np.array([(-0.6 * across, lean), (0.4 * across, -half), (0.4 * across, half)])
    return _cornered(np.array([(*corner, end) for corner in triangle for end in (-along / 2, along / 2)]))


def polyhedron(rng: np.random.Generator, side: float) -> Solid:
    """Four to ten vertices on an ellipsoid: none of them flat, none of them a needle."""
    while True:
        radius = length(rng, 1.25 * LEAST_EDGE, 0.4 * side)
        # so many as leave each vertex its room
        vertices = radius * _spread(rng, int(rng.integers(4, min(10, int(3 + radius / 3)) + 1)))
        vertices *= rng.uniform(0.7, 1.2, size=3)
        sharpest, flattest = solid_angles(vertices).min(), defects(vertices).min()
        if pdist(vertices).min() >= 1.5 * APART and sharpest >= LEAST_SOLID_ANGLE and flattest >= LEAST_DEFECT:
            return _cornered(vertices - vertices.mean(axis=0))


def stack(rng: np.random.Generator, side: float) -> Solid:
    """Slabs one upon the other along a bent axis, like vertebrae with their discs left out."""
    wide, deep = (length(rng, 1.25 * LEAST_EDGE, 0.4 * side) for _ in range(2))
    frame, foot, slabs = np.eye(3), np.zeros(3), []
    bend = Rotation.from_rotvec(rng.normal(scale=np.radians(6.0), size=3)).as_matrix()
    for _ in range(int(rng.integers(3, 6))):
        high, gap = rng.uniform(5.0, 12.0), rng.uniform(3.5, 7.0)
        slab = CUBE * (wide, deep, high) + (0, 0, high / 2)
        # the upper face leans a little, as a vertebra's does
        slab[1::2, 2] += slab[1::2, 0] * rng.uniform(-0.1, 0.1) + slab[1::2, 1] * rng.uniform(-0.1, 0.1)
        slabs.append(slab @ frame.T + foot)
        lean = (wide + deep) / 2 * (0.1 + np.abs(bend - np.eye(3)).max())
        foot, frame = foot + frame[:, 2] * (high + gap + lean), bend @ frame
    middle = np.concatenate(slabs).mean(axis=0)
    parts = [Convex.around(slab - middle) for slab in slabs]
    corners = np.concatenate([part.vertices for part in parts])
    return Solid(parts, corners, ("corner",) * len(corners))


def board(rng: np.random.Generator, side: float) -> Solid:
    """Light and dark cells. All nodes stand out: inside eight cells meet, on the faces, edges and corners fewer.

    Half of the boards are larger than the picture, so that only inner crossings are seen.
    """
    steps = np.diag([length(rng, LEAST_CELL, 0.3 * side) for _ in range(3)])
    if rng.random() < 0.5:
        counts = np.ceil(1.8 * side / steps.diagonal()).astype(int)
    else:
        counts = rng.integers(2, 5, size=3)
    nodes = np.array(list(np.ndindex(*(counts + 1))))
    first = -(counts / 2) @ steps
    within = np.all((nodes > 0) & (nodes < counts), axis=1)
    kinds = tuple("crossing" if here else "corner" for here in within.tolist())
    hull = Convex.around(CUBE * (counts @ steps))
    return Solid([hull], first + nodes @ steps, kinds, Board(first, steps))


def balls(rng: np.random.Generator, side: float) -> Solid:
    """One to a dozen small Gaussian balls, none touching another."""
    found: list[Ball] = []
    for _ in range(int(rng.integers(1, 13))):
        ball = Ball(rng.uniform(-0.4, 0.4, size=3) * side, float(rng.uniform(1.0, 3.0)))
        if all(np.linalg.norm(ball.centre - other.centre) > 2 * (ball.radius + other.radius) + 3 for other in found):
            found.append(ball)
    return Solid(found, np.array([ball.centre for ball in found]), ("centre",) * len(found))


def ellipsoid(rng: np.random.Generator, side: float) -> Solid:
    """A large one, nowhere bent more sharply than a ball of five voxels: no points."""
    while True:
        lengths = np.array([length(rng, 9.0, 0.45 * side) for _ in range(3)])
        if lengths.min() ** 2 / lengths.max() >= 5.0:
            return Solid([Ellipsoid(np.zeros(3), np.diag(lengths))])


def defects(vertices: np.ndarray) -> np.ndarray:
    """(V,) radians that the angles of the faces lack of a full turn, for each vertex of a convex hull.

    A vertex that the hull passes by lacks nothing.
    """
    left = np.full(len(vertices), 2 * np.pi)
    triangles = ConvexHull(vertices).simplices
    for turn in range(3):
        here, ahead, behind = (np.roll(triangles, turn, axis=1)[:, n] for n in range(3))
        one, other = vertices[ahead] - vertices[here], vertices[behind] - vertices[here]
        cosine = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
        np.subtract.at(left, here, np.arccos(np.clip(cosine, -1, 1)))
    left[np.setdiff1d(np.arange(len(vertices)), triangles)] = 0
    return left


def solid_angles(vertices: np.ndarray) -> np.ndarray:
    """(V,) steradians that a convex hull fills, seen from each of its vertices: what its other faces cover of the view.

    Triangle by triangle, after van Oosterom and Strackee (IEEE Trans Biomed Eng 30:125, 1983).
    """
    sides = vertices[ConvexHull(vertices).simplices] - vertices[:, None, None]
    lengths = np.linalg.norm(sides, axis=3)
    (a, b, c), (la, lb, lc) = np.moveaxis(sides, 2, 0), np.moveaxis(lengths, 2, 0)
    volume = np.abs((np.cross(a, b) * c).sum(axis=2))
    below = la * lb * lc + (a * b).sum(axis=2) * lc + (a * c).sum(axis=2) * lb + (b * c).sum(axis=2) * la
    # a triangle that the vertex belongs to is seen from its edge: volume 0
    return np.asarray(2 * np.where(volume > 0, np.arctan2(volume, below), 0).sum(axis=1))


def _spread(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3) directions, each the farthest of sixteen from those before it."""
    chosen = [directions(rng, 1)[0]]
    while len(chosen) < count:
        candidates = directions(rng, 16)
        chosen.append(candidates[(candidates @ np.array(chosen).T).max(axis=1).argmin()])
    return np.array(chosen)


def directions(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3) of unit length, all equally likely."""
    vectors = rng.normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _cornered(vertices: np.ndarray) -> Solid:
    """The hull of points, each of which is a corner of it."""
    return _pointed(vertices, vertices)


def _pointed(vertices: np.ndarray, points: np.ndarray) -> Solid:
    return Solid([Convex.around(vertices)], points, ("corner",) * len(points))
