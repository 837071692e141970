"""Pictures of an alignment: an X-ray, the projection that should look like it, and both in one."""

from __future__ import annotations

import numpy as np

from homolog.report import png

# Greys end at these percentiles of what is compared: a screw or a marker must not take all of them.
DARKEST, BRIGHTEST = 1.0, 99.5
# Squares along the longer side of a checkerboard.
SQUARES = 9
# Edges: pixels of blur before slopes are taken, and the share of the steepest ones below which a slope is no edge.
BLUR_PX, STEEPEST, EDGE = 1.5, 99.0, 0.22
# Told from grey with every common colour blindness.
EDGE_COLOUR = (255, 176, 0)
# What is not compared is shown at this share of its brightness.
DIMMED = 0.35


def grey(picture: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """(rows, columns) uint8 of line integrals: bone bright; what the mask (bool) leaves out is dimmed.

    picture  (rows, columns) float32
    """
    looked_at = picture if mask is None or not mask.any() else picture[mask]
    low, high = (float(np.percentile(looked_at, percent)) for percent in (DARKEST, BRIGHTEST))
    shown = png.window(picture, low, max(high, low + 1e-6))
    return shown if mask is None else np.where(mask, shown, (DIMMED * shown).astype(np.uint8))


def grey_projection(projection: np.ndarray) -> np.ndarray:
    """(rows, columns) uint8 of a projection (rows, columns) float32: black where nothing is projected."""
    inside = projection[projection > 0]
    high = float(np.percentile(inside, BRIGHTEST)) if inside.size else 1.0
    return png.window(projection, 0.0, high)


def checkerboard(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(rows, columns) uint8: two grey pictures by turns, the first in the upper left corner."""
    side = square_px(first.shape)
    row, column = np.indices(first.shape[:2]) // side
    return np.where((row + column) % 2 == 0, first, second)


def square_px(shape: tuple[int, ...]) -> int:
    """The side of a checkerboard's squares."""
    return max(1, max(shape[:2]) // SQUARES)


def with_edges(shown: np.ndarray, projection: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """(rows, columns, 3) uint8: a grey picture with the edges of a projection drawn over what the mask (bool) keeps."""
    coloured = np.repeat(shown[..., None], 3, axis=2)
    drawn = edges(projection)
    coloured[drawn if mask is None else drawn & mask] = EDGE_COLOUR
    return coloured


def edges(projection: np.ndarray) -> np.ndarray:
    """(rows, columns) bool: the crests of the slope of a projection (rows, columns), where it is steep (Canny)."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    data = projection.astype(np.float64)
    down, across = (gaussian_filter(data, BLUR_PX, order=order) for order in ((1, 0), (0, 1)))
    slope = np.hypot(down, across)
    if not slope.any():
        return np.zeros(projection.shape, bool)
    places = np.indices(projection.shape).astype(float)
    step = np.stack((down, across)) / np.maximum(slope, 1e-300)
    ahead, behind = (map_coordinates(slope, places + way * step, order=1, mode="nearest") for way in (1, -1))
    crest = (slope >= ahead) & (slope > behind)
    steep = slope > EDGE * np.percentile(slope[slope > 1e-9 * slope.max()], STEEPEST)
    return np.asarray(crest & steep)
