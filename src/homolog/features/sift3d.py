"""3D-SIFT: blobs and corners with axes of their own, and descriptors that turn with the patient.

Rister, Horowitz and Rubin, "Volumetric image registration from invariant keypoints", IEEE Trans. Image Process.
26:4900, 2017. docs/methods/sift3d.md has the equations, and what differs from the published program unless
`compat="sift3d"`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from homolog.errors import BadInput
from homolog.features.configs import Sift3dConfig
from homolog.features.given import known, require_inside, require_scales
from homolog.features.selection import inside_mask, ranked, strongest
from homolog.features.sift3d_extrema import Levels, candidates
from homolog.features.sift3d_orientation import frames
from homolog.features.sift3d_pyramid import LEVELS, Base, Level, base_of, climb, for_windows, sigma_of
from homolog.kernels import gradient_histogram, structure
from homolog.space.keypoints import Keypoints
from homolog.space.volume import Volume

# Of the gradients that fix a point's orientation: the weights' standard deviation in scales of the point, and where
# they end, in standard deviations. By wider ones the same points and the same axes are found more often in a turned and
# noisy picture (docs/methods/sift3d.md).
WINDOW, WINDOW_REACH = 2.5, 2.0
PUBLISHED_WINDOW, PUBLISHED_WINDOW_REACH = 1.5, 3.0
# Where a cell's centre is; squares of gradients, in shares of the picture's strength, that are left out below.
CORRECTED = partial(gradient_histogram.histograms, middle=0.5, least=0.0, exchanged=False)
PUBLISHED = partial(gradient_histogram.histograms, middle=0.0, least=10 * 1.1920929e-7, exchanged=True)
# The largest number of a descriptor of unit length, so that no one edge is all of it.
LARGEST = np.float32(1 / 30)
# mm: sizes of points between a speck and a patient.
SCALES = (1e-3, 1e4)


def detect(volume: Volume, config: Sift3dConfig = Sift3dConfig(), *, mask: Volume | None = None) -> Keypoints:
    """The points of a picture that have an orientation, strongest first.

    mask  labels in the picture's space on any grid, 0 where no point is wanted
    """
    _require_thresholds(config)
    base = base_of(volume, config)
    found, levels = candidates(base, config)
    found = found[inside_mask(found.position, mask, volume.space) & base.scan.contains(found.position)]
    found, certain = _oriented(found, base, levels, config)
    found = found[certain]
    found = found[strongest(found.position, known(found.response), config.most, config.spread_mm)]
    return _described(found, base, levels, config) if config.descriptors else found


def describe(volume: Volume, keypoints: Keypoints, config: Sift3dConfig = Sift3dConfig()) -> Keypoints:
    """The same points with descriptors, by their scales and frames; frames that are missing, or NaN, are found.

    No point is left out for an uncertain orientation. Where there is no gradient at all, the frame is the patient's
    axes.
    """
    base = base_of(volume, config)
    _require_places(keypoints, volume)
    levels = {
        (octave, level): for_windows(one, sigma_of(octave, level, config), base)
        for octave, level, one in climb(base, config, top=LEVELS - 1)
        if level >= 0
    }
    given = np.full((len(keypoints), 3, 3), np.nan) if keypoints.frame is None else keypoints.frame
    missing = ~np.isfinite(given).all(axis=(1, 2))
    frame = np.array(given, np.float64)
    frame[missing] = known(_oriented(keypoints[missing], base, levels, config)[0].frame)
    return _described(replace(keypoints, frame=frame), base, levels, config)


# ---------------------------------------------------------------------------------------------------------------------
# Orientation and description


def _oriented(points: Keypoints, base: Base, levels: Levels, config: Sift3dConfig) -> tuple[Keypoints, np.ndarray]:
    """The points with frames, and (N,) bool: whether each is certain."""
    sums, products = np.zeros((len(points), 3)), np.zeros((len(points), 3, 3))
    width = PUBLISHED_WINDOW if base.published else WINDOW
    reach = PUBLISHED_WINDOW_REACH if base.published else WINDOW_REACH

    def gather(level: Level, rows: np.ndarray) -> None:
        places, sigma = _places(points, rows, level, base), width * known(points.scale)[rows]
        sums[rows], products[rows] = structure.moments(level.data, places, sigma, level.spacing_mm, reach)

    _by_level(points, levels, config, gather)
    # the third axis is a cross product: it is taken in the patient, or storage's own handedness would enter it; the
    # published program takes it as the voxels are stored
    turn = np.eye(3) if base.published else base.axes
    sums, products = sums @ turn.T, turn @ products @ turn.T
    axes, certain = frames(sums, products, config.corner_threshold)
    axes = base.axes @ turn.T @ axes
    axes[(sums == 0).all(axis=1)] = np.eye(3)
    return replace(points, frame=axes), certain


def _described(points: Keypoints, base: Base, levels: Levels, config: Sift3dConfig) -> Keypoints:
    found = np.zeros((len(points), gradient_histogram.LENGTH), np.float32)
    local_from_axes = np.swapaxes(known(points.frame), 1, 2) @ base.axes
    histograms = PUBLISHED if base.published else CORRECTED

    def fill(level: Level, rows: np.ndarray) -> None:
        places, scale = _places(points, rows, level, base), known(points.scale)[rows]
        found[rows] = histograms(level.data, places, scale, local_from_axes[rows], level.spacing_mm)

    _by_level(points, levels, config, fill)
    _normalise(found)
    np.minimum(found, LARGEST, out=found)
    _normalise(found)
    return replace(points, descriptors=ranked(found) if config.rank else found)


def _normalise(rows: np.ndarray) -> None:
    """Divides each row by its length, in place; a row of zeros stays."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(length > 0, length, 1)


def _by_level(
    points: Keypoints, levels: Levels, config: Sift3dConfig, work: Callable[[Level, np.ndarray], None]
) -> None:
    """Calls `work(level, rows)` for each level and the points to whose scale its blur is nearest."""
    octaves = 1 + max(levels)[0]
    number = np.round(LEVELS * np.log2(known(points.scale) / config.sigma_mm)).astype(int)
    number = np.clip(number, 0, LEVELS * octaves - 1)
    for nearest in np.unique(number).tolist():
        work(levels[divmod(nearest, LEVELS)], np.flatnonzero(number == nearest))


def _places(points: Keypoints, rows: np.ndarray, level: Level, base: Base) -> np.ndarray:
    """(N, 3) voxels of a level."""
    voxels = base.picture.grid.voxel(points.position[rows]) / level.step
    # the program's points are voxels: rounding, on the way through the patient, must not move a window's edge
    return np.round(voxels, 6) if base.published else voxels


def _require_thresholds(config: Sift3dConfig) -> None:
    for name, value in (("peak_threshold", config.peak_threshold), ("corner_threshold", config.corner_threshold)):
        if not 0 <= value <= 1:
            raise BadInput(f"{name} is {value}: a share from 0 to 1 is wanted", f"{name}={getattr(Sift3dConfig, name)}")


def _require_places(keypoints: Keypoints, volume: Volume) -> None:
    require_scales(keypoints, volume)
    low, high = SCALES
    scale = known(keypoints.scale)
    if not ((scale >= low) & (scale <= high)).all():
        raise BadInput(f"points to be described need scales from {low:g} to {high:g} mm")
    require_inside(keypoints, volume)
