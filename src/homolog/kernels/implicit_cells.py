"""The cells of a body: where each of its shapes can matter, and which layer fills a cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from homolog.kernels.arrays import reading
from homolog.kernels.implicit import shape_distance


@njit(nogil=True, cache=True)
def _near_cells(shapes, layer, stacks, boxes, near_mm, fill_mm, origin, cell, cells, filled, at, which):  # type: ignore[no-untyped-def]
    """Writes the cells each shape can matter in, and counts them; marks those that a layer fills."""
    found, begin = 0, 0
    plane, row = cells[1] * cells[2], cells[2]
    deepest = np.full(len(filled), np.inf)
    for s in range(len(shapes)):
        low, high = boxes[s, 0], boxes[s, 1]
        for i in range(low[0], high[0] + 1):
            for j in range(low[1], high[1] + 1):
                for k in range(low[2], high[2] + 1):
                    # the eight middles lie 0.43 cells away; a distance of first order may grow by twice as much
                    x, y, z = origin[0] + cell * (i + 0.5), origin[1] + cell * (j + 0.5), origin[2] + cell * (k + 0.5)
                    if shape_distance(shapes[s], stacks, x, y, z)[0] > near_mm[s] + cell:
                        continue
                    least, most = np.inf, -np.inf
                    for part in range(8):
                        x = origin[0] + cell * (i + 0.25 + 0.5 * (part & 1))
                        y = origin[1] + cell * (j + 0.25 + 0.25 * (part & 2))
                        z = origin[2] + cell * (k + 0.25 + 0.125 * (part & 4))
                        distance = shape_distance(shapes[s], stacks, x, y, z)[0]
                        least, most = min(least, distance), max(most, distance)
                    here = i * plane + j * row + k
                    if least < near_mm[s]:
                        at[found], which[found] = here, s
                        found += 1
                    deepest[here] = min(deepest[here], most)
        if s + 1 == len(shapes) or layer[s + 1] != layer[s]:
            for t in range(begin, s + 1):
                low, high = boxes[t, 0], boxes[t, 1]
                for i in range(low[0], high[0] + 1):
                    for j in range(low[1], high[1] + 1):
                        for k in range(low[2], high[2] + 1):
                            here = i * plane + j * row + k
                            if deepest[here] < -fill_mm[s]:
                                filled[here] = layer[s]
                            deepest[here] = np.inf
            begin = s + 1
    return found


def index(
    shapes: np.ndarray,
    layer: np.ndarray,
    stacks: np.ndarray,
    boxes: np.ndarray,
    near_mm: np.ndarray,
    fill_mm: np.ndarray,
    origin_mm: np.ndarray,
    cell_mm: float,
    cells: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """starts, entries and filled of `Tables`: in each cell the shapes above the highest layer that fills it.

    boxes    (P, 2, 3) int64, the first and the last cell a shape is looked for in
    near_mm  (P,) as near to the middle of an eighth of a cell a shape can matter in it
    fill_mm  (P,) as deep all these middles must lie for its layer to fill the cell
    """
    given: Any = tuple(reading(array) for array in (shapes, layer, stacks, boxes, near_mm, fill_mm, origin_mm))
    cells = reading(cells, np.int64)
    filled = np.full(cells.prod(), -1, np.int32)
    most = int((boxes[:, 1] - boxes[:, 0] + 1).prod(axis=1).sum())
    at, which = np.empty(most, np.int64), np.empty(most, np.int64)
    count = _near_cells(*given, cell_mm, cells, filled, at, which)  # type: ignore[call-arg]
    at, which = at[:count], which[:count]
    seen = layer[which] > filled[at]
    order = np.lexsort((which[seen], at[seen]))
    starts = np.searchsorted(at[seen][order], np.arange(cells.prod() + 1))
    return starts.astype(np.int32), which[seen][order].astype(np.int32), filled
