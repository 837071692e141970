"""The images and the map of a run, small enough to be kept at once, and their slices as arrays of colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from homolog.errors import BadInput
from homolog.io import transforms, volumes
from homolog.kernels import jacobian
from homolog.report import figures, views
from homolog.report.runs import Run, Side
from homolog.report.views import View
from homolog.space import fit
from homolog.space.grid import Grid
from homolog.space.sampling import sampled_displacement, warp
from homolog.space.transforms import Affine, Chain, Transform
from homolog.space.volume import Volume

# Points at which a map is told in words: their mean is sure to a hundredth of its spread.
MOST_POINTS = 20_000

Window = tuple[float, float]


@dataclass(frozen=True)
class Greys:
    """One way to make greys of both images.

    name           what it is good for; "" where there is only one way
    fixed, moving  black and white of each
    at_once        whether it is shown without being asked for
    """

    name: str
    fixed: Window
    moving: Window
    at_once: bool = True

    def of(self, which: str) -> Window:
        """The window of "fixed", "before" or "after"."""
        return self.fixed if which == "fixed" else self.moving


@dataclass(frozen=True, eq=False)
class Scene:
    """What there is to look at, everything but the fixed image only where the run names it.

    fixed      the fixed image, reduced to what the page can show
    grids      where the whole images lie, by side
    before     the moving image under the fixed space's name: where its header alone puts it
    after      the moving image as the map brought it; where no such file was written, the moving image itself
    resampled  whether `after` lies in the fixed space already, so that the map need not be followed
    moving_from_fixed  the map
    greys      the ways to make greys of the images, at least one
    """

    fixed: Volume
    grids: dict[Side, Grid]
    before: Volume | None
    after: Volume | None
    resampled: bool
    moving_from_fixed: Transform | None
    greys: tuple[Greys, ...]

    @cached_property
    def views(self) -> list[View]:
        return views.views_of(self.fixed, self._shown)

    def _shown(self, points_mm: np.ndarray) -> np.ndarray:
        """Which points of the fixed patient (N, 3) the moving image shows too; none where that is not known."""
        grid = self.grids.get("moving")
        if grid is None or self.moving_from_fixed is None:
            return np.zeros(len(points_mm), bool)
        return grid.contains(self.moving_from_fixed.apply(points_mm))

    def grey(self, which: str, view: View, position_mm: float, greys: Greys) -> np.ndarray | None:
        """A slice of "fixed", "before" or "after" as (rows, columns) uint8; None where there is no such image."""
        volume: Volume | None = getattr(self, which)
        if volume is None:
            return None
        window = greys.of(which)
        way: Transform = Affine.identity(volume.space, volume.space)
        if which == "after" and not self.resampled and self.moving_from_fixed is not None:
            way = self.moving_from_fixed
        return figures.grey(warp(volume, way, view.grid(position_mm), outside=window[0]).numpy()[:, :, 0], window)

    def determinants(self, view: View, position_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """(columns, rows) of a slice: by central differences, and the least one-sided; steps of a pixel each way."""
        assert self.moving_from_fixed is not None
        grid = view.grid(position_mm, slices=3)
        vectors = sampled_displacement(self.moving_from_fixed, grid)
        central, least = jacobian.determinants(vectors, grid.world_from_voxel[:3, :3])
        return central[:, :, 1], least[:, :, 1]

    @property
    def bends(self) -> bool:
        """Whether the map does more than shift, turn, stretch and shear everything alike."""
        parts = self.moving_from_fixed.parts if isinstance(self.moving_from_fixed, Chain) else [self.moving_from_fixed]
        return not all(isinstance(part, Affine) or part is None for part in parts)

    @cached_property
    def motion(self) -> Motion:
        """What the map does to the foreground."""
        assert self.moving_from_fixed is not None
        points = views.foreground_mm(self.fixed)
        points = points[:: max(1, len(points) // MOST_POINTS)]
        # the corners of a single slice do not lie in one plane
        points = np.concatenate((points, self.fixed.grid.corners()))
        return Motion.of(points, self.moving_from_fixed.apply(points))

    @cached_property
    def reach(self) -> float:
        """The scale of colours of the determinants, one for all pictures of a page."""
        seen = [self.determinants(view, view.positions_mm[view.middle])[0].ravel() for view in self.views]
        return figures.log2_range(np.concatenate(seen))

    @cached_property
    def line_distance_mm(self) -> float:
        """Between the lines of a drawn grid, one for all pictures of a page."""
        return max(figures.line_distance_mm(view) for view in self.views)

    def bent(self, points_mm: np.ndarray) -> np.ndarray:
        """Where the map carries points (N, 3), its affine part undone: what is straight stays straight."""
        assert self.moving_from_fixed is not None
        return self.motion.affine.inverse().apply(self.moving_from_fixed.apply(points_mm))


@dataclass(frozen=True, eq=False)
class Motion:
    """A map parted in two.

    affine       the nearest affine map
    shift_mm     (3,) how far it carries the middle of the points, LPS
    rest_mm      root mean square of what it leaves
    rest_max_mm  the largest of that
    """

    affine: Affine
    shift_mm: np.ndarray
    rest_mm: float
    rest_max_mm: float

    @classmethod
    def of(cls, fixed_mm: np.ndarray, moving_mm: np.ndarray) -> Motion:
        affine = fit.affine(fixed_mm, moving_mm)
        rest = np.linalg.norm(moving_mm - affine.apply(fixed_mm), axis=1)
        shift = moving_mm.mean(axis=0) - fixed_mm.mean(axis=0)
        return cls(affine, shift, float(np.sqrt((rest**2).mean())), float(rest.max()))

    @property
    def turn_degrees(self) -> float:
        """The angle of the rotation nearest to the affine part."""
        u, _, vt = np.linalg.svd(self.affine.matrix[:3, :3])
        return float(np.degrees(np.arccos(np.clip((np.trace(u @ vt) - 1) / 2, -1, 1))))

    @property
    def volume_factor(self) -> float:
        """By what the affine part multiplies volumes."""
        return float(np.linalg.det(self.affine.matrix[:3, :3]))


def read_scene(run: Run) -> Scene | None:
    """The images a run names; None where it names no fixed image."""
    fixed_path = run.file("fixed", "path")
    if fixed_path is None:
        return None
    # every file is asked for before any is read: what is missing is said at once
    moving_path, warped_path, map_path = (
        run.file(*keys) for keys in (("moving", "path"), ("outputs", "warped"), ("outputs", "moving_from_fixed"))
    )
    grids: dict[Side, Grid] = {"fixed": volumes.read_grid(fixed_path)}
    pixel_mm = views.finest_pixel_mm(grids["fixed"])
    fixed = small(fixed_path, run.space("fixed"), pixel_mm)
    moving = None
    if moving_path is not None:
        grids["moving"] = volumes.read_grid(moving_path)
        moving = small(moving_path, run.space("moving"), pixel_mm)
    warped = None if warped_path is None else small(warped_path, run.space("fixed"), pixel_mm)
    the_map = None if map_path is None else _map(run, map_path, grids)
    after = warped or (moving if the_map is not None else None)
    before = None if moving is None else moving.in_space(run.space("fixed"))
    return Scene(
        fixed, grids, before, after, warped is not None, the_map, _greys(run, fixed, moving or warped or fixed)
    )


def small(path: Path, space: str, pixel_mm: float) -> Volume:
    """A picture no finer than it is shown."""
    return views.reduced(volumes.read(path, space=space), pixel_mm)


def _map(run: Run, path: Path, grids: dict[Side, Grid]) -> Transform:
    return transforms.read_transform(
        path,
        like=grids["fixed"],
        moving_like=grids.get("moving"),
        fixed=run.space("fixed"),
        moving=run.space("moving"),
    )


def _greys(run: Run, fixed: Volume, moving: Volume) -> tuple[Greys, ...]:
    """What the record asks for, else what suits the pictures."""
    return greys_of(fixed, moving, asked_window(run, "fixed"), asked_window(run, "moving"))


def greys_of(
    fixed: Volume, moving: Volume, asked_fixed: Window | None = None, asked_moving: Window | None = None
) -> tuple[Greys, ...]:
    """What is asked for, else what suits the pictures: lungs are black where soft tissue is grey."""
    usual = Greys("", asked_fixed or views.window_of(fixed), asked_moving or views.window_of(moving))
    share = max(map(views.lung_share, (fixed, moving)))
    if asked_fixed or asked_moving or usual.fixed != usual.moving or share < views.LUNG_SHARE:
        return (usual,)
    lung = views.WINDOWS["lung"]
    return replace(usual, name="soft tissue"), Greys("lung", lung, lung, at_once=share >= views.MUCH_LUNG_SHARE)


def asked_window(run: Run, side: str) -> Window | None:
    """The window that the record asks for, None where it asks for none."""
    asked = run.value("window", side)
    if asked is None:
        return None
    try:
        low, high = (float(value) for value in asked)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not high > low:
        raise BadInput(f"{run.folder / 'run.json'}: window.{side} is {asked}, two rising numbers were wanted")
    return low, high
