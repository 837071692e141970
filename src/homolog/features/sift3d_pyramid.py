"""3D-SIFT's pyramid: a picture at growing blurs, in octaves of ever coarser voxels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from homolog.errors import BadInput
from homolog.features.configs import Sift3dConfig
from homolog.kernels import interpolate, scale_space
from homolog.space.grid import Grid
from homolog.space.prepared import require_picture, restored
from homolog.space.volume import Volume

# Levels of an octave whose differences can be extrema; from one to the next the blur grows by 2^(1/3).
LEVELS = 3
# The fewest voxels along an axis of an octave.
LEAST_VOXELS = 8
# Voxels: the least blur of an octave's first level. Below, extrema depend on where voxels happen to lie.
LEAST_BLUR_VOXELS = 1.3
# And of a level in whose windows gradients are summed: many voxels there say the same.
LEAST_WINDOW_BLUR_VOXELS = 1.0
# Of a picture's intensities; float32 has no room for the inverse of much less.
LEAST_STRENGTH = 1e-30
# Degrees: axes that lean by more are straightened first, since a blur along leaning axes is not round.
UPRIGHT_DEGREES = 0.1


@dataclass(frozen=True, eq=False)
class Base:
    """The picture that a pyramid stands on.

    picture    intensities along axes at right angles
    middle     what is taken from its intensities
    strength   what they are then divided by
    scan       what was really scanned, where the picture's box is larger
    published  whether all is as in the published program
    """

    picture: Volume
    middle: float
    strength: float
    scan: Grid
    published: bool

    @property
    def axes(self) -> np.ndarray:
        """(3, 3) LPS: the unit vectors of i, j, k in its columns; a mirror where storage is left-handed."""
        return self.picture.grid.axes


@dataclass(frozen=True, eq=False)
class Level:
    """One blur of the picture.

    data        (I, J, K) float32
    step        (3,) voxels of the picture to one of this level; the first voxels coincide
    spacing_mm  (3,)
    """

    data: np.ndarray
    step: np.ndarray
    spacing_mm: np.ndarray


def base_of(volume: Volume, config: Sift3dConfig) -> Base:
    require_picture(volume, "given")
    _require_room(volume)
    _require_blurs(config)
    if config.compat:
        # as it is stored, whatever the header says about directions
        return Base(volume, 0.0, _or_one(float(np.abs(volume.numpy()).max())), volume.grid, published=True)
    picture = restored(volume)
    low, high = float(picture.numpy().min()), float(picture.numpy().max())
    # another zero, as of shifted HU, changes nothing, nor do digits that float32 would lose to it
    return Base(_straightened(picture), (low + high) / 2, _or_one((high - low) / 2), picture.grid, published=False)


def sigma_of(octave: int, level: int, config: Sift3dConfig) -> float:
    """mm: the nominal blur of a level, -1 to 4, of an octave."""
    return float(config.sigma_mm * 2 ** (octave + level / LEVELS))


def climb(base: Base, config: Sift3dConfig, top: int = LEVELS + 1) -> Iterator[tuple[int, int, Level]]:
    """Octaves from fine to coarse, in each the levels from -1 to `top` (2 at least): octave, level, and its picture.

    Nothing is held but the newest level, and the one that the next octave begins with.
    """
    data = base.picture.numpy()
    data, factor = data - np.float32(base.middle) if base.middle else data, 1 / base.strength
    for octave, step in enumerate(_steps(base, config)):
        spacing = base.picture.grid.spacing_mm * step
        for level in range(-1, top + 1):
            if octave == 0 or level >= 0:
                data = _blurred(
                    data, spacing, _added_blur(octave, level, config, base.published), factor, base.published
                )
                factor = 1.0
            if level == LEVELS - 1:
                seed = data
            yield octave, level, Level(data, step, spacing)
        data = _thinned(seed, _step_after(step, octave, base, config) // step)


def for_windows(level: Level, sigma_mm: float, base: Base) -> Level:
    """A level with no more voxels than its blur, of so many mm, needs for the sums over windows of many voxels."""
    by = np.where(sigma_mm >= LEAST_WINDOW_BLUR_VOXELS * 2 * level.spacing_mm, 2, 1)
    if base.published or by.max() == 1 or min(np.array(level.data.shape) // by) < LEAST_VOXELS:
        return level
    return Level(_thinned(level.data, by), level.step * by, level.spacing_mm * by)


def _added_blur(octave: int, level: int, config: Sift3dConfig, published: bool) -> float:
    """mm that take a level's predecessor to it."""
    # the published program does not double them with the octave
    own = 0 if published else octave
    before = sigma_of(own, level - 1, config) if level >= 0 else config.input_sigma_mm
    return float(np.sqrt(sigma_of(own, level, config) ** 2 - before**2))


def _blurred(data: np.ndarray, spacing_mm: np.ndarray, sigma_mm: float, factor: float, published: bool) -> np.ndarray:
    # a picture that is as blurred already as is wanted
    make = scale_space.published_table if published and sigma_mm > 0 else scale_space.table
    i, j, k = (make(n, mm, sigma_mm) for n, mm in zip(data.shape, spacing_mm.tolist(), strict=True))
    return scale_space.blur(data, (i, j, k), factor)


def _steps(base: Base, config: Sift3dConfig) -> Iterator[np.ndarray]:
    """(3,) int voxels of the picture to a voxel of each octave."""
    step = np.ones(3, np.int64)
    octave = 0
    while min(np.array(base.picture.grid.shape) // step) >= LEAST_VOXELS:
        yield step
        step = _step_after(step, octave, base, config)
        octave += 1


def _step_after(step: np.ndarray, octave: int, base: Base, config: Sift3dConfig) -> np.ndarray:
    """The next octave's: an axis is halved where the blur is wide enough for that."""
    wide = sigma_of(octave + 1, 0, config) >= LEAST_BLUR_VOXELS * 2 * step * base.picture.grid.spacing_mm
    return np.where(wide | base.published, 2 * step, step)


def _thinned(data: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Every second voxel from the first, along the axes to be halved; as many as there are pairs."""
    return np.ascontiguousarray(data[tuple(slice(0, n // b * b, b) for n, b in zip(data.shape, by.tolist()))])


def _straightened(picture: Volume) -> Volume:
    """The picture along axes at right angles; what lies beyond the scan is its nearest voxel."""
    grid = picture.grid
    if grid.shear_degrees <= UPRIGHT_DEGREES:
        return picture
    u, _, vt = np.linalg.svd(grid.axes)
    axes = u @ vt
    corners = grid.corners(0.0) @ axes
    low, high = corners.min(axis=0), corners.max(axis=0)
    shape = np.round((high - low) / grid.spacing_mm).astype(int) + 1
    origin = axes @ ((low + high) / 2 - grid.spacing_mm * (shape - 1) / 2)
    upright = Grid.regular(shape.tolist(), grid.spacing_mm, origin, axes)
    data = np.empty(upright.shape, np.float32)
    source, last = np.ascontiguousarray(picture.numpy()), np.array(grid.shape) - 1
    for plane in range(upright.shape[0]):
        voxels = np.clip(grid.voxel(upright.points(plane, plane + 1)), 0, last)
        data[plane] = interpolate.sample(source, voxels, "linear", 0.0).reshape(upright.shape[1:])
    return Volume(data, upright, picture.space)


def _or_one(strength: float) -> float:
    return strength if strength > LEAST_STRENGTH else 1.0


def _require_room(volume: Volume) -> None:
    if min(volume.grid.shape) < LEAST_VOXELS:
        raise BadInput(
            f"'{volume.space}' has {' x '.join(map(str, volume.grid.shape))} voxels: at least {LEAST_VOXELS} are "
            "needed along each axis",
            "a scan with more slices, or one resampled to finer voxels",
        )


def _require_blurs(config: Sift3dConfig) -> None:
    if not 0 <= config.input_sigma_mm <= sigma_of(0, -1, config) < np.inf:
        raise BadInput(
            f"sigma_mm is {config.sigma_mm} and input_sigma_mm {config.input_sigma_mm}: the first level, of "
            "sigma_mm / 2^(1/3), must be blurred at least as much as the picture is already",
            "sigma_mm=1.6, input_sigma_mm=1.15",
        )
