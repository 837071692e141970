"""How a patient is looked at: slices straight across LPS, as radiologists hang them, whatever way the voxels lie.

The patient's right is on the viewer's left, the head is up, the front is up in axial slices and on the left in
sagittal ones. Pixels are square, so proportions are the patient's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from homolog.space.grid import Grid
from homolog.space.volume import Volume

Shown = Callable[[np.ndarray], np.ndarray]

# Pixels along a picture's longer side: a page of 27 slices, each in three pictures, stays below 8 MB even with noise.
MOST_PIXELS = 256
# Odd, so that one lies in the middle.
POSITIONS = 9
# Black and white in HU, by the names radiologists use: level 40, width 400; -600, 1500; 300, 1500; 40, 80.
WINDOWS = {
    "abdomen": (-160.0, 240.0),
    "lung": (-1350.0, 150.0),
    "bone": (-450.0, 1050.0),
    "brain": (0.0, 80.0),
}
SOFT_TISSUE_HU = WINDOWS["abdomen"]
# What aerated lung measures: more than the noise of the air around the patient, less than fat.
LUNG_HU = (-900.0, -600.0)
# Where lung takes this share of the patient it can be looked at too; bowel gas and blankets take two hundredths.
# Where it takes as much as in a chest, more than in a whole body, it is shown without being asked for.
LUNG_SHARE, MUCH_LUNG_SHARE = 0.04, 0.15
# Voxels looked at to find a window and the foreground: their percentiles are sure to a thousandth.
SAMPLE = 500_000


@dataclass(frozen=True)
class Plane:
    """One of the three ways to cut.

    across, down, through  which of x, y, z runs along the picture's rows, down its columns, and from slice to slice
    down_sign              +1 where that coordinate grows downwards, -1 where upwards
    letters                what is seen at the left, right, top and bottom edge
    """

    name: str
    across: int
    down: int
    through: int
    down_sign: int
    letters: tuple[str, str, str, str]


# In LPS, x grows to the patient's left, y to the back and z to the head.
AXIAL = Plane("axial", 0, 1, 2, 1, ("R", "L", "A", "P"))
CORONAL = Plane("coronal", 0, 2, 1, -1, ("R", "L", "H", "F"))
SAGITTAL = Plane("sagittal", 1, 2, 0, -1, ("A", "P", "H", "F"))
PLANES = (AXIAL, CORONAL, SAGITTAL)


@dataclass(frozen=True, eq=False)
class View:
    """A stack of slices of one patient, all of one size.

    corner_mm     (3,) float64, LPS mm: the outer upper left corner of every slice; along `plane.through` unused
    size_mm       width and height
    pixels        columns and rows
    pixel_mm      the side of a pixel
    positions_mm  where the slices lie along the plane's third axis, LPS mm
    """

    plane: Plane
    corner_mm: np.ndarray
    size_mm: tuple[float, float]
    pixels: tuple[int, int]
    pixel_mm: float
    positions_mm: tuple[float, ...]

    def grid(self, position_mm: float, slices: int = 1) -> Grid:
        """The lattice of a slice's pixels: i to the viewer's right, j down, k through the `slices` around it."""
        axes = np.zeros((3, 3))
        axes[self.plane.across, 0], axes[self.plane.down, 1], axes[self.plane.through, 2] = 1, self.plane.down_sign, 1
        first = self.pixel_mm * np.array([0.5, 0.5, -0.5 * (slices - 1)])
        origin = np.where(np.arange(3) == self.plane.through, position_mm, self.corner_mm) + axes @ first
        return Grid.regular((*self.pixels, slices), self.pixel_mm, origin, axes)

    def world(self, at_mm: np.ndarray, position_mm: float) -> np.ndarray:
        """(N, 3) LPS mm of places in a slice, (N, 2) mm to the right of and below its upper left corner."""
        points = np.empty((len(at_mm), 3))
        points[:, self.plane.across] = self.corner_mm[self.plane.across] + at_mm[:, 0]
        points[:, self.plane.down] = self.corner_mm[self.plane.down] + self.plane.down_sign * at_mm[:, 1]
        points[:, self.plane.through] = position_mm
        return points

    def seen(self, points_mm: np.ndarray) -> np.ndarray:
        """(N, 2) mm right of and below the corner: where points (N, 3) LPS mm are seen along the third axis."""
        offset = points_mm - self.corner_mm
        return np.stack((offset[:, self.plane.across], self.plane.down_sign * offset[:, self.plane.down]), axis=1)

    @property
    def middle(self) -> int:
        """The number of the slice through the middle of the foreground."""
        return len(self.positions_mm) // 2


def views_of(volume: Volume, shown: Shown | None = None) -> list[View]:
    """The three stacks that show a volume whole, their slices spread over its foreground.

    shown  of points (N, 3) LPS mm, which the other image shows too: the middle slices go through these
    """
    low, high = volume.grid.bounds()
    foreground = foreground_mm(volume)
    both = foreground if shown is None else foreground[shown(foreground)]
    both = both if len(both) else foreground
    finest = float(volume.grid.spacing_mm.min())
    return [
        _view(plane, low, high, _positions(*(points[:, plane.through] for points in (foreground, both))), finest)
        for plane in PLANES
    ]


def finest_pixel_mm(grid: Grid) -> float:
    """The smallest pixel that `views_of` will ask for: finer voxels than that are of no use to it."""
    low, high = grid.bounds()
    sides = sorted(high - low)
    return float(max(sides[1] / MOST_PIXELS, grid.spacing_mm.min()))


def _view(plane: Plane, low: np.ndarray, high: np.ndarray, positions: tuple[float, ...], finest_mm: float) -> View:
    corner = np.where(np.arange(3) == plane.down, high if plane.down_sign < 0 else low, low)
    size = (float((high - low)[plane.across]), float((high - low)[plane.down]))
    pixel_mm = max(max(size) / MOST_PIXELS, finest_mm)
    pixels = (max(1, round(size[0] / pixel_mm)), max(1, round(size[1] / pixel_mm)))
    drawn = (pixels[0] * pixel_mm, pixels[1] * pixel_mm)
    return View(plane, corner, drawn, pixels, pixel_mm, positions)


def _positions(foreground: np.ndarray, both: np.ndarray) -> tuple[float, ...]:
    """Slices from one end of the foreground to the other, the middle one where half of what both show lies before."""
    start, stop = np.quantile(foreground, (0.02, 0.98))
    middle = float(np.clip(np.median(both), start, stop))
    half = POSITIONS // 2
    positions = (*np.linspace(start, middle, half + 1)[:-1], *np.linspace(middle, stop, half + 1))
    return tuple(float(position) for position in positions)


# ---------------------------------------------------------------------------------------------------------------------
# What there is to see


def reduced(volume: Volume, pixel_mm: float) -> Volume:
    """The mean of whole blocks of voxels no larger than a pixel: the same picture, small enough to keep several of.

    It is made a plane of blocks at a time, so nothing of the original's size is allocated.
    """
    factor = np.maximum(1, np.floor(pixel_mm / volume.grid.spacing_mm + 1e-6)).astype(int)
    if (factor == 1).all():
        return volume
    grid = volume.grid.with_spacing(volume.grid.spacing_mm * factor)
    data, out = volume.numpy(), np.empty(grid.shape, np.float32)
    for i in range(grid.shape[0]):
        # infinities of both signs in one block have no mean: it is NaN, which is drawn as black
        with np.errstate(invalid="ignore"):
            out[i] = _block_means(data[i * factor[0] : (i + 1) * factor[0]].mean(axis=0), factor[1], factor[2])
    return Volume(out, grid, volume.space)


def foreground_mm(volume: Volume) -> np.ndarray:
    """(N, 3) float64, LPS mm: some of the voxel centres that are brighter than Otsu's threshold; all where none is."""
    step = _step(volume)
    thinned = volume.numpy()[::step, ::step, ::step]
    finite = np.isfinite(thinned)
    bright = thinned > otsu(thinned[finite]) if finite.any() else finite
    chosen = bright if bright.any() else np.ones_like(finite)
    return volume.grid.world(step * np.argwhere(chosen))


def otsu(values: np.ndarray) -> float:
    """The threshold that parts values best in two (Otsu, IEEE SMC 9:62, 1979), the rarest on either side left out."""
    low, high = np.percentile(values, (0.5, 99.5))
    if not high > low:
        return float(high)
    counts, edges = np.histogram(values, 256, (low, high))
    middles = 0.5 * (edges[1:] + edges[:-1])
    below = np.cumsum(counts)[:-1].astype(float)
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    apart = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * apart**2)])


def window_of(volume: Volume) -> tuple[float, float]:
    """The values to show black and white: soft tissue where it looks like a CT, else nearly all there are."""
    step = _step(volume)
    values = volume.numpy()[::step, ::step, ::step]
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(values, (1, 99.5)))
    # nothing but HU has a hundredth of its voxels below fat by that much: that is air
    if low < -500:
        return SOFT_TISSUE_HU
    return (low, high) if high > low else (low, low + 1)


def lung_share(volume: Volume) -> float:
    """The share of the patient that is lung; 0 where it is no CT."""
    if window_of(volume) != SOFT_TISSUE_HU:
        return 0.0
    step = _step(volume)
    values = volume.numpy()[::step, ::step, ::step]
    lung = int(((values > LUNG_HU[0]) & (values < LUNG_HU[1])).sum())
    return lung / max(1, lung + int((values >= LUNG_HU[1]).sum()))


def _step(volume: Volume) -> int:
    return max(1, int(np.ceil((volume.grid.size / SAMPLE) ** (1 / 3))))


def _block_means(plane: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Means of blocks of a plane; the last ones may be smaller."""
    return _run_means(_run_means(plane, rows, 0), columns, 1)


def _run_means(plane: np.ndarray, run: int, axis: int) -> np.ndarray:
    starts: Sequence[int] = range(0, plane.shape[axis], run)
    lengths = np.diff([*starts, plane.shape[axis]])
    sums = np.add.reduceat(plane, list(starts), axis=axis)
    return sums / (lengths[:, None] if axis == 0 else lengths)
