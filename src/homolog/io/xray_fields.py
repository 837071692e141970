"""What of an X-ray the beam reached: without shutters, collimators and the corners of an image intensifier."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset

from homolog.io.xray_headers import numbers, value

# A border region is looked for at this size: an edge a pixel wide is enough to see it.
WORKING_PX = 256
# A smaller picture does not tell a sharp edge from a body's.
LEAST_PX = 128
# Parts of the picture's range below which a border region may be blocked beam.
DARK = (0.01, 0.03, 0.06, 0.1, 0.15)
# A blocked region is at least this part of the picture; what it leaves free is convex to this part, as leaves and round
# diaphragms make it, and no less than this part of the picture.
LEAST_AREA, CONVEX, LEAST_FIELD = 0.01, 0.94, 0.1
# A blocked region is flat to this part of the range, and ends in a step of the second along the third of its edge;
# where it was painted, most of it has one number.
FLAT, STEP, SHARP, PAINTED = 0.025, 0.12, 0.7, 0.7
# A disc's edge lies on its circle to this many working pixels, along this part of it; a rectangle is filled so far.
ON_EDGE_PX, MOSTLY, FILLED, LEAST_PAINTED = 2.0, 0.75, 0.95, 0.06


def field_of_header(header: Dataset, frame: int | None, size_px: tuple[int, int]) -> np.ndarray | None:
    """(rows, columns) bool: inside the shutter and the collimator that a header names; None where it names none."""
    shapes = [_shape(header, frame, size_px, what) for what in ("Shutter", "Collimator")]
    named = [shape for shape in shapes if shape is not None]
    if not named:
        return None
    field = np.logical_and.reduce(named)
    # a header whose shutter leaves next to nothing is wrong about it
    return field if LEAST_FIELD / 10 < field.mean() < 1 else None


def field_of_picture(photons: np.ndarray, *, shaped: bool = False) -> np.ndarray | None:
    """(rows, columns) bool: what the beam reached, by the look of it; None where nothing blocks it.

    Blocked parts are dark, touch the border and end sharply, and leave a convex field free.

    photons  (rows, columns), larger where more of the beam arrived
    shaped   the field must be a disc or a rectangle with one number around it: where dark may as well be air, a head's
             outline is convex too
    """
    if max(photons.shape) < LEAST_PX:
        return None
    step = max(1, max(photons.shape) // WORKING_PX)
    small = photons[::step, ::step].astype(np.float64)
    low, high = np.percentile(small, (0.1, 99.5))
    if high <= low:
        return None
    small = np.clip((small - low) / (high - low), 0, 1)
    blocked = next((region for part in DARK if (region := _blocked(small, part, shaped)) is not None), None)
    return None if blocked is None else ~_enlarged(blocked, step, photons.shape)


def _shape(header: Dataset, frame: int | None, size_px: tuple[int, int], what: str) -> np.ndarray | None:
    names = value(header, frame, f"{what}Shape")
    names = [names] if isinstance(names, str) else list(names or [])
    makers = {"RECTANGULAR": _rectangle, "CIRCULAR": _circle, "POLYGONAL": _polygon}
    made = [makers[name](header, frame, size_px, what) for name in names if name in makers]
    parts = [one for one in made if one is not None]
    return np.logical_and.reduce(parts) if parts else None


def _rectangle(header: Dataset, frame: int | None, size_px: tuple[int, int], what: str) -> np.ndarray | None:
    sides = ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
    edges = [numbers(header, frame, f"{what}{side}Edge", 1) for side in sides]
    if any(edge is None for edge in edges):
        return None
    # DICOM counts from 1
    left, right, upper, lower = (float(edge[0]) - 1 for edge in edges if edge is not None)
    row, column = np.ogrid[: size_px[0], : size_px[1]]
    return np.asarray((column >= left) & (column <= right) & (row >= upper) & (row <= lower))


def _circle(header: Dataset, frame: int | None, size_px: tuple[int, int], what: str) -> np.ndarray | None:
    centre = numbers(header, frame, f"CenterOfCircular{what}", 2)
    radius = numbers(header, frame, f"RadiusOfCircular{what}", 1)
    if centre is None or radius is None:
        return None
    row, column = np.ogrid[: size_px[0], : size_px[1]]
    return np.asarray((row - centre[0] + 1) ** 2 + (column - centre[1] + 1) ** 2 <= radius[0] ** 2)


def _polygon(header: Dataset, frame: int | None, size_px: tuple[int, int], what: str) -> np.ndarray | None:
    """By the even-odd rule: how often a ray to the right crosses the edges."""
    given = value(header, frame, f"VerticesOfThePolygonal{what}")
    if given is None or len(given) < 6 or len(given) % 2:
        return None
    corners = np.array(given, np.float64).reshape(-1, 2) - 1
    row, column = np.mgrid[: size_px[0], : size_px[1]]
    inside = np.zeros(size_px, bool)
    for (row_a, column_a), (row_b, column_b) in zip(corners, np.roll(corners, -1, axis=0)):
        if row_a == row_b:
            continue
        crosses = (row >= min(row_a, row_b)) & (row < max(row_a, row_b))
        inside ^= crosses & (column < column_a + (row - row_a) * (column_b - column_a) / (row_b - row_a))
    return inside


def _blocked(small: np.ndarray, part: float, shaped: bool) -> np.ndarray | None:
    """The border regions below a part of the range, if they look like blocked beam."""
    from scipy.ndimage import binary_closing, binary_opening, label

    dark = binary_opening(small < part, iterations=1) | (_rim(small.shape) & (small < part))
    regions, count = label(dark)
    touching = np.unique(regions[_rim(small.shape)])
    kept = [n for n in range(1, count + 1) if n in touching and (regions == n).mean() > LEAST_AREA / 4]
    region = binary_closing(np.isin(regions, kept), iterations=2) | np.isin(regions, kept)
    if not LEAST_AREA < region.mean() < 1 - LEAST_FIELD:
        return None
    if not (_ends_sharply(small, region, shaped) and _is_convex(~region)):
        return None
    if not shaped or _is_disc(~region):
        return region
    # what lacks no more than corners is a rectangle too: the picture
    return region if region.mean() > LEAST_PAINTED and _is_rectangle(~region) else None


def _ends_sharply(small: np.ndarray, region: np.ndarray, painted: bool) -> bool:
    """Whether the region is flat, and a few pixels over its edge the numbers are much larger, along most of it."""
    from scipy.ndimage import binary_dilation, binary_erosion, maximum_filter

    edge = region & binary_dilation(~region) & ~_rim(small.shape)
    deep = small[binary_erosion(region, iterations=2, border_value=1)]
    if not edge.any() or not deep.size or np.std(deep) > FLAT:
        return False
    level = np.median(deep)
    if painted and np.mean(np.abs(deep - level) < FLAT / 4) < PAINTED:
        return False
    return bool(np.mean(maximum_filter(small, size=7)[edge] - level > STEP) > SHARP)


def _is_convex(field: np.ndarray) -> bool:
    """Whether the part that is left free fills its convex hull."""
    from scipy.spatial import ConvexHull, QhullError

    points = np.argwhere(_outline(field))
    try:
        hull = ConvexHull(points)
    except (QhullError, ValueError):
        return False
    # pixels are squares of area 1 about their centres, which adds half the perimeter and 1 to the hull of centres
    return bool(field.sum() > CONVEX * (hull.volume + hull.area / 2 + 1))


def _is_disc(field: np.ndarray) -> bool:
    """Whether most of the edge within the picture lies on a circle (Kasa's fit, twice, the second to what fits)."""
    places = np.argwhere(_outline(field) & ~_rim(field.shape)).astype(np.float64)
    near = np.ones(len(places), bool)
    for _ in range(3):
        if near.sum() < 8:
            return False
        system = np.column_stack((2 * places[near], np.ones(near.sum())))
        row, column, rest = np.linalg.lstsq(system, (places[near] ** 2).sum(axis=1), rcond=None)[0]
        radius = np.sqrt(max(rest + row**2 + column**2, 0.0))
        near = np.abs(np.hypot(places[:, 0] - row, places[:, 1] - column) - radius) < ON_EDGE_PX
    return bool(near.mean() > MOSTLY and radius < 2 * max(field.shape))


def _is_rectangle(field: np.ndarray) -> bool:
    """Whether the field fills a rectangle, turned as it may be: one along a side of its hull (rotating calipers)."""
    from scipy.spatial import ConvexHull

    points = np.argwhere(_outline(field)).astype(np.float64)
    corners = points[ConvexHull(points).vertices]
    sides = np.roll(corners, -1, axis=0) - corners
    angles = np.arctan2(sides[:, 0], sides[:, 1])
    along = np.stack((np.sin(angles), np.cos(angles)), axis=1) @ corners.T
    across = np.stack((np.cos(angles), -np.sin(angles)), axis=1) @ corners.T
    areas = (np.ptp(along, axis=1) + 1) * (np.ptp(across, axis=1) + 1)
    return bool(field.sum() > FILLED * areas.min())


def _outline(field: np.ndarray) -> np.ndarray:
    """Without the pixels wholly inside, which no hull touches."""
    from scipy.ndimage import binary_erosion

    return np.asarray(field & ~binary_erosion(field))


def _rim(shape: tuple[int, ...]) -> np.ndarray:
    rim = np.ones(shape, bool)
    rim[1:-1, 1:-1] = False
    return rim


def _enlarged(blocked: np.ndarray, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """At full size, with the blurred edge: three working pixels."""
    from scipy.ndimage import binary_dilation

    wide = binary_dilation(blocked, iterations=3)
    return np.repeat(np.repeat(wide, step, 0), step, 1)[: shape[0], : shape[1]]
