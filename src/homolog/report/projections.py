"""A whole patient in one picture, as if looked through: where points are is seen at once."""

from __future__ import annotations

import numpy as np

from homolog.report import figures
from homolog.report.views import View
from homolog.space.grid import Grid
from homolog.space.sampling import warp
from homolog.space.transforms import Affine
from homolog.space.volume import Volume

# Along the line of sight, steps are this many pixels long: the sum over them is what is seen.
STEP_PIXELS = 3
# Below fat nothing is added, so that bone stands out of the soft tissue it is wrapped in; metal adds no more than bone.
CT_LIMITS = (-150.0, 1200.0)
# Shares of the pixels where there is anything that are black and white.
BLACK, WHITE = 0.02, 0.995
# Thin parts are brighter than they measure, or hands and lungs would be black beside the spine.
GAMMA = 0.7


def seen_through(volume: Volume, view: View) -> np.ndarray:
    """(rows, columns) uint8: the picture's mean along the line of sight, as in a radiograph, bright where much is."""
    grid = _sight(volume, view)
    low, high = _limits(volume)
    data = warp(volume, Affine.identity(volume.space, volume.space), grid, outside=low).numpy()
    mean = np.clip(np.nan_to_num(data, nan=low), low, high).mean(axis=2) - low
    some = mean[mean > 0]
    black, white = np.quantile(some, (BLACK, WHITE)) if some.size else (0.0, 1.0)
    share = np.clip((mean - black) / max(white - black, 1e-6), 0, 1)
    return figures.grey(share**GAMMA, (0.0, 1.0))


def _sight(volume: Volume, view: View) -> Grid:
    """The pixels of a view, deep enough to hold the whole volume."""
    through = view.plane.through
    low, high = volume.grid.bounds()[:, through]
    step = STEP_PIXELS * view.pixel_mm
    count = max(1, int(np.ceil((high - low) / step)))
    flat = view.grid(float(low) + step / 2)
    matrix = flat.world_from_voxel.copy()
    matrix[through, 2] = step
    return Grid((*view.pixels, count), matrix)


def _limits(volume: Volume) -> tuple[float, float]:
    """Values beyond which more or less makes no difference."""
    data = volume.numpy()
    finite = data[np.isfinite(data)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite[:: max(1, finite.size // 500_000)], (1, 99.9)))
    # nothing but a CT has a hundredth of its voxels below fat by that much
    return CT_LIMITS if low < -500 else (low, max(high, low + 1e-6))
