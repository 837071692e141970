"""X-rays at another number of pixels: the mean over each larger pixel, so that line integrals stay line integrals."""

from __future__ import annotations

import numpy as np

from homolog.space.projection import Projection

# Of a larger pixel, the share that must be compared for it to be compared.
MOSTLY = 0.5


def resized(projection: Projection, longest_px: int) -> Projection:
    """The X-ray with so many pixels along its longer side; it never gets more than it has."""
    projection = _filled(projection)
    rows, columns = projection.camera.size_px
    factor = min(1.0, longest_px / max(rows, columns))
    size = (max(1, round(rows * factor)), max(1, round(columns * factor)))
    if size == (rows, columns):
        return projection
    down, across = shares(rows, size[0]), shares(columns, size[1])
    mask = np.ones((rows, columns)) if projection.mask is None else projection.mask.astype(float)
    counted = down @ mask @ across.T
    plain = down @ projection.data.astype(float) @ across.T
    kept = down @ (mask * projection.data) @ across.T
    data = np.where(counted > 0, kept / np.maximum(counted, 1e-12), plain).astype(np.float32)
    return projection.replaced(
        data=data,
        camera=projection.camera.resized(size),
        mask=None if projection.mask is None else counted >= MOSTLY,
    )


def _filled(projection: Projection) -> Projection:
    """The X-ray with the mean of what is compared where nothing is, so that whatever stands there harms no filter."""
    mask = projection.mask
    if mask is None or np.all(mask):
        return projection
    mean = projection.data[mask].mean() if np.any(mask) else 0.0
    return projection.replaced(data=np.where(mask, projection.data, mean))


def shares(many: int, few: int) -> np.ndarray:
    """(few, many) float64: how much of each of few larger pixels each of many smaller ones fills; rows sum to 1."""
    edges = np.arange(few + 1) * many / few
    low = np.maximum(edges[:-1, None], np.arange(many)[None])
    high = np.minimum(edges[1:, None], np.arange(many)[None] + 1)
    return np.asarray(np.maximum(0, high - low) * few / many)
