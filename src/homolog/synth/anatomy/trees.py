"""Branching vessels and airways, the same in every patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from homolog.kernels import implicit

# Murray's law: the cubes of two daughters' radii add up to the mother's, here for a share of 0.6 and one of 0.4.
DAUGHTERS = (0.6 ** (1 / 3), 0.4 ** (1 / 3))
Inside = Callable[[np.ndarray], bool]


@dataclass(frozen=True, eq=False)
class Tree:
    """One vessel, from where branches go on: LPS mm, a direction of any length."""

    start: np.ndarray
    direction: np.ndarray
    length_mm: float
    radius_mm: float


def branches(root: Tree, generations: int, inside: Inside, seed: int, *, least_mm: float = 0.7) -> np.ndarray:
    """(N, 18) cones: each vessel divides in two at its end, in planes that turn by about a right angle."""
    rng = np.random.default_rng(seed + 1000)
    grown: list[np.ndarray] = []
    _grow(root, _unit(rng.normal(size=3)), generations, inside, rng, least_mm, grown)
    return np.concatenate(grown)


def inside_ellipsoid(centre: np.ndarray, radii: np.ndarray) -> Inside:
    return lambda point: bool((((point - centre) / radii) ** 2).sum() < 1)


def inside_any(*parts: Inside) -> Inside:
    return lambda point: any(part(point) for part in parts)


def _grow(
    tree: Tree,
    plane: np.ndarray,
    left: int,
    inside: Inside,
    rng: np.random.Generator,
    least_mm: float,
    grown: list[np.ndarray],
) -> None:
    direction = _unit(tree.direction)
    length = tree.length_mm * rng.uniform(0.8, 1.25)
    end = tree.start + length * direction
    for _ in range(4):
        if inside(end) or not grown:
            break
        # turned back from the rim
        length *= 0.7
        direction = _unit(direction + 0.8 * rng.normal(size=3))
        end = tree.start + length * direction
    else:
        return
    middle = (tree.start + end) / 2 + 0.08 * length * rng.normal(size=3)
    slim = 0.88 * tree.radius_mm
    grown.append(_cones([tree.start, middle, end], [tree.radius_mm, 0.94 * tree.radius_mm, slim]))
    if left == 0 or slim < least_mm:
        return
    across = _unit(np.cross(direction, plane) + 0.35 * rng.normal(size=3))
    for share, turn in zip(DAUGHTERS, (0.45, -0.85)):
        onward = _unit(direction + turn * rng.uniform(0.7, 1.3) * across)
        daughter = Tree(end, onward, tree.length_mm * (0.86 if share > 0.8 else 0.76), slim * share)
        _grow(daughter, across, left - 1, inside, rng, least_mm, grown)


def _cones(way: list[np.ndarray], radii: list[float]) -> np.ndarray:
    rows = np.zeros((len(way) - 1, implicit.ROW))
    rows[:, 0], rows[:, 11], rows[:, 12] = implicit.CONE, 1.0, 1.0
    rows[:, 1:4], rows[:, 4:7], rows[:, 7], rows[:, 8] = way[:-1], way[1:], radii[:-1], radii[1:]
    return rows


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
