"""Where in a group's common space matches meet badly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# mm, the side of a region: about an organ.
CUBE_MM = 60.0
# Fewer matches say more about themselves than about where they lie.
LEAST_MATCHES = 30


@dataclass(frozen=True)
class Region:
    """A cube of the common space.

    centre_mm    LPS mm, the mean of its matches' places
    residual_mm  how far apart its matches' ends lie, root mean square
    matches      how many lie in it
    """

    centre_mm: tuple[float, float, float]
    residual_mm: float
    matches: int


def worst_regions(places_mm: np.ndarray, apart_mm: np.ndarray, most: int = 10) -> tuple[Region, ...]:
    """The cubes in which matches lie farthest apart, the worst first.

    places_mm  (M, 3) half-way between a match's ends, LPS mm in the common space
    apart_mm   (M,) the distance of its ends
    """
    if not len(places_mm):
        return ()
    # counted from the matches' own box, so that they move with the patients
    cubes = np.floor((places_mm - places_mm.min(axis=0)) / CUBE_MM).astype(np.int64)
    _, cube = np.unique(cubes, axis=0, return_inverse=True)
    cube = cube.ravel()
    counts = np.bincount(cube)
    squares = np.bincount(cube, apart_mm**2) / counts
    centres = np.stack([np.bincount(cube, places_mm[:, axis]) / counts for axis in range(3)], axis=1)
    full = np.flatnonzero(counts >= LEAST_MATCHES)
    order = full[np.argsort(-squares[full], kind="stable")][:most]
    return tuple(Region(tuple(centres[n].tolist()), float(np.sqrt(squares[n])), int(counts[n])) for n in order)
