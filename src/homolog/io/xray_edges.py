"""The straight or round edges of a collimator, found by what anatomy never does: a step along a whole line or circle.

Behind a collimator's leaves scatter and noise arrive, as dark as a spine perhaps: no threshold parts the two. But the
edge of a leaf is the same step at the same place in most rows, and a round diaphragm's at most angles.
"""

from __future__ import annotations

import numpy as np

WORKING_PX = 96
# A leaf may be turned by so much; half a step of 3 degrees moves the end of a 96 px line by 1 px.
ANGLES_DEGREES = np.arange(-24.0, 25.0, 3.0)
# In ranks (0 to 1): the least step over an edge; the part of the line along which it has to be there.
STEP, COHERENT = 0.06, 0.6
# What lies outside are the picture's darkest pixels to this part, and at least the second part of the picture.
DARKEST, LEAST = 0.65, 0.02
# A border is dark all around where this part of it is darker than the median; one that was drawn is one number so far.
ALL_AROUND, ONE_NUMBER = 0.95, 0.5
# Steps are between means over this many pixels on both sides, beyond a gap for the edge's blur.
SIDE_PX, GAP_PX = 2, 2
# An edge is looked for in the outer part of the picture, on lines that cross this part of it.
OUTER, CROSSING = 0.4, 0.3
CENTRES, RADII, TURNS = np.linspace(-0.1, 0.1, 5), 48, 90


def field_within_edges(photons: np.ndarray) -> np.ndarray | None:
    """(rows, columns) bool: what lies inside leaves or a round diaphragm, outside of which it is darker; None without.

    photons  (rows, columns), in any monotone scale, larger where more of the beam arrived
    """
    if max(photons.shape) < WORKING_PX // 2:
        return None
    step = max(1, round(max(photons.shape) / WORKING_PX))
    small = _smoothed_ranks(photons[::step, ::step])
    fields = [_leaves_at(small, np.radians(degrees)) for degrees in ANGLES_DEGREES] + [_disc(small)]
    best = max(
        (field for field in fields if field is not None), key=lambda field: _likeness(small, field), default=None
    )
    if best is None or _likeness(small, best) < DARKEST:
        return None
    return np.repeat(np.repeat(best, step, 0), step, 1)[: photons.shape[0], : photons.shape[1]]


def border(values: np.ndarray) -> str:
    """ "dark" or "bright" where the picture's border is so on all sides, with more than one number; else empty.

    A body in open air reaches the border somewhere, and air that was drawn and not taken has one number.
    """
    step = max(1, round(max(values.shape) / WORKING_PX))
    small = values[::step, ::step]
    rim = np.ones(small.shape, bool)
    rim[3:-3, 3:-3] = False
    numbers, middle = small[rim], np.median(small)
    around = "dark" if np.mean(numbers < middle) > ALL_AROUND else ""
    around = "bright" if np.mean(numbers > middle) > ALL_AROUND else around
    return "drawn" if around and np.mean(numbers == np.median(numbers)) > ONE_NUMBER else around


def _smoothed_ranks(picture: np.ndarray) -> np.ndarray:
    from scipy.ndimage import median_filter
    from scipy.stats import rankdata

    smooth = median_filter(picture.astype(np.float64), size=3)
    return np.asarray(rankdata(smooth).reshape(smooth.shape) / smooth.size)


def _likeness(small: np.ndarray, field: np.ndarray) -> float:
    """How far what lies outside are the darkest pixels of the picture: the part that both have of what either has."""
    outside = ~field
    darkest = small < np.quantile(small, outside.mean())
    return float(np.sum(outside & darkest) / max(np.sum(outside | darkest), 1)) if outside.mean() > LEAST else 0.0


def _leaves_at(small: np.ndarray, angle: float) -> np.ndarray | None:
    """The field that leaves at an angle bound."""
    from scipy.ndimage import map_coordinates

    half = np.hypot(*small.shape) / 2
    places = np.arange(-half, half + 1)
    down, across = np.meshgrid(places, places, indexing="ij")
    middle = (np.array(small.shape) - 1) / 2
    rows = middle[0] + np.cos(angle) * down + np.sin(angle) * across
    columns = middle[1] - np.sin(angle) * down + np.cos(angle) * across
    turned = map_coordinates(small, (rows, columns), order=1, cval=np.nan, mode="constant")
    # a side's distance from the middle, by the four ways to look at the picture
    views = (turned, turned[:, ::-1], turned.T, turned.T[:, ::-1])
    edges = [_outer_edge(view, min(small.shape)) for view in views]
    left, right, upper, lower = (half if edge is None else half - edge for edge in edges)
    row, column = np.indices(small.shape) - middle[:, None, None]
    across_there = np.cos(angle) * column + np.sin(angle) * row
    down_there = np.cos(angle) * row - np.sin(angle) * column
    across_free = (across_there > -left) & (across_there < right)
    return across_free & (down_there > -upper) & (down_there < lower)


def _outer_edge(view: np.ndarray, size: int) -> int | None:
    """The first column inside of the most coherent edge in the left part."""
    inside, outside = _means(view)
    rises = inside - outside
    there = np.isfinite(rises)
    enough = there.sum(axis=0) > CROSSING * size
    part = (there & (rises > STEP)).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    part[~enough] = 0
    part[int(OUTER * view.shape[1]) :] = 0
    best = int(part.argmax())
    return None if part[best] < COHERENT else best + GAP_PX


def _means(view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means right and left of each column, a gap away from it; NaN where the picture ends."""
    padded = np.pad(view, ((0, 0), (SIDE_PX + GAP_PX, SIDE_PX + GAP_PX)), constant_values=np.nan)
    width = view.shape[1]
    start = SIDE_PX + GAP_PX
    right = sum(padded[:, start + GAP_PX + n : start + GAP_PX + n + width] for n in range(SIDE_PX)) / SIDE_PX
    left = sum(padded[:, start - GAP_PX - n : start - GAP_PX - n + width] for n in range(SIDE_PX)) / SIDE_PX
    return np.asarray(right), np.asarray(left)


def _disc(small: np.ndarray) -> np.ndarray | None:
    """The field inside a round diaphragm."""
    middle, size = (np.array(small.shape) - 1) / 2, max(small.shape)
    found = [(_circle(small, middle + size * np.array((a, b))), a, b) for a in CENTRES for b in CENTRES]
    (sure, radius), a, b = max(found, key=lambda one: one[0][0])
    if sure < COHERENT:
        return None
    row, column = np.indices(small.shape) - (middle + size * np.array((a, b)))[:, None, None]
    return np.asarray(np.hypot(row, column) < radius)


def _circle(small: np.ndarray, centre: np.ndarray) -> tuple[float, float]:
    """The most coherent circle about a centre: the part of its angles with a step, and its radius."""
    from scipy.ndimage import map_coordinates

    radii = np.linspace(0.3, 0.72, RADII) * max(small.shape)
    turns = np.linspace(0, 2 * np.pi, TURNS, endpoint=False)[:, None]
    rows, columns = centre[0] - radii * np.sin(turns), centre[1] + radii * np.cos(turns)
    polar = map_coordinates(small, (rows, columns), order=1, cval=np.nan, mode="constant")
    # outwards it gets darker: seen from the other side, a leaf's edge
    inside, outside = _means(polar[:, ::-1])
    rises = (inside - outside)[:, ::-1]
    there = np.isfinite(rises)
    part = (there & (rises > STEP)).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    part[there.sum(axis=0) < CROSSING * TURNS] = 0
    best = int(part.argmax())
    return float(part[best]), float(radii[best] - GAP_PX)
