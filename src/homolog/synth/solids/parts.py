"""What solids are made of, and a solid: how far a voxel lies from the surface, and how much of the voxel is covered.

Lengths are voxels, voxel centres are at integers. A place is three arrays i, j, k that broadcast together: an open
grid of a box of voxels, (I, 1, 1), (1, J, 1) and (1, 1, K), or one (N,) each. All are float32: within a hundred voxels
that is exact to 1e-5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from scipy.spatial import ConvexHull

# Beyond this many standard deviations a ball has less than 3e-4 of its height.
BALL_REACH = 4.0
# How many standard deviations from the centre a Gaussian has half of its height.
HALF_HEIGHT = float(np.sqrt(2 * np.log(2)))
# Faces of a hull that differ by less, in normal or in voxels, are one face that was cut into triangles.
SAME_FACE = 1e-7


@dataclass(frozen=True, eq=False)
class Convex:
    """The convex hull of its vertices: a place is inside where it is behind all faces.

    vertices  (V, 3)
    normals   (F, 3) of unit length, outwards
    offsets   (F,): n x = offset on a face
    """

    vertices: np.ndarray
    normals: np.ndarray
    offsets: np.ndarray

    @classmethod
    def around(cls, points: np.ndarray) -> Convex:
        """The hull of (N, 3) points."""
        hull = ConvexHull(points)
        distances = np.abs(hull.equations[:, None] - hull.equations[None]).max(axis=2)
        first = (distances < SAME_FACE).argmax(axis=1) == np.arange(len(distances))
        return cls(np.asarray(points, float)[hull.vertices], hull.equations[first, :3], -hull.equations[first, 3])

    def moved(self, rotation: np.ndarray, shift: np.ndarray) -> Convex:
        normals = self.normals @ rotation.T
        return Convex(self.vertices @ rotation.T + shift, normals, self.offsets + normals @ shift)

    def bounds(self) -> np.ndarray:
        return np.array([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    def distance(self, i: np.ndarray, j: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Voxels outside the farthest face's plane; beside an edge that is less than the distance to the edge."""
        farthest = np.full(np.broadcast_shapes(i.shape, j.shape, k.shape), -np.inf, np.float32)
        for normal, offset in zip(self.normals.astype(np.float32), self.offsets.astype(np.float32)):
            np.maximum(farthest, ((normal[0] * i - offset) + normal[1] * j) + normal[2] * k, out=farthest)
        return farthest

    def occupancy(self, i: np.ndarray, j: np.ndarray, k: np.ndarray) -> np.ndarray:
        return covered(self.distance(i, j, k))


@dataclass(frozen=True, eq=False)
class Rod:
    """A tube with round ends: all that is within a radius of a straight axis; the radius changes evenly along it.

    start, end  (3,) of the axis
    radii       at its start and at its end
    """

    start: np.ndarray
    end: np.ndarray
    radii: tuple[float, float]

    def moved(self, rotation: np.ndarray, shift: np.ndarray) -> Rod:
        return replace(self, start=rotation @ self.start + shift, end=rotation @ self.end + shift)

    def bounds(self) -> np.ndarray:
        ends, radius = np.array([self.start, self.end]), max(self.radii)
        return np.array([ends.min(axis=0) - radius, ends.max(axis=0) + radius])

    def distance(self, i: np.ndarray, j: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Voxels to the nearest point of the axis, less the radius there."""
        along = (self.end - self.start).astype(np.float32)
        length2 = max(float(along @ along), 1e-12)
        x, y, z = (axis - np.float32(at) for axis, at in zip((i, j, k), self.start))
        on_axis = ((along[0] * x + along[1] * y) + along[2] * z) / np.float32(length2)
        nearest = np.clip(on_axis, 0, 1)
        # |p - t a|^2 with p from the start, a the axis: three passes less than the three differences
        squared = ((x * x + y * y) + z * z) - np.float32(length2) * nearest * (2 * on_axis - nearest)
        first, last = self.radii
        return np.sqrt(np.maximum(squared, 0)) - (np.float32(first) + np.float32(last - first) * nearest)

    def occupancy(self, i: np.ndarray, j: np.ndarray, k: np.ndarray) -> np.ndarray:
        return covered(self.distance(i, j, k))


@dataclass(frozen=True, eq=False)
class Ball:
    """A Gaussian ball: it has no surface; what counts as its inside is where it has half of its height.

    centre  (3,)
    radius  where it has half of its height
    """

    centre: np.ndarray
    radius: float

    def moved(self, rotation: np.ndarray, shift: np.ndarray) -> Ball:
        return replace(self, centre=rotation @ self.centre + shift)

    def bounds(self) -> np.ndarray:
        reach = BALL_REACH * self.radius / HALF_HEIGHT
        return np.array([self.centre - reach, self.centre + reach])

    def distance(self, i: np.ndarray, j: np.ndarray, k: np.ndarray) -> np.ndarray:
        return np.sqrt(_squared_distance(self.centre, i, j, k)) - np.float32(self.radius)

    def occupancy(self, i: np.ndarray, j: np.ndarray, k: np.ndarray) -> np.ndarray:
        return np.exp(_squared_distance(self.centre, i, j, k) * np.float32(-np.log(2) / self.radius**2))


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """A large smooth body: it has no place that stands out.

    centre     (3,)
    half_axes  (3, 3): in the rows from the centre to the surface, at right angles
    """

    centre: np.ndarray
    half_axes: np.ndarray

    def moved(self, rotation: np.ndarray, shift: np.ndarray) -> Ellipsoid:
        return Ellipsoid(rotation @ self.centre + shift, self.half_axes @ rotation.T)

    def bounds(self) -> np.ndarray:
        reach = np.linalg.norm(self.half_axes, axis=0)
        return np.array([self.centre - reach, self.centre + reach])

    def distance(self, i: np.ndarray, j: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Voxels to the surface, to first order: what the quadric misses by over how steep it is."""
        lengths2 = (self.half_axes**2).sum(axis=1)
        x, y, z = (axis - np.float32(at) for axis, at in zip((i, j, k), self.centre))
        level, steepness2 = np.float32(0), np.float32(0)
        for axis, length2 in zip(self.half_axes, lengths2):
            a, b, c = (axis / length2).astype(np.float32)
            share2 = ((a * x + b * y) + c * z) ** 2
            level, steepness2 = level + share2, steepness2 + share2 / np.float32(length2)
        root = np.sqrt(level)
        return np.asarray((root - 1) * root / np.sqrt(np.maximum(steepness2, 1e-12)))

    def occupancy(self, i: np.ndarray, j: np.ndarray, k: np.ndarray) -> np.ndarray:
        return covered(self.distance(i, j, k))


Part: TypeAlias = Convex | Rod | Ball | Ellipsoid


@dataclass(frozen=True, eq=False)
class Board:
    """Which cells of a lattice are dark: neighbours differ.

    node   (3,) one node of the lattice
    steps  (3, 3): in the rows from a node to the next, at right angles
    """

    node: np.ndarray
    steps: np.ndarray

    def moved(self, rotation: np.ndarray, shift: np.ndarray) -> Board:
        return Board(rotation @ self.node + shift, self.steps @ rotation.T)

    def darkness(self, i: np.ndarray, j: np.ndarray, k: np.ndarray) -> np.ndarray:
        """0 in light cells, 1 in dark ones; the ramp between is as wide as that of a surface."""
        product = np.float32(1)
        for step in self.steps:
            length = float(np.linalg.norm(step))
            a, b, c = (step / length**2).astype(np.float32)
            cells = ((a * i - np.float32(step @ self.node / length**2)) + b * j) + c * k
            nearest = np.rint(cells)
            # behind every other plane the signs are turned round
            side = (1 - 4 * np.abs(nearest / 2 - np.floor(nearest / 2))) * (cells - nearest)
            product = product * np.clip(np.float32(2 * length) * side, -1, 1)
        return np.asarray((1 - product) / 2)


@dataclass(frozen=True, eq=False)
class Solid:
    """Parts of one brightness, or of two where a board is laid through them, and the places where they stand out.

    parts   melted together: where several cover a voxel, the most that one does counts
    points  (N, 3) float64
    kinds   N of "corner", "end", "junction", "crossing", "centre"
    board   None: one brightness
    """

    parts: Sequence[Part]
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    kinds: tuple[str, ...] = ()
    board: Board | None = None

    def moved(self, rotation: np.ndarray, shift: np.ndarray) -> Solid:
        """Turned about the origin by (3, 3), then shifted by (3,)."""
        parts = [part.moved(rotation, shift) for part in self.parts]
        board = self.board and self.board.moved(rotation, shift)
        return Solid(parts, self.points @ rotation.T + shift, self.kinds, board)

    def radius(self) -> float:
        """Of a ball round the origin that holds it, roughly."""
        return float(np.abs([part.bounds() for part in self.parts]).max())

    def distance_at(self, points: np.ndarray) -> np.ndarray:
        """(N,) voxels from (N, 3) points to the surface, negative inside."""
        place = points.astype(np.float32).T
        return np.min([part.distance(*place) for part in self.parts], axis=0)

    def shares_at(self, points: np.ndarray) -> list[np.ndarray]:
        """How much of each of the solid's brightnesses (N, 3) points show: one (N,), or two with a board."""
        place = points.astype(np.float32).T
        inside = covered(np.min([part.distance(*place) for part in self.parts], axis=0))
        if self.board is None:
            return [inside]
        dark = self.board.darkness(*place)
        return [inside * dark, inside * (1 - dark)]


def covered(distance: np.ndarray) -> np.ndarray:
    """How much of a voxel lies behind a plane this far from its centre: the voxel is as wide in all directions."""
    return np.clip(np.float32(0.5) - distance, 0, 1)


def _squared_distance(centre: np.ndarray, i: np.ndarray, j: np.ndarray, k: np.ndarray) -> np.ndarray:
    x, y, z = (axis - np.float32(at) for axis, at in zip((i, j, k), centre))
    return np.asarray((x * x + y * y) + z * z)
