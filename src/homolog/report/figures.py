"""Pictures from arrays: grey slices, two of them in one, the Jacobian in colour, and the lines of a warped grid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from homolog.report import png
from homolog.report.views import View

# Blue, pale grey and orange: told apart with every common colour blindness, and their ends are equally dark.
COLOURS = ("#1f4e79", "#7babd1", "#f3f1ed", "#e49e58", "#8f3b00")
_STOPS = np.array([[int(colour[n : n + 2], 16) for n in (1, 3, 5)] for colour in COLOURS], float)
_PLACES = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
FOLDED = (0, 0, 0)
# Steps of colour to each side: more are not seen, and fewer make smaller files.
STEPS = 24
# A grid's lines to a picture's longer side, about; they are drawn at these distances.
LINES = 22
ROUND_MM = np.array([1, 2, 5, 10, 20, 25, 50, 100, 200, 500])


def grey(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """(rows, columns) uint8 of a slice (columns, rows); what is not a number is black.

    128 greys: nobody sees more, and the last bit is noise that makes a file an eighth larger.
    """
    low, high = window
    finite = np.where(np.isfinite(values), values, low)
    return (png.window(finite, low, high) // 2 * 2).T


def log2_range(central: np.ndarray) -> float:
    """How far the colours of determinants reach: a factor of 2, or of 4 where more than a hundredth goes beyond 2."""
    positive = central[central > 0]
    return 2.0 if positive.size and np.percentile(np.abs(np.log2(positive)), 99) > 1 else 1.0


def jacobian(central: np.ndarray, least: np.ndarray, reach: float) -> np.ndarray:
    """(rows, columns, 3) uint8: pale where volumes are kept, blue where they shrink, orange where they swell.

    central  (columns, rows) determinants by central differences
    least    (columns, rows) the smallest one-sided determinant: zero or less is a fold, and black
    reach    the logarithm (base 2) at which the colours end
    """
    folded = ~((least > 0) & (central > 0))
    logarithm = np.log2(np.where(folded, 1, central))
    place = np.round(np.clip(logarithm / reach, -1, 1) * STEPS) / STEPS
    coloured = np.stack([np.interp(place, _PLACES, channel) for channel in _STOPS.T], axis=-1)
    coloured[folded] = FOLDED
    return coloured.round().astype(np.uint8).transpose(1, 0, 2)


def line_distance_mm(view: View) -> float:
    """A round distance at which about LINES lines cross a picture."""
    return float(ROUND_MM[np.argmin(np.abs(np.log(ROUND_MM * LINES / max(view.size_mm))))])


def grid_lines(
    view: View, position_mm: float, carried: Callable[[np.ndarray], np.ndarray], distance_mm: float
) -> list[np.ndarray]:
    """The lines of a square grid in a slice, carried by a map: each (n, 2), mm to the right of and below its corner.

    carried      fixed points (N, 3) LPS mm to where they are drawn, in the same frame
    distance_mm  between the lines; each has a knot at every half of it
    """
    width, height = view.size_mm
    lines = []
    for start in _places(width, distance_mm):
        along = _knots(height, distance_mm)
        lines.append(np.stack((np.full_like(along, start), along), axis=1))
    for start in _places(height, distance_mm):
        along = _knots(width, distance_mm)
        lines.append(np.stack((along, np.full_like(along, start)), axis=1))
    moved = view.seen(carried(view.world(np.concatenate(lines), position_mm)))
    return np.split(moved, np.cumsum([len(line) for line in lines])[:-1])


def _places(length_mm: float, distance_mm: float) -> np.ndarray:
    """Where lines cross a side: as much is left before the first as after the last."""
    count = max(1, int(length_mm / distance_mm))
    return (length_mm - (count - 1) * distance_mm) / 2 + distance_mm * np.arange(count)


def _knots(length_mm: float, distance_mm: float) -> np.ndarray:
    return np.linspace(0, length_mm, max(2, round(2 * length_mm / distance_mm) + 1))
