"""Shapes as rows of numbers, and layers of them: what the body's files are written in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from homolog.kernels import implicit

# anything NumPy makes (3,) or (N, 3) float64 of
Point = Any
Points = Any
# rows of a stack lie this far apart
STACK_MM = 6.0


@dataclass(frozen=True, eq=False)
class Layer:
    """Shapes of one tissue, painted over the layers before it.

    name    of the tissue in the table of tissues
    label   the structure's number; -1 keeps the label of what is below
    shapes  (N, 18) float64
    stacks  cross-sections (M, 6) each: z, x, y front, y back, half width, power of the superellipse
    blend_mm  over which its shapes melt into each other
    bump_mm, bump_wave_mm   how far noise moves the surface
    """

    name: str
    label: int
    shapes: np.ndarray
    stacks: tuple[np.ndarray, ...] = ()
    blend_mm: float = 0.0
    bump_mm: float = 0.0
    bump_wave_mm: float = 40.0


def layer(name: str, label: int, *shapes: np.ndarray, **options: Any) -> Layer:
    """A layer of the shapes' rows; options are Layer's."""
    return Layer(name, label, np.concatenate(shapes), **options)


def stacked(name: str, label: int, *stacks: Points, **options: Any) -> Layer:
    """A layer of stacks of cross-sections."""
    knots = tuple(np.array(stack, float) for stack in stacks)
    return Layer(name, label, np.empty((0, implicit.ROW)), knots, **options)


def ellipsoid(centre: Point, radii: Point, turn: Point = (0, 0, 0)) -> np.ndarray:
    """(1, 18): turned by degrees about x, y, z, in that order."""
    return _framed(implicit.ELLIPSOID, centre, radii, turn, 0.0)


def box(centre: Point, half: Point, rounding: float, turn: Point = (0, 0, 0)) -> np.ndarray:
    return _framed(implicit.BOX, centre, half, turn, rounding)


def column(centre: Point, half: Point, rounding: float, turn: Point = (0, 0, 0)) -> np.ndarray:
    """(1, 18): an elliptic cylinder of two radii and a half height."""
    return _framed(implicit.COLUMN, centre, half, turn, rounding)


def tube(
    points: Points,
    radii: Any,
    *,
    step_mm: float = 8.0,
    flat: Point = (0, 0, 1),
    flatter: float = 1.0,
    smooth: bool = True,
) -> np.ndarray:
    """(N, 18): cones along a smooth curve through points; `flatter` times thinner along `flat`."""
    way = np.asarray(points, float)
    size = np.broadcast_to(np.asarray(radii, float), len(way))
    if smooth and len(way) > 2:
        way, size = _smooth_way(way, size, step_mm)
    rows = np.zeros((len(way) - 1, implicit.ROW))
    rows[:, 0] = implicit.CONE
    rows[:, 1:4], rows[:, 4:7], rows[:, 7], rows[:, 8] = way[:-1], way[1:], size[:-1], size[1:]
    rows[:, 9:12], rows[:, 12] = np.asarray(flat, float) / np.linalg.norm(flat), flatter
    return rows


def mirrored(points: Points, side: int) -> np.ndarray:
    """Points given for the left (+x), on the side asked for: +1 left, -1 right."""
    return np.asarray(points, float) * np.array([side, 1, 1])


def inflated(shapes: np.ndarray, by_mm: float) -> np.ndarray:
    """The same shapes, thicker."""
    rows = shapes.copy()
    cones = rows[:, 0] == implicit.CONE
    rows[cones, 7:9] += by_mm
    rows[~cones, 13:16] += by_mm
    return rows


def curve(points: Points, count: int) -> np.ndarray:
    """(count, 3): points at even steps of arc along a smooth curve."""
    way = np.asarray(points, float)
    arc = np.r_[0, np.cumsum(np.linalg.norm(np.diff(way, axis=0), axis=1))]
    return PchipInterpolator(arc, way)(np.linspace(0, arc[-1], count))


def _smooth_way(way: np.ndarray, size: np.ndarray, step_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Catmull and Rom's curve by arc length, cut into steps."""
    from scipy.interpolate import CubicSpline

    arc = np.r_[0, np.cumsum(np.sqrt(np.linalg.norm(np.diff(way, axis=0), axis=1)))]
    lengths = np.linalg.norm(np.diff(way, axis=0), axis=1)
    places = np.concatenate(
        [np.linspace(a, b, max(1, int(np.ceil(l / step_mm))), endpoint=False) for a, b, l in zip(arc, arc[1:], lengths)]
    )
    places = np.r_[places, arc[-1]]
    return CubicSpline(arc, way, bc_type="natural")(places), PchipInterpolator(arc, size)(places)


def _framed(kind: int, centre: Point, size: Point, turn: Point, rounding: float) -> np.ndarray:
    row = np.zeros((1, implicit.ROW))
    row[0, 0], row[0, 1:4], row[0, 13:16], row[0, 16] = kind, centre, size, rounding
    row[0, 4:13] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix().T.ravel()
    return row
