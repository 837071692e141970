"""Where the patient is in a picture, whatever its scale: brighter than the background, in one piece, without holes."""

from __future__ import annotations

import numpy as np

BINS = 512
# How far from the background to Otsu's threshold a voxel must be to count: at its half, dark organs of an MR count too.
SHARE = 0.5
# The intensities beyond these shares of the picture are outliers: metal, and what lies round a scanner's circle.
OUTLIERS = (0.002, 0.998)


def otsu_threshold(values: np.ndarray) -> float:
    """The threshold that parts values (N,) into two classes of least variance (Otsu, IEEE Trans. SMC 9:62, 1979)."""
    counts, edges = np.histogram(values, BINS)
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    mean_below = sums[:-1] / np.maximum(below, 1)
    mean_above = (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    # an empty stretch between the classes is a plateau: its middle, so that neither class is cut into
    between = below * above * (mean_above - mean_below) ** 2
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float(edges[1:-1][(best[0] + best[-1]) // 2])


def body_mask(data: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(I, J, K) bool: the patient.

    data   (I, J, K) float32, any unit, smoothed or coarse enough that noise does not cross the threshold
    known  (I, J, K) bool: where data means something
    """
    from scipy import ndimage

    values = data[known]
    low, high = np.quantile(values, OUTLIERS)
    clipped = np.clip(values, low, high)
    threshold = otsu_threshold(clipped)
    background = float(np.median(clipped[clipped <= threshold]))
    bright = known & (data > background + SHARE * (threshold - background))
    # a step of erosion parts the patient from the table; the same of dilation gives the skin back
    opened = ndimage.binary_opening(bright, iterations=1)
    body = largest_piece(opened if opened.any() else bright)
    for axis in range(3):
        body = _holes_filled(body, axis)
    return body & known


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """The largest connected piece of a mask; of equally large ones, the first."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(pieces == sizes.argmax())


def _holes_filled(mask: np.ndarray, axis: int) -> np.ndarray:
    """Each slice across the axis without holes: lungs open to the slices above or below are closed within theirs."""
    from scipy import ndimage

    slices = [ndimage.binary_fill_holes(np.take(mask, n, axis=axis)) for n in range(mask.shape[axis])]
    return np.stack(slices, axis=axis)
